"""Games and posts from the league's sources into tables."""

import dagster as dg

from hoops_assets.defs.checks import suite_check
from hoops_assets.defs.ingest import assets
from hoops_assets.defs.lane import Lane


def lane_defs(lane: Lane) -> dg.Definitions:
    return dg.Definitions(assets=assets.assets(lane), asset_checks=[suite_check(lane, "results")])
