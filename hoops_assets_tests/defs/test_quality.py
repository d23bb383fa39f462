"""What is told of a league's data: suites, days left failed, freshness, new teams, two sources of the same games."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import CronFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from hoops_assets.basketball.calendar import calendar_of
from hoops_assets.basketball.sentiment import POSTS
from hoops_assets.definitions import build_defs, build_lane
from hoops_assets.defs.lane import FRESH_BY_TEN
from hoops_assets.defs.quality.checks import NO_DAY_FAILED, left_failed
from hoops_assets.errors import SourceError
from hoops_assets.settings import Settings
from hoops_assets.sources.contract import GamesRead, PostsRead, Rejected
from hoops_assets.store.calendar import write_calendar
from hoops_assets_tests.defs.stated import games, league

NOW = datetime(2024, 1, 10, 17, tzinfo=UTC)
PLAYED = (
    ("2024-01-02", "ANT", "BEE", (101, 99)),
    ("2024-01-03", "CAT", "DOE", (90, 88)),
    ("2024-01-05", "BEE", "ANT", (70, 80)),
    ("2024-01-08", "DOE", "CAT", (95, 91)),
)
DAYS = [date.fromisoformat(row[0]) for row in PLAYED]
REFUSED = (Rejected("games.csv", 7, "date", "not a date", "32/13/2024"),)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class House:
    """A league's lane over stated sources, and an instance that is forgotten."""

    home: Path
    frame: pd.DataFrame = field(default_factory=lambda: games(*PLAYED))
    second: pd.DataFrame | None = None
    now: datetime = NOW
    broken: bool = False
    notes: tuple[str, ...] = ()
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    def __post_init__(self) -> None:
        compare = {"compare": {"kind": "csv"}} if self.second is not None else {}
        data = league().model_dump(mode="json")
        data["sources"] = {"games": {"kind": "csv"}, **compare}
        self.league = type(league()).model_validate(data)
        write_calendar(self.home, self.league.name, calendar_of(self.frame))
        self.settings = Settings(home=self.home, now=self.now, mlflow_tracking_uri="")

    # -- the sources, of which this house is one -----------------------------------------------------------------------

    def clock(self) -> datetime:
        return self.now

    def games(self, league: Any) -> GamesRead:
        return GamesRead(self.frame.copy(), list(REFUSED) if self.notes else [], list(self.notes))

    def compared_games(self, league: Any) -> GamesRead:
        assert self.second is not None
        return GamesRead(self.second.copy())

    def posts(self, league: Any, start: datetime, end: datetime) -> Iterator[PostsRead]:
        empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in POSTS.items()})
        return iter([PostsRead(empty, notes=list(self.notes))] * 2 if self.notes else [])

    # -- what a test does ------------------------------------------------------------------------------------------------

    @property
    def lane(self):
        return build_lane(self.league, self.settings)

    @property
    def location(self) -> dg.Definitions:
        return build_defs(self.settings, {"sources": _Sources(self)}, leagues=[self.league])

    def run(self, *names: str, days: tuple[date, date] | None = None) -> dg.ExecuteInProcessResult:
        tags = {}
        if days:
            first, last = (day.isoformat() for day in days)
            tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        keys = [self.lane.key(name) for name in names]
        return self.location.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=keys, tags=tags, run_config=QUIET, raise_on_error=False
        )

    def evaluated(self, result: dg.ExecuteInProcessResult, asset: str, check: str) -> dg.AssetCheckEvaluation:
        (one,) = (
            one
            for one in result.get_asset_check_evaluations()
            if one.asset_key == self.lane.key(asset) and one.check_name == check
        )
        return one

    def told(self, asset: str) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(self.lane.key(asset))
        assert event and event.asset_materialization
        return {name: one.value for name, one in event.asset_materialization.metadata.items()}


def _Sources(house: House) -> Any:
    """The house as a resource whose games cannot be read while it is broken."""

    class Sources:
        home = str(house.home)
        clock, posts, compared_games = house.clock, house.posts, house.compared_games

        def games(self, league: Any) -> GamesRead:
            if house.broken:
                raise SourceError("the source is away")
            return house.games(league)

    return Sources()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# -- suites -----------------------------------------------------------------------------------------------------------


def test_a_range_is_judged_once_and_what_holds_names_no_failing_days(house: House) -> None:
    result = house.run("fixtures", "results", days=(DAYS[0], DAYS[-1]))
    assert result.success
    for table in ("fixtures", "results"):
        one = house.evaluated(result, table, "expectations")
        assert one.passed and one.description == "all expectations hold"
        assert {"failing_days", "failures"} & set(one.metadata) == set()
        assert one.metadata["days"].value == "2024-01-02 to 2024-01-08"


def test_a_broken_expectation_that_only_warns_names_its_days_and_stops_nothing(house: House) -> None:
    house.frame.loc[1, "tip_off"] = pd.Timestamp("2024-02-01", tz="UTC")
    result = house.run("fixtures", "results", days=(DAYS[0], DAYS[-1]))
    assert result.success
    one = house.evaluated(result, "fixtures", "expectations")
    assert (one.passed, one.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert one.metadata["failing_days"].value == ["2024-01-03"]
    assert "a game tips off on its game day, league time: 1 rows break it, on 2024-01-03" in (one.description or "")
    assert "| a game tips off on its game day, league time | warning | 1 |" in str(one.metadata["failures"].value)


def test_a_broken_expectation_that_blocks_fails_the_run(house: House) -> None:
    house.frame.loc[2, "away_score"] = house.frame.loc[2, "home_score"]
    result = house.run("fixtures", "results", "team_form", days=(DAYS[0], DAYS[-1]))
    assert not result.success
    one = house.evaluated(result, "results", "expectations")
    assert (one.passed, one.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert one.metadata["failing_days"].value == ["2024-01-05"]
    assert house.instance.get_latest_materialization_event(house.lane.key("team_form")) is None


# -- notes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asset", ["fixtures", "fan_posts"])
def test_what_a_person_should_know_of_a_reading_stands_once_on_the_last_day(asset: str, tmp_path: Path) -> None:
    house = House(tmp_path, notes=("the file of May is older than that of April",))
    assert house.run(asset, days=(DAYS[0], DAYS[-1])).success
    records = house.instance.fetch_materializations(house.lane.key(asset), limit=10).records
    told = {str(one.partition_key): one.asset_materialization.metadata for one in records if one.asset_materialization}
    with_notes = {day: data["notes"].value for day, data in told.items() if "notes" in data}
    assert with_notes == {"2024-01-08": list(house.notes)}
    assert {day for day, data in told.items() if "dagster/partition_row_count" in data} == {str(day) for day in DAYS}
    if asset == "fixtures":
        assert told["2024-01-08"]["refused_rows"].value == 1


# -- days left failed -------------------------------------------------------------------------------------------------


def test_the_days_of_a_failed_run_are_left_failed_until_they_are_materialised(house: House) -> None:
    assert house.run("fixtures", "results", days=(DAYS[0], DAYS[-1])).success
    assert left_failed(house.instance, house.lane) == []
    house.broken = True
    assert not house.run("fixtures", "results", days=(DAYS[1], DAYS[2])).success
    (left,) = left_failed(house.instance, house.lane)
    assert (left.tables, left.days) == (("fixtures", "results"), (DAYS[1], DAYS[2]))
    house.broken = False
    assert house.run("fixtures", "results", days=(DAYS[2], DAYS[3])).success
    (left,) = left_failed(house.instance, house.lane)
    assert left.days == (DAYS[1],)
    assert house.run("fixtures", days=(DAYS[0], DAYS[1])).success
    (left,) = left_failed(house.instance, house.lane)
    assert (left.tables, left.days) == (("results",), (DAYS[1],))
    assert house.run("results", days=(DAYS[0], DAYS[1])).success
    assert left_failed(house.instance, house.lane) == []


def test_the_standing_check_says_which_days_and_what_to_do_and_then_that_all_is_well(house: House) -> None:
    house.broken = True
    assert not house.run("fixtures", days=(DAYS[1], DAYS[2])).success
    house.broken = False
    one = house.evaluated(house.run("data_docs"), "data_docs", NO_DAY_FAILED)
    assert (one.passed, one.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert one.metadata["failed_days"].value == ["2024-01-03", "2024-01-05"]
    assert one.metadata["failed_tables"].value == ["fixtures"]
    assert "hoops backfill stated --from 2024-01-03 --to 2024-01-05" in (one.description or "")
    assert house.run("fixtures", days=(DAYS[0], DAYS[-1])).success
    assert house.evaluated(house.run("data_docs"), "data_docs", NO_DAY_FAILED).passed


def test_a_failed_run_of_another_league_or_without_days_is_not_this_lanes(house: House, tmp_path: Path) -> None:
    house.broken = True
    assert not house.run("new_teams").success
    assert left_failed(house.instance, house.lane) == []
    assert not house.run("fixtures", days=(DAYS[1], DAYS[2])).success
    other = build_lane(league("other"), house.settings)
    assert left_failed(house.instance, other) == []


# -- freshness --------------------------------------------------------------------------------------------------------


def state_at(house: House, asset: str, moment: str) -> FreshnessState:
    """Freshness of an asset at a moment of league time, as Dagster's daemon evaluates it."""
    node = house.location.resolve_asset_graph().get(house.lane.key(asset))
    with freeze_time(pd.Timestamp(moment, tz=house.league.time_zone).to_pydatetime()):
        evaluation = CronFreshnessPolicyEvaluator().evaluate_freshness(LoadingContextForTest(house.instance), node)
        return asyncio.run(evaluation)


def materialise(house: House, asset: str, moment: str) -> None:
    with freeze_time(pd.Timestamp(moment, tz=house.league.time_zone).to_pydatetime()):
        house.instance.report_runless_asset_event(
            dg.AssetMaterialization(house.lane.key(asset), partition=DAYS[0].isoformat())
        )


@pytest.mark.parametrize("asset", FRESH_BY_TEN)
def test_what_must_be_fresh_is_so_if_materialised_since_midnight_by_ten_in_league_time(
    asset: str, house: House
) -> None:
    assert state_at(house, asset, "2024-01-09 12:00") == FreshnessState.UNKNOWN
    materialise(house, asset, "2024-01-09 23:30")  # already the tenth in UTC
    assert state_at(house, asset, "2024-01-10 09:59") == FreshnessState.PASS
    assert state_at(house, asset, "2024-01-10 10:01") == FreshnessState.FAIL
    materialise(house, asset, "2024-01-10 11:00")
    assert state_at(house, asset, "2024-01-10 11:01") == FreshnessState.PASS
    materialise(house, asset, "2024-01-11 09:05")
    assert state_at(house, asset, "2024-01-11 18:00") == FreshnessState.PASS


def test_a_league_whose_calendar_ended_long_ago_is_not_expected_to_be_fresh(tmp_path: Path) -> None:
    for now, expected in (
        (NOW, True),
        (datetime(2024, 1, 20, tzinfo=UTC), True),
        (datetime(2024, 3, 1, tzinfo=UTC), False),
    ):
        house = House(tmp_path, now=now)
        graph = house.location.resolve_asset_graph()
        policies = {name: graph.get(house.lane.key(name)).freshness_policy for name in (*FRESH_BY_TEN, "team_form")}
        assert {name for name, one in policies.items() if one} == (set(FRESH_BY_TEN) if expected else set())


# -- Data Docs --------------------------------------------------------------------------------------------------------


def test_the_data_docs_are_linked_from_their_asset_and_can_be_opened(house: House) -> None:
    house.frame.loc[1, "tip_off"] = pd.Timestamp("2024-02-01", tz="UTC")
    assert house.run("fixtures", "results", days=(DAYS[0], DAYS[-1])).success
    assert house.run("data_docs").success
    told = house.told("data_docs")
    index = Path(told["file"])
    assert told["data_docs"] == index.as_uri()
    assert told["failing_tables"] == 1
    assert "| results | 4 |" in told["tables"]
    text = index.read_text()
    assert "a game tips off on its game day" in text and "results" in text


# -- new teams --------------------------------------------------------------------------------------------------------


def test_a_new_team_raises_an_alarm_while_it_waits_for_its_first_game_and_is_then_followed(tmp_path: Path) -> None:
    coming = games(*PLAYED, ("2024-11-02", "ANT", "NEW", None), ("2024-11-04", "NEW", "BEE", None))
    coming["season"] = [2024] * 4 + [2025] * 2
    coming = coming.astype({"season": "int32"})
    house = House(tmp_path, coming, now=datetime(2024, 10, 20, tzinfo=UTC))
    alarm = house.evaluated(house.run("new_teams"), "new_teams", "no_team_unseen")
    assert (alarm.passed, alarm.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "NEW (not in the league file) plays its first game on 2024-11-02" in (alarm.description or "")
    assert house.told("new_teams")["unseen"] == ["NEW"]
    assert "| NEW |" in house.told("new_teams")["followed"]

    house.now = datetime(2024, 11, 3, 17, tzinfo=UTC)
    house.frame.loc[4, ["home_score", "away_score"]] = (80, 99)
    assert house.evaluated(house.run("new_teams"), "new_teams", "no_team_unseen").passed
    assert house.told("new_teams")["unseen"] == []
    assert "| NEW | 2024-11-02 | 1 | 19 |" in house.told("new_teams")["followed"]


def test_a_league_of_ordinary_teams_says_so(house: House) -> None:
    assert house.evaluated(house.run("new_teams"), "new_teams", "no_team_unseen").passed
    assert house.told("new_teams")["followed"] == "every team is ordinary"


# -- two sources ------------------------------------------------------------------------------------------------------


def test_a_league_with_one_source_has_no_reconciliation(house: House) -> None:
    assert house.lane.key("reconciliation") not in house.location.resolve_asset_graph().get_all_asset_keys()


def test_two_sources_that_agree_pass(tmp_path: Path) -> None:
    house = House(tmp_path, second=games(*PLAYED))
    one = house.evaluated(house.run("reconciliation"), "reconciliation", "sources_agree")
    assert one.passed and one.description == "the two sources agree on every game"
    assert house.told("reconciliation")["disagreements"] == 0


def test_every_disagreement_is_reported_in_a_table_and_a_file(tmp_path: Path) -> None:
    second = games(
        ("2024-01-02", "ANT", "BEE", (99, 101)),  # another score and another winner
        ("2024-01-04", "CAT", "DOE", (90, 88)),  # another day
        ("2024-01-05", "ANT", "BEE", (80, 70)),  # another home side
        ("2024-01-08", "DOE", "CAT", (95, 91)),  # another ground
    )
    second.loc[3, "neutral"] = True
    house = House(tmp_path, second=second)
    result = house.run("reconciliation")
    one = house.evaluated(result, "reconciliation", "sources_agree")
    assert result.success and (one.passed, one.severity) == (False, dg.AssetCheckSeverity.WARN)
    told = house.told("reconciliation")
    kinds = {"score": 1, "winner": 1, "day": 1, "home side": 1, "neutral": 1}
    assert (told["disagreements"], told["kinds"]) == (5, kinds)
    report = pd.read_csv(told["report"])
    assert dict(report["kind"].value_counts()) == kinds
    assert "| winner | 2024 | 2024-01-02 | ANT | BEE | ANT | BEE |" in told["first_disagreements"]
    assert told["report"] in (one.description or "")
