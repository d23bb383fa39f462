"""When a league's data are looked over as a whole.

What belongs here: the job of the stage and its schedule. It runs once a day, never with a range of game days.
"""

from __future__ import annotations

import dagster as dg

from hoops_assets.defs.lane import Lane
from hoops_assets.defs.quality.assets import STAGE


def quality_job(lane: Lane) -> dg.UnresolvedAssetJobDefinition:
    league = lane.league.name
    return dg.define_asset_job(
        f"{league}_{STAGE}",
        selection=dg.AssetSelection.groups(f"{league}_{STAGE}"),
        tags={"hoops/league": league, "hoops/step": STAGE, **lane.max_runtime(STAGE)},
        description=f"Looks over the data of {league}: Data Docs, sources against each other, new teams, failed days.",
    )


def quality_schedule(lane: Lane) -> dg.ScheduleDefinition:
    """An hour after the daily run."""
    return dg.ScheduleDefinition(
        name=f"{lane.league.name}_{STAGE}",
        job_name=f"{lane.league.name}_{STAGE}",
        cron_schedule="0 10 * * *",
        execution_timezone=lane.league.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks over the league's data at ten in the morning, league time, after the daily run.",
    )
