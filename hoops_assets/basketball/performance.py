"""The columns of a league's scores over time.

What belongs here: names and types only, so that the table can be declared without anything heavy.
"""

from __future__ import annotations

KINDS = ("forecast", "forecast degraded", "backfilled", "served", "served degraded")
"""What is scored: forecasts made before the game, by the model or by ratings in its place; probabilities computed after it;
and answers given to customers."""

BENCHMARKS = ("elo", "base_rate", "market")
"""What forecasts are compared with, on the same games."""

MODEL_PERFORMANCE = {
    "season": "int32",  # of the period's last game, as `day`
    "day": "object",
    "kind": "object",  # one of KINDS
    "forecaster": "object",  # "version N", or "league": the version that served at that moment
    "learner": "object",
    "scope": "object",  # all, season, month
    "period": "object",  # all, YYYY, YYYY-MM
    "first_day": "object",  # ISO date of the period's first game
    "games": "int32",
    "log_loss": "float64",
    "brier": "float64",
    "accuracy": "float64",
    "calibration_error": "float64",
    "calibration_intercept": "float64",  # of the line through log odds; 0 and 1 are perfect; NaN for few games
    "calibration_slope": "float64",
    **{
        f"{name}_{column}": kind
        for name in BENCHMARKS
        for column, kind in (
            ("games", "int32"),  # with this benchmark
            ("log_loss", "float64"),
            ("difference", "float64"),  # in log loss, forecast minus benchmark: negative is better
            ("low", "float64"),  # 95 % interval of the paired difference
            ("high", "float64"),
        )
    },
}
"""Columns and pandas types of `model_performance`, one row per kind, forecaster, scope and period."""
