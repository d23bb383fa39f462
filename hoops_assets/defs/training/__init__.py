"""Training set, candidates, evaluations, challenger; and the job that trains candidates side by side."""

import dagster as dg

from hoops_assets.defs.checks import suite_checks
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.training import assets


def lane_defs(lane: Lane) -> dg.Definitions:
    group = dg.AssetSelection.groups(f"{lane.league.name}_training")
    job = dg.define_asset_job(
        f"{lane.league.name}_training",
        selection=group,
        executor_def=dg.multiprocess_executor.configured({"max_concurrent": 2}),
        tags={"hoops/league": lane.league.name, "hoops/step": "training", **lane.max_runtime("training")},
        description=f"Trains and evaluates the candidates of {lane.league.name} side by side and names the challenger.",
    )
    return dg.Definitions(
        assets=assets.assets(lane), asset_checks=suite_checks(lane, assets.STAGE, ["training_set"]), jobs=[job]
    )
