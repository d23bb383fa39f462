"""Which hyper-parameters did best: every version's forecasts of the same games that none was fitted on, paired.

What belongs here: which versions can be compared at all, and the ranking with its uncertainty. A bare maximum is no
answer: the best of many is the luckiest too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hoops_assets.errors import HoopsError
from hoops_assets.judging.paired import AgainstBest, against_best, losses
from hoops_assets.services.lineage.forecasts import Forecasts, read_forecasts
from hoops_assets.services.lineage.questions import Places

Score = Literal["log_loss", "brier"]

SHARED = 0.5
"""A version is compared if it was tested on at least this share of the games that the newest was tested on."""


@dataclass(frozen=True)
class Ranked:
    """One setting of learner and parameters, by its newest version.

    Attributes:
        parameters: as given to the learner; empty means its defaults.
        versions: all comparable versions of this setting; `version` is the newest, which is what is scored.
        loss: mean over the games.
        difference, low, high: paired, from the best; the intervals hold for all settings at once.
        verdict: best | cannot be told apart (from the best) | worse.
    """

    rank: int
    learner: str
    parameters: dict[str, Any]
    version: int
    versions: tuple[int, ...]
    loss: float
    difference: float
    low: float
    high: float
    verdict: Literal["best", "cannot be told apart", "worse"]


@dataclass(frozen=True)
class BestAnswer:
    """Settings from the lowest loss to the highest.

    Attributes:
        games, game_days, first_day, last_day: of the games that all were tested on and none was fitted on.
        not_compared: versions that were tested on other games.
        untested: versions without forecasts (imported from a spreadsheet).
    """

    league: str
    score: Score
    games: int
    game_days: int
    first_day: str
    last_day: str
    level: float
    ranking: tuple[Ranked, ...]
    not_compared: tuple[int, ...]
    untested: tuple[int, ...]
    notes: tuple[str, ...]


def ask_best(places: Places, league: str, score: Score = "log_loss", level: float = 0.95) -> BestAnswer:
    """Which hyper-parameters did best in a league?

    Raises:
        HoopsError: no version was tested, or a file is damaged.
    """
    if score not in get_args(Score):
        raise HoopsError(f"--score {score!r} is none of {', '.join(get_args(Score))}")
    forecasts = read_forecasts(places.registry, league)
    if not forecasts.versions:
        raise HoopsError(
            f"league {league} has no version with forecasts of games to compare; run: hoops train {league}"
        )
    rows, games = comparable(forecasts)
    settings = _by_setting(forecasts, rows)
    newest = [numbers[-1] for numbers in settings.values()]
    index = {one["version"]: row for row, one in enumerate(forecasts.versions)}
    days = np.array([game[:10] for game in forecasts.game_ids[games].tolist()])
    probability = forecasts.probability[[index[number] for number in newest]][:, games]
    outcome = against_best(losses(probability, forecasts.home_win[games], score), days, level)
    compared = {forecasts.versions[row]["version"] for row in rows}
    not_compared = tuple(one["version"] for one in forecasts.versions if one["version"] not in compared)
    return BestAnswer(
        league=league, score=score, games=outcome.games, game_days=outcome.clusters,
        first_day=str(days[0]), last_day=str(days[-1]), level=level,
        ranking=_ranking(forecasts, list(settings.values()), outcome),
        not_compared=not_compared, untested=forecasts.untested, notes=_notes(outcome, not_compared),
    )  # fmt: skip


def comparable(forecasts: Forecasts) -> tuple[list[int], NDArray[np.intp]]:
    """(rows of versions, places of games): versions that share SHARED of the newest's test games, and what all share."""
    tested = ~np.isnan(forecasts.probability)
    basis = tested[-1]
    rows = np.flatnonzero((tested & basis).sum(axis=1) >= SHARED * basis.sum())
    return rows.tolist(), np.flatnonzero(tested[rows].all(axis=0))


def _by_setting(forecasts: Forecasts, rows: list[int]) -> dict[str, list[int]]:
    """Numbers of the versions of each setting, ascending."""
    settings: dict[str, list[int]] = {}
    for row in rows:
        one = forecasts.versions[row]
        key = repr((one["learner"], sorted(one["parameters"].items())))
        settings.setdefault(key, []).append(one["version"])
    return settings


def _ranking(forecasts: Forecasts, settings: list[list[int]], outcome: AgainstBest) -> tuple[Ranked, ...]:
    summary = {one["version"]: one for one in forecasts.versions}
    ranked = []
    for rank, place in enumerate(np.argsort(outcome.mean_loss, kind="stable").tolist(), start=1):
        numbers = settings[place]
        one = summary[numbers[-1]]
        alike = "cannot be told apart" if outcome.as_good[place] else "worse"
        ranked.append(
            Ranked(
                rank=rank,
                learner=one["learner"],
                parameters=one["parameters"],
                version=numbers[-1],
                versions=tuple(numbers),
                loss=float(outcome.mean_loss[place]),
                difference=float(outcome.difference[place]),
                low=float(outcome.low[place]),
                high=float(outcome.high[place]),
                verdict="best" if place == outcome.best else alike,
            )
        )
    return tuple(ranked)


def _notes(outcome: AgainstBest, not_compared: tuple[int, ...]) -> tuple[str, ...]:
    alike = int(outcome.as_good.sum()) - 1
    notes = [
        "the best stands alone: every other setting is shown to be worse"
        if not alike
        else f"{alike} of {len(outcome.mean_loss) - 1} others cannot be told apart from the best on these"
        f" {outcome.games} games"
    ]
    if not_compared:
        notes.append(f"{len(not_compared)} versions were tested on other games and are not compared")
    return tuple(notes)
