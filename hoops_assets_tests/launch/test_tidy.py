"""Tidying takes what is old and superseded, and nothing that is still the last word or that a model names."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.errors import StoreError
from hoops_assets.launch.lanes import Lanes
from hoops_assets.launch.tidy import tidy
from hoops_assets.settings import Settings
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.store.frames import results

AT_ONCE = timedelta(0)
WINDOW = (date(2023, 11, 1), small.LAST)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return small.make_home(tmp_path / "home")


def _settings(home: Path) -> Settings:
    return Settings(home=home, now=pd.Timestamp(small.NOW).to_pydatetime(), mlflow_tracking_uri="")


def _backfill(home: Path, force: bool = False) -> list[str]:
    with (
        mock.patch.dict(os.environ),
        mock.patch("hoops_assets.store.expectations.validation.validate", return_value=[]),
        small.without_flushing(),
    ):
        report = Lanes(_settings(home), small.NAME).backfill(*WINDOW, stages=("ingest",), force=force)
    return [span.state for span in report.spans]


def _runs(home: Path) -> set[str]:
    return {run.run_id for run in small.instance(home).get_runs()}


def test_superseded_runs_go_and_the_last_word_stays(home: Path) -> None:
    _backfill(home)
    first = _runs(home)
    _backfill(home, force=True)
    second = _runs(home) - first
    partitions = small.seen(home).partitions
    tables = small.tables(home)
    assert tidy(_settings(home), [small.NAME], timedelta(days=1)).runs == 0
    done = tidy(_settings(home), [small.NAME], AT_ONCE)
    assert done.runs == len(first) > 0
    assert _runs(home) == second
    assert small.seen(home).partitions == partitions
    assert _backfill(home) == ["done", "done"]
    for name, frame in small.tables(home).items():
        pd.testing.assert_frame_equal(frame, tables[name])


def test_what_a_run_still_under_way_told_stays(home: Path) -> None:
    _backfill(home)
    instance = small.instance(home)
    run = instance.create_run_for_job(dg.job(name="waits")(lambda: None))
    tidy(_settings(home), [small.NAME], AT_ONCE)
    assert run.run_id in _runs(home)


def test_versions_that_a_model_names_can_still_be_read_and_others_need_not(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path))
    days = [date(2024, 1, 1), date(2024, 1, 2)]
    versions = [store.overwrite("tiny", "results", results(days, points)) for points in (90, 91, 92, 93)]
    files, size = store.vacuum("tiny", "results", AT_ONCE, keep=[versions[1]])
    assert files == 2 and size > 0
    for kept in (versions[1], versions[3]):
        assert set(store.read("tiny", "results", version=kept)["away_score"]) == {90 + versions.index(kept)}
    with pytest.raises(StoreError):
        store.read("tiny", "results", version=versions[0])


def test_old_training_jobs_go_once_they_have_ended(home: Path) -> None:
    ended, running = (home / "jobs" / name for name in ("ended", "running"))
    for folder in (ended, running):
        (folder / "model").mkdir(parents=True)
    (ended / "model" / "result.json").write_text("{}")
    assert tidy(_settings(home), [], timedelta(days=1)).jobs == 0
    assert tidy(_settings(home), [], AT_ONCE).jobs == 1
    assert not ended.exists() and running.exists()
