"""When a range of days is asked for, and when not. Sensors are evaluated here, no daemon runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.utils import make_new_run_id as dg_run_id

from hoops_assets.basketball.calendar import calendar_of
from hoops_assets.basketball.games import fixtures, results
from hoops_assets.defs.ingest import sensors
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.partitions import game_days
from hoops_assets.settings import Settings
from hoops_assets.store.calendar import calendar_digest, write_calendar
from hoops_assets.store.io_manager import TablesResource
from hoops_assets_tests.defs.stated import Stated, games, league

ephemeral = dg.DagsterInstance.ephemeral
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
    instance: dg.DagsterInstance
    cursor: str | None = None

    def store(self, frame: pd.DataFrame) -> None:
        store, name = self.tables.store, self.lane.league.name
        store.overwrite(name, "fixtures", fixtures(frame))
        store.overwrite(name, "results", results(frame).astype({"home_score": "int32", "away_score": "int32"}))

    def look(self) -> dg.SensorResult | dg.SkipReason:
        """One tick: what the sensor asks for, with the cursor that the tick before left."""
        context = dg.build_sensor_context(
            self.instance, self.cursor, resources={"sources": self.sources, "tables": self.tables}
        )
        said = sensors.results_sensor(self.lane)(context)
        if isinstance(said, dg.SensorResult):
            self.cursor = said.cursor
        return said  # type: ignore[return-value]

    def requests(self) -> list[dg.RunRequest]:
        said = self.look()
        return list(said.run_requests or []) if isinstance(said, dg.SensorResult) else []

    def asked(self) -> tuple[str, str]:
        """The range of the one request of a tick."""
        (request,) = self.requests()
        return range_of(request)

    def skipped(self) -> str:
        said = self.look()
        reason = said.skip_reason if isinstance(said, dg.SensorResult) else said
        assert isinstance(reason, dg.SkipReason), said
        return str(reason.skip_message)

    def queued(self, request: dg.RunRequest) -> dg.DagsterRun:
        """The run that the daemon makes of a request, not begun."""
        tags = {**request.tags, "dagster/run_key": request.run_key or "", sensors.GAME_DAYS_TAG: "stated"}
        run = dg.DagsterRun(job_name="stated_game_days", run_id=dg_run_id(), tags=tags)
        return self.instance.add_run(run)

    def end(self, run: dg.DagsterRun, succeeds: bool = True) -> None:
        kind = DagsterEventType.RUN_SUCCESS if succeeds else DagsterEventType.RUN_FAILURE
        self.instance.report_dagster_event(DagsterEvent(event_type_value=kind.value, job_name=run.job_name), run.run_id)


def range_of(request: dg.RunRequest) -> tuple[str, str]:
    return request.tags[sensors.RANGE_START], request.tags[sensors.RANGE_END]


def a_lane(home: Path, frame: pd.DataFrame, now: datetime = NOW, zone: str = "America/New_York") -> Lane:
    one, calendar = league(time_zone=zone), calendar_of(frame)
    return Lane(one, calendar, game_days(one, calendar, Settings(home=home, now=now)))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    said = games(*PLAYED, *TO_COME)
    made = Board(
        tmp_path, a_lane(tmp_path, said), TablesResource(root=str(tmp_path / "tables")), Stated(said, NOW), ephemeral()
    )
    made.store(said)
    return made


# -- results ----------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_for_while_the_source_says_what_is_stored(board: Board) -> None:
    assert board.skipped() == "what is stored is what the source says"


def test_nothing_is_asked_for_before_anything_is_stored(tmp_path: Path) -> None:
    said = games(*PLAYED)
    board = Board(
        tmp_path, a_lane(tmp_path, said), TablesResource(root=str(tmp_path / "t")), Stated(said, NOW), ephemeral()
    )
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
        return board.requests()[0].run_key

    assert key((77, 70)) == key((77, 70)) != key((77, 71))


def test_a_change_whose_run_failed_is_asked_for_again_the_next_day(board: Board) -> None:
    board.sources.frame = games(*PLAYED, ("2024-01-10", "ANT", "CAT", (77, 70)), TO_COME[1])
    (today,) = board.requests()
    board.sources.now = NOW + timedelta(days=1)
    assert board.requests()[0].run_key != today.run_key


def test_nothing_more_is_asked_for_once_the_change_is_stored(board: Board) -> None:
    board.sources.frame = games(*PLAYED, ("2024-01-10", "ANT", "CAT", (77, 70)), TO_COME[1])
    board.store(board.sources.frame)
    assert board.skipped() == "what is stored is what the source says"


def test_days_before_the_first_stored_one_were_never_asked_for_and_are_not_missed(board: Board) -> None:
    board.store(games(*PLAYED[2:], *TO_COME))
    assert board.skipped() == "what is stored is what the source says"
    board.sources.frame = games(*PLAYED[:3], ("2024-01-08", "DOE", "CAT", (95, 92)), *TO_COME)
    assert board.asked()[0] == "2024-01-08"


# -- late days by the hundreds ----------------------------------------------------------------------------------------

SEASON = [date(2024, 1, 2) + timedelta(days=offset) for offset in range(150)]
LATER = datetime(2024, 6, 1, 17, tzinfo=UTC)
"""The first day after the season above."""


def season(points: int, *, changed_until: int = 0, today: bool = False) -> pd.DataFrame:
    """A game a day, the first ones with other points; and perhaps one yesterday."""
    rows = [
        (str(day), *("ANT", "BEE"), (points + 1 if number < changed_until else points, 50))
        for number, day in enumerate(SEASON)
    ]
    return games(*rows, ("2024-05-31", "CAT", "DOE", (90, 80) if today else None), ("2024-06-03", "ANT", "DOE", None))


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """A season is stored, and its source now says otherwise of its first 100 days."""
    monkeypatch.setattr(sensors, "LATE_AT_ONCE", 40)
    stored = season(70)
    made = Board(
        tmp_path, a_lane(tmp_path, stored, LATER), TablesResource(root=str(tmp_path / "tables")),
        Stated(season(70, changed_until=100), LATER), ephemeral(),
    )  # fmt: skip
    made.store(stored)
    return made


def test_late_days_are_asked_for_in_ranges_oldest_first_the_next_when_the_one_before_is_done(late: Board) -> None:
    seen = []
    for _ in range(20):
        requests = late.requests()
        if not requests:
            break
        (request,) = requests
        run = late.queued(request)
        for _ in range(3):
            assert late.requests() == []
        seen.append(range_of(request))
        late.end(run)
        if len(seen) == 3:  # all that had changed lies in the first three ranges
            late.store(late.sources.frame)
    days = [key for key in late.lane.days.get_partition_keys() if key >= str(SEASON[0])]
    asked_for = [key for first, last in seen for key in days if first <= key <= last]
    assert asked_for == days
    assert all(sum(first <= key <= last for key in days) <= 40 for first, last in seen)
    assert late.skipped() == "what is stored is what the source says"


def test_today_is_asked_for_before_the_late_days_and_in_the_same_tick(late: Board) -> None:
    late.sources.frame = season(70, changed_until=100, today=True)
    first, second = late.requests()
    assert range_of(first)[0] == "2024-05-31"
    assert range_of(second)[0] == str(SEASON[0])
    assert int(first.tags[sensors.PRIORITY]) > 0 > int(second.tags[sensors.PRIORITY])
    assert sensors.LATE_TAG not in first.tags


def test_today_does_not_wait_for_late_days_under_way(late: Board) -> None:
    late.queued(late.requests()[0])
    late.sources.frame = season(70, changed_until=100, today=True)
    assert late.asked()[0] == "2024-05-31"


def test_a_run_that_waits_in_the_queue_will_see_the_change_and_no_second_is_asked_for(late: Board) -> None:
    late.sources.frame = season(70, today=True)
    (request,) = late.requests()
    run = late.queued(request)
    late.sources.frame = season(70, today=True).replace({"home_score": {90: 91}})
    assert "waits to begin" in late.skipped()
    late.end(run)
    assert late.asked()[0] == "2024-05-31"


def test_the_queue_is_bounded_whatever_comes(late: Board) -> None:
    depth = []
    for tick in range(30):
        late.sources.frame = season(70 + tick, changed_until=100, today=True)
        for request in late.requests():
            late.queued(request)
        depth.append(len(late.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED]))))
    assert max(depth) == 2


def test_late_days_whose_run_failed_are_asked_for_again_the_next_day_and_none_after_them_before(late: Board) -> None:
    (request,) = late.requests()
    late.end(late.queued(request), succeeds=False)
    assert "failed; it is tried again tomorrow" in late.skipped()
    late.sources.now = LATER + timedelta(days=1)
    (again,) = late.requests()
    assert range_of(again) == range_of(request)
    assert again.run_key != request.run_key


def test_a_failed_run_that_had_stored_the_results_is_asked_for_again_too(late: Board) -> None:
    (request,) = late.requests()
    late.store(late.sources.frame)
    late.end(late.queued(request), succeeds=False)
    late.sources.now = LATER + timedelta(days=1)
    assert late.asked() == range_of(request)


def test_a_request_that_never_became_a_run_is_made_again(late: Board) -> None:
    assert late.requests()[0] == late.requests()[0]


def test_a_change_while_late_days_are_taken_is_taken_after_them_by_runs_of_its_own(late: Board) -> None:
    firsts, keys = [], []
    for tick in range(9):
        (request,) = late.requests()
        firsts.append(range_of(request)[0])
        keys.append(request.run_key)
        if tick == 0:
            late.sources.frame = late.sources.frame.replace({"home_score": {71: 72}})
        late.end(late.queued(request))
    per_walk = firsts.index(str(SEASON[0]), 1)
    assert firsts == (firsts[:per_walk] * 9)[:9]
    assert per_walk == 4
    # A third walk over the very same change is not made: the daemon leaves out run keys that it knows.
    assert len(set(keys)) == 2 * per_walk


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
    assert range_of(request) == ("2024-01-18", "2024-02-08")
    assert request.tags[sensors.PRIORITY] == sensors.TODAY_FIRST
    assert request.run_key == "stated:daily:2024-02-01"


def test_a_league_ahead_of_utc_is_settled_on_its_own_day(tmp_path: Path) -> None:
    # Nine in the morning of 10 January in Auckland is eight in the evening of the 9th in UTC.
    now = datetime(2024, 1, 9, 20, tzinfo=UTC)
    lane = a_lane(tmp_path, games(*PLAYED, *TO_COME), now, zone="Pacific/Auckland")
    assert sensors.daily_schedule(lane).execution_timezone == "Pacific/Auckland"
    request = morning(lane, now)
    assert request.run_key == "stated:daily:2024-01-10"
    assert range_of(request) == ("2024-01-02", "2024-01-17")


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
