"""A partition owns its own day and the days without a partition before it; values travel as typed JSON."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from pydantic import BaseModel

from hoops_assets.errors import StoreError
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.io_manager import TableIOManager, TablesResource, ValueIOManager
from hoops_assets.store.schemas import TABLES
from hoops_assets_tests.store.frames import results

KEYS = ["2024-11-01", "2024-11-02", "2024-11-06", "2024-11-09"]
EXCLUDED = [date(2024, 11, day) for day in (3, 4, 5, 7, 8)]
GAME_DAYS = dg.DailyPartitionsDefinition(
    start_date=KEYS[0],
    end_date="2024-11-10",
    timezone="America/New_York",
    exclusions=[pd.Timestamp(day).to_pydatetime() for day in EXCLUDED],
)
RANGE = {"partitions_def": GAME_DAYS, "backfill_policy": dg.BackfillPolicy.single_run(), "key_prefix": ["l"]}


class Lane:
    """`results` written as the test says, and `seen`, which notes what it is given."""

    def __init__(self, home: Path) -> None:
        self.store = DeltaStore(str(home))
        self.days: list[date] = []
        self.given: pd.DataFrame | None = None

        @dg.asset(name="results", io_manager_key="table_io", **RANGE)
        def written() -> pd.DataFrame:
            return results(self.days)

        @dg.asset(ins={"results": dg.AssetIn(key=["l", "results"])}, **RANGE)
        def seen(results: pd.DataFrame) -> None:
            self.given = results

        @dg.asset(name="history", key_prefix=["l"], io_manager_key="table_io")
        def whole() -> pd.DataFrame:
            return results(self.days)

        self.assets = [written, seen, whole]

    def run(self, name: str, first: str | None = None, last: str | None = None, days: list[date] | None = None) -> Any:
        self.days = days or []
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
        return dg.materialize(
            self.assets,
            selection=[dg.AssetKey(["l", name])],
            tags={key: value for key, value in tags.items() if value},
            resources={"table_io": TableIOManager(tables=TablesResource(root=self.store.root))},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def stands(self, table: str = "results") -> list[date]:
        return list(self.store.read("l", table)["day"])


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    return Lane(tmp_path / "tables")


def day(key: str) -> date:
    return date.fromisoformat(key)


def test_the_definition_has_the_keys_that_these_tests_speak_of() -> None:
    assert GAME_DAYS.get_partition_keys() == KEYS


def test_a_partition_replaces_its_own_day_only(lane: Lane) -> None:
    lane.run("results", KEYS[0], KEYS[3], [day(key) for key in KEYS])
    lane.run("results", KEYS[1], days=[])
    assert lane.stands() == [day(KEYS[0]), day(KEYS[2]), day(KEYS[3])]


def test_games_on_days_that_lost_their_partition_disappear_with_the_next_one(lane: Lane) -> None:
    for_whom = {"before": date(2024, 10, 30), "after": date(2024, 11, 7)}
    moved = [date(2024, 11, 3), date(2024, 11, 5), *for_whom.values()]
    lane.store.overwrite("l", "results", results([*moved, *map(day, KEYS)]))
    lane.run("results", KEYS[2], days=[day(KEYS[2])])
    assert lane.stands() == sorted([*for_whom.values(), *map(day, KEYS)])


def test_the_first_partition_owns_all_that_came_before(lane: Lane) -> None:
    lane.store.overwrite("l", "results", results([date(2023, 12, 24), date(2024, 10, 31), *map(day, KEYS)]))
    lane.run("results", KEYS[0], days=[day(KEYS[0])])
    assert lane.stands() == [day(key) for key in KEYS]


def test_a_range_is_one_commit_and_owns_the_days_between(lane: Lane) -> None:
    lane.store.overwrite("l", "results", results([*EXCLUDED, *map(day, KEYS)]))
    before = lane.store.version("l", "results")
    assert before is not None
    result = lane.run("results", KEYS[1], KEYS[3], [day(KEYS[1]), day(KEYS[3])])
    assert lane.store.version("l", "results") == before + 1
    assert lane.store.history("l", "results")[0]["dagster/run_id"] == result.run_id
    assert lane.stands() == [day(KEYS[0]), day(KEYS[1]), day(KEYS[3])]
    assert len(result.asset_materializations_for_node("l__results")) == 3


def test_rows_outside_the_partitions_in_hand_are_refused(lane: Lane) -> None:
    with pytest.raises(StoreError, match="rows of 2024-11-09 do not belong to the days 2024-11-03 to 2024-11-06"):
        lane.run("results", KEYS[2], days=[day(KEYS[3])])
    assert lane.stands() == []


def test_an_asset_is_given_the_rows_of_its_own_days(lane: Lane) -> None:
    lane.store.overwrite("l", "results", results([day(key) for key in KEYS]))
    lane.run("seen", KEYS[1], KEYS[2])
    assert lane.given is not None
    pd.testing.assert_frame_equal(lane.given, results([day(KEYS[1]), day(KEYS[2])]))


def test_an_upstream_that_was_never_written_is_empty_and_typed(lane: Lane) -> None:
    lane.run("seen", KEYS[0])
    assert lane.given is not None
    pd.testing.assert_frame_equal(lane.given, TABLES["results"].empty())


def test_without_partitions_the_table_is_replaced_whole(lane: Lane) -> None:
    lane.run("history", days=[date(1999, 1, 1), date(1999, 1, 2)])
    result = lane.run("history", days=[date(1999, 1, 2)])
    assert lane.stands("history") == [date(1999, 1, 2)]
    (told,) = result.asset_materializations_for_node("l__history")
    assert told.metadata["dagster/row_count"].value == 1
    assert told.metadata["table_version"].value == lane.store.version("l", "history")


# -- values -----------------------------------------------------------------------------------------------------------


class Reference(BaseModel):
    version: int


def _values(folder: Path, value: Any) -> Any:
    """Materialises `value` and an asset that reads it as a Reference; returns what that was given."""
    given = []

    @dg.asset(key_prefix=["l"])
    def source() -> Any:
        return value

    @dg.asset(ins={"source": dg.AssetIn(key=["l", "source"], dagster_type=dg.PythonObjectDagsterType(Reference))})
    def reader(source: Reference) -> None:
        given.append(source)

    dg.materialize(
        [source, reader],
        selection=[source, reader] if value is not None else [reader],
        resources={"io_manager": ValueIOManager(folder=str(folder))},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return given[0]


def test_a_typed_reference_travels_as_json(tmp_path: Path) -> None:
    assert _values(tmp_path, Reference(version=3)) == Reference(version=3)
    assert (tmp_path / "l" / "source.json").read_text() == '{\n "version": 3\n}'


def test_anything_but_a_typed_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="l/source: only tables and typed references travel"):
        _values(tmp_path, {"version": 3})


def test_a_reference_that_is_not_there_names_the_asset_to_materialise(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"source.json: not there; materialise l/source first"):
        _values(tmp_path, None)


@pytest.mark.parametrize("found", ['{"versions": 3}', '{"version":', ""])
def test_a_reference_of_another_shape_names_the_asset_to_materialise(tmp_path: Path, found: str) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "source.json").write_text(found)
    with pytest.raises(StoreError, match=r"source.json: .*materialise l/source again"):
        _values(tmp_path, None)
