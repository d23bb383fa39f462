"""On PostgreSQL everything holds that holds on SQLite: the record only grows, a backfill finishes.

What cut connections cost stands in chaos/test_connections.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from hoops_assets.launch.lanes import BackfillReport, Lanes
from hoops_assets.launch.tidy import tidy
from hoops_assets.settings import Settings
from hoops_assets.store.record import Record
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.postgres import own_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _for_sqlalchemy(url: str) -> str:
    return Record(url).url


@pytest.fixture
def url(postgres_server: str) -> str:
    """A database of the test's own."""
    return own_database(postgres_server)


def _settings(home: Path, url: str | None) -> Settings:
    where = {"instance": "server", "record_url": url} if url else {}
    return Settings.model_validate(
        {"home": home, "now": pd.Timestamp(small.NOW).to_pydatetime(), "mlflow_tracking_uri": "", **where}
    )


@pytest.fixture
def environment(url: str) -> Iterator[None]:
    with mock.patch.dict(os.environ, {"DAGSTER_POSTGRES_URL": _for_sqlalchemy(url)}):
        yield


def _backfill(settings: Settings, force: bool = False) -> BackfillReport:
    return Lanes(settings, small.NAME).backfill(
        date(2023, 11, 1), small.LAST, stages=("ingest", "features"), force=force
    )


def _same_tables(left: Path, right: Path) -> None:
    mine, theirs = small.tables(left), small.tables(right)
    for name, frame in mine.items():
        volatile = [column for column in ("ingested_at",) if column in frame]
        pd.testing.assert_frame_equal(frame.drop(columns=volatile), theirs[name].drop(columns=volatile))


@pytest.mark.usefixtures("environment")
def test_a_backfill_on_postgresql_makes_the_tables_that_it_makes_on_sqlite(tmp_path: Path, url: str) -> None:
    on_server, on_laptop = (small.make_home(tmp_path / name) for name in ("server", "laptop"))
    settings = _settings(on_server, url)
    report = _backfill(settings)
    assert [span.state for span in report.spans] == ["materialised", "materialised"]
    instance = dg.DagsterInstance.from_config(str(settings.dagster_home))
    assert type(instance.event_log_storage).__name__ == "ServerEventLog"
    days = {str(day) for day in Lanes(settings, small.NAME).days(date(2023, 11, 1), small.LAST)}
    assert set(instance.get_materialized_partitions(dg.AssetKey([small.NAME, "results"]))) == days
    assert [span.state for span in _backfill(settings).spans] == ["done", "done"]
    assert {entry.status for entry in Record(url).ledger()} == {"succeeded"}
    with sa.create_engine(_for_sqlalchemy(url)).connect() as connection:
        planned = connection.exec_driver_sql("SELECT count(*), count(partition) FROM asset_check_executions").one()
    assert planned[0] > 0 and planned[1] == 0
    _backfill(_settings(on_laptop, None))
    _same_tables(on_server, on_laptop)
    _backfill(settings, force=True)
    assert tidy(settings, [small.NAME], timedelta(0)).runs > 0
    assert set(instance.get_materialized_partitions(dg.AssetKey([small.NAME, "results"]))) == days
