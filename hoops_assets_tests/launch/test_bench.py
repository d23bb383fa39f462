"""The measurement behind `hoops bench serve`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hoops_assets.basketball.league import League
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.launch import bench
from hoops_assets.launch.bench import Batch, bench_serving, break_even
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.settings import Settings
from hoops_assets_tests.contracts.conftest import TEAMS, frame, registry, trained

__all__ = ["frame", "registry", "trained"]

SIM = League.model_validate({
    "name": "sim", "time_zone": "America/New_York", "first_season": 2016,
    "sources": {"games": {"kind": "simulated"}}, "teams": {code: {"name": name} for code, name in TEAMS.items()},
})  # fmt: skip


def batch(start: float, per_row: float) -> Batch:
    return Batch(rows=1000, start_seconds=start, seconds_per_row=per_row, rows_per_second=1.0)


def test_the_break_even_is_the_least_number_at_which_the_batch_is_no_slower() -> None:
    for start, per_row, per_query in ((1.0, 0.0, 0.001), (0.3, 0.0002, 0.0011), (0.0, 0.0, 1.0)):
        queries = break_even(per_query, batch(start, per_row))
        assert queries is not None
        assert start + queries * per_row <= queries * per_query * (1 + 1e-9)
        assert queries == 1 or start + (queries - 1) * per_row > (queries - 1) * per_query


def test_a_batch_whose_rows_cost_more_never_pays() -> None:
    assert break_even(0.001, batch(0.0, 0.001)) is None


def test_a_league_without_a_model_is_told_to_train(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="hoops train sim"):
        bench_serving(Settings(home=tmp_path), SIM)


def test_serving_is_measured_and_leaves_nothing_in_the_home(
    tmp_path: Path, registry: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(registry.root, home / "registry")
    LocalRegistry(home / "registry").name_challenger("sim", 2, {})
    monkeypatch.setattr(bench, "REPEATS", 1)
    report = bench_serving(Settings(home=home), SIM, requests=40)
    assert (report.league, report.version, report.learner) == ("sim", 2, "logistic")
    assert 0 < report.on_demand.p50_ms <= report.on_demand.p99_ms
    assert report.on_demand.requests_per_second > 0
    assert report.batch.rows_per_second > report.job.rows_per_second > 0
    assert report.break_even is not None
    assert json.loads(json.dumps(report.json()))["on_demand"]["requests"] == 40
    assert not (home / "serving").exists()
    with pytest.raises(HoopsError, match="at least one"):
        bench_serving(Settings(home=home), SIM, requests=0)
