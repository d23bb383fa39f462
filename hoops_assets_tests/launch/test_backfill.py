"""A backfill does what is due, season by season, and nothing twice; what changed makes due what rests on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.basketball.games import FIXTURE_COLUMNS
from hoops_assets.errors import HoopsError, StoreError
from hoops_assets.launch.instance import HOST_TAG, PID_TAG, fail_dead_runs, own_process_tags
from hoops_assets.launch.lanes import BackfillReport, Lanes
from hoops_assets.settings import Settings
from hoops_assets.store import processes
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.expectations.validation import Finding
from hoops_assets_tests.launch import small_league as small

LEAGUE = """\
name: tiny
time_zone: America/New_York
first_season: 2023
season_starts: "07-01"
sources:
  games:
    kind: csv
    files: [games.csv]
    columns: {date: day, home: home, away: away, home_score: home_score, away_score: away_score}
teams:
  ANT: {name: Anthill}
  BEE: {name: Beeford}
"""
GAMES = {
    "2021-12-01": (80, 90),
    "2022-11-01": (101, 99),
    "2022-11-03": (88, 97),
    "2023-02-10": (110, 104),
    "2023-11-02": (95, 90),
    "2023-11-05": (99, 103),
}
"""Game day -> points of ANT at home and of BEE. The first is history; two seasons follow."""
FIRST, SECOND = (2023, 3), (2024, 2)
"""(season, game days)."""

Told = list[tuple[int, str]]


@contextmanager
def _apart() -> Iterator[None]:
    """Nothing is left in the environment, nothing is flushed, and tables are not validated: that takes the most time."""
    with (
        mock.patch.dict(os.environ),
        mock.patch("hoops_assets.store.expectations.validation.validate", return_value=[]),
        small.without_flushing(),
    ):
        yield


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with _apart():
        yield


class World:
    """A home with a league of two teams whose file of games can be changed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.games = dict(GAMES)

    def write_league(self, text: str) -> None:
        (self.home / "leagues" / "tiny.yaml").write_text(text)

    def lanes(self, now: str = "2024-08-01") -> Lanes:
        rows = [f"{day},ANT,BEE,{home or ''},{away or ''}" for day, (home, away) in sorted(self.games.items())]
        text = "\n".join(["day,home,away,home_score,away_score", *rows, ""])
        file = self.home / "leagues" / "games.csv"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
        settings = Settings(home=self.home, now=pd.Timestamp(now, tz="UTC").to_pydatetime(), mlflow_tracking_uri="")
        return Lanes(settings, "tiny")

    def backfill(self, *window: date, now: str = "2024-08-01", **options: Any) -> BackfillReport:
        return self.lanes(now).backfill(*window, **{"stages": ("ingest",), **options})

    def told(self, **options: Any) -> Told:
        return [(span.season, span.state) for span in self.backfill(**options).spans]

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(str(self.home / "tables"))

    def points(self) -> dict[str, int]:
        """Day -> points of the home team, as stored."""
        frame = self.store.read("tiny", "results")
        return dict(zip(frame["day"].astype(str), frame["home_score"], strict=True))


def expected(games: dict[str, tuple[int, int]]) -> dict[str, int]:
    return {day: home for day, (home, _) in sorted(games.items()) if day > "2022-07-01"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nothing is done yet."""
    (tmp_path / "leagues").mkdir()
    world = World(tmp_path)
    world.write_league(LEAGUE)
    return world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("finished") / "home"
    (home / "leagues").mkdir(parents=True)
    with _apart():
        world = World(home)
        world.write_league(LEAGUE)
        world.backfill()
    return home.rename(home.with_name("copy"))


@pytest.fixture
def done(finished: Path) -> Iterator[World]:
    """Both seasons are ingested. Always in the same folder, since a league knows its files by their path."""
    home = shutil.copytree(finished, finished.with_name("home"))
    yield World(home)
    shutil.rmtree(home)


DONE: Told = [(2023, "done"), (2024, "done")]
MADE: Told = [(2023, "materialised"), (2024, "materialised")]


# -- what is due ------------------------------------------------------------------------------------------------------


def test_a_backfill_goes_season_by_season_and_does_nothing_twice(world: World) -> None:
    heard: list[tuple[int, str, int, int]] = []
    report = world.backfill(tell=lambda span, number, total: heard.append((span.season, span.state, number, total)))
    assert [(span.season, span.days) for span in report.spans] == [FIRST, SECOND]
    assert [heard[0], heard[1], heard[-1]] == [
        (2023, "due", 1, 2),
        (2023, "materialised", 1, 2),
        (2024, "materialised", 2, 2),
    ]
    assert world.points() == expected(GAMES)
    versions = [world.store.version("tiny", table) for table in ("results", "fixtures")]
    assert versions == [2, 2], "one commit a season after the one that made the table"
    assert world.told() == DONE
    assert [world.store.version("tiny", table) for table in ("results", "fixtures")] == versions
    assert world.told(force=True) == MADE
    assert world.points() == expected(GAMES)


def test_seasons_before_the_first_one_stand_in_history(world: World) -> None:
    world.backfill(stages=("ingest", "features"), start=date(2023, 11, 1))
    assert world.store.read("tiny", "history")["day"].tolist() == [date(2021, 12, 1)]


def test_a_changed_result_makes_its_season_and_the_later_ones_due_again(done: World) -> None:
    done.games["2023-11-05"] = (120, 103)
    assert done.told() == [(2023, "done"), (2024, "materialised")]
    done.games["2023-02-10"] = (90, 104)
    assert done.told() == MADE
    assert done.points() == expected(done.games)
    assert done.told() == DONE


def test_a_result_that_was_changed_back_is_due_again(done: World) -> None:
    done.games["2023-11-05"] = (120, 103)
    done.backfill()
    done.games = dict(GAMES)
    assert done.told() == [(2023, "done"), (2024, "materialised")]
    assert done.points() == expected(GAMES)


def test_another_rule_of_the_league_makes_everything_due_again(done: World) -> None:
    done.write_league(LEAGUE + "elo: {k: 30}\n")
    assert done.told() == MADE


def test_stages_are_done_or_due_each_for_itself(done: World) -> None:
    assert done.told(stages=("monitoring",)) == MADE
    assert done.told() == DONE


# -- windows ----------------------------------------------------------------------------------------------------------


def test_a_window_takes_only_its_days(world: World) -> None:
    report = world.backfill(date(2022, 11, 2), date(2023, 11, 3))
    assert [(span.season, span.first, span.last) for span in report.spans] == [
        (2023, date(2022, 11, 3), date(2023, 2, 10)),
        (2024, date(2023, 11, 2), date(2023, 11, 2)),
    ]
    assert list(world.points()) == ["2022-11-03", "2023-02-10", "2023-11-02"]


def test_a_window_of_coming_days_without_games_is_done_too(world: World) -> None:
    """A game may have been there, and have been put off."""
    report = world.backfill(date(2023, 11, 6), date(2023, 11, 9), now="2023-11-06")
    assert [(span.season, span.days, span.state) for span in report.spans] == [(2024, 4, "materialised")]


@pytest.mark.parametrize("window", [(date(2023, 3, 1), date(2023, 4, 1)), (date(2030, 1, 1), None)])
def test_a_window_without_game_days_is_refused(world: World, window: tuple[date, date | None]) -> None:
    with pytest.raises(HoopsError, match=f"no game day from {window[0]} to .*; there are 2022-11-01 to 2023-11-05"):
        world.backfill(*window)  # type: ignore[arg-type]


def test_a_league_that_has_not_begun_says_when_it_does(world: World) -> None:
    with pytest.raises(HoopsError, match="no game day from None to None; the first is 2022-11-01"):
        world.backfill(now="2022-08-01")


# -- the calendar changes ---------------------------------------------------------------------------------------------


def test_a_new_game_day_gets_its_partition_and_a_cancelled_one_loses_its_rows(done: World) -> None:
    del done.games["2022-11-03"]
    done.games["2022-11-04"] = (77, 70)
    report = done.backfill()
    assert [span.days for span in report.spans] == [3, 2]
    assert done.points() == expected(done.games)
    assert done.store.read("tiny", "fixtures")["day"].astype(str).tolist() == list(expected(done.games))


def test_a_game_put_off_within_the_season_moves(world: World) -> None:
    world.games["2023-11-05"] = (None, None)  # type: ignore[assignment]
    world.backfill(now="2023-11-04")
    del world.games["2023-11-05"]
    world.games["2023-11-09"] = (None, None)  # type: ignore[assignment]
    world.backfill(now="2023-11-06")
    assert str(world.store.read("tiny", "fixtures")["day"].iloc[-1]) == "2023-11-09"
    world.games["2023-11-09"] = (99, 90)
    world.backfill(now="2023-11-10")
    assert list(world.points()) == list(expected(world.games))
    assert world.store.read("tiny", "fixtures")["day"].is_unique


# -- failures ---------------------------------------------------------------------------------------------------------


def _fails_in_2024(games: pd.DataFrame) -> pd.DataFrame:
    if (games["season"] == 2024).any():
        raise StoreError("the disk is full")
    return games[FIXTURE_COLUMNS]


def test_a_failed_season_stops_with_the_reason_and_is_due_again(world: World) -> None:
    world.games["2024-11-01"] = (90, 91)  # a third season, which must not be begun
    with mock.patch("hoops_assets.basketball.games.fixtures", _fails_in_2024):
        report = world.backfill(now="2025-08-01")
    assert [(span.season, span.state) for span in report.spans] == [(2023, "materialised"), (2024, "failed")]
    assert report.failed
    assert report.spans[-1].error == "tiny/fixtures: the disk is full"
    stored = world.store.read("tiny", "fixtures")["day"].astype(str)
    assert stored.tolist() == [day for day in expected(GAMES) if day < "2023-07-01"]
    assert world.told(now="2025-08-01") == [(2023, "done"), (2024, "materialised"), (2025, "materialised")]
    assert world.points() == expected(world.games)


def test_a_failed_check_stops_with_its_words(world: World) -> None:
    broken = Finding("no game is tied", passed=False, critical=True, unexpected=1, days=(date(2022, 11, 3),))
    with mock.patch("hoops_assets.store.expectations.validation.validate", return_value=[broken]):
        report = world.backfill()
    assert [(span.season, span.state) for span in report.spans] == [(2023, "failed")]
    assert "no game is tied" in report.spans[0].error
    assert "2022-11-03" in report.spans[0].error
    assert world.told() == MADE


def test_after_a_failed_run_an_earlier_success_counts_no_more(done: World) -> None:
    """It may have overwritten some of the tables before it failed."""
    with mock.patch("hoops_assets.basketball.games.fixtures", _fails_in_2024):
        done.games["2023-11-05"] = (120, 103)
        done.backfill()
    done.games = dict(GAMES)
    assert done.told() == [(2023, "done"), (2024, "materialised")]
    assert done.points() == expected(GAMES)


# -- the dead ---------------------------------------------------------------------------------------------------------


def _gone() -> dict[str, str]:
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    tags = {**own_process_tags(), PID_TAG: f"{done.pid}:0"}
    done.wait()
    return tags


def _another_process_of_that_number() -> dict[str, str]:
    return {**own_process_tags(), PID_TAG: f"{os.getpid()}:1000000000"}


PROCESSES: dict[str, tuple[Callable[[], dict[str, str]], bool]] = {
    "a process that is gone": (_gone, True),
    "a number that another process has now": (_another_process_of_that_number, True),
    "a living process": (own_process_tags, False),
    "another machine": (lambda: {**_gone(), HOST_TAG: "elsewhere"}, False),
    "a run of the daemon, which watches it itself": (dict, False),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_runs_of_dead_processes_are_failed_and_no_others(process: str) -> None:
    tags, is_dead = PROCESSES[process]
    with dg.instance_for_test() as instance:
        run = instance.create_run_for_job(_job(), tags=tags(), status=dg.DagsterRunStatus.STARTED)
        assert fail_dead_runs(instance) == ([run.run_id] if is_dead else [])
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is (dg.DagsterRunStatus.FAILURE if is_dead else dg.DagsterRunStatus.STARTED)
        assert fail_dead_runs(instance) == []


def test_a_killed_process_that_nobody_reaped_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tags = {**own_process_tags(), PID_TAG: f"{child.pid}:{processes.born(child.pid)}"}
    with dg.instance_for_test() as instance:
        run = instance.create_run_for_job(_job(), tags=tags, status=dg.DagsterRunStatus.STARTED)
        assert fail_dead_runs(instance) == []
        os.kill(child.pid, 9)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert fail_dead_runs(instance) == [run.run_id]
    child.communicate()


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def job() -> None:
        nothing()

    return job


def test_a_backfill_tells_which_runs_had_died(world: World) -> None:
    lanes = world.lanes()
    run = lanes.instance.create_run_for_job(_job(), tags=_gone(), status=dg.DagsterRunStatus.STARTED)
    assert world.backfill().dead_runs == [run.run_id]
    assert world.backfill().dead_runs == []
