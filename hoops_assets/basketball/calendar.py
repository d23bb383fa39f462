"""Which days are game days: the pure arithmetic from games to the days that partitions are made of.

What belongs here: functions over dates. The calendar's file is in `store.calendar`, Dagster's partitions in `defs.partitions`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter

import pandas as pd

POSTPONED_SLACK = timedelta(days=14)
"""A postponed game may be played this long after a season's last fixture as it stands now."""


@dataclass(frozen=True)
class Calendar:
    """The game days of a league as its source knows them.

    Attributes:
        days: all days with at least one fixture, ascending.
        seasons: for each season its first and last game day.
    """

    days: tuple[date, ...]
    seasons: dict[int, tuple[date, date]]


def calendar_of(games: pd.DataFrame) -> Calendar:
    """The calendar of a frame of games (columns `day`, `season`)."""
    days = tuple(sorted(games["day"].unique()))
    spans = games.groupby("season")["day"].agg(["min", "max"])
    return Calendar(days, {int(season): (row["min"], row["max"]) for season, row in spans.iterrows()})  # type: ignore[arg-type]


def excluded_days(calendar: Calendar, first: date, last: date, today: date) -> list[date]:
    """Days in [first, last] that have no partition.

    Past days without games are excluded. From today to the end of the season in progress (with some slack) no day is
    excluded, so that a postponed game always finds its partition. Of the days after that only those before the next
    season's first fixture, or all where no further season is known, are excluded.
    """
    games = set(calendar.days)
    open_spans = [
        (max(begin, today), end + POSTPONED_SLACK)
        for begin, end in calendar.seasons.values()
        if end + POSTPONED_SLACK >= today
    ]
    out = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if day in games or any(begin <= day <= end for begin, end in open_spans):
            continue
        out.append(day)
    return out


def last_known_day(calendar: Calendar) -> date:
    """The last day for which a partition can exist: the last season's end with slack for postponed games."""
    return max(end for _, end in calendar.seasons.values()) + POSTPONED_SLACK


def days_by_season(calendar: Calendar, days: Sequence[date]) -> list[tuple[int, list[date]]]:
    """Ascending days, each once, under the season that it belongs to, in order of time.

    A day belongs to the season that began last; days before the first season belong to it, days without games after a
    season's last fixture belong to it until the next one begins.
    """
    starts = sorted((begin, season) for season, (begin, _) in calendar.seasons.items())

    def season_of(day: date) -> int:
        return starts[max(bisect_right(starts, day, key=itemgetter(0)) - 1, 0)][1]

    return [(season, list(own)) for season, own in groupby(days, key=season_of)]
