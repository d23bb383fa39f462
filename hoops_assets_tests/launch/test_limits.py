"""Limits of pools: set in the instance as the settings want them, for pools that are used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from hoops_assets.definitions import build_defs
from hoops_assets.errors import SettingsError
from hoops_assets.launch.instance import open_instance
from hoops_assets.launch.limits import ONE_AT_A_TIME, apply_limits, limits
from hoops_assets.settings import Settings


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        yield


def _settings(home: Path, **pool_limits: int) -> Settings:
    return Settings(home=home, pool_limits=pool_limits)


def test_limits_are_state_of_the_instance(tmp_path: Path) -> None:
    assert {limit.applied for limit in limits(_settings(tmp_path))} == {None}
    applied = {limit.pool: limit.applied for limit in apply_limits(_settings(tmp_path, source_simulated=7))}
    assert (applied["training"], applied["source_simulated"]) == (1, 7)
    stored = {one.name: one.limit for one in open_instance(_settings(tmp_path)).event_log_storage.get_pool_limits()}
    assert stored == applied
    assert {limit.pool: limit.applied for limit in apply_limits(_settings(tmp_path))}["source_simulated"] == 4


def test_a_limit_of_a_pool_that_nothing_uses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no pool trainin; there are"):
        apply_limits(_settings(tmp_path, trainin=2))


def test_daily_runs_of_leagues_with_files_of_their_own_do_not_wait_for_each_other(tmp_path: Path) -> None:
    definitions = build_defs(_settings(tmp_path))
    graph = definitions.resolve_asset_graph()
    for league in ("atlantic", "pacific"):
        selected = definitions.resolve_job_def(f"{league}_game_days").asset_layer.executable_asset_keys
        pools = {pool for key in selected for pool in graph.get(key).pools or ()}
        assert pools == {"source_simulated"}
        assert not pools & set(ONE_AT_A_TIME)
