"""Training set, candidates, evaluations, challenger; and the job that trains candidates side by side."""

import dagster as dg

from hoops_assets.defs.checks import suite_checks
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.training import assets, jobs, pipeline, watch


def lane_defs(lane: Lane) -> dg.Definitions:
    learners = [*assets.CANDIDATES, *lane.built_in]
    return dg.Definitions(
        assets=assets.assets(lane) if lane.pipelines == "dagster" else pipeline.assets(lane),
        asset_checks=suite_checks(lane, assets.STAGE, ["training_set"]),
        jobs=[jobs.training_job(lane)],
        schedules=[jobs.weekly_schedule(lane)],
        sensors=[] if lane.waits_for_training else [watch.sensor(lane, learners)],
    )
