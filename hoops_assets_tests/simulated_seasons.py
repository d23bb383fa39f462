"""Two simulated seasons of a league, lived through once with automation and once without: notice, train, try, swap.

What belongs here: the platform's own pure functions, one after the other, day by day, without Dagster: the split, the
learners and their choice, `workloads.drift.judge`, the rule of reaction, the gate's figures and the sequential verdict. A
seed makes a league with five seasons behind it; in the sixth something may happen; the seventh follows. The model that
serves when the sixth begins is the same in both lives.

Daily looks are taken at once where their answer cannot differ: a sequential test names the first day on which it would
have alarmed, and a trial the look at which it would have ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.basketball.training_set import HeldOut, training_set
from hoops_assets.judging import drift
from hoops_assets.judging.comparison import paired_difference
from hoops_assets.judging.scoring import brier_scores, calibration_error, calibration_error_by_luck, log_losses
from hoops_assets.judging.sequential import DEFAULT, decisions, expected
from hoops_assets.judging.walkforward import fit, probabilities
from hoops_assets.services.monitoring.reaction import PREFIX, Ask, Asked, decide, standing
from hoops_assets.services.prediction.gate import CALIBRATION_TOLERANCE
from hoops_assets.services.prediction.gate import SEASONS as GATE_SEASONS
from hoops_assets.settings import Reaction, RetrainSignal
from hoops_assets.sources.simulated import MARGIN_SD, STRENGTH_SD, SimulatedGames
from hoops_assets.store.alarms import Alarm
from hoops_assets.workloads import drift as watch
from hoops_assets.workloads.evaluate import evaluate_training_set, league_features

FIRST, SHOCKED, FOLLOWING = 2016, 2021, 2022
"""Seasons: the first that exists, the one in which something happens, and the one after."""

TEAMS, MEETINGS, GAME_DAYS = 16, 4, 150
"""About 500 games a season."""

HOME_ADVANTAGE = 3.0
SEASON_BEGINS, MID_SEASON = date(2020, 10, 1), date(2021, 1, 25)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """What happens in the sixth season.

    Attributes:
        home_advantage: points from `since` on; None: nothing.
        newcomers: mean strength in points of two teams that join with the sixth season; None: nobody joins.
    """

    name: str
    home_advantage: float | None = None
    since: date = SEASON_BEGINS
    newcomers: float | None = None

    def league(self, seed: int) -> League:
        codes = [f"T{number:02d}" for number in range(TEAMS)]
        shocks = (
            [{"date": self.since, "home_advantage": self.home_advantage}] if self.home_advantage is not None else []
        )
        games: dict[str, Any] = {
            "kind": "simulated", "seed": seed, "simulated_from": FIRST, "regular_from": "10-14", "regular_to": "05-10",
            "meetings": MEETINGS, "game_days": GAME_DAYS, "home_advantage": HOME_ADVANTAGE, "published_days": 180,
            "shocks": shocks,
        }  # fmt: skip
        teams: dict[str, dict[str, Any]] = {code: {"name": code} for code in codes}
        if self.newcomers is not None:
            games["promoted"] = self.newcomers
            teams |= {code: {"name": code, "until": SHOCKED - 1} for code in codes[:2]}
            teams |= {code: {"name": code, "since": SHOCKED} for code in ("NEW", "TWO")}
        return League.model_validate({
            "name": "simulated", "time_zone": "America/New_York", "first_season": FIRST, "season_starts": "07-01",
            "sources": {"games": games}, "home_rules": {"neutral_stages": ["final"]}, "elo": {"home_advantage": 80},
            "teams": teams,
        })  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A version: a fitted learner, and the last day it was fitted on. `games`: of its training set."""

    learner: str
    fitted: Any
    trained_through: date
    games: int

    def forecast(self, rows: pd.DataFrame) -> Floats:
        return probabilities(self.fitted, rows[list(FEATURES)])


def train(
    features: pd.DataFrame, played: pd.DataFrame, learners: tuple[str, ...], held_out: HeldOut = "games"
) -> tuple[Model, pd.DataFrame]:
    """The challenger of one training and its training set, as the job makes them."""
    frame = training_set(features, played, held_out)
    first, validation = (frame[frame["split"] == split] for split in ("train", "validation"))

    def fitted(learner: str, rows: pd.DataFrame) -> Any:
        return fit(learner, LEARNERS[learner], rows[list(FEATURES)], rows["home_win"])

    losses = {
        learner: log_losses(
            probabilities(fitted(learner, first), validation[list(FEATURES)]), validation["home_win"]
        ).mean()
        for learner in learners
    }
    best = min(losses, key=lambda learner: losses[learner])
    both = frame[frame["split"] != "test"]
    return Model(best, fitted(best, both), both["day"].max(), len(frame)), frame


def passes_gate(candidate: Model, champion: Model, frame: pd.DataFrame) -> bool:
    """The two conditions of the gate that can differ here: calibrated, and compared with the champion's learner."""
    held_out = frame[frame["split"] == "test"]
    p = candidate.forecast(held_out)
    limits = [calibration_error_by_luck(p) + CALIBRATION_TOLERANCE]
    limits.append(calibration_error(champion.forecast(held_out), held_out["home_win"]))
    if calibration_error(p, held_out["home_win"]) > max(limits):
        return False
    if candidate.learner == champion.learner:
        return True
    own, other = (evaluate_training_set(frame, model.learner, {}, last=GATE_SEASONS) for model in (candidate, champion))
    loss, against = (brier_scores(one["probability"], own["home_win"]) for one in (own, other))
    return paired_difference(loss, against, own["day"]).mean <= DEFAULT.margin


@dataclass(frozen=True)
class Trial:
    """A canary beside its champion: which way it ends and on which day; `games` it took.

    Attributes:
        foreseen: games that it should take on average, said before it begins, from the games held out.
    """

    canary: Model
    choice: str
    games: int
    ends: date | None
    foreseen: float


def try_out(canary: Model, champion: Model, coming: pd.DataFrame, frame: pd.DataFrame) -> Trial:
    """A look after every day of `coming`; a trial that the games do not decide has no end."""
    won = coming["home_win"].to_numpy(dtype=bool)
    gains = brier_scores(champion.forecast(coming), won) - brier_scores(canary.forecast(coming), won)
    days = coming.groupby("day", sort=True).size()
    looks = days.cumsum().astype(int).tolist()
    held_out = frame[frame["split"] == "test"]
    known = held_out["home_win"].to_numpy(dtype=bool)
    past = brier_scores(champion.forecast(held_out), known) - brier_scores(canary.forecast(held_out), known)
    choices, games = decisions(gains[None, :], looks, DEFAULT)
    choice, count = str(choices[0]), int(games[0])
    ends = None if choice == "wait" else days.index[int(np.searchsorted(looks, count))]
    return Trial(canary, choice, count, ends, expected(past, DEFAULT, seasons=200, each=7).games)


@dataclass
class Life:
    """What became of one league: games and losses by life, and when what happened.

    Attributes:
        games: of both seasons, with `on` and `off`, the log loss with and without automation.
        learner: of the model that serves when the sixth season begins.
        edges: red edges in their order, as (day, signal).
    """

    world: World
    seed: int
    games: pd.DataFrame
    learner: str
    edges: list[tuple[date, str]] = field(default_factory=list)
    trained: list[date] = field(default_factory=list)
    refused: int = 0
    trials: list[Trial] = field(default_factory=list)

    def since_shock(self, day: date) -> int:
        """Games from the shock through a day."""
        return int(((self.games["day"] <= day) & (self.games["day"] >= self.world.since)).sum())

    @property
    def swapped(self) -> list[date]:
        return [one.ends for one in self.trials if one.choice == "roll_out" and one.ends]

    def gain(self, season: int) -> float:
        """Mean log loss saved by automation over a season."""
        own = self.games[self.games["season"] == season]
        return float((own["off"] - own["on"]).mean())

    def alarmed(self, season: int, signals: tuple[str, ...]) -> list[tuple[date, str]]:
        days = set(self.games.loc[self.games["season"] == season, "day"])
        return [(day, signal) for day, signal in self.edges if day in days and signal in signals]


def features_of(world: World, seed: int) -> pd.DataFrame:
    """Every game through FOLLOWING with features, scores and label, in order of time."""
    league = world.league(seed)
    games = SimulatedGames(league).read(datetime(FOLLOWING, 7, 1, tzinfo=UTC)).games
    games = games[games["season"] <= FOLLOWING].reset_index(drop=True)
    rows = league_features(league, games)
    scores = games.set_index("game_id")[["home_score", "away_score"]].reindex(rows["game_id"])
    rows = rows.assign(**{str(name): scores[name].to_numpy(dtype="int64") for name in scores}).drop(columns="posts")
    return rows.sort_values(["day", "game_id"], kind="stable", ignore_index=True)


def live(
    world: World,
    seed: int,
    rule: Reaction | None = None,
    learners: tuple[str, ...] = tuple(LEARNERS),
    rows: pd.DataFrame | None = None,
) -> Life:
    """Both lives of one league; `rows`: its `features_of`, if they are known already."""
    rows = features_of(world, seed) if rows is None else rows
    return _Lived(world, seed, rule or Reaction(), learners, rows).life


class _Lived:
    def __init__(self, world: World, seed: int, rule: Reaction, learners: tuple[str, ...], rows: pd.DataFrame) -> None:
        self.rows, self.rule, self.learners = rows, rule, learners
        self.played = self.rows["season"] >= SHOCKED
        first = self._train(SEASON_BEGINS, "seasons")[0]  # by hand, before the season
        self.champion, self.came_after_alarm = first, False
        self.trial: Trial | None = None
        self.waiting: tuple[Model, pd.DataFrame] | None = None
        self.known, self.edges, self.asked = first.games, list[Alarm](), list[Asked]()
        self.red: dict[str, bool] = {}
        self.watched: tuple[Any, dict[str, date]] = (None, {})
        own = self.rows[self.played]
        self.probability = pd.Series(index=own.index, dtype="float64")
        self.forecasts: dict[int, pd.Series] = {}
        self.life = Life(world, seed, own[["season", "day", "home_win"]].copy(), first.learner)
        self.of_day: dict[Any, pd.Index] = {
            day: own.index[places] for day, places in own.groupby("day").indices.items()
        }
        for day in sorted(self.of_day):
            self._day(day)
        won = own["home_win"].to_numpy(dtype=bool)
        self.life.games["on"] = log_losses(self.probability.to_numpy(), won)
        self.life.games["off"] = log_losses(self._forecast(first).to_numpy(), won)

    def _forecast(self, model: Model) -> pd.Series:
        """Of every game of both seasons; asked for once, since a version's forecast of a game never changes."""
        if id(model) not in self.forecasts:
            own = self.rows[self.played]
            self.forecasts[id(model)] = pd.Series(model.forecast(own), index=own.index)
        return self.forecasts[id(model)]

    def _train(self, before: date, held_out: HeldOut = "games") -> tuple[Model, pd.DataFrame]:
        """From all games before a day."""
        past = self.rows[self.rows["day"] < before]
        return train(past[[*_FEATURE_COLUMNS]], past[["game_id", "home_score", "away_score"]], self.learners, held_out)

    def _day(self, day: date) -> None:
        today = self.rows.loc[self.of_day[day]]
        self.probability.loc[today.index] = self._forecast(self.champion)[today.index]
        if self.trial and self.trial.ends == day:
            if self.trial.choice == "roll_out":
                self.champion, self.came_after_alarm = self.trial.canary, True
            self.trial = None
        self._look(day, int(today["season"].iloc[0]))
        self._react(day)
        self._next_trial(day)

    def _look(self, day: date, season: int) -> None:
        """Edges of the alarms on the evening of a day."""
        begins = self.rows.loc[self.rows["season"] == season, "day"].min()
        trained = self.champion.trained_through
        watch_from = trained + timedelta(days=1) if self.came_after_alarm and trained >= begins else None
        asked = (season, watch_from, trained)
        if self.watched[0] != asked:
            self.watched = (asked, dict(self._alarms(season, watch_from, trained)))
        for signal in get_args(RetrainSignal):
            alarmed = self.watched[1].get(signal)
            red = alarmed is not None and alarmed <= day
            if red != self.red.get(signal, False):
                self.red[signal] = red
                name = PREFIX + signal
                self.edges.append(Alarm("simulated", name, "red" if red else "green", "", id=len(self.edges) + 1))
                if red:
                    self.life.edges.append((day, signal))

    def _alarms(self, season: int, watch_from: date | None, trained: date) -> Iterator[tuple[str, date]]:
        of_season = self.rows[self.rows["season"] <= season]
        spec = watch.DriftSpec(
            league="simulated", season=season, through=of_season["day"].max(), watch_from=watch_from,
            trained_through=trained,
        )  # fmt: skip
        for one in watch.judge(spec, {watch.GAMES: of_season}).signals:
            if one.alarmed is not None:
                yield one.name, one.alarmed

    def _react(self, day: date) -> None:
        found = standing(self.edges, self.asked, self.rule)
        if not found.pending:
            return
        games = int(np.searchsorted(self.rows["day"].to_numpy(), day, side="right")) - self.known  # pyright: ignore
        due = decide(found.pending, self.asked, games, day, self.rule)
        if isinstance(due, Ask):
            self.waiting = self._train(day + timedelta(days=1))
            self.known = self.waiting[0].games
            self.life.trained.append(day)
            ids = frozenset(edge.id for edge in due.edges if edge.id)
            self.asked.append(Asked(ids, day, "succeeded"))

    def _next_trial(self, day: date) -> None:
        if self.trial or self.waiting is None:
            return
        coming = self.rows[self.rows["day"] > day]
        if coming.empty:
            return
        (challenger, frame), self.waiting = self.waiting, None
        if not passes_gate(challenger, self.champion, frame):
            self.life.refused += 1
            return
        self.trial = try_out(challenger, self.champion, coming, frame)
        self.life.trials.append(self.trial)


_FEATURE_COLUMNS = ("game_id", "season", "day", *FEATURES)


def true_shift(world: World) -> float:
    """By how many standard deviations of a game's outcome the home side wins more often than before.

    Home margins are Normal(difference of strengths + home advantage, MARGIN_SD); strengths Normal(0, STRENGTH_SD).
    """
    if world.home_advantage is None:
        return 0.0
    difference = np.random.default_rng(0).normal(0, STRENGTH_SD * np.sqrt(2), 100_000)
    before, now = (norm.cdf((difference + points) / MARGIN_SD) for points in (HOME_ADVANTAGE, world.home_advantage))
    return float((now - before).mean() / np.sqrt((before * (1 - before)).mean()))


def foreseen_alarm(shift: float, *, past: int, before: int, after: int, seasons: int = 1000, seed: int = 0) -> Floats:
    """Games from the shift until the test of residuals alarms, by its own power: [seasons], infinite where it never does.

    Args:
        shift: in standard deviations of one game. past: games that the reference was fitted on.
        before, after: games of the season before and after the shift.
    """
    draw = np.random.default_rng(seed)
    moved = np.where(np.arange(before + after) < before, 0.0, shift)
    error = draw.normal(0, past**-0.5, (seasons, 1))
    total = np.cumsum(moved + draw.normal(size=(seasons, before + after)) + error, axis=1)
    ends = np.unique(np.linspace(0, before + after, GAME_DAYS + 1).astype(int)[1:]) - 1
    variance = np.broadcast_to(np.arange(1.0, before + after + 1), total.shape)
    slack = 1 / past + drift.TOLERANCE**2
    reached = drift.shift_evidence(total[:, ends], variance[:, ends], slack) >= np.log(1 / drift.ALPHA)
    return np.where(reached.any(axis=1), ends[reached.argmax(axis=1)] + 1.0 - before, np.inf)
