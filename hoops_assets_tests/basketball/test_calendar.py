"""Game days: a past day without games is none, a coming day may become one until its season has ended."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.basketball.calendar import (
    POSTPONED_SLACK,
    Calendar,
    calendar_of,
    days_by_season,
    excluded_days,
    last_known_day,
)

AUTUMN = date(2023, 10, 1)


def day(number: int) -> date:
    return AUTUMN + timedelta(days=number)


def calendar(*seasons: set[int]) -> Calendar:
    """Seasons 2024, 2025, ... by the numbers of their game days."""
    spans = {2024 + i: (day(min(own)), day(max(own))) for i, own in enumerate(seasons)}
    return Calendar(tuple(sorted(day(number) for own in seasons for number in own)), spans)


def between(low: int, high: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(low, high), min_size=1, max_size=20)


calendars = st.builds(calendar, between(0, 60), between(100, 160))
todays = st.integers(-30, 250)


def test_the_calendar_of_games_has_each_day_once_and_the_ends_of_seasons() -> None:
    games = pd.DataFrame({"day": [day(9), day(2), day(2), day(40)], "season": [2024, 2024, 2024, 2025]})
    assert calendar_of(games) == Calendar((day(2), day(9), day(40)), {2024: (day(2), day(9)), 2025: (day(40), day(40))})


@given(calendar=calendars, today=todays)
def test_a_game_day_is_never_excluded(calendar: Calendar, today: int) -> None:
    excluded = excluded_days(calendar, day(-5), last_known_day(calendar), day(today))
    assert not set(excluded) & set(calendar.days)
    assert excluded == sorted(set(excluded))


@given(calendar=calendars, today=todays)
def test_a_past_day_without_games_is_always_excluded(calendar: Calendar, today: int) -> None:
    last = last_known_day(calendar)
    excluded = set(excluded_days(calendar, day(-5), last, day(today)))
    past = {day(number) for number in range(-5, today)} - set(calendar.days)
    assert {one for one in past if one <= last} <= excluded


@given(calendar=calendars, today=todays)
def test_no_day_from_today_to_the_end_of_the_season_in_progress_is_excluded(calendar: Calendar, today: int) -> None:
    """So that a postponed game finds its partition, also some days after the last fixture."""
    last = last_known_day(calendar)
    excluded = set(excluded_days(calendar, day(-5), last, day(today)))
    for begin, end in calendar.seasons.values():
        if begin <= day(today) <= end + POSTPONED_SLACK:
            remaining = (end + POSTPONED_SLACK - day(today)).days
            assert not {day(today + ahead) for ahead in range(remaining + 1)} & excluded


@given(calendar=calendars)
def test_when_all_is_over_exactly_the_game_days_remain(calendar: Calendar) -> None:
    last = last_known_day(calendar)
    excluded = set(excluded_days(calendar, day(-5), last, last + timedelta(days=1)))
    everything = {day(-5) + timedelta(days=number) for number in range((last - day(-5)).days + 1)}
    assert everything - excluded == set(calendar.days)


def test_the_summer_between_two_known_seasons_is_excluded() -> None:
    both = calendar({0, 10}, {100, 110})
    excluded = excluded_days(both, day(0), last_known_day(both), day(40))
    assert day(40) in excluded
    assert day(99) in excluded
    assert day(101) not in excluded


@given(calendar=calendars, numbers=st.sets(st.integers(-20, 200)).map(sorted))
def test_every_day_belongs_to_one_season_in_order(calendar: Calendar, numbers: list[int]) -> None:
    days = [day(number) for number in numbers]
    spans = days_by_season(calendar, days)
    assert [one for _, own in spans for one in own] == days
    assert [season for season, _ in spans] == sorted({season for season, _ in spans})
    for season, own in spans:
        begin, _ = calendar.seasons[season]
        assert season == 2024 or own[0] >= begin
        if season == 2024:
            assert own[-1] < calendar.seasons[2025][0]


def test_days_without_games_alone_belong_to_the_season_before_them() -> None:
    both = calendar({0, 10}, {100, 110})
    assert days_by_season(both, [day(40), day(41)]) == [(2024, [day(40), day(41)])]
    assert days_by_season(both, []) == []
