"""Judging learners on a league by walk-forward: every game is forecast only from earlier ones.

What belongs here: the way from a league's games (or its training set) to forecasts and their report. The loop and the
scores are in `judging`, the features in `basketball`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES, SENTIMENT_FEATURES, game_features
from hoops_assets.basketball.form import extend_form
from hoops_assets.basketball.game_ratings import game_ratings
from hoops_assets.basketball.games import fixtures
from hoops_assets.basketball.league import League
from hoops_assets.basketball.sentiment import SCORERS, SENTIMENT, team_sentiment
from hoops_assets.errors import ModelError
from hoops_assets.judging.comparison import Difference, paired_difference
from hoops_assets.judging.scoring import log_losses
from hoops_assets.judging.walkforward import MIN_TRAINING_ROWS, WINDOW, Progress, report, walk_forward
from hoops_assets.workloads.evaluation import Evaluation

ELO = "elo"
_ORDER = {"train": 0, "validation": 1, "test": 2}


def evaluate_training_set(
    frame: pd.DataFrame, learner: str, parameters: Mapping[str, Any], last: int | None = None
) -> pd.DataFrame:
    """Walk-forward forecasts of one learner over the seasons of a training set.

    A league too young to have a season with MIN_TRAINING_ROWS games before it is walked by split: validation is forecast
    from train, test from both.

    Args:
        frame: columns `training_set.TRAINING_SET`.
        last: only so many of the last seasons; all when None.

    Returns:
        The rows that were forecast, with `probability`.

    Raises:
        ModelError: this code has no such learner, or it cannot be fitted.
    """
    if learner not in LEARNERS:
        raise ModelError(f"unknown learner {learner}; this code has {', '.join(LEARNERS)}")
    groups, forecast, minimum = frame["season"], _seasons_with_a_past(frame)[-(last or 0) :], MIN_TRAINING_ROWS
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
        Columns `features.FEATURE_TABLE`, `home_win` (null while unplayed) and `posts` (of both sides' fans, that
        counted), in order of time.
    """
    scheduled, rules = fixtures(games), league.sentiment
    form = extend_form(None, games, league)
    sentiment = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SENTIMENT.items()})
    if posts is not None:
        scorer = SCORERS[rules.scorer]()
        sentiment = team_sentiment(posts, scheduled, scorer, league.zone, rules.window_hours)
    features = game_features(scheduled, form, game_ratings(games, league), sentiment, league)
    counted = sentiment.groupby("game_id")["posts"].sum().reindex(features["game_id"]).fillna(0).astype("int64")
    won = (games["home_score"] > games["away_score"]).astype("boolean")
    return features.assign(home_win=won.array, posts=counted.to_numpy())


def evaluate_league(
    features: pd.DataFrame,
    seasons: Iterable[int] | None = None,
    learners: Iterable[str] = tuple(LEARNERS),
    progress: Progress | None = None,
    closing_line: pd.Series | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Walk-forward of several learners over a league's seasons, and their report (see `judging.walkforward.report`).

    Args:
        features: as `league_features` returns them.
        seasons: which to forecast; by default all before which enough games were played to learn from.
        closing_line: the market's P(home win), by the rows of `features`, NaN where there is none; for the leak alarm.

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
    return report(
        forecasts,
        features["home_win"],
        features["day"],
        elo=ELO if ELO in names else None,
        closing_line=closing_line,
    )


SENTIMENT_BLIND = ("base_rate", ELO)
"""Learners that do not look at sentiment."""


def ablate_sentiment(
    features: pd.DataFrame,
    seasons: Iterable[int] | None = None,
    learners: Iterable[str] = tuple(name for name in LEARNERS if name not in SENTIMENT_BLIND),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What fan sentiment is worth: each learner with and without SENTIMENT_FEATURES, on the same games with posts.

    Without means that the features are 0 in training and forecast, which no learner can tell from their absence. A
    season is forecast whole once MIN_TRAINING_ROWS games with posts precede it, else month by month, each month from all
    earlier ones: a model that never saw a post cannot use one.

    Args:
        features: as `league_features` returns them.
        seasons: which to forecast; by default all with posts before which enough games were played to learn from.

    Returns:
        {"ablated": "sentiment", "features": [...], "games": played games with posts, "informed_games": those forecast by
         models that had seen MIN_TRAINING_ROWS games with posts, "learners": [{"learner", "n", "days", "log_loss_with",
         "log_loss_without", "log_loss_difference", "low", "high", "informed_n", "informed_difference", "informed_low",
         "informed_high", "says"}]}. Differences are with minus without, so negative means that sentiment helps; low and
         high are the 95 % interval of `judging.comparison.paired_difference`, None where it cannot be told.

    Raises:
        ModelError: no game of these seasons has posts, or too few games precede them.
    """
    told = (features["home_win"].notna() & (features["posts"] > 0)).to_numpy()
    with_past = _seasons_with_a_past(features)
    chosen = [season for season in with_past if seasons is None or season in set(seasons)]
    wanted = [season for season in chosen if (told & (features["season"] == season).to_numpy()).any()]
    if not wanted:
        raise ModelError(
            "no game of these seasons has both fan posts and enough earlier games to learn from; declare sources.posts in"
            " the league, or choose other seasons"
        )
    makers = {name: LEARNERS[name] for name in learners}
    parts = [_ablated_season(features, told, season, makers, progress) for season in wanted]
    games = pd.concat(parts).loc[lambda rows: told[rows.index]]
    return {
        "ablated": "sentiment",
        "features": list(SENTIMENT_FEATURES),
        "games": len(games),
        "informed_games": int(games["informed"].sum()),
        "learners": [_ablation(name, games) for name in makers],
    }


def _ablated_season(
    features: pd.DataFrame, told: np.ndarray, season: int, makers: Mapping[str, Any], progress: Progress | None
) -> pd.DataFrame:
    """Forecasts of one season: columns (learner, "with" or "without"), `informed`, `home_win`, `day`; positions as index."""
    of = features["season"].to_numpy()
    places = np.flatnonzero((of >= season - WINDOW) & (of <= season))
    rows = features.iloc[places].reset_index(drop=True)
    own = rows["season"] == season
    seen = np.cumsum(told[places])
    whole = told[places[~own]].sum() >= MIN_TRAINING_ROWS
    month = rows["day"].map(lambda day: day.year * 12 + day.month)
    block = rows["season"].where(~own | whole, month)
    forecast = sorted(block[own].unique())
    before = {one: int(seen[(block < one).to_numpy()].max(initial=0)) for one in forecast}
    out = pd.DataFrame({"informed": block.map(before).fillna(0) >= MIN_TRAINING_ROWS})
    for which, given in (("with", rows), ("without", rows.assign(**dict.fromkeys(SENTIMENT_FEATURES, 0.0)))):
        forecasts = walk_forward(
            given[list(FEATURES)],
            rows["home_win"],
            block,
            makers,
            forecast=forecast,
            window=len(block),
            progress=progress,
        )
        for name in makers:
            out[f"{name} {which}"] = forecasts[name]
    out = out.assign(home_win=rows["home_win"], day=rows["day"])
    return out.set_axis(places)[own.to_numpy()]


def _ablation(learner: str, games: pd.DataFrame) -> dict[str, Any]:
    won = games["home_win"].to_numpy(dtype=bool)
    loss = {which: log_losses(games[f"{learner} {which}"], won) for which in ("with", "without")}
    found = paired_difference(loss["with"], loss["without"], games["day"])
    informed = games["informed"].to_numpy()
    later = (
        paired_difference(loss["with"][informed], loss["without"][informed], games["day"][informed])
        if informed.any()
        else None
    )
    return {
        "learner": learner,
        "n": found.n,
        "days": found.clusters,
        "log_loss_with": float(loss["with"].mean()),
        "log_loss_without": float(loss["without"].mean()),
        "log_loss_difference": found.mean,
        "low": found.low,
        "high": found.high,
        "informed_n": later.n if later else 0,
        "informed_difference": later.mean if later else None,
        "informed_low": later.low if later else None,
        "informed_high": later.high if later else None,
        "says": _says(found),
    }


def _says(found: Difference) -> str:
    if found.low is None or found.high is None:
        return "too few game days to tell"
    if found.high < 0:
        return "sentiment helps"
    if found.low > 0:
        return "sentiment harms"
    return f"no effect to be told from chance: at most {-found.low:.4f} better, {found.high:.4f} worse"


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
