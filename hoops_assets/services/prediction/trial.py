"""What a canary has shown beside the champion, and which version should serve.

What belongs here: reading the record and the tables, and asking `judging.sequential`. Nothing here changes what serves.

Pairs are the games that both versions forecast before tip-off while the trial ran, on days of which every game is
settled: one look per such day. The canary's share of the traffic has no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from hoops_assets.basketball.league import League
from hoops_assets.judging import sequential
from hoops_assets.judging.sequential import DEFAULT, Rule, Verdict
from hoops_assets.services.registry.contract import Registry
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record

TRIAL_FROM = "trial_from"
"""Where a deployment's evidence says from when on forecasts count, which is not `at` if the clock is a pretended one."""

PAIRS = ["game_id", "day", "champion", "canary", "home_win", "gain"]


@dataclass(frozen=True)
class Serving:
    """What serves a league, by its roles, as recorded.

    Attributes:
        champion: the version that serves, alone or beside a canary; None if nothing does.
        canary: the version on trial, or None. share: its percent of the traffic.
        since: from when on the canary's forecasts count; aware.
    """

    champion: int | None = None
    canary: int | None = None
    share: int = 0
    since: datetime | None = None

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(one for one in (self.champion, self.canary) if one is not None)


def serving(record: Record, league: str) -> Serving:
    """Roles of the versions that serve: the one that came last is on trial, if another serves beside it."""
    rows = deployments.history(record, league)
    now = rows[-1].traffic if rows else {}
    if not now:
        return Serving()
    came: dict[int, tuple[int, datetime]] = {}
    before: set[int] = set()
    for number, row in enumerate(rows):
        began = datetime.fromisoformat(row.evidence[TRIAL_FROM]) if TRIAL_FROM in row.evidence else row.at
        came |= dict.fromkeys(set(row.traffic) - before, (number, began))
        before = set(row.traffic)
    newest_first = sorted(now, key=lambda version: (came[version][0], version), reverse=True)
    if len(newest_first) == 1:
        return Serving(newest_first[0])
    canary, *others = newest_first
    champion = max(others, key=lambda version: now[version])
    return Serving(champion, canary, now[canary], came[canary][1])


def to_forecast(record: Record, registry: Registry, league: str) -> list[int]:
    """Versions that forecast every fixture: champion and canary, or the challenger while nothing serves."""
    found = serving(record, league).versions
    if found:
        return sorted(found)
    challenger = registry.challenger(league)
    return [challenger.version] if challenger else []


def settled_pairs(store: DeltaStore, league: League, champion: int, canary: int, since: datetime) -> pd.DataFrame:
    """Games that both versions' models forecast before tip-off, on wholly settled days from the day of `since` (aware) on.

    Returns:
        Columns PAIRS in order of time; champion and canary are P(home win), gain is the canary's in Brier score.
    """
    first = since.astimezone(league.zone).date()
    scored = store.read(league.name, "scored_predictions", first=first)
    own = scored["version"].isin([champion, canary]) & (scored["degraded"] == "")
    live = scored[~scored["backfilled"] & own]
    wide = live.pivot(index=["day", "game_id", "home_win"], columns="version", values="brier")
    forecast = live.pivot(index=["day", "game_id", "home_win"], columns="version", values="home_win_probability")
    empty = pd.DataFrame(columns=PAIRS)
    if champion not in wide or canary not in wide:
        return empty
    pairs = pd.DataFrame(
        {"champion": forecast[champion], "canary": forecast[canary], "gain": wide[champion] - wide[canary]}
    )
    pairs = pairs.dropna().reset_index()
    return pairs[~pairs["day"].isin(_unsettled(store, league.name, first))].sort_values(["day", "game_id"])[PAIRS]


def _unsettled(store: DeltaStore, league: str, first: Any) -> set[Any]:
    games = store.read(league, "fixtures", first=first, columns=["game_id", "day"])
    settled = store.read(league, "results", first=first, columns=["game_id"])["game_id"]
    return set(games.loc[~games["game_id"].isin(settled), "day"])


def looks(pairs: pd.DataFrame) -> list[int]:
    """Numbers of pairs after each settled game day, ascending."""
    return pairs.groupby("day", sort=True).size().cumsum().astype(int).tolist() if len(pairs) else []


@dataclass(frozen=True)
class Trial:
    """A canary's trial and what the rule says of it now."""

    serving: Serving
    pairs: pd.DataFrame
    verdict: Verdict

    @property
    def days(self) -> Sequence[Any]:
        return sorted(self.pairs["day"].unique())

    def evidence(self) -> dict[str, Any]:
        """For the record; JSON."""
        return {
            "champion": self.serving.champion,
            "canary": self.serving.canary,
            "since": self.serving.since.isoformat() if self.serving.since else None,
            "through": str(self.days[-1]) if len(self.days) else None,
            **asdict(self.verdict),
        }


def trial(store: DeltaStore, record: Record, league: League, rule: Rule = DEFAULT) -> Trial | None:
    """The trial under way, judged; None while no canary serves beside a champion."""
    found = serving(record, league.name)
    if found.champion is None or found.canary is None or found.since is None:
        return None
    pairs = settled_pairs(store, league, found.champion, found.canary, found.since)
    return Trial(found, pairs, sequential.judge(pairs["gain"], looks(pairs), rule))
