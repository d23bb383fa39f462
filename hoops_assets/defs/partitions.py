"""Game days as Dagster partitions: one definition per league, the same for every day-partitioned asset.

What belongs here: the translation of a league's calendar into a `GameDays` definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import islice

import dagster as dg

from hoops_assets.basketball.calendar import Calendar, excluded_days, last_known_day
from hoops_assets.basketball.league import League
from hoops_assets.settings import Settings


class GameDays(dg.DailyPartitionsDefinition):
    """Daily partitions that remember their hash and the range last asked for.

    Dagster asks for the days of the run's range once per asset and day, and hashes the text of every exclusion each time:
    4 ms a day with ten seasons of exclusions, twice that with twenty.
    """

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    @cached_property
    def _last_range(self) -> dict[dg.PartitionKeyRange, Sequence[str]]:
        return {}

    def __hash__(self) -> int:
        return self._hash

    def get_partition_keys_in_range(self, partition_key_range: dg.PartitionKeyRange) -> Sequence[str]:
        if partition_key_range not in self._last_range:
            keys = super().get_partition_keys_in_range(partition_key_range)
            self._last_range.clear()
            self._last_range[partition_key_range] = keys
            return keys
        return self._last_range[partition_key_range]


def first_day(league: League, calendar: Calendar | None) -> date:
    """The first day with a partition: the first game day of the league's `first_season`."""
    if calendar and (
        known := [begin for season, (begin, _) in calendar.seasons.items() if season >= league.first_season]
    ):
        return min(known)
    month, day = map(int, league.season_starts.split("-"))
    year = league.first_season if league.season_starts == "01-01" else league.first_season - 1
    return date(year, month, day)


def game_days(league: League, calendar: Calendar | None, settings: Settings) -> GameDays:
    """The partitions of a league: its game days, and every day ahead within `upcoming_days` that may become one.

    Before the first ingestion there is no calendar and every day since the first season has a partition.
    """
    today = settings.clock().astimezone(league.zone).date()
    start = first_day(league, calendar)
    if calendar is None:
        return GameDays(
            start_date=start.isoformat(),
            timezone=league.time_zone,
            end_offset=1 + settings.upcoming_days,
            end_date=_rehearsal_end(settings, today, []),
        )
    end = max(last_known_day(calendar), start)
    excluded = excluded_days(calendar, start, end, today)
    ends = (_midnight_after(end), _rehearsal_end(settings, today, excluded))
    return GameDays(
        start_date=start.isoformat(),
        end_date=min(day for day in ends if day),
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
    out = set(excluded)
    ahead = (today + timedelta(days=offset) for offset in range(400))
    return _midnight_after(list(islice((day for day in ahead if day not in out), 1 + settings.upcoming_days))[-1])
