"""Comparing two forecasters on the same games, and the alarm for results too good to be true.

What belongs here: paired differences with their intervals, and the bounds beyond which a gain means a leak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student_t

from hoops_assets.errors import LeakAlarm

LEAK_GAMES = 1000
"""Games below which the alarm is silent: luck alone could reach the bounds."""

LEAK_AGAINST_ELO = 0.025
"""Gain in log loss over walk-forward Elo on the same games beyond which the forecast must have seen the future."""

LEAK_AGAINST_CLOSING_LINE = 0.010
"""The same over the betting market's closing line, which knows injuries and line-ups."""


@dataclass(frozen=True)
class Difference:
    """Mean paired difference with its interval.

    Attributes:
        n: games.
        clusters: game days.
        mean: of the differences; negative when the first forecaster loses less.
        low, high: 95 % interval; None with fewer than two clusters.
    """

    n: int
    clusters: int
    mean: float
    low: float | None
    high: float | None


def paired_difference(losses: ArrayLike, against: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> Difference:
    """Mean of d = losses - against, with an interval that allows for dependence within a game day.

    With d_i the difference of game i, m its mean over n games in G clusters and u_g = sum of (d_i - m) over cluster g,
    the standard error is sqrt(G / (G - 1) * sum u_g^2) / n and the interval m +- t(G - 1) * standard error.
    Source: Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference" (2015), for a mean.
    """
    d = np.asarray(losses, dtype=np.float64) - np.asarray(against, dtype=np.float64)
    if d.ndim != 1 or not len(d) or len(d) != np.size(clusters):
        raise ValueError(
            f"losses, against and clusters must be columns of one length >= 1, not {d.shape}, {np.size(clusters)}"
        )
    if not np.isfinite(d).all():
        raise ValueError("a loss is missing; compare only games that both forecasters forecast and that were played")
    codes = pd.factorize(np.asarray(clusters))[0]
    groups = int(codes.max()) + 1
    mean = float(d.mean())
    if groups < 2:
        return Difference(len(d), groups, mean, None, None)
    sums = np.bincount(codes, weights=d - mean)
    error = float(np.sqrt(groups / (groups - 1) * (sums**2).sum()) / len(d))
    half = float(student_t.ppf((1 + level) / 2, groups - 1)) * error
    return Difference(len(d), groups, mean, mean - half, mean + half)


def leak_alarm(
    learner: str, log_losses: ArrayLike, *, elo: ArrayLike | None = None, closing_line: ArrayLike | None = None
) -> None:
    """Stops a result that no honest forecast reaches.

    Args:
        learner: name for the message.
        log_losses: of the learner, one per game.
        elo, closing_line: log losses of the walk-forward Elo and of the closing line on the same games in the same
            order; NaN where there is none, such games are left out of that comparison.

    Raises:
        LeakAlarm: on LEAK_GAMES games or more the learner gains more than LEAK_AGAINST_ELO on Elo, or more than
            LEAK_AGAINST_CLOSING_LINE on the closing line.
    """
    own = np.asarray(log_losses, dtype=np.float64)
    references = (
        ("walk-forward Elo", elo, LEAK_AGAINST_ELO),
        ("the closing line", closing_line, LEAK_AGAINST_CLOSING_LINE),
    )
    for name, reference, bound in references:
        if reference is None:
            continue
        gain = np.asarray(reference, dtype=np.float64) - own
        gain = gain[np.isfinite(gain)]
        if len(gain) >= LEAK_GAMES and gain.mean() > bound:
            raise LeakAlarm(
                f"{learner} beats {name} by {gain.mean():.4f} in log loss on {len(gain)} games; no honest"
                f" forecast gains more than {bound}. Look for features that know a game's own or a"
                f" later result, or for a broken {name}"
            )
