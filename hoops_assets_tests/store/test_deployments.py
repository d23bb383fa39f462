"""What the record says of what serves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hoops_assets.errors import StoreError
from hoops_assets.store.deployments import Deployment, append, current, history, in_words, rolled_back, serving_at
from hoops_assets.store.record import Record

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def row(number: int, action: str, version: int | None, traffic: dict[int, int], league: str = "nba") -> Deployment:
    given: dict[str, Any] = {"action": action}
    return Deployment(
        league=league, version=version, traffic=traffic, decided_by="ann@desk", reason="because", provider="local",
        launched_from="cli", at=START + timedelta(hours=number), **given,
    )  # fmt: skip


@pytest.fixture
def record(record_url: str) -> Record:
    return Record(record_url)


def test_nothing_serves_before_the_first_deployment(record: Record) -> None:
    assert current(record, "nba") == {}
    assert serving_at(record, "nba", START) == {}
    assert rolled_back(record, "nba") == set()
    assert history(record, "nba") == []


def test_what_served_is_known_for_every_moment_the_change_itself_included(record: Record) -> None:
    append(record, row(0, "deploy", 1, {1: 100}))
    append(record, row(1, "deploy", 2, {1: 90, 2: 10}))
    append(record, row(2, "traffic", 2, {1: 0, 2: 100}))
    append(record, row(1, "deploy", 7, {7: 100}, league="wnba"))
    second = START + timedelta(hours=1)
    assert serving_at(record, "nba", START - timedelta(microseconds=1)) == {}
    assert serving_at(record, "nba", second - timedelta(microseconds=1)) == {1: 100}
    assert serving_at(record, "nba", second) == {1: 90, 2: 10}
    assert current(record, "nba") == {2: 100}
    assert current(record, "wnba") == {7: 100}


def test_a_row_comes_back_as_it_was_given(record: Record) -> None:
    given = Deployment(
        league="nba", action="roll_back", version=2, traffic={1: 100}, decided_by="nba/canary_verdict", run_id="r1",
        reason="the upper end is below zero", provider="local", launched_from="sensor", evidence={"upper": -0.002},
        endpoint="nba", at=START,
    )  # fmt: skip
    append(record, given)
    assert history(record, "nba") == [given]


def test_a_version_rolled_back_stays_marked_until_it_is_brought_back(record: Record) -> None:
    append(record, row(0, "deploy", 1, {1: 100}))
    append(record, row(1, "deploy", 2, {1: 90, 2: 10}))
    append(record, row(2, "roll_back", 2, {1: 100}))
    assert rolled_back(record, "nba") == {2}
    append(record, row(3, "mark", 3, {1: 100}))
    append(record, row(4, "deploy", 4, {1: 50, 4: 50}))
    assert rolled_back(record, "nba") == {2, 3}
    append(record, row(5, "deploy", 2, {2: 100}))
    assert rolled_back(record, "nba") == {3}
    append(record, row(6, "roll_back", 2, {3: 100}))
    assert rolled_back(record, "nba") == {2}


def test_people_read_the_newest_row_first(record: Record) -> None:
    append(record, row(0, "deploy", 1, {1: 100}))
    append(record, row(1, "roll_back", 2, {1: 90, 3: 10}))
    append(record, row(2, "remove", None, {}))
    told = in_words(history(record, "nba"))
    assert [one["action"] for one in told] == ["remove", "roll back", "deploy"]
    assert [one["version"] for one in told] == ["-", "2", "1"]
    assert [one["traffic"] for one in told] == ["none", "1: 90 %, 3: 10 %", "1: 100 %"]
    assert told[1]["at"] == "2026-11-01 13:00:00+00:00"


@pytest.mark.parametrize("wrong", [{"action": "depoly"}, {"launched_from": "moon"}])
def test_unknown_words_are_refused_and_nothing_is_written(record: Record, wrong: dict[str, Any]) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="is none of"):
        append(record, replace(row(0, "deploy", 1, {1: 100}), **wrong))
    assert history(record, "nba") == []


@pytest.mark.parametrize("table", ["deployments", "served_predictions"])
def test_rows_of_the_record_cannot_be_changed(record: Record, table: str) -> None:
    import sqlalchemy as sa
    from sqlalchemy.exc import DatabaseError

    append(record, row(0, "deploy", 1, {1: 100}))
    served = {"request_id": "a", "customer": "c", "league": "nba", "home_win_probability": 0.5}
    record.append("served_predictions", served)
    engine = sa.create_engine(record.url)
    for statement in (f"UPDATE {table} SET league = 'x'", f"DELETE FROM {table}"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
    engine.dispose()
    assert len(record.rows(table)) == 1


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "record.db").write_text("not a database, " * 100)
    with pytest.raises(StoreError, match="is damaged"):
        current(Record(tmp_path / "record.db"), "nba")
