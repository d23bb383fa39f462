"""How posts get from a source into the table `fan_posts`: through the buffer, batch by batch, nothing lost uncounted.

What belongs here: the order of offering, storing and committing, and what becomes of a post that the table has already.
A post once stored stays as it came, with the moment it came in: texts edited or deleted later change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from hoops_assets.basketball.games import season_of
from hoops_assets.basketball.league import League
from hoops_assets.basketball.sentiment import post_days
from hoops_assets.store.atomic import write_text
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.post_buffer import BufferMetrics, PostBuffer, draw, metrics_text
from hoops_assets.store.schemas import TABLES

TABLE = "fan_posts"
KEY = list(TABLES[TABLE].key)

_OFFERED_AT_ONCE = 10_000
_LABELS_MOVE = timedelta(days=30)
"""So far the game day of a stored post may lie from where it would be put today, after a change of the calendar."""
_BEFORE_FIRST = timedelta(days=7)


@dataclass
class Intake:
    """What became of the posts that a run took out of the buffer.

    Always taken = stored + known + thinned.

    Attributes:
        taken: posts read from the buffer and committed.
        stored: of these, posts new to the table; `by_day` counts them by game day.
        known: of these, posts that the table had already.
        thinned: of these, posts for which a stored sample of their team and day stands already.
        late: of those stored, posts of a day whose games had been forecast and have begun.
    """

    taken: int = 0
    stored: int = 0
    known: int = 0
    thinned: int = 0
    late: int = 0
    by_day: dict[date, int] = field(default_factory=dict)


class FanPosts:
    """The table `fan_posts` of one league, and the buffer before it.

    Args:
        days: the game days of the league's partitions.
        now: when what is read now came in.
        note: stands in the table's history.
    """

    def __init__(
        self,
        store: DeltaStore,
        buffer: PostBuffer,
        league: League,
        days: Sequence[date],
        now: datetime,
        note: dict[str, str] | None = None,
    ) -> None:
        self._store, self._buffer, self._league, self._now, self._note = store, buffer, league, now, note
        self._days = sorted(days)

    def take_in(self, parts: Iterable[pd.DataFrame], first: date, last: date) -> Intake:
        """Takes posts through the buffer into the table, and with them whatever stood in the buffer before.

        With the policy `wait` the buffer is emptied into the table whenever it is full, with `sample` once all was
        offered. What was offered is on disk before it is stored, and leaves the buffer when it stands in the table: a
        kill at any moment loses no post, and the next run stores none twice.

        Args:
            parts: frames with columns POSTS; what a source has of [first, last].
            first, last: the days that the run owns, from the day after the game day before; rewritten in one commit
                unless the buffer filled up on the way.
        """
        intake = Intake()
        for part in _pieces(parts):
            taken = self._buffer.offer(part)
            while taken < len(part):
                self._store_batch(intake)
                taken += self._buffer.offer(part.iloc[taken:])
        while self._buffer.metrics().depth > self._buffer.high_water_posts:
            self._store_batch(intake)
        self._store_batch(intake, (first, last))
        return intake

    def _store_batch(self, intake: Intake, own: tuple[date, date] | None = None) -> None:
        batch = self._buffer.read(self._buffer.high_water_posts)
        posts = self._placed(batch.posts)
        inside = np.array([own is not None and own[0] <= day <= own[1] for day in posts["day"]], dtype=bool)
        for _, rows in posts[~inside].groupby("season"):
            self._merge(rows, min(rows["day"]), max(rows["day"]), intake)
        if own is not None:
            self._merge(posts[inside], *own, intake)
        self._buffer.commit(batch)
        intake.taken += len(posts)

    def _placed(self, posts: pd.DataFrame) -> pd.DataFrame:
        """With `day`, `season` and `ingested_at`; a post of no known game day has its own day in league time, until the
        game day that it belongs to is known and materialised."""
        posts = posts.fillna(dict.fromkeys(("team", "author", "text", "source"), ""))
        own = posts["created_at"].dt.tz_convert(self._league.zone).dt.date
        day = post_days(posts["created_at"], self._days, self._league.zone)
        nowhere = day.isna()
        if self._days:
            nowhere |= own < self._days[0] - _BEFORE_FIRST
        day = day.mask(nowhere, own)
        season = day.map({one: season_of(one, self._league.season_starts) for one in day.unique()})
        placed = posts.assign(day=day, season=season, ingested_at=pd.Timestamp(self._now))
        spec = TABLES[TABLE]
        return placed.astype({name: kind for name, kind in spec.columns.items() if name != "day"})[list(spec.columns)]

    def _merge(self, rows: pd.DataFrame, first: date, last: date, intake: Intake) -> None:
        """Adds rows of the days [first, last] to the table and tells what became of them."""
        name = self._league.name
        stored = self._store.read(name, TABLE, first=first, last=last)
        stored = self._moved(stored, first, last)
        around = [
            self._store.read(name, TABLE, first=last + timedelta(days=1), last=last + _LABELS_MOVE, columns=KEY),
            self._store.read(name, TABLE, first=first - _LABELS_MOVE, before=first, columns=KEY),
        ]
        has = pd.MultiIndex.from_frame(pd.concat([stored[KEY], *around]).astype(object))
        new = rows[~pd.MultiIndex.from_frame(rows[KEY]).isin(has)].drop_duplicates(KEY)
        kept = as_sampled(new, stored)
        intake.known += len(rows) - len(new)
        intake.thinned += len(new) - len(kept)
        intake.stored += len(kept)
        intake.late += int(kept["day"].isin(self._settled).sum())
        for day, count in kept["day"].value_counts().items():
            intake.by_day[day] = intake.by_day.get(day, 0) + int(count)  # type: ignore[index,arg-type]
        parts = [part for part in (stored, kept) if len(part)]
        table = pd.concat(parts, ignore_index=True) if parts else TABLES[TABLE].empty()
        table = table.sort_values(["day", *KEY], kind="stable", ignore_index=True)
        self._store.overwrite(name, TABLE, table, first=first, last=last, note=self._note)

    def _moved(self, stored: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
        """Stored posts with the game day that they belong to as the calendar is now, if it is one of these days."""
        if stored.empty:
            return stored
        now = self._placed(stored)
        stays = np.array([not first <= day <= last for day in now["day"]], dtype=bool)
        return stored.assign(
            day=now["day"].mask(stays, stored["day"]), season=now["season"].mask(stays, stored["season"])
        )

    @cached_property
    def _settled(self) -> set[date]:
        """Past days whose games were forecast before they began."""
        today = pd.Timestamp(self._now).tz_convert(self._league.zone).date()
        made = self._store.read(self._league.name, "predictions", before=today, columns=["day", "backfilled"])
        return set(made.loc[~made["backfilled"], "day"])


def as_sampled(new: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Of new posts those that the stored sample of their team and day does not stand for.

    A sample of one in 2**L holds the posts whose `post_buffer.draw` is below 2**-L, of all that will ever be offered.
    Where such a sample of a team's day is stored, a new post is taken by the same rule and with the same weight; so
    sums of weights stay unbiased however often the same posts are offered again.

    Args:
        new, stored: columns of the table; `weight` is a power of 2.
    """
    levels = stored.groupby(["team", "day"])["weight"].max()
    sampled = levels[levels > 1]
    if new.empty or sampled.empty:
        return new
    keys = pd.MultiIndex.from_frame(new[["team", "day"]])
    weight = np.maximum(sampled.reindex(keys).fillna(1.0).to_numpy(), new["weight"].to_numpy())
    draws = np.array([draw(post_id) for post_id in new["post_id"]])
    return new.assign(weight=weight)[draws < 1 / weight]


def tell_metrics(home: Path, league: str, metrics: BufferMetrics) -> Path:
    """Writes the buffer's counts where a collector of metrics finds them, in the Prometheus text format.

    Returns:
        HOME/metrics/LEAGUE_post_buffer.prom, replaced whole.
    """
    path = home / "metrics" / f"{league}_post_buffer.prom"
    write_text(path, metrics_text(league, metrics))
    return path


def _pieces(parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for part in parts:
        for start in range(0, len(part), _OFFERED_AT_ONCE):
            yield part.iloc[start : start + _OFFERED_AT_ONCE]
