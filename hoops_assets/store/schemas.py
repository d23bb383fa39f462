"""The declared schema of every table, in Arrow, derived from the columns that the domain declares.

What belongs here: which tables exist and what stands in them. Nothing heavy: definitions read this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from hoops_assets.basketball import features, form, sentiment
from hoops_assets.basketball.game_ratings import GAME_RATINGS
from hoops_assets.basketball.games import FIXTURES, RESULTS
from hoops_assets.basketball.performance import MODEL_PERFORMANCE
from hoops_assets.basketball.predictions import PREDICTIONS, SCORED_PREDICTIONS
from hoops_assets.basketball.sentiment import POSTS
from hoops_assets.basketball.training_set import TRAINING_SET
from hoops_assets.sources.contract import BOX_SCORES, ODDS

_ARROW = {
    "int16": (pa.int16(), False),
    "int32": (pa.int32(), False),
    "int64": (pa.int64(), False),
    "Int32": (pa.int32(), True),
    "Int64": (pa.int64(), True),
    "bool": (pa.bool_(), False),
    "boolean": (pa.bool_(), True),
    "float32": (pa.float32(), True),
    "float64": (pa.float64(), True),
    "object": (pa.string(), False),
    "datetime64[us, UTC]": (pa.timestamp("us", tz="UTC"), True),
}


@dataclass(frozen=True)
class TableSpec:
    """One table: its columns (name -> pandas dtype), its key, and one sentence for people."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    description: str

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([_field(name, dtype) for name, dtype in self.columns.items()])

    def empty(self) -> pd.DataFrame:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in self.columns.items()})


def _field(name: str, dtype: str) -> pa.Field:
    if name == "day":
        return pa.field(name, pa.date32(), nullable=False)
    arrow, nullable = _ARROW[dtype]
    return pa.field(name, arrow, nullable=nullable)


TABLES = {
    spec.name: spec
    for spec in (
        TableSpec(
            "history", RESULTS, ("game_id",), "Games played before the first season with a partition per game day."
        ),
        TableSpec("fixtures", FIXTURES, ("game_id",), "Games as scheduled: who plays where and when, no scores."),
        TableSpec("results", RESULTS, ("game_id",), "Games as played, with scores; a day not yet played is empty."),
        TableSpec(
            "fan_posts",
            {"season": "int32", "day": "object", **POSTS, "weight": "float64", "ingested_at": "datetime64[us, UTC]"},
            ("post_id", "team"),
            "What fans wrote after the previous game day up to the end of this one, league time.",
        ),
        TableSpec(
            "team_form",
            form.FORM,
            ("game_id", "team"),
            "One row per team and game: what was known before tip-off and after.",
        ),
        TableSpec(
            "game_ratings",
            GAME_RATINGS,
            ("game_id",),
            "The margin that the filters expect of a fixture, and what is at stake for its sides.",
        ),
        TableSpec(
            "fan_sentiment",
            sentiment.FAN_SENTIMENT,
            ("game_id", "team"),
            "The mood of a team's fans in the window before tip-off.",
        ),
        TableSpec(
            "game_features", features.FEATURE_TABLE, ("game_id",), "What a model sees of a game, known before tip-off."
        ),
        TableSpec("box_scores", BOX_SCORES, ("game_id", "team"), "Figures of both teams of a game, known after it."),
        TableSpec("closing_odds", ODDS, ("game_id",), "The market's closing line: a benchmark, never a feature."),
        TableSpec(
            "training_set", TRAINING_SET, ("game_id",), "Features of played games with their label, split by time."
        ),
        TableSpec("predictions", PREDICTIONS, ("game_id", "version"), "Every version's forecast of every fixture."),
        TableSpec(
            "scored_predictions",
            SCORED_PREDICTIONS,
            ("game_id", "version"),
            "Forecasts joined with results.",
        ),
        TableSpec(
            "model_performance",
            MODEL_PERFORMANCE,
            ("kind", "forecaster", "scope", "period"),
            "How good forecasts were, by season, month and version, against Elo, the base rate and the market.",
        ),
    )
}
"""All tables of a league's lane by name."""
