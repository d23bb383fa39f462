"""Game days as Dagster partitions: one definition per league, the same for every day-partitioned asset.

What belongs here: the translation of a league's calendar into a `DailyPartitionsDefinition`.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import dagster as dg

from hoops_assets.basketball.calendar import Calendar, excluded_days, last_known_day
from hoops_assets.basketball.league import League
from hoops_assets.settings import Settings


def first_day(league: League, calendar: Calendar | None) -> date:
    """The first day with a partition: the first game day of the league's `first_season`."""
    if calendar and (
        known := [begin for season, (begin, _) in calendar.seasons.items() if season >= league.first_season]
    ):
        return min(known)
    month, day = map(int, league.season_starts.split("-"))
    year = league.first_season if league.season_starts == "01-01" else league.first_season - 1
    return date(year, month, day)


def game_days(league: League, calendar: Calendar | None, settings: Settings) -> dg.DailyPartitionsDefinition:
    """The partitions of a league: its game days, and every day ahead within `upcoming_days` that may become one.

    Before the first ingestion there is no calendar and every day since the first season has a partition.
    """
    today = settings.clock().astimezone(league.zone).date()
    start = first_day(league, calendar)
    if calendar is None:
        return dg.DailyPartitionsDefinition(
            start_date=start.isoformat(),
            timezone=league.time_zone,
            end_offset=1 + settings.upcoming_days,
            end_date=_rehearsal_end(settings, today, []),
        )
    end = max(last_known_day(calendar), start)
    excluded = excluded_days(calendar, start, end, today)
    over = end < today
    rehearsal = _rehearsal_end(settings, today, excluded)
    ends = [day for day in (_midnight_after(end) if over or settings.now else None, rehearsal) if day]
    return dg.DailyPartitionsDefinition(
        start_date=start.isoformat(),
        end_date=min(ends) if ends else None,
        timezone=league.time_zone,
        end_offset=1 + settings.upcoming_days,
        exclusions=[datetime.combine(day, time()) for day in excluded],
    )


def _midnight_after(day: date) -> str:
    return (day + timedelta(days=1)).isoformat()


def _rehearsal_end(settings: Settings, today: date, excluded: list[date]) -> str | None:
    """Where the partitions end when the clock is pretended: Dagster itself knows only the real one."""
    if settings.now is None:
        return None
    day, left, out = today, settings.upcoming_days, set(excluded)
    while left:
        day += timedelta(days=1)
        left -= (day not in out) or (day - today).days > 400
    return _midnight_after(day)
