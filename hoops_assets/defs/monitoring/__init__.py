"""What was forecast, held against what happened."""

import dagster as dg

from hoops_assets.defs.checks import suite_checks
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.monitoring import assets, sensors


def lane_defs(lane: Lane) -> dg.Definitions:
    return dg.Definitions(
        assets=assets.assets(lane),
        asset_checks=suite_checks(
            lane,
            assets.STAGE,
            ["scored_predictions", "model_performance", *(["closing_odds"] if lane.league.sources.odds else [])],
        ),
        sensors=sensors.sensors(lane),
    )
