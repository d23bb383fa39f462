"""When a league's customers ask most: around its games.

What belongs here: nights made from the list of fixtures, and what they cost beside flat capacity, in instance hours.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from hoops_assets.services.prediction.contract import Night

BEFORE, AFTER = timedelta(hours=1), timedelta(hours=4)
"""Capacity stands from so long before a tip-off, which is when a new instance must be warm, until so long after it."""

EVENING = (time(17), time(23, 30))
"""Local time of a game day whose games have no tip-off time."""


def nights(fixtures: pd.DataFrame, zone: ZoneInfo, now: datetime, least: int, most: int) -> list[Night]:
    """The nights that have not ended, ascending; those that overlap are one.

    Args:
        fixtures: columns day, tip_off (UTC, NaT when unknown).
        now: aware. least, most: workers on such a night.
    """
    spans: list[tuple[datetime, datetime]] = []
    for day, tip_off in fixtures[["day", "tip_off"]].itertuples(index=False, name=None):
        if pd.isna(tip_off):
            spans.append((datetime.combine(day, EVENING[0], zone), datetime.combine(day, EVENING[1], zone)))
        else:
            spans.append((tip_off.to_pydatetime() - BEFORE, tip_off.to_pydatetime() + AFTER))
    found: list[Night] = []
    for begin, end in sorted((begin.astimezone(UTC), end.astimezone(UTC)) for begin, end in spans):
        if end <= now:
            continue
        if found and begin <= found[-1].end:
            last = found[-1]
            found[-1] = last.model_copy(update={"end": max(last.end, end), "games": last.games + 1})
        else:
            found.append(Night(begin=begin, end=end, least=least, most=most, games=1))
    return found


def instance_hours(planned: Iterable[Night], first: datetime, last: datetime, base: int) -> dict[str, Any]:
    """What a plan needs at least from `first` to `last`, beside the capacity of a night all the time.

    Args:
        base: instances outside the nights.

    Returns:
        {"hours", "planned", "flat", "saved"}: hours of the span, instance hours, and the share that is saved.
    """
    hours = (last - first).total_seconds() / 3600
    inside = [
        (max(0.0, (min(night.end, last) - max(night.begin, first)).total_seconds()) / 3600, night.least)
        for night in planned
    ]
    peak = max([base, *(least for _, least in inside)])
    needed = base * hours + sum((max(least, base) - base) * span for span, least in inside)
    flat = peak * hours
    return {"hours": hours, "planned": needed, "flat": flat, "saved": 1 - needed / flat if flat else 0.0}
