"""What was forecast, held against what happened."""

import dagster as dg

from hoops_assets.defs.lane import Lane
from hoops_assets.defs.monitoring import assets


def lane_defs(lane: Lane) -> dg.Definitions:
    return dg.Definitions(assets=assets.assets(lane))
