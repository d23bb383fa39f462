"""Limits of pools: how many runs may do the same scarce thing at once. Dagster keeps them in the instance, not in code.

What belongs here: which pools the leagues use, the limit of each, and setting it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hoops_assets.definitions import build_defs
from hoops_assets.errors import SettingsError
from hoops_assets.launch.instance import open_instance
from hoops_assets.settings import Settings

ASKED_OVER_THE_NETWORK = ("source_balldontlie", "source_reddit")
"""Providers who count requests: one run at a time, whichever league asks."""

ONE_AT_A_TIME = ("training", "endpoint", *ASKED_OVER_THE_NETWORK)
OTHERWISE = 4


@dataclass(frozen=True)
class Limit:
    """A pool, how many runs may use it at once, and what the instance says now (None: Dagster's default)."""

    pool: str
    wanted: int
    applied: int | None


def limits(settings: Settings) -> list[Limit]:
    """The limit of every pool that the leagues use.

    Raises:
        SettingsError: `pool_limits` names a pool that nothing uses.
    """
    graph = build_defs(settings).resolve_asset_graph()
    used = sorted({pool for node in graph.asset_nodes for pool in node.pools or ()})
    unknown = sorted(set(settings.pool_limits) - set(used))
    if unknown:
        raise SettingsError(f"setting pool_limits: no pool {', '.join(unknown)}; there are {', '.join(used)}")
    storage = open_instance(settings).event_log_storage
    known = {one.name: one.limit for one in storage.get_pool_limits()}
    return [
        Limit(pool, settings.pool_limits.get(pool, 1 if pool in ONE_AT_A_TIME else OTHERWISE), known.get(pool))
        for pool in used
    ]


def apply_limits(settings: Settings) -> list[Limit]:
    """Sets in the instance what the settings want; returns all limits as they then are."""
    storage = open_instance(settings).event_log_storage
    for limit in limits(settings):
        if limit.applied != limit.wanted:
            storage.set_concurrency_slots(limit.pool, limit.wanted)
    return limits(settings)
