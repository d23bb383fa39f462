"""Tidying takes what is old and superseded, and nothing that is still the last word or that a model names."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.errors import StoreError
from hoops_assets.launch.lanes import Lanes
from hoops_assets.launch.tidy import tidy
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.registry.contract import IMPORTED
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.settings import Settings
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.schemas import TABLES
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.lineage.home import LEAGUE, schedule, write_version
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
    assert not [path for path in (home / "dagster").rglob("*") if any(run in str(path) for run in first)]
    assert done.bytes > 0
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


def test_the_evaluations_of_a_deleted_run_go_with_it_and_the_file_shrinks(home: Path) -> None:
    _backfill(home)
    for _ in range(3):
        _backfill(home, force=True)
    index = home / "dagster" / "history" / "runs" / "index.db"
    before = index.stat().st_size
    tidy(_settings(home), [small.NAME], AT_ONCE)
    with closing(sqlite3.connect(index)) as opened:
        told = {run for (run,) in opened.execute("SELECT DISTINCT run_id FROM asset_check_executions")}
        assert opened.execute("PRAGMA freelist_count").fetchone()[0] == 0
    assert told and told <= _runs(home)
    assert index.stat().st_size < before * 0.6


def test_versions_that_a_model_names_can_still_be_read_and_others_need_not(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path))
    days = [date(2024, 1, 1), date(2024, 1, 2)]
    versions = [store.overwrite("tiny", "results", results(days, points)) for points in (90, 91, 92, 93)]
    files, size = store.vacuum("tiny", "results", AT_ONCE, keep=[versions[1]])
    assert files == 2 and size > 0
    assert store.vacuum("tiny", "results", AT_ONCE, keep=[versions[1]]) == (0, 0)
    for kept in (versions[1], versions[3]):
        assert set(store.read("tiny", "results", version=kept)["away_score"]) == {90 + versions.index(kept)}
    with pytest.raises(StoreError):
        store.read("tiny", "results", version=versions[0])


def test_the_training_set_of_every_model_trained_here_can_be_read_again_and_no_other(tmp_path: Path) -> None:
    write_version(tmp_path / "registry" / LEAGUE / "000001", 1, schedule(20), 10)
    named = LocalRegistry(tmp_path / "registry").manifest(LEAGUE, 1).training_set.table_version
    store, spec = DeltaStore(str(tmp_path / "tables")), TABLES["training_set"]
    kinds = {"object": "x", "bool": True, "datetime64[us, UTC]": pd.Timestamp("2024-01-01", tz="UTC")}
    row = {name: kinds.get(kind, 1) for name, kind in spec.columns.items()} | {"day": date(2024, 1, 1)}
    last = 0
    while last < named + 2:
        last = store.overwrite(LEAGUE, "training_set", pd.DataFrame([row]).astype(spec.columns))
    write_version(tmp_path / "registry" / LEAGUE / "000002", 2, schedule(20), 10)
    imported = tmp_path / "registry" / LEAGUE / "000002" / "version.json"
    imported.write_text(json.dumps({**json.loads(imported.read_text()), "provider": IMPORTED}))
    with pytest.raises(ServiceError, match="imported"):
        LocalRegistry(tmp_path / "registry").manifest(LEAGUE, 2)
    tidy(Settings(home=tmp_path, mlflow_tracking_uri=""), [LEAGUE], AT_ONCE)
    for kept in (named, last):
        assert len(store.read(LEAGUE, "training_set", version=kept)) == 1
    with pytest.raises(StoreError):
        store.read(LEAGUE, "training_set", version=named + 1)


def test_old_training_jobs_go_once_they_have_ended(home: Path) -> None:
    ended, running = (home / "jobs" / name for name in ("ended", "running"))
    for folder in (ended, running):
        (folder / "model").mkdir(parents=True)
    (ended / "model" / "result.json").write_text("{}")
    assert tidy(_settings(home), [], timedelta(days=1)).jobs == 0
    assert tidy(_settings(home), [], AT_ONCE).jobs == 1
    assert not ended.exists() and running.exists()


def test_finished_batches_go_by_age_and_one_under_way_stays(tmp_path: Path) -> None:
    folder = tmp_path / "batches" / "tiny"
    folder.mkdir(parents=True)
    old, young, under_way = (
        folder / name
        for name in (f"hoops-tiny-1-{1:016x}.json", f"hoops-tiny-1-{2:016x}.json", f".hoops-tiny-1-{3:016x}.json.part")
    )
    for file in (old, young, under_way):
        file.write_text("{}")
    for file in (old, under_way):
        os.utime(file, (0, 0))
    done = tidy(_settings(tmp_path), [], timedelta(days=1))
    assert (done.batches, done.bytes) == (1, 2)
    assert not old.exists() and young.exists() and under_way.exists()
