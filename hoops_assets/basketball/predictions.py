"""Predictions: what was forecast of which game, by which version, and when.

What belongs here: pure rules over the frame of predictions. Asking a model is a service's affair.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from hoops_assets.basketball.games import FIXTURE_COLUMNS

PREDICTIONS = {
    "game_id": "object",
    "season": "int32",
    "day": "object",
    "tip_off": "datetime64[us, UTC]",
    "home": "object",
    "away": "object",
    "neutral": "bool",
    "stage": "object",
    "version": "int32",
    "learner": "object",
    "home_win_probability": "float64",
    "made_at": "datetime64[us, UTC]",
    "backfilled": "bool",  # made after the game, by a model that knew nothing of its day
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
    fixtures: pd.DataFrame, probabilities: np.ndarray, *, version: int, learner: str, now: datetime, zone: ZoneInfo
) -> pd.DataFrame:
    """One version's forecasts of fixtures.

    Args:
        fixtures: columns FIXTURE_COLUMNS, n rows. probabilities: P(home win), float64 [n].

    Returns:
        Columns PREDICTIONS, n rows.
    """
    out = fixtures[FIXTURE_COLUMNS].assign(
        version=np.int32(version),
        learner=learner,
        home_win_probability=np.asarray(probabilities, dtype="float64"),
        made_at=pd.Timestamp(now).tz_convert("UTC").as_unit("us"),
        backfilled=started(fixtures, now, zone),
    )
    return out.astype({"version": "int32"})[list(PREDICTIONS)]


def merge_predictions(stored: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """Stored and newly made predictions of the same days: a forecast of a game that has begun is never replaced.

    Args:
        stored: what stands in the table for these days. made: new ones, for the games that still exist.

    Returns:
        Columns PREDICTIONS; rows of versions that made no new forecast stay as they are, rows of games that no longer
        exist are gone unless they had begun.
    """
    keys = ["game_id", "version"]
    begun = stored[["game_id", "version"]].merge(made.loc[made["backfilled"], keys], on=keys)
    kept = stored.merge(begun, on=keys) if len(begun) else stored.iloc[:0]
    others = stored[~stored["version"].isin(made["version"].unique())]
    new = made.merge(kept[keys], on=keys, how="left", indicator=True)
    new = new[new["_merge"] == "left_only"].drop(columns="_merge")
    parts = [part for part in (others, kept, new) if len(part)]
    return pd.concat(parts, ignore_index=True)[list(PREDICTIONS)] if parts else made


def with_outcomes(predictions: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Predictions joined with results, without their losses: PREDICTIONS and `home_win`, one row per game and version."""
    scores = results[["game_id", "home_score", "away_score"]]
    joined = predictions.merge(scores, on="game_id", how="inner", validate="many_to_one")
    return joined.assign(home_win=joined["home_score"] > joined["away_score"])[[*PREDICTIONS, "home_win"]]
