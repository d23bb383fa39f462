"""When a range of days is asked for, and when not. Sensors are evaluated here, no daemon runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.basketball.calendar import calendar_of
from hoops_assets.basketball.games import fixtures, results
from hoops_assets.defs.ingest import sensors
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.partitions import game_days
from hoops_assets.settings import Settings
from hoops_assets.store.calendar import calendar_digest, write_calendar
from hoops_assets.store.io_manager import TablesResource
from hoops_assets_tests.defs.stated import Stated, games, league

NOW = datetime(2024, 1, 10, 17, tzinfo=UTC)
PLAYED = (
    ("2024-01-02", "ANT", "BEE", (101, 99)),
    ("2024-01-03", "CAT", "DOE", (90, 88)),
    ("2024-01-05", "BEE", "ANT", (70, 80)),
    ("2024-01-08", "DOE", "CAT", (95, 91)),
)
TO_COME = (("2024-01-10", "ANT", "CAT", None), ("2024-01-12", "BEE", "DOE", None))


@dataclass
class Board:
    """One league, what is stored of it, and what its source says now."""

    home: Path
    lane: Lane
    tables: TablesResource
    sources: Stated

    def store(self, frame: pd.DataFrame) -> None:
        store, name = self.tables.store, self.lane.league.name
        store.overwrite(name, "fixtures", fixtures(frame))
        store.overwrite(name, "results", results(frame).astype({"home_score": "int32", "away_score": "int32"}))

    def look(self) -> dg.RunRequest | dg.SkipReason:
        context = dg.build_sensor_context(resources={"sources": self.sources, "tables": self.tables})
        return sensors.results_sensor(self.lane)(context)  # type: ignore[return-value]

    def asked(self) -> tuple[str, str]:
        request = self.look()
        assert isinstance(request, dg.RunRequest), request
        return request.tags[sensors.RANGE_START], request.tags[sensors.RANGE_END]

    def skipped(self) -> str:
        reason = self.look()
        assert isinstance(reason, dg.SkipReason), reason
        return str(reason.skip_message)


def a_lane(home: Path, frame: pd.DataFrame, now: datetime = NOW, zone: str = "America/New_York") -> Lane:
    one, calendar = league(time_zone=zone), calendar_of(frame)
    return Lane(one, calendar, game_days(one, calendar, Settings(home=home, now=now)))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    said = games(*PLAYED, *TO_COME)
    made = Board(tmp_path, a_lane(tmp_path, said), TablesResource(root=str(tmp_path / "tables")), Stated(said, NOW))
    made.store(said)
    return made


# -- results ----------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_for_while_the_source_says_what_is_stored(board: Board) -> None:
    assert board.skipped() == "what is stored is what the source says"


def test_nothing_is_asked_for_before_anything_is_stored(tmp_path: Path) -> None:
    said = games(*PLAYED)
    board = Board(tmp_path, a_lane(tmp_path, said), TablesResource(root=str(tmp_path / "t")), Stated(said, NOW))
    assert board.skipped() == "nothing is stored yet; begin with: hoops backfill stated"


def test_a_new_result_asks_for_its_day_and_all_after(board: Board) -> None:
    board.sources.frame = games(*PLAYED, ("2024-01-10", "ANT", "CAT", (77, 70)), TO_COME[1])
    first, last = board.asked()
    assert first == "2024-01-10"
    assert last == max(board.lane.days.get_partition_keys()) >= "2024-01-17"


def test_a_corrected_score_asks_from_its_day_on(board: Board) -> None:
    board.sources.frame = games(PLAYED[0], ("2024-01-03", "CAT", "DOE", (90, 89)), *PLAYED[2:], *TO_COME)
    assert board.asked()[0] == "2024-01-03"


def test_a_game_that_moved_asks_from_the_earlier_of_its_two_days_on(board: Board) -> None:
    board.sources.frame = games(*PLAYED, TO_COME[0], ("2024-01-14", "BEE", "DOE", None))
    assert board.asked()[0] == "2024-01-12"
    board.sources.frame = games(*PLAYED, TO_COME[0], ("2024-01-11", "BEE", "DOE", None))
    assert board.asked()[0] == "2024-01-11"


def test_a_cancelled_game_asks_for_its_day_even_if_no_game_is_left_there(board: Board) -> None:
    board.sources.frame = games(*PLAYED, TO_COME[0])
    assert board.asked()[0] == "2024-01-12"


def test_a_past_game_that_vanishes_with_its_day_asks_for_the_day_that_now_owns_it(board: Board) -> None:
    left = games(PLAYED[0], *PLAYED[2:], *TO_COME)
    board = replace(board, lane=a_lane(board.home, left))
    board.sources.frame = left
    assert "2024-01-03" not in board.lane.days.get_partition_keys()
    assert board.asked()[0] == "2024-01-05"


def test_a_change_of_zone_or_stage_of_a_game_is_a_change_too(board: Board) -> None:
    said = board.sources.frame
    board.sources.frame = said.assign(stage=said["stage"].where(said["home"] != "DOE", "final"))
    assert board.asked()[0] == "2024-01-08"


def test_the_same_change_has_the_same_run_key_and_another_change_another(board: Board) -> None:
    def key(score: tuple[int, int]) -> str | None:
        board.sources.frame = games(*PLAYED, ("2024-01-10", "ANT", "CAT", score), TO_COME[1])
        return board.look().run_key  # type: ignore[union-attr]

    assert key((77, 70)) == key((77, 70)) != key((77, 71))


def test_a_change_whose_run_failed_is_asked_for_again_the_next_day(board: Board) -> None:
    board.sources.frame = games(*PLAYED, ("2024-01-10", "ANT", "CAT", (77, 70)), TO_COME[1])
    today = board.look()
    board.sources.now = NOW + timedelta(days=1)
    assert board.look().run_key != today.run_key  # type: ignore[union-attr]


def test_nothing_more_is_asked_for_once_the_change_is_stored(board: Board) -> None:
    board.sources.frame = games(*PLAYED, ("2024-01-10", "ANT", "CAT", (77, 70)), TO_COME[1])
    board.store(board.sources.frame)
    assert board.skipped() == "what is stored is what the source says"


def test_a_range_too_large_for_a_sensor_is_left_to_a_backfill(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.sources.frame = games(("2024-01-02", "ANT", "BEE", (101, 98)), *PLAYED[1:], *TO_COME)
    assert board.asked()[0] == "2024-01-02"
    monkeypatch.setattr(sensors, "LARGEST_RANGE", 5)
    reason = board.skipped()
    assert "game days are due since 2024-01-02" in reason
    assert reason.endswith("hoops backfill stated --from 2024-01-02")


def test_days_before_the_first_stored_one_were_never_asked_for_and_are_not_missed(board: Board) -> None:
    board.store(games(*PLAYED[2:], *TO_COME))
    assert board.skipped() == "what is stored is what the source says"
    board.sources.frame = games(*PLAYED[:3], ("2024-01-08", "DOE", "CAT", (95, 92)), *TO_COME)
    assert board.asked()[0] == "2024-01-08"


# -- calendar ---------------------------------------------------------------------------------------------------------


def look_at_calendar(board: Board, cursor: str | None) -> Any:
    """What the daemon gets from one tick: its events, the reason of its silence, and the cursor of the next."""
    board.sources.home = str(board.home)
    context = dg.build_sensor_context(resources={"sources": board.sources}, cursor=cursor)
    return sensors.calendar_sensor(board.lane).evaluate_tick(context)


def test_the_calendar_sensor_is_quiet_while_the_loaded_calendar_is_the_stored_one(board: Board) -> None:
    assert board.lane.calendar
    write_calendar(board.home, "stated", board.lane.calendar)
    found = look_at_calendar(board, None)
    assert (list(found.asset_events), found.skip_message) == ([], "the loaded calendar is the stored one")


def test_a_reload_is_said_to_be_due_once_for_every_change_of_the_calendar(board: Board) -> None:
    assert board.lane.calendar
    write_calendar(board.home, "stated", board.lane.calendar)
    cursor = look_at_calendar(board, None).cursor
    told = []
    for day in ("2024-02-01", "2024-02-02"):
        changed = calendar_of(games(*PLAYED, (day, "ANT", "BEE", None)))
        write_calendar(board.home, "stated", changed)
        for _ in range(3):
            found = look_at_calendar(board, cursor)
            cursor = found.cursor
            assert "reload the code location" in found.skip_message
            told += [(event.asset_key, event.metadata["calendar"].value) for event in found.asset_events]
        assert told[-1] == (dg.AssetKey(["stated", "fixtures"]), calendar_digest(changed))
    assert len(told) == 2


def test_a_change_back_to_the_loaded_calendar_needs_no_reload(board: Board) -> None:
    assert board.lane.calendar
    write_calendar(board.home, "stated", calendar_of(games(*PLAYED)))
    cursor = look_at_calendar(board, None).cursor
    write_calendar(board.home, "stated", board.lane.calendar)
    assert list(look_at_calendar(board, cursor).asset_events) == []


# -- the daily schedule -----------------------------------------------------------------------------------------------


def morning(lane: Lane, now: datetime) -> Any:
    schedule = sensors.daily_schedule(lane)
    context = dg.build_schedule_context(
        resources={"sources": Stated(games(*PLAYED), now)}, scheduled_execution_time=now
    )
    return schedule(context)


def test_every_morning_the_last_fortnight_is_settled_and_the_days_ahead_are_forecast(tmp_path: Path) -> None:
    days = [date(2024, 1, 2) + timedelta(days=offset) for offset in range(60)]
    season = games(*((day.isoformat(), "ANT", "BEE", None) for day in days))
    now = datetime(2024, 2, 1, 14, tzinfo=UTC)
    request = morning(a_lane(tmp_path, season, now), now)
    assert request.tags == {sensors.RANGE_START: "2024-01-18", sensors.RANGE_END: "2024-02-08"}
    assert request.run_key == "stated:daily:2024-02-01"


def test_a_league_ahead_of_utc_is_settled_on_its_own_day(tmp_path: Path) -> None:
    # Nine in the morning of 10 January in Auckland is eight in the evening of the 9th in UTC.
    now = datetime(2024, 1, 9, 20, tzinfo=UTC)
    lane = a_lane(tmp_path, games(*PLAYED, *TO_COME), now, zone="Pacific/Auckland")
    assert sensors.daily_schedule(lane).execution_timezone == "Pacific/Auckland"
    request = morning(lane, now)
    assert request.run_key == "stated:daily:2024-01-10"
    assert request.tags == {sensors.RANGE_START: "2024-01-02", sensors.RANGE_END: "2024-01-17"}


def test_nothing_is_asked_for_in_the_off_season(tmp_path: Path) -> None:
    now = datetime(2024, 8, 1, 13, tzinfo=UTC)
    reason = morning(a_lane(tmp_path, games(*PLAYED), now), now)
    assert isinstance(reason, dg.SkipReason)
    assert reason.skip_message == "stated has no game days from 2024-07-18 on"


def test_the_schedule_runs_at_nine_league_time_unasked(tmp_path: Path) -> None:
    schedule = sensors.daily_schedule(a_lane(tmp_path, games(*PLAYED)))
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 9 * * *", "America/New_York")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "stated_game_days"
