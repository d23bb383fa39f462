"""The training set: features joined with what happened, split by time.

What belongs here: the join and the split. A split never mixes time: every training game is before every validation game,
and every validation game before every test game.
"""

from __future__ import annotations

from typing import Any, Literal

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


HeldOut = Literal["seasons", "games"]
"""By what validation and test are measured: whole seasons, or as few game days as hold enough games."""

LATEST_VALIDATION = 400
"""Games of validation where game days are held out. They cost no recency, since the model is fitted on them in the end; on
100 of them the choice between learners would be luck."""


def training_set(features: pd.DataFrame, results: pd.DataFrame, held_out: HeldOut = "seasons") -> pd.DataFrame:
    """Features of played games with their label and split.

    Test is the latest seasons that together have MIN_HELD_OUT games, validation the seasons before those, train the
    rest. A league too young for three such spans is split by game day: the last fifth test, the fifth before validation.

    Args:
        features: columns `features.FEATURE_TABLE`.
        results: `game_id`, `home_score`, `away_score`.
        held_out: "games": test is the latest game days that have MIN_HELD_OUT games, validation those with LATEST_VALIDATION
            games before, so that a model that is trained in the middle of a season learns from it.

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
    split = (
        _latest(played["season"], MIN_HELD_OUT) if held_out == "seasons" else _latest(played["day"], LATEST_VALIDATION)
    )
    played["split"] = _by_day(played["day"]) if split is None else split
    return played[list(TRAINING_SET)].reset_index(drop=True)


def _latest(spans: pd.Series, validation: int) -> pd.Series | None:
    """The split of each row by its season or day, or None if nothing is left to train on."""
    games = spans.value_counts().sort_index(ascending=False)
    latest = iter(games.items())
    parts: dict[str, list[Any]] = {"test": [], "validation": []}
    for part, least in zip(parts.values(), (MIN_HELD_OUT, validation), strict=True):
        count = 0
        while count < least:
            span, n = next(latest, (None, 0))
            if span is None:
                return None
            part.append(span)
            count += int(n)
    if next(latest, None) is None:
        return None
    split = np.select([spans.isin(parts["test"]), spans.isin(parts["validation"])], ["test", "validation"], "train")
    return pd.Series(split, index=spans.index, dtype="object")


def _by_day(days: pd.Series) -> pd.Series:
    order = sorted(days.unique())
    fifth = max(1, len(order) // 5)
    test, validation = order[-fifth], order[-2 * fifth]
    split = np.select([days >= test, days >= validation], ["test", "validation"], "train")
    return pd.Series(split, index=days.index, dtype="object")
