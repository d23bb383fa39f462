"""Games and posts from the league's sources into tables, and what keeps them up to date."""

import dagster as dg

from hoops_assets.defs.checks import suite_checks
from hoops_assets.defs.ingest import assets, sensors
from hoops_assets.defs.lane import OWNERS, Lane


def lane_defs(lane: Lane) -> dg.Definitions:
    league = lane.league.name
    stages_of_days = [stage for stage in OWNERS if stage not in ("training", "deployment", "quality")]
    stages = dg.AssetSelection.groups(*(f"{league}_{stage}" for stage in stages_of_days))
    game_days = dg.define_asset_job(
        sensors.game_days_job_name(lane),
        selection=(stages - dg.AssetSelection.assets(lane.key("history")))
        | dg.AssetSelection.assets(lane.key("endpoint_fixtures")),
        tags={
            "hoops/league": league,
            "hoops/step": "game_days",
            sensors.GAME_DAYS_TAG: league,
            **lane.max_runtime(*stages_of_days),
        },
        description=f"All tables of {league} that have a partition per game day, over days, and the endpoint's fixtures.",
    )
    tables = [
        "history",
        "fixtures",
        "results",
        "fan_posts",
        *(["box_scores"] if lane.league.sources.box_scores else []),
    ]
    return dg.Definitions(
        assets=assets.assets(lane),
        asset_checks=suite_checks(lane, assets.STAGE, tables),
        jobs=[game_days],
        schedules=[sensors.daily_schedule(lane)],
        sensors=[sensors.results_sensor(lane), sensors.calendar_sensor(lane)],
    )
