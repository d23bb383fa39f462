"""Predictions: what was forecast of which game, by which version, and when.

What belongs here: pure rules over the frame of predictions. Asking a model is a service's affair.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from hoops_assets.basketball.games import FIXTURE_COLUMNS, FIXTURES
from hoops_assets.basketball.ratings import LOGIT_PER_POINT

PREDICTIONS = {
    **FIXTURES,
    "version": "int32",
    "learner": "object",
    "home_win_probability": "float64",
    "made_at": "datetime64[us, UTC]",
    "backfilled": "bool",  # made after the game, by a model that knew nothing of its day
    "degraded": "object",  # by what instead of the version's model, and why; empty if the model itself answered
}
"""Columns and pandas types, one row per game and version."""

SCORED_PREDICTIONS = {**PREDICTIONS, "home_win": "bool", "log_loss": "float64", "brier": "float64"}
"""Predictions of played games, with what happened and what the forecast lost by it."""


def started(fixtures: pd.DataFrame, now: datetime, zone: ZoneInfo) -> np.ndarray:
    """Which games have begun at `now`: at tip-off, or at the end of the game day where no time is known. bool [n]."""
    ends = [datetime.combine(day + timedelta(days=1), time(), zone) for day in fixtures["day"]]
    begins = fixtures["tip_off"].fillna(
        pd.Series(pd.to_datetime(ends, utc=True), index=fixtures.index, dtype="datetime64[us, UTC]")
    )
    return (begins <= pd.Timestamp(now)).to_numpy()


def may_forecast(days: pd.Series, trained_through: date) -> np.ndarray:
    """Which games a version may forecast: those on days after all that it was fitted on. bool [n]."""
    return (days > trained_through).to_numpy()


def predictions(
    fixtures: pd.DataFrame,
    probabilities: np.ndarray,
    *,
    version: int,
    learner: str,
    now: datetime,
    zone: ZoneInfo,
    degraded: str = "",
) -> pd.DataFrame:
    """One version's forecasts of fixtures.

    Args:
        fixtures: columns FIXTURE_COLUMNS, n rows. probabilities: P(home win), float64 [n].
        degraded: by what and why, if the version's model could not be asked.

    Returns:
        Columns PREDICTIONS, n rows.
    """
    out = fixtures[FIXTURE_COLUMNS].assign(
        version=np.int32(version),
        learner=learner,
        home_win_probability=np.asarray(probabilities, dtype="float64"),
        made_at=pd.Timestamp(now).tz_convert("UTC").as_unit("us"),
        backfilled=started(fixtures, now, zone),
        degraded=degraded,
    )
    return out.astype({"version": "int32"})[list(PREDICTIONS)]


def by_ratings(features: pd.DataFrame) -> np.ndarray:
    """P(home win) by Elo ratings alone, float64 [n]: what is left of a forecast without a model.

    Args:
        features: column `elo_difference`, home advantage included.
    """
    return 1 / (1 + np.exp(-LOGIT_PER_POINT * features["elo_difference"].to_numpy(dtype="float64")))


def merge_predictions(stored: pd.DataFrame, made: pd.DataFrame, games: pd.Series) -> pd.DataFrame:
    """Stored and newly made predictions of the same days: a forecast of a game that has begun is never replaced, and none
    that a model made by one that is degraded.

    Args:
        stored: what stands in the table for these days. made: one version's new forecasts.
        games: `game_id` of all games that these days have now.

    Returns:
        Columns PREDICTIONS: the new forecasts, and the stored ones of games that exist and were not forecast anew or have
        begun. Forecasts of games that were cancelled or moved to another day are gone, whatever version made them.
    """
    stored = stored[stored["game_id"].isin(games)]
    whole = _keys(stored[stored["degraded"] == ""])
    made = made[(made["degraded"] == "") | ~_keys(made).isin(whole)]
    kept = stored[~_keys(stored).isin(_keys(made[~made["backfilled"]]))]
    new = made[~_keys(made).isin(_keys(kept))]
    parts = [part for part in (kept, new) if len(part)]
    return pd.concat(parts, ignore_index=True)[list(PREDICTIONS)] if parts else made


def _keys(predictions: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(predictions[["game_id", "version"]])


def with_outcomes(predictions: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Predictions joined with results, without their losses: PREDICTIONS and `home_win`, one row per game and version."""
    scores = results[["game_id", "home_score", "away_score"]]
    joined = predictions.merge(scores, on="game_id", how="inner", validate="many_to_one")
    return joined.assign(home_win=joined["home_score"] > joined["away_score"])[[*PREDICTIONS, "home_win"]]
