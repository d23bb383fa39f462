"""A league's partitions are its game days, whatever the clock, the time zone and the time of year."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.calendar import Calendar
from hoops_assets.basketball.league import League, Sources, SourceSpec
from hoops_assets.defs.partitions import first_day, game_days
from hoops_assets.settings import Settings

NEW_YORK, AUCKLAND, CAIRO = "America/New_York", "Pacific/Auckland", "Africa/Cairo"
"""Cairo turns its clocks at midnight, so that a day there may begin at one o'clock."""


def league(zone: str = NEW_YORK, **changes: object) -> League:
    sources = Sources(games=SourceSpec(kind="simulated"))
    return League(**{"name": "l", "time_zone": zone, "first_season": 2024, "sources": sources, "teams": {}, **changes})  # type: ignore[arg-type]


def season(begin: date, end: date, step: int) -> tuple[date, ...]:
    return tuple(begin + timedelta(days=number) for number in range(0, (end - begin).days + 1, step))


FIRST = season(date(2023, 10, 24), date(2024, 6, 17), 3)
SECOND = season(date(2024, 10, 22), date(2025, 6, 20), 2)
CALENDAR = Calendar((*FIRST, *SECOND), {2024: (FIRST[0], FIRST[-1]), 2025: (SECOND[0], SECOND[-1])})


def keys(now: datetime, zone: str = NEW_YORK, calendar: Calendar | None = CALENDAR) -> list[date]:
    """The partitions under a pretended clock."""
    found = game_days(league(zone), calendar, Settings(now=now)).get_partition_keys()
    return [date.fromisoformat(key) for key in found]


def noon(day: date, zone: str = NEW_YORK) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))


moments = st.datetimes(datetime(2023, 10, 25), datetime(2025, 9, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


@settings(max_examples=60, deadline=None)
@given(now=moments, zone=st.sampled_from([NEW_YORK, AUCKLAND, CAIRO]))
def test_the_partitions_are_the_past_game_days_and_the_next_days(now: datetime, zone: str) -> None:
    today = now.astimezone(ZoneInfo(zone)).date()
    found = keys(now, zone)
    assert [day for day in found if day < today] == [day for day in CALENDAR.days if day < today]
    coming = [day for day in found if day >= today]
    assert len(coming) <= 8
    if any(begin <= today <= end - timedelta(days=8) for begin, end in CALENDAR.seasons.values()):
        assert coming == [today + timedelta(days=ahead) for ahead in range(8)]


@settings(max_examples=60, deadline=None)
@given(now=moments, zone=st.sampled_from([NEW_YORK, AUCKLAND, CAIRO]))
def test_a_pretended_clock_gives_the_partitions_of_the_real_one(now: datetime, zone: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "clock", lambda self: now)
        real = game_days(league(zone), CALENDAR, Settings(now=None)).get_partition_keys(current_time=now)
    assert keys(now, zone) == [date.fromisoformat(key) for key in real]


@pytest.mark.parametrize("zone", [NEW_YORK, AUCKLAND, CAIRO])
def test_no_day_is_lost_or_doubled_where_clocks_are_turned(zone: str) -> None:
    begin, end = date(2023, 10, 24), date(2024, 5, 10)
    every_day = season(begin, end, 1)
    calendar = Calendar(every_day, {2024: (begin, end)})
    assert keys(noon(date(2024, 9, 1)), zone, calendar) == list(every_day)


def test_a_game_day_begins_and_ends_at_midnight_in_the_leagues_zone() -> None:
    at_home = datetime(2023, 11, 21, 4, 59, tzinfo=UTC)  # 23:59 of the 20th there
    assert max(keys(at_home)) == date(2023, 11, 27)
    assert max(keys(at_home + timedelta(minutes=1))) == date(2023, 11, 28)


def test_a_game_put_off_to_a_day_without_games_has_a_partition_already() -> None:
    now = noon(date(2024, 3, 1))
    put_off = date(2024, 3, 5)
    assert put_off not in CALENDAR.days
    assert put_off in keys(now)


def test_a_game_put_off_past_the_seasons_end_has_a_partition() -> None:
    assert date(2024, 6, 24) in keys(noon(date(2024, 6, 18)))


def test_a_day_that_became_a_game_day_is_a_partition_after_the_reload() -> None:
    later, new = noon(date(2024, 3, 20)), date(2024, 3, 5)
    assert new not in keys(later)
    days = tuple(sorted({*CALENDAR.days, new}))
    assert new in keys(later, calendar=Calendar(days, CALENDAR.seasons))


def test_in_summer_the_next_partitions_are_the_first_days_of_the_next_season() -> None:
    found = [day for day in keys(noon(date(2024, 8, 15))) if day > date(2024, 8, 15)]
    assert found[0] == SECOND[0]
    assert len(found) == 8


def test_after_the_last_known_season_there_are_its_game_days_only() -> None:
    assert keys(noon(date(2025, 9, 1))) == list(CALENDAR.days)


def test_before_the_first_season_there_is_none() -> None:
    assert keys(noon(date(2023, 8, 1))) == []


def test_seasons_before_the_first_one_have_no_partitions() -> None:
    older = season(date(1998, 11, 1), date(1999, 6, 1), 2)
    calendar = Calendar((*older, *CALENDAR.days), {1999: (older[0], older[-1]), **CALENDAR.seasons})
    assert keys(noon(date(2025, 9, 1)), calendar=calendar) == list(CALENDAR.days)


def test_without_a_calendar_every_day_since_the_first_season_has_a_partition() -> None:
    found = keys(noon(date(2023, 7, 10)), calendar=None)
    assert found == list(season(date(2023, 7, 1), date(2023, 7, 17), 1))


@pytest.mark.parametrize(
    ("starts", "expected"), [("07-01", date(2023, 7, 1)), ("01-01", date(2024, 1, 1)), ("10-01", date(2023, 10, 1))]
)
def test_without_a_calendar_the_first_day_is_where_seasons_turn(starts: str, expected: date) -> None:
    assert first_day(league(season_starts=starts), None) == expected


def test_a_first_season_that_is_not_known_yet_begins_where_seasons_turn() -> None:
    assert first_day(league(first_season=2030), CALENDAR) == date(2029, 7, 1)


def test_all_tables_of_a_league_share_equal_partitions() -> None:
    """Dagster refuses a range over assets whose definitions differ, even in one field."""
    now = Settings(now=noon(date(2024, 3, 1)))
    one, other = game_days(league(), CALENDAR, now), game_days(league(), CALENDAR, now)
    assert one == other
    assert hash(one) == hash(other)
