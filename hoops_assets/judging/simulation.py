"""Two forecasters of simulated games whose true difference is known exactly.

What belongs here: what the error rates and the power of a judging rule are measured on. numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TRUE_LOGIT = (0.40, 0.90)
"""Mean and standard deviation of the true log odds: those of the best learner's forecasts of 9,193 NBA games."""

LEAST_EXCESS = 0.001
"""What the better forecaster loses, in Brier score, to one who knows the true probabilities. Two such forecasters differ
by .22 in log odds and their Brier scores by .03 a game (standard deviations), as our learners do on NBA games."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def _sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))


def excess(noise: float) -> float:
    """Mean squared distance from the true probability of a forecast whose log odds err by N(0, noise^2)."""
    weights = _WEIGHTS / _WEIGHTS.sum()
    truth = TRUE_LOGIT[0] + TRUE_LOGIT[1] * _NODES[:, None]
    squares = (_sigmoid(truth + noise * _NODES[None, :]) - _sigmoid(truth)) ** 2
    return float(weights @ squares @ weights)


def noise_of(wanted: float) -> float:
    """The noise that costs `wanted` in Brier score. Raises ValueError beyond what noise can cost."""
    low, high = 0.0, 10.0
    if not 0 <= wanted < excess(high):
        raise ValueError(f"no noise costs {wanted}; it must be in [0, {excess(high):.3f})")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < wanted else (low, middle)
    return low


def brier_gains(rng: np.random.Generator, shape: tuple[int, ...], true_gain: float) -> Floats:
    """Champion's Brier score less the challenger's on simulated games.

    Both know the true log odds up to noises of their own; the noisier one pays exactly |true_gain| more. Outcomes are
    drawn from the true probabilities.

    Args:
        true_gain: expected gain of the challenger, negative if it is the worse one.

    Returns:
        Gains in [-1, 1], of the shape asked for.
    """
    truth = rng.normal(*TRUE_LOGIT, size=shape)
    won = rng.random(shape) < _sigmoid(truth)
    scores = [
        (_sigmoid(truth + noise_of(LEAST_EXCESS + max(worse, 0.0)) * rng.standard_normal(shape)) - won) ** 2
        for worse in (true_gain, -true_gain)
    ]
    return scores[0] - scores[1]
