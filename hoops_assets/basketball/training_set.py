"""The training set: features joined with what happened, split by time.

What belongs here: the join and the split. A split never mixes time: every training game is before every validation game,
and every validation game before every test game.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from hoops_assets.basketball.features import FEATURES
from hoops_assets.errors import ModelError

TRAINING_SET = {
    "game_id": "object",
    "season": "int32",
    "day": "object",
    "split": "object",  # train, validation, test
    "home_win": "bool",
    **dict.fromkeys(FEATURES, "float64"),
}
"""Columns and pandas types, one row a played game, sorted by (day, game_id)."""

MIN_HELD_OUT = 100
"""Games that validation and test must each have at least; they take as many whole seasons as that needs."""


def training_set(features: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Features of played games with their label and split.

    Test is the latest seasons that together have MIN_HELD_OUT games, validation the seasons before those, train the
    rest. A league too young for three such spans is split by game day: the last fifth test, the fifth before validation.

    Args:
        features: columns `features.FEATURE_TABLE`.
        results: `game_id`, `home_score`, `away_score`.

    Returns:
        Columns TRAINING_SET.

    Raises:
        ModelError: no played game, or fewer than three game days.
    """
    scores = results[["game_id", "home_score", "away_score"]]
    played = features.merge(scores, on="game_id", how="inner", validate="one_to_one").sort_values(["day", "game_id"])
    if played["day"].nunique() < 3:
        raise ModelError(
            f"{len(played)} played games on {played['day'].nunique()} days are too few to split; backfill more days"
        )
    played = played.assign(home_win=played["home_score"] > played["away_score"])
    split = _by_season(played["season"])
    played["split"] = _by_day(played["day"]) if split is None else split
    return played[list(TRAINING_SET)].reset_index(drop=True)


def _by_season(seasons: pd.Series) -> pd.Series | None:
    """The split of each row, or None if no season is left to train on."""
    games = seasons.value_counts().sort_index(ascending=False)
    spans = iter(games.items())
    parts: dict[str, list[int]] = {"test": [], "validation": []}
    for part in parts.values():
        count = 0
        while count < MIN_HELD_OUT:
            season, n = next(spans, (None, 0))
            if season is None:
                return None
            part.append(int(season))  # type: ignore[call-overload]
            count += int(n)
    if next(spans, None) is None:
        return None
    split = np.select([seasons.isin(parts["test"]), seasons.isin(parts["validation"])], ["test", "validation"], "train")
    return pd.Series(split, index=seasons.index, dtype="object")


def _by_day(days: pd.Series) -> pd.Series:
    order = sorted(days.unique())
    fifth = max(1, len(order) // 5)
    test, validation = order[-fifth], order[-2 * fifth]
    split = np.select([days >= test, days >= validation], ["test", "validation"], "train")
    return pd.Series(split, index=days.index, dtype="object")
