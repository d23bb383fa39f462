"""What a league's data are worth: Data Docs, two sources held against each other, new teams, days left failed."""

import dagster as dg

from hoops_assets.defs.lane import Lane
from hoops_assets.defs.quality import assets, checks, jobs


def lane_defs(lane: Lane) -> dg.Definitions:
    return dg.Definitions(
        assets=assets.assets(lane),
        asset_checks=checks.checks(lane),
        jobs=[jobs.quality_job(lane)],
        schedules=[jobs.quality_schedule(lane)],
    )
