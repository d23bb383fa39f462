"""Scores of probabilities against what happened.

What belongs here: per-forecast losses and their summaries. All functions take `probability` (floats, n) of the event
and `outcome` (bool, n), in the same order. Comparing two forecasters is in `judging.comparison`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

CLIP = 1e-6
"""Probabilities are clipped to [CLIP, 1 - CLIP] for the log loss, so that one certain miss stays finite."""

BINS = 10
Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""

Floats = NDArray[np.float64]


def _pair(probability: ArrayLike, outcome: ArrayLike, least: int = 1) -> tuple[Floats, Floats]:
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if p.shape != y.shape or p.ndim != 1 or len(p) < least:
        raise ValueError(
            f"probability and outcome must be two columns of one length >= {least}, not {p.shape} and {y.shape}"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a probability is missing or outside [0, 1]; score only games that were forecast")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("an outcome is neither True nor False; score only games that were played")
    return p, y


def log_losses(probability: ArrayLike, outcome: ArrayLike) -> Floats:
    """Log loss of each forecast in nats; Good, "Rational Decisions" (1952)."""
    p, y = _pair(probability, outcome, least=0)
    p = np.clip(p, CLIP, 1 - CLIP)
    return -np.log(np.where(y == 1, p, 1 - p))


def brier_scores(probability: ArrayLike, outcome: ArrayLike) -> Floats:
    """Squared error of each forecast, 0 to 1; Brier (1950), the half for two classes."""
    p, y = _pair(probability, outcome, least=0)
    return (p - y) ** 2


def log_loss(probability: ArrayLike, outcome: ArrayLike) -> float:
    """Mean of `log_losses`."""
    _pair(probability, outcome)
    return float(log_losses(probability, outcome).mean())


def brier(probability: ArrayLike, outcome: ArrayLike) -> float:
    """Mean of `brier_scores`."""
    _pair(probability, outcome)
    return float(brier_scores(probability, outcome).mean())


def accuracy(probability: ArrayLike, outcome: ArrayLike) -> float:
    """Share of forecasts on the right side of one half; exactly one half counts as half right."""
    p, y = _pair(probability, outcome)
    return float(np.where(p == 0.5, 0.5, (p > 0.5) == (y == 1)).mean())


def _bins(p: Floats, bins: int) -> NDArray[np.intp]:
    """Bin of each forecast: bins of equal count by rank; equal probabilities share a bin."""
    first_rank = np.searchsorted(np.sort(p), p, side="left")
    return (first_rank * bins) // len(p)


def calibration_error(probability: ArrayLike, outcome: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: mean over forecasts of |share of events - mean probability| of their bin.

    Source: Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (AAAI 2015),
    with 10 bins of equal count in place of equal width (Roelofs et al., "Mitigating Bias in Calibration Error
    Estimation", AISTATS 2022). It is biased upwards: of a perfect forecaster about .8 sqrt(bins p (1 - p) / n) remains.
    """
    p, y = _pair(probability, outcome)
    index = _bins(p, bins)
    gaps = np.bincount(index, weights=y, minlength=bins) - np.bincount(index, weights=p, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def wilson_interval(events: ArrayLike, n: ArrayLike, z: float = Z_95) -> tuple[Floats, Floats]:
    """Interval of a share of events in n trials; Wilson (1927). 95 % unless another `z` is given."""
    k, n = np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64)
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def reliability(probability: ArrayLike, outcome: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """The reliability curve, one row per bin of equal count (fewer than `bins` where probabilities are equal).

    Returns:
        Columns n, mean_probability, share (of events), low, high (95 % Wilson interval of the share), ascending.
    """
    p, y = _pair(probability, outcome)
    table = pd.DataFrame({"bin": _bins(p, bins), "p": p, "y": y}).groupby("bin")
    out = table.agg(n=("y", "size"), mean_probability=("p", "mean"), share=("y", "mean")).reset_index(drop=True)
    out["low"], out["high"] = wilson_interval(out["share"] * out["n"], out["n"])
    return out


def scores(probability: ArrayLike, outcome: ArrayLike) -> dict[str, float | int]:
    """n, log_loss, brier, accuracy and calibration_error, as plain numbers."""
    return {
        "n": int(np.size(probability)),
        "log_loss": log_loss(probability, outcome),
        "brier": brier(probability, outcome),
        "accuracy": accuracy(probability, outcome),
        "calibration_error": calibration_error(probability, outcome),
    }


def calibration_error_by_luck(
    probability: ArrayLike, quantile: float = 0.99, bins: int = BINS, draws: int = 500, seed: int = 0
) -> float:
    """What `calibration_error` a perfect forecaster stays below with probability `quantile`.

    Outcomes are drawn from the probabilities themselves: Bröcker and Smith, "Increasing the Reliability of Reliability
    Diagrams" (Weather and Forecasting 22, 2007).
    """
    p = np.asarray(probability, dtype=np.float64)
    rng = np.random.default_rng(seed)
    return float(np.quantile([calibration_error(p, rng.random(len(p)) < p, bins) for _ in range(draws)], quantile))


LEAST_FOR_LINE = 30
"""Forecasts below which no calibration line is fitted."""


def calibration_line(probability: ArrayLike, outcome: ArrayLike) -> tuple[float, float]:
    """(intercept, slope) of the logistic regression of what happened on the forecast's log odds; (0, 1) is perfect.

    A slope below 1 says that forecasts are too sure of themselves, an intercept above 0 that the event happens more often
    than was forecast. Source: Cox, "Two further applications of a model for binary regression" (Biometrika 45, 1958).

    Returns:
        (nan, nan) for fewer than LEAST_FOR_LINE forecasts, or where the line is not determined: one outcome only, all
        forecasts equal, or forecasts that part the outcomes.
    """
    p, y = _pair(probability, outcome, least=0)
    nothing = (float("nan"), float("nan"))
    if len(p) < LEAST_FOR_LINE or not np.ptp(y) or not np.ptp(p):
        return nothing
    p = np.clip(p, CLIP, 1 - CLIP)
    design = np.column_stack([np.ones_like(p), np.log(p / (1 - p))])
    beta = np.array([0.0, 1.0])
    for _ in range(50):
        fitted = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        weight = fitted * (1 - fitted)
        try:
            step = np.linalg.solve((design * weight[:, None]).T @ design, design.T @ (y - fitted))
        except np.linalg.LinAlgError:
            return nothing
        beta = beta + step
        if np.abs(beta).max() > 50:
            return nothing
        if np.abs(step).max() < 1e-10:
            return float(beta[0]), float(beta[1])
    return nothing
