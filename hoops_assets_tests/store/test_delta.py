"""Tables keep exactly what was written, span by span; what does not fit is refused with its column's name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.defs.resources import resources
from hoops_assets.errors import StoreError
from hoops_assets.settings import AwsSettings, Settings
from hoops_assets.store.delta import DeltaStore, to_arrow
from hoops_assets.store.schemas import TABLES, TableSpec
from hoops_assets_tests.store.frames import results

DAYS = [date(2024, 6, 26) + timedelta(days=number) for number in range(12)]
"""Across the end of a season, so that a span may lie in two folders on disk."""


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(str(tmp_path / "tables"))


def put(store: DeltaStore, days: list[date], points: int = 100, **bounds: Any) -> int:
    return store.overwrite("l", "results", results(days, points), **bounds)


def stands(store: DeltaStore, **bounds: Any) -> dict[date, int]:
    """Day -> points of its game, as read."""
    frame = store.read("l", "results", **bounds)
    assert frame["game_id"].is_unique
    return dict(zip(frame["day"], frame["away_score"], strict=True))


# -- spans ----------------------------------------------------------------------------------------------------------


def test_a_table_that_was_never_written_reads_as_empty_in_the_declared_types(store: DeltaStore) -> None:
    assert store.version("l", "results") is None
    for name, spec in TABLES.items():
        assert store.read("l", name).dtypes.astype(str).to_dict() == spec.columns


def test_an_overwrite_replaces_its_span_and_nothing_else(store: DeltaStore) -> None:
    put(store, DAYS, 100, first=DAYS[0], last=DAYS[-1])
    put(store, [DAYS[3], DAYS[6]], 80, first=DAYS[3], last=DAYS[6])
    expected = {day: 100 for day in DAYS if not DAYS[3] <= day <= DAYS[6]} | {DAYS[3]: 80, DAYS[6]: 80}
    assert stands(store) == dict(sorted(expected.items()))


def test_an_empty_frame_deletes_just_its_span(store: DeltaStore) -> None:
    put(store, DAYS, first=DAYS[0], last=DAYS[-1])
    put(store, [], first=DAYS[1], last=DAYS[-2])
    assert list(stands(store)) == [DAYS[0], DAYS[-1]]
    store.overwrite("l", "results", TABLES["results"].empty())
    assert stands(store) == {}


def test_an_empty_first_write_fixes_the_declared_types(store: DeltaStore) -> None:
    """delta-rs alone would make a column of type void, to which nothing can be added."""
    for name, spec in TABLES.items():
        store.overwrite("l", name, spec.empty(), first=DAYS[0], last=DAYS[0])
        stored = pa.schema(DeltaTable(store.uri("l", name)).schema().to_arrow())
        assert stored.equals(spec.schema), name
    put(store, DAYS, first=DAYS[0], last=DAYS[-1])
    assert len(stands(store)) == len(DAYS)


def test_a_span_without_a_beginning_owns_all_that_came_before(store: DeltaStore) -> None:
    put(store, DAYS, first=DAYS[0], last=DAYS[-1])
    put(store, [DAYS[4]], 80, last=DAYS[4])
    assert stands(store) == {DAYS[4]: 80, **dict.fromkeys(DAYS[5:], 100)}


spans = st.tuples(st.integers(0, 11), st.integers(0, 11)).map(sorted)


@settings(max_examples=25, deadline=None)
@given(writes=st.lists(st.tuples(spans, st.sets(st.integers(0, 11)), st.booleans()), min_size=1, max_size=5))
def test_any_sequence_of_overwrites_is_that_of_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[list[int], set[int], bool]]
) -> None:
    store = DeltaStore(str(tmp_path_factory.mktemp("model")))
    model: dict[date, int] = {}
    for number, ((low, high), played, open_ended) in enumerate(writes):
        first, last = None if open_ended else DAYS[low], DAYS[high]
        days = [DAYS[day] for day in sorted(played) if (open_ended or day >= low) and day <= high]
        version = put(store, days, 100 + number, first=first, last=last)
        model = {day: n for day, n in model.items() if (first and day < first) or day > last}
        model |= dict.fromkeys(days, 100 + number)
        assert stands(store) == dict(sorted(model.items()))
        assert stands(store, version=version) == stands(store)
    assert stands(store, first=DAYS[2], last=DAYS[8]) == {
        day: n for day, n in sorted(model.items()) if DAYS[2] <= day <= DAYS[8]
    }
    assert stands(store, before=DAYS[5]) == {day: n for day, n in sorted(model.items()) if day < DAYS[5]}


def test_rows_come_sorted_by_day_and_key_in_the_columns_asked_for(store: DeltaStore) -> None:
    frame = results(DAYS).sample(frac=1, random_state=1)  # its index is not a range either
    store.overwrite("l", "results", frame[list(reversed(frame.columns))])
    read = store.read("l", "results")
    assert list(read.columns) == list(TABLES["results"].columns)
    pd.testing.assert_frame_equal(read, results(DAYS), check_exact=True)
    assert list(store.read("l", "results", columns=["home", "game_id"]).columns) == ["home", "game_id"]


def test_tables_are_partitioned_on_disk_by_season(store: DeltaStore) -> None:
    put(store, DAYS)
    folders = {path.name for path in Path(store.uri("l", "results")).glob("season=*")}
    assert folders == {"season=2024", "season=2025"}


# -- values -----------------------------------------------------------------------------------------------------------


def test_missing_values_come_back_missing_and_typed(store: DeltaStore) -> None:
    spec = TABLES["team_form"]
    first, second = DAYS[0], DAYS[1]
    frame = pd.DataFrame({name: pd.Series([None] * 2, dtype=_nullable(dtype)) for name, dtype in spec.columns.items()})
    frame = frame.assign(
        game_id=["1", "2"], season=2024, day=[first, second], team="A", opponent="B", is_home=True, neutral=False,
        stage="regular", played=[False, True], games_before=0, wins_before=0, margin_total_before=0,
        tip_off=pd.Series([pd.NaT, pd.Timestamp("2024-06-27 23:30:00.000001", tz="UTC")]),
        elo_after=[np.nan, 1500.1], won_after=pd.Series([pd.NA, False], dtype="boolean"),
        margin_after=pd.Series([pd.NA, -3], dtype="Int32"),
    )  # fmt: skip
    frame = frame.astype(spec.columns)
    store.overwrite("l", "team_form", frame)
    pd.testing.assert_frame_equal(store.read("l", "team_form"), frame, check_exact=True)


def _nullable(dtype: str) -> str:
    return {"bool": "boolean", "int32": "Int32"}.get(dtype, dtype)


def test_every_float_comes_back_bit_by_bit(store: DeltaStore) -> None:
    values = [0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), np.nan]
    frame = pd.concat(
        [TABLES["scored_predictions"].empty(), pd.DataFrame({"game_id": [str(n) for n in range(len(values))]})]
    )
    frame = frame.assign(
        season=2024, day=DAYS[0], home="A", away="B", neutral=False, stage="regular", version=1, learner="elo",
        home_win_probability=values, backfilled=False, degraded="", home_win=True, log_loss=values, brier=values,
    )  # fmt: skip
    frame = frame.astype(TABLES["scored_predictions"].columns).reset_index(drop=True)
    store.overwrite("l", "scored_predictions", frame)
    pd.testing.assert_frame_equal(store.read("l", "scored_predictions"), frame, check_exact=True)


NOON = datetime(2024, 6, 26, 12)
BAD_VALUES: dict[str, tuple[str, Any]] = {
    "a fraction in an integer column": ("home_score", 1.5),
    "text in an integer column": ("home_score", "7"),
    "nothing in an integer column": ("home_score", np.nan),
    "too large an integer": ("home_score", 2**40),
    "a truth in an integer column": ("home_score", True),
    "a number in a column of truths": ("neutral", 0.5),
    "one as a truth": ("neutral", 1),
    "text in a column of truths": ("neutral", "False"),
    "nothing in a column of truths": ("neutral", None),
    "a number in a column of text": ("home", 7),
    "bytes in a column of text": ("home", b"A"),
    "nothing in a column of text": ("home", None),
    "a moment for a day": ("day", NOON),
    "a pandas moment for a day": ("day", pd.Timestamp(NOON)),
    "text for a day": ("day", "2024-06-26"),
    "nothing for a day": ("day", None),
    "local time for a moment": ("tip_off", pd.Timestamp(NOON)),
    "a day for a moment": ("tip_off", NOON.date()),
    "a number for a moment": ("tip_off", 5),
    "a nanosecond that would be lost": ("tip_off", pd.Timestamp("2024-06-26 12:00:00.000000001", tz="UTC")),
}


@pytest.mark.parametrize("bad", BAD_VALUES)
def test_a_value_that_does_not_fit_is_refused_and_never_cast(store: DeltaStore, bad: str) -> None:
    put(store, DAYS)
    name, value = BAD_VALUES[bad]
    frame = results(DAYS[:1])
    frame[name] = pd.Series([value])
    with pytest.raises(StoreError, match=rf"l/results: .*'{name}'"):
        store.overwrite("l", "results", frame, first=DAYS[0], last=DAYS[0])
    assert stands(store) == dict.fromkeys(DAYS, 100)


def test_a_moment_among_days_is_refused(store: DeltaStore) -> None:
    frame = results(DAYS[:2])
    frame["day"] = pd.Series([DAYS[0], NOON], dtype=object)
    with pytest.raises(StoreError, match="'day'"):
        store.overwrite("l", "results", frame)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda frame: frame.drop(columns="stage"), "missing .'stage'."),
        (lambda frame: frame.assign(crowd=1), "missing .., unexpected .'crowd'."),
        (lambda frame: frame.rename(columns={"home": "host"}), "missing .'home'., unexpected .'host'."),
    ],
)
def test_missing_and_unexpected_columns_are_refused(
    store: DeltaStore, change: Callable[[pd.DataFrame], pd.DataFrame], named: str
) -> None:
    with pytest.raises(StoreError, match=f"l/results: columns {named}"):
        store.overwrite("l", "results", change(results(DAYS)))


def test_a_key_that_stands_twice_is_refused(store: DeltaStore) -> None:
    with pytest.raises(StoreError, match=f"l/results: 2 rows share a key, for example .*{DAYS[0]}"):
        put(store, [DAYS[0], DAYS[0], DAYS[1]])


@pytest.mark.parametrize(("first", "last"), [(1, 11), (0, 10), (None, 10)])
def test_rows_outside_the_span_are_refused_with_their_day(store: DeltaStore, first: int | None, last: int) -> None:
    outside = DAYS[0] if first else DAYS[-1]
    with pytest.raises(StoreError, match=f"rows of {outside} do not belong to the days"):
        put(store, DAYS, first=None if first is None else DAYS[first], last=DAYS[last])
    assert stands(store) == {}


def test_whole_floats_are_integers() -> None:
    """Joins turn integers into floats; nothing is lost by turning them back."""
    arrow = to_arrow(results(DAYS).astype({"home_score": "float64"}), TABLES["results"], "here")
    assert arrow.column("home_score").to_pylist() == [101] * len(DAYS)


# -- versions ---------------------------------------------------------------------------------------------------------


def test_earlier_versions_can_be_read_again(store: DeltaStore) -> None:
    versions = [put(store, DAYS[: number + 1], 100 + number) for number in range(4)]
    assert versions == sorted(set(versions))
    for number, version in enumerate(versions):
        assert stands(store, version=version) == dict.fromkeys(DAYS[: number + 1], 100 + number)
    assert store.version("l", "results") == versions[-1]


def test_history_keeps_who_wrote(store: DeltaStore) -> None:
    version = put(store, DAYS, note={"dagster/run_id": "run-7"})
    newest, created = store.history("l", "results")
    assert (newest["version"], newest["dagster/run_id"]) == (version, "run-7")
    assert created["version"] == 0


def test_a_version_that_is_not_there_is_named(store: DeltaStore) -> None:
    with pytest.raises(StoreError, match="no version 3"):
        store.read("l", "results", version=3)
    put(store, DAYS)
    with pytest.raises(StoreError, match="l/results at version 99: cannot be opened"):
        store.read("l", "results", version=99)


# -- damage -----------------------------------------------------------------------------------------------------------


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "half a Parquet file": lambda table: _truncate(next(table.glob("season=2024/*.parquet"))),
    "a Parquet file gone": lambda table: next(table.glob("season=2024/*.parquet")).unlink(),
    "half a commit": lambda table: _truncate(sorted(table.glob("_delta_log/*.json"))[-1]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table_says_what_to_do_and_doing_it_helps(store: DeltaStore, damage: str) -> None:
    put(store, DAYS)
    table = Path(store.uri("l", "results"))
    DAMAGE[damage](table)
    said = rf"{table}: cannot be .*move {table} away and run: hoops backfill l --force"
    with pytest.raises(StoreError, match=said):
        store.read("l", "results")
    with pytest.raises(StoreError, match=said):
        put(store, DAYS[:2], first=DAYS[0], last=DAYS[1])
    shutil.move(table, table.with_name("away"))
    put(store, DAYS)
    assert stands(store) == dict.fromkeys(DAYS, 100)


def test_a_table_of_another_schema_is_neither_read_nor_written(store: DeltaStore) -> None:
    """delta-rs would cast 7.5 to 7 on the way in."""
    other = results(DAYS).astype({"home_score": "int64"}).drop(columns="stage")
    write_deltalake(store.uri("l", "results"), pa.Table.from_pandas(other, preserve_index=False))
    said = "l/results: was written by another version of the platform, columns home_score, stage"
    with pytest.raises(StoreError, match=said):
        store.read("l", "results")
    with pytest.raises(StoreError, match=said):
        put(store, DAYS)


def test_a_folder_that_may_not_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="l/results: cannot be written"):
        put(DeltaStore(str(tmp_path / "tables")), DAYS)


# -- two writers ------------------------------------------------------------------------------------------------------

WRITER = """
import sys, time
from datetime import date, timedelta
from hoops_assets.errors import StoreError
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.store.frames import results
points, wide, start = int(sys.argv[2]), int(sys.argv[4]), date.fromisoformat(sys.argv[3])
store = DeltaStore(sys.argv[1])
time.sleep(max(0.0, float(sys.argv[5]) - time.time()))
for number in range(12):
    days = [start + timedelta(days=wide * number + offset) for offset in range(wide)]
    try:
        version = store.overwrite("l", "results", results(days, points), first=days[0], last=days[-1])
        print(number, version, flush=True)
    except StoreError as error:
        assert "another process wrote the same days, or days in the same file, at the same time" in str(error), error
"""


@pytest.mark.parametrize("same", [True, False], ids=["the same days", "other days"])
def test_of_two_writers_nothing_is_lost_or_doubled(store: DeltaStore, same: bool) -> None:
    """Each write lands whole or is refused with one message; writes of days in other files all land."""
    starts = [date(2024, 1, 1), date(2024, 1, 1 if same else 15)]
    at = time.time() + 6.0
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store.root, str(points), str(start), "3" if same else "1", str(at)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for points, start in zip((100, 200), starts, strict=True)
    ]  # fmt: skip
    landed: dict[int, tuple[int, int]] = {}  # version -> (points, number of the write)
    for points, writer in zip((100, 200), writers, strict=True):
        told, wrong = writer.communicate(timeout=90)
        assert writer.returncode == 0, wrong
        for line in told.splitlines():
            number, version = map(int, line.split())
            assert version not in landed
            landed[version] = (points, number)
    wide = 3 if same else 1
    expected: dict[date, int] = {}
    for _, (points, number) in sorted(landed.items()):
        start = starts[0 if points == 100 else 1] + timedelta(days=wide * number)
        expected |= {start + timedelta(days=offset): points for offset in range(wide)}
    assert stands(store) == dict(sorted(expected.items()))
    assert len(expected) == (36 if same else 24)


# -- the schemas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", TABLES.values(), ids=TABLES)
def test_every_table_has_a_season_a_day_and_a_key_that_is_never_empty(spec: TableSpec) -> None:
    assert spec.schema.names == list(spec.columns)
    assert {"season", "day", *spec.key} <= set(spec.columns)
    assert not any(spec.schema.field(name).nullable for name in ("season", "day", *spec.key))


def test_a_bucket_is_reached_by_the_region_and_written_with_the_key_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    aws = AwsSettings(region="eu-central-1", kms_key="alias/hoops")
    assert DeltaStore("s3://b/tables", aws).storage_options == {
        "aws_conditional_put": "etag", "aws_region": "eu-central-1", "aws_server_side_encryption": "aws:kms",
        "aws_sse_kms_key_id": "alias/hoops",
    }  # fmt: skip
    assert DeltaStore("s3://b/tables", AwsSettings()).storage_options == {"aws_conditional_put": "etag"}
    assert DeltaStore(str(tmp_path), aws).storage_options is None
    by_resource: Any = resources(Settings(home=tmp_path, tables="s3://b/tables", aws=aws))["tables"]
    assert by_resource.store.storage_options == DeltaStore("s3://b/tables", aws).storage_options
