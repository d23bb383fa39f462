"""Comparing many forecasters at once on the same games.

What belongs here: the paired comparison of `comparison.py` for a whole matrix of forecasters, and which of them cannot be
told apart from the best. numpy alone, so that a question at the command line does not wait for scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 for the log loss, as in `scoring`."""


@dataclass(frozen=True)
class AgainstBest:
    """k forecasters against the one with the lowest mean loss, on the same n games.

    Attributes:
        best: its index.
        mean_loss: k.
        difference, low, high: k mean paired differences in loss from the best, with intervals that hold for all k at
            once; 0 for the best itself.
        as_good: k; not shown to be worse than the best. With at least the given level, the truly best forecaster is
            among them.
    """

    best: int
    games: int
    clusters: int
    mean_loss: NDArray[np.float64]
    difference: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    as_good: NDArray[np.bool_]


def losses(probability: ArrayLike, home_win: ArrayLike, score: str) -> NDArray[np.float64]:
    """Log loss or Brier score of each forecast; `score` is log_loss or brier.

    Args:
        probability: k x n. home_win: n; 0 or 1.
    """
    p, won = np.asarray(probability, dtype=np.float64), np.asarray(home_win, dtype=np.float64)
    if score == "brier":
        return (p - won) ** 2
    p = np.clip(p, CLIP, 1 - CLIP)
    return -np.log(np.where(won > 0.5, p, 1 - p))


def against_best(loss: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> AgainstBest:
    """Compares every forecaster with the one of the lowest mean loss.

    Each difference has the cluster-robust interval of `comparison.paired_difference`, at the level
    1 - (1 - level) / (k - 1) (Bonferroni). A truly best forecaster leaves `as_good` only if one of k - 1 others is shown to
    be better than it although it is not, so that the set misses it with probability at most 1 - level however the observed
    best was picked. Source: the subset form of multiple comparisons with the best, Hsu, "Multiple Comparisons" (1996), ch. 4.

    Args:
        loss: k x n, finite.
        clusters: n labels, for example game days; losses of one cluster may depend on each other.
    """
    loss = np.asarray(loss, dtype=np.float64)
    labels = np.asarray(clusters)
    if loss.ndim != 2 or not loss.size or loss.shape[1] != len(labels):
        raise ValueError(
            f"loss must be forecasters x games with a cluster for every game, not {loss.shape}, {len(labels)}"
        )
    if not np.isfinite(loss).all():
        raise ValueError("a loss is missing; compare only games that all forecasters forecast and that were played")
    mean_loss = loss.mean(axis=1)
    best = int(mean_loss.argmin())
    k, n = loss.shape
    codes = np.unique(labels, return_inverse=True)[1]
    groups = int(codes.max()) + 1
    d = loss - loss[best]
    mean = d.mean(axis=1)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(groups))
    sums = np.add.reduceat((d - mean[:, None])[:, order], starts, axis=1)
    if groups < 2:
        half = np.full(k, np.inf)
    else:
        error = np.sqrt(groups / (groups - 1) * (sums**2).sum(axis=1)) / n
        half = error * t_quantile(1 - (1 - level) / max(k - 1, 1) / 2, groups - 1)
    half[best] = 0.0
    return AgainstBest(best, n, groups, mean_loss, mean, mean - half, mean + half, mean - half <= 0)


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t, at least .5. Exact for 1 and 2 degrees of freedom, else Hill's expansion.

    Relative error below 2e-6 for probabilities up to 1 - 1e-5.
    Source: G. W. Hill, "Algorithm 396: Student's t-Quantiles", Communications of the ACM 13 (1970).
    """
    tail = 2 * (1 - probability)
    if tail >= 1:
        return 0.0
    if freedom == 1:
        return float(1 / np.tan(tail * np.pi / 2))
    if freedom == 2:
        return float(np.sqrt(2 / (tail * (2 - tail)) - 2))
    n = float(freedom)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * np.sqrt(a * np.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(tail / 2)
        y = x * x
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = np.expm1(a * y * y)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (
            n + 2
        ) + 1 / y
    return float(np.sqrt(n * y))
