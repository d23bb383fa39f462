"""What was known of teams and their fans before each game."""

import dagster as dg

from hoops_assets.defs.checks import suite_checks
from hoops_assets.defs.features import assets
from hoops_assets.defs.lane import Lane


def lane_defs(lane: Lane) -> dg.Definitions:
    tables = ("team_form", "game_ratings", "fan_sentiment", "game_features")
    return dg.Definitions(assets=assets.assets(lane), asset_checks=suite_checks(lane, assets.STAGE, tables))
