"""`hoops bench serve` prints what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hoops_assets.cli import app
from hoops_assets.launch import bench
from hoops_assets.launch.bench import Batch, OnDemand, Report

REPORT = Report(
    league="atlantic", version=4, learner="ensemble", measured_at="2026-11-23T10:00:00+00:00", machine={"cpus": 2},
    on_demand=OnDemand(
        requests=50, p50_ms=0.4, p99_ms=0.7, seconds_per_query=0.0005, connections=8, requests_per_second=2400.0
    ),
    batch=Batch(rows=1000, start_seconds=0.01, seconds_per_row=1e-6, rows_per_second=90_000.0),
    job=Batch(rows=1000, start_seconds=0.7, seconds_per_row=0.001, rows_per_second=600.0),
    break_even=21, break_even_job=None,
)  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Puts REPORT in the measurement's place; returns the numbers of requests it was asked for."""
    numbers: list[int] = []

    def measured(settings: Any, league: Any, requests: int) -> Report:
        assert league.name == "atlantic"
        numbers.append(requests)
        return REPORT

    monkeypatch.setenv("HOOPS_HOME", str(tmp_path))
    monkeypatch.setattr(bench, "bench_serving", measured)
    return numbers


def test_the_report_is_printed_for_people(asked: list[int]) -> None:
    told = CliRunner().invoke(app, ["bench", "serve", "atlantic", "--requests", "50"])
    assert told.exit_code == 0
    assert "p50 0.40 ms, p99 0.70 ms" in told.output
    assert "a batch pays from 21 queries on" in told.output
    assert "a job of its own never pays" in told.output
    assert asked == [50]


def test_the_report_is_printed_for_programs(asked: list[int]) -> None:
    told = CliRunner().invoke(app, ["bench", "serve", "atlantic", "--json"])
    assert json.loads(told.stdout) == json.loads(json.dumps(REPORT.json()))
