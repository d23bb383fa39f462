"""From the challenger to the version that serves, and back."""

import dagster as dg

from hoops_assets.defs.deployment import assets, sensors
from hoops_assets.defs.lane import Lane


def lane_defs(lane: Lane) -> dg.Definitions:
    return dg.Definitions(assets=assets.assets(lane), sensors=sensors.sensors(lane))
