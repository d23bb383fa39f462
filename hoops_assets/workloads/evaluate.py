"""Judging learners on a league by walk-forward: every game is forecast only from earlier ones.

What belongs here: the way from a league's games (or its training set) to forecasts and their report. The loop and the
scores are in `judging`, the features in `basketball`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES, game_features
from hoops_assets.basketball.form import extend_form
from hoops_assets.basketball.game_ratings import game_ratings
from hoops_assets.basketball.games import fixtures
from hoops_assets.basketball.league import League
from hoops_assets.basketball.sentiment import basketball_scorer, team_sentiment
from hoops_assets.errors import ModelError
from hoops_assets.judging.scoring import log_losses
from hoops_assets.judging.walkforward import MIN_TRAINING_ROWS, Progress, report, walk_forward
from hoops_assets.workloads.evaluation import Evaluation

ELO = "elo"
_ORDER = {"train": 0, "validation": 1, "test": 2}


def evaluate_training_set(frame: pd.DataFrame, learner: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
    """Walk-forward forecasts of one learner over the seasons of a training set.

    A league too young to have a season with MIN_TRAINING_ROWS games before it is walked by split: validation is forecast
    from train, test from both.

    Args:
        frame: columns `training_set.TRAINING_SET`.

    Returns:
        The rows that were forecast, with `probability`.
    """
    groups, forecast, minimum = frame["season"], _seasons_with_a_past(frame), MIN_TRAINING_ROWS
    if not forecast:
        groups, forecast, minimum = frame["split"].map(_ORDER), None, 1
    forecasts = walk_forward(
        frame[list(FEATURES)],
        frame["home_win"],
        groups,
        {learner: lambda: LEARNERS[learner](**parameters)},
        forecast=forecast,
        minimum=minimum,
    )
    return frame.assign(probability=forecasts[learner]).dropna(subset=["probability"])


def _seasons_with_a_past(games: pd.DataFrame) -> list[int]:
    """Seasons before which MIN_TRAINING_ROWS games or more were played; columns `season`, `home_win`."""
    played = games["home_win"].notna().groupby(games["season"]).sum().sort_index()
    return [int(season) for season in played.index[played.cumsum().shift(fill_value=0) >= MIN_TRAINING_ROWS]]


def league_features(league: League, games: pd.DataFrame, posts: pd.DataFrame | None = None) -> pd.DataFrame:
    """Features of all games, straight from a source, with nothing materialised.

    Args:
        games: what the league's source of games gives.
        posts: what its source of posts gives, or None.

    Returns:
        Columns `features.FEATURE_TABLE` and `home_win` (null while unplayed), in order of time.
    """
    scheduled = fixtures(games)
    form = extend_form(None, games, league)
    sentiment = (
        team_sentiment(posts, scheduled, basketball_scorer(), league.zone) if posts is not None else pd.DataFrame()
    )
    features = game_features(scheduled, form, game_ratings(games, league), sentiment, league)
    return features.assign(home_win=(games["home_score"] > games["away_score"]).astype("boolean").to_numpy())


def evaluate_league(
    features: pd.DataFrame,
    seasons: Iterable[int] | None = None,
    learners: Iterable[str] = tuple(LEARNERS),
    progress: Progress | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Walk-forward of several learners over a league's seasons, and their report (see `judging.walkforward.report`).

    Args:
        features: as `league_features` returns them.
        seasons: which to forecast; by default all before which enough games were played to learn from.

    Raises:
        ModelError: an unknown learner, or too few earlier games for a season.
        LeakAlarm: a learner is better than any honest forecast could be.
    """
    names = list(dict.fromkeys([*learners]))
    unknown = [name for name in names if name not in LEARNERS]
    if unknown:
        raise ModelError(f"unknown learner {', '.join(unknown)}; there are {', '.join(LEARNERS)}")
    wanted = _seasons_with_a_past(features) if seasons is None else list(seasons)
    if not wanted:
        raise ModelError(f"no season has {MIN_TRAINING_ROWS} played games before it to learn from; add earlier seasons")
    forecasts = walk_forward(
        features[list(FEATURES)],
        features["home_win"],
        features["season"],
        {name: LEARNERS[name] for name in names},
        forecast=wanted,
        progress=progress,
    )
    return report(forecasts, features["home_win"], features["day"], elo=ELO if ELO in names else None)


def evaluation(
    frame: pd.DataFrame,
    league: str,
    learner: str,
    version: int,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> Evaluation:
    """The evaluation of a registered version: its metrics, and its learner's walk-forward over the training set."""
    forecasts = evaluate_training_set(frame, learner, parameters)
    return Evaluation(
        league=league,
        learner=learner,
        version=version,
        metrics=dict(metrics),
        game_ids=tuple(forecasts["game_id"]),
        days=tuple(forecasts["day"]),
        seasons=tuple(int(season) for season in forecasts["season"]),
        home_wins=tuple(bool(won) for won in forecasts["home_win"]),
        probabilities=tuple(float(p) for p in forecasts["probability"]),
    )


def loss_by_season(forecasts: pd.DataFrame) -> pd.Series:
    """Mean log loss per season of forecasts with `probability`, `home_win`, `season`."""
    losses = pd.Series(log_losses(forecasts["probability"], forecasts["home_win"]), index=forecasts.index)
    return losses.groupby(forecasts["season"]).mean()


@dataclass(frozen=True)
class Judgement:
    """Which candidate should challenge, and why.

    Attributes:
        version, learner: of the best candidate.
        candidates: one row a candidate, best first, with its validation and test scores.
        paired: differences between every two on the same walk-forward games, with intervals.
        forecasts: the candidates' walk-forward forecasts, one column each. home_wins: what happened.
        evidence: the same for the record, JSON.
    """

    version: int
    learner: str
    candidates: pd.DataFrame
    paired: pd.DataFrame
    forecasts: pd.DataFrame
    home_wins: pd.Series
    evidence: dict[str, Any]


CHOSEN_BY = "validation_log_loss"
_SHOWN = ("validation_log_loss", "test_log_loss", "test_brier", "test_accuracy", "test_calibration_error")


def judge(evaluations: Iterable[Evaluation]) -> Judgement:
    """Chooses the candidate with the lowest log loss on the validation games; the test games only report.

    Raises:
        LeakAlarm: a candidate is better than any honest forecast could be.
    """
    best_first = sorted(evaluations, key=lambda one: (one.metrics[CHOSEN_BY], one.version))
    candidates = pd.DataFrame(
        [
            {"learner": one.learner, "version": one.version, **{name: one.metrics[name] for name in _SHOWN}}
            for one in best_first
        ]
    )
    frames = {one.learner: one.frame().set_index("game_id") for one in best_first}
    games = next(iter(frames.values()))
    forecasts = pd.DataFrame({learner: frame["probability"] for learner, frame in frames.items()})
    told = report(forecasts, games["home_win"], games["day"], elo=ELO if ELO in frames else None)
    best = best_first[0]
    evidence = {"chosen_by": CHOSEN_BY, "candidates": candidates.to_dict("records"), "walk_forward": told}
    return Judgement(
        best.version, best.learner, candidates, pd.DataFrame(told["paired"]), forecasts, games["home_win"], evidence
    )
