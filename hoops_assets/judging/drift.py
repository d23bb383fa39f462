"""Whether the world that a model forecasts is still the one it was trained on.

What belongs here: one small pure function a question, each with an answer that says what moved, since when and how sure.
Nothing here knows basketball or what is done about an alarm; thresholds are fixed by simulation (benchmarks/drift_power.py,
docs/drift.md), never by looking at what they find.

| question | function | its false alarms |
|---|---|---|
| has a mean moved: target, home advantage, residuals, totals? | `mean_shift` | alpha over a season of daily looks |
| are the inputs those of the training set? | `input_drift` | alpha over all inputs at one look |
| has the loss changed its level (concept drift)? | `concept_drift` | stated from simulation |
| are more inputs missing or late than usual? | `excess` | alpha over all looks, whatever the days have in common |
| did serving see what training would have seen? | `serving_skew` | none: it compares values |
| is somebody new? | `unseen` | none |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hoops_assets.judging import sequential

Floats = NDArray[np.float64]

ALPHA = 0.05
"""Probability, at most, of a false alarm: of one signal over a season, or of all inputs at one look."""

TYPICAL = 0.1
"""Size of a shift worth finding, in standard deviations of one game: .1 is 5 points in the share of home wins."""

TOLERANCE = 0.01
"""Size of a shift that is not worth an alarm, in the same unit: half a point in the share of home wins."""

RESTART, RESTARTS = 30, 5
"""A further watch begins after every so many looks, so many times; half of the first capital is kept for them."""

WEEK, WEEKS = 7, 24
"""The same for `excess`."""

BINS = 10
PERMUTATIONS = 999
LEAST_PSI = 0.2
"""Population stability index below which inputs count as unmoved, however sure the test is: teams' strengths differ from
season to season, and with them every difference of ratings."""

ADWIN_DELTA = 0.5
MIN_LOOKS = 30
"""Values that ADWIN sees before it is asked."""


def log_mixture(total: ArrayLike, variance: ArrayLike, spread: float) -> Floats:
    """Log likelihood ratio of "the mean moved by N(0, spread^2) per unit of variance" to "it did not move".

    With S the sum of n values and V the sum of their variances: -log(1 + V w) / 2 + S^2 w / (2 (1 + V w)), w = spread^2.
    Source: Robbins, "Statistical methods related to the law of the iterated logarithm" (Annals of Mathematical Statistics
    41, 1970), the normal mixture; Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences" (Annals of Statistics 49, 2021), section 3.2.
    """
    s, v, w = np.asarray(total, dtype=np.float64), np.asarray(variance, dtype=np.float64), spread**2
    return -np.log1p(v * w) / 2 + s**2 * w / (2 * (1 + v * w))


@dataclass(frozen=True)
class Shift:
    """What a sequential test of a mean has seen.

    Attributes:
        looks: labels of the looks (game days), ascending.
        evidence: log evidence for a shift after each look; an alarm at log(1 / alpha).
        needed: that threshold.
        alarm: label of the first look at which it was reached, or None.
        since: label of the look from which the shift most likely dates; None without an alarm.
        games: values seen.
        shift, low, high: mean shift so far in standard deviations of one value, with an interval that is valid at every
            look and allows for the reference's own error; None without values.
    """

    looks: tuple[Any, ...]
    evidence: Floats
    needed: float
    alarm: Any | None
    since: Any | None
    games: int
    shift: float | None
    low: float | None
    high: float | None


def mean_shift(
    values: ArrayLike,
    looks: Sequence[Any],
    *,
    variances: ArrayLike | None = None,
    reference_variance: float = np.inf,
    tolerance: float = TOLERANCE,
    typical: float = TYPICAL,
    alpha: float = ALPHA,
) -> Shift:
    """Has the mean of something moved, looking after every game day?

    An always-valid test: if it moved by no more than chance, the probability that it ever alarms is at most alpha, however
    often one looks (Ville's inequality for the ratio of two normal mixtures, see `shift_evidence`). "No more than chance" is
    not a point: the reference's mean is itself estimated, and a shift of the order of `tolerance` is not worth an alarm. So
    under the null the shift is N(0, 1 / reference_variance + tolerance^2), under the alternative it has typical^2 more.

    The normal mixture takes sums of games for normal; simulation shows what that costs (docs/drift.md).

    Args:
        values: what was seen less what was expected, in standard deviations of one value, in order of time: (y - p) / sd for
            residuals, (x - reference mean) / reference sd else.
        looks: label of each value's look, ascending; values of one look count together.
        variances: of each value, in the same unit; 1 by default. For residuals p (1 - p) / sd^2.
        reference_variance: sum of the variances of the values from which the expectation was estimated: their number, if
            each has variance 1; infinite if it is known.
        tolerance: typical size of a shift that is not worth an alarm, in standard deviations.
        typical: size of a shift worth finding.
        alpha: probability of a false alarm over all looks.

    Raises:
        ValueError: values are missing, or the looks do not ascend.
    """
    x = np.asarray(values, dtype=np.float64)
    v = np.ones(len(x)) if variances is None else np.asarray(variances, dtype=np.float64)
    labels, ends = _ends(looks)
    if len(x) != len(looks) or len(v) != len(x) or not (np.isfinite(x).all() and np.isfinite(v).all()):
        raise ValueError(
            "values, variances and looks must be finite and of one length; leave out games without a result"
        )
    slack = 1 / reference_variance + tolerance**2
    needed = float(np.log(1 / alpha))
    if not len(x):
        return Shift((), np.empty(0), needed, None, None, 0, None, None, None)
    total, variance = np.cumsum(x)[ends], np.cumsum(v)[ends]
    evidence = shift_evidence(total, variance, slack, typical)
    reached = np.flatnonzero(evidence >= needed)
    alarm = int(reached[0]) if len(reached) else None
    low, high = _interval(float(total[-1]), float(variance[-1]), slack, typical, alpha)
    return Shift(
        looks=labels, evidence=evidence, needed=needed, alarm=None if alarm is None else labels[alarm],
        since=None if alarm is None else labels[_since(total[: alarm + 1], variance[: alarm + 1])],
        games=len(x), shift=float(total[-1] / variance[-1]), low=low, high=high,
    )  # fmt: skip


def shift_evidence(total: ArrayLike, variance: ArrayLike, slack: float, typical: float = TYPICAL) -> Floats:
    """Log evidence for a shift after each look, for many seasons at once.

    The ratio of two normal mixtures, one watch from the first look on with half of the capital, and RESTARTS later ones
    that share the other half, so that a shift in the middle of a season does not drown in the games before it. A mixture of
    such ratios is one too. Source: Shin, Ramdas and Rinaldo, "E-detectors" (New England Journal of Statistics in Data
    Science 2, 2024), section 3, in its simplest form.

    Args:
        total, variance: running sums of values and of their variances at the looks; [..., looks].
    """
    s, v = np.asarray(total, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    wide, narrow = float(np.sqrt(slack + typical**2)), float(np.sqrt(slack))
    capital = np.full(s.shape, -np.inf)
    for number in range(RESTARTS + 1):
        start = number * RESTART
        share = np.log(0.5 if number == 0 else 0.5 / RESTARTS)
        grown = np.zeros(s.shape)
        if start < s.shape[-1]:
            s_0, v_0 = (s[..., start - 1 : start], v[..., start - 1 : start]) if start else (0.0, 0.0)
            s_n, v_n = s[..., start:] - s_0, v[..., start:] - v_0
            grown[..., start:] = log_mixture(s_n, v_n, wide) - log_mixture(s_n, v_n, narrow)
        capital = np.logaddexp(capital, share + grown)
    return capital


def _interval(total: float, variance: float, slack: float, typical: float, alpha: float) -> tuple[float, float]:
    """The shifts against which the evidence is below the threshold: S - shift V in place of S, solved for the shift."""
    wide, narrow = slack + typical**2, slack
    slope = wide / (1 + variance * wide) - narrow / (1 + variance * narrow)
    fixed = np.log1p(variance * wide) - np.log1p(variance * narrow)
    half = float(np.sqrt((2 * np.log(1 / alpha) + fixed) / slope)) / variance
    return total / variance - half, total / variance + half


def _since(total: Floats, variance: Floats) -> int:
    """The look from which a single change of the mean explains the sums best: greatest (S - S_k)^2 / (V - V_k)."""
    s, v = np.concatenate([[0.0], total[:-1]]), np.concatenate([[0.0], variance[:-1]])
    return int(np.argmax((total[-1] - s) ** 2 / (variance[-1] - v)))


def _ends(looks: Sequence[Any]) -> tuple[tuple[Any, ...], NDArray[np.intp]]:
    """Labels of the looks, and the place of the last value of each."""
    labels: list[Any] = []
    ends: list[int] = []
    for place, look in enumerate(looks):
        if labels and look == labels[-1]:
            ends[-1] = place
            continue
        if labels and look < labels[-1]:
            raise ValueError(f"the looks must ascend; {look} stands after {labels[-1]}")
        labels.append(look)
        ends.append(place)
    return tuple(labels), np.asarray(ends, dtype=np.intp)


@dataclass(frozen=True)
class Reference:
    """Mean and spread of something in the time before; what `mean_shift` compares with.

    Attributes:
        mean: of one value.
        sd: such that sums over whole days have variance n sd^2: values of one day may depend on each other.
        n: values.
    """

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: ArrayLike, days: Sequence[Any]) -> Reference:
        """From values and their days. The greater of the plain and the day-wise spread is taken.

        Raises:
            ValueError: fewer than two values, or all the same.
        """
        x = np.asarray(values, dtype=np.float64)
        if len(x) < 2 or len(x) != len(days) or not np.isfinite(x).all() or not np.ptp(x):
            raise ValueError("a reference needs at least two finite values that differ, and the day of each")
        d = x - x.mean()
        codes = np.unique(np.asarray(days), return_inverse=True)[1]
        by_day = float((np.bincount(codes, weights=d) ** 2).sum() / len(x))
        return cls(float(x.mean()), float(np.sqrt(max(by_day, float((d**2).mean())))), len(x))

    def standardised(self, values: ArrayLike) -> Floats:
        """(values - mean) / sd."""
        return (np.asarray(values, dtype=np.float64) - self.mean) / self.sd


# -- inputs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputDrift:
    """One input now against then.

    Attributes:
        psi: population stability index, sum of (now - then) log(now / then) over the bins.
        p_value: share of the ways to deal whole days into now and then that give as great an index for their games.
        moved: p_value times the number of inputs is at most alpha, and psi at least LEAST_PSI.
    """

    name: str
    psi: float
    p_value: float
    moved: bool


def input_drift(
    then: Mapping[str, ArrayLike],
    now: Mapping[str, ArrayLike],
    then_days: Sequence[Any],
    now_days: Sequence[Any],
    *,
    alpha: float = ALPHA,
    least: float = LEAST_PSI,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[InputDrift]:
    """Are the inputs distributed as they were?

    The usual thresholds of the index (.1, .25) take no account of the number of games, and games of a day are alike, so the
    null distribution is made by dealing whole days anew. Bonferroni over the inputs. Take both spans from the same part of
    their seasons: ratings are close together in every October.

    Sources: Siddiqi, "Credit Risk Scorecards" (2006) for the index; Yurdakul and Naranjo, "Statistical properties of the
    population stability index" (Journal of Risk Model Validation 14, 2020) on its thresholds; the permutation of clusters as
    in Winkler et al., "Multi-level block permutation" (NeuroImage 123, 2015).

    Args:
        then, now: input -> a value per game, the same names in both; NaN counts as a value of its own.
        then_days, now_days: day of each game.
    """
    draw = np.random.default_rng(seed)
    days, codes = np.unique(np.concatenate([np.asarray(then_days), np.asarray(now_days)]), return_inverse=True)
    is_now = np.zeros(len(days), dtype=bool)
    is_now[codes[len(then_days) :]] = True
    if is_now[codes[: len(then_days)]].any():
        raise ValueError("a day lies both then and now; the spans must not overlap")
    dealt = np.argsort(draw.random((permutations, len(days))), axis=1) < is_now.sum()
    found = []
    for name in then:
        old, new = np.asarray(then[name], dtype=np.float64), np.asarray(now[name], dtype=np.float64)
        bins = _bins(np.concatenate([old, new]))
        by_day = np.zeros((len(days), int(bins.max()) + 1))
        np.add.at(by_day, (codes, bins), 1.0)
        counts, all_counts = dealt @ by_day, by_day.sum(axis=0)
        now_counts = by_day[is_now].sum(axis=0)
        index = _psi(all_counts - now_counts, now_counts)
        null = _psi(all_counts - counts, counts) * _scale(all_counts, counts)
        seen = index * _scale(all_counts, now_counts)
        p_value = float((1 + (null >= seen - 1e-9).sum()) / (1 + permutations))
        moved = p_value * len(then) <= alpha and float(index) >= least
        found.append(InputDrift(name, float(index), p_value, moved))
    return found


def psi(then: ArrayLike, now: ArrayLike) -> float:
    """Population stability index over BINS bins of equal share of both spans together; NaN is a bin of its own."""
    old, new = np.asarray(then, dtype=np.float64), np.asarray(now, dtype=np.float64)
    bins = _bins(np.concatenate([old, new]))
    size = int(bins.max()) + 1
    return float(_psi(np.bincount(bins[: len(old)], minlength=size), np.bincount(bins[len(old) :], minlength=size)))


def _bins(values: Floats) -> NDArray[np.intp]:
    # Bins of the reference alone, as is usual, would treat then and now unlike: dealing days anew were then no exact test.
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), len(edges) + 1)


def _scale(all_counts: Floats, now: Floats) -> Floats:
    """1 / (1 / N + 1 / M): days differ in games, and where nothing moved the index is about (1 / N + 1 / M) chi-squared."""
    m = now.sum(axis=-1)
    return m * (all_counts.sum() - m) / all_counts.sum()


def _psi(then: ArrayLike, now: ArrayLike) -> Floats:
    """Of counts in the last axis; half a game is added to every bin that is used, so that an empty one stays finite."""
    a, b = np.asarray(then, dtype=np.float64), np.asarray(now, dtype=np.float64)
    used = (a + b) > 0
    a, b = np.where(used, a + 0.5, 0.0), np.where(used, b + 0.5, 0.0)
    a, b = a / a.sum(axis=-1, keepdims=True), b / b.sum(axis=-1, keepdims=True)
    ratio = np.divide(b, a, out=np.ones_like(b - a), where=used)
    return ((b - a) * np.log(ratio)).sum(axis=-1)


# -- concept ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConceptDrift:
    """A change in the level of a loss: at which look it was seen, and the mean before and after."""

    look: Any
    before: float
    after: float


def concept_drift(
    losses: ArrayLike, looks: Sequence[Any], *, delta: float = ADWIN_DELTA, only_worse: bool = True
) -> list[ConceptDrift]:
    """Changes in the level of a loss, as ADWIN finds them: it keeps a window of all that has the same mean.

    It needs no reference and sees changes in the middle of a season, but its `delta` is not the probability of a false
    alarm over a season; docs/drift.md states that.

    Source: Bifet and Gavalda, "Learning from time-changing data with adaptive windowing" (SIAM Data Mining 2007); river's
    `drift.ADWIN`.

    Args:
        losses: one per game within [0, 1], for example Brier scores, in order of time.
        looks: label of each loss, ascending.
        only_worse: leave out changes for the better.
    """
    from river.drift import ADWIN

    adwin = ADWIN(delta=delta, grace_period=MIN_LOOKS)
    found = []
    before = 0.0
    for loss, look in zip(np.asarray(losses, dtype=np.float64).tolist(), looks, strict=True):
        mean = adwin.estimation
        adwin.update(loss)
        if adwin.drift_detected:
            before, after = mean, adwin.estimation
            if after > before or not only_worse:
                found.append(ConceptDrift(look, before, after))
    return found


# -- what arrives -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Excess:
    """Whether bad cases are more than usual.

    Attributes:
        share: of bad cases, mean over the days.
        evidence: log evidence that the usual share is exceeded, after the last day; alarm: first day at which it reached
            log(1 / alpha), or None.
    """

    share: float
    expected: float
    evidence: float
    alarm: Any | None


def excess(shares: ArrayLike, days: Sequence[Any], *, expected: float, alpha: float = ALPHA) -> Excess:
    """Are more inputs missing, or late, than usual?

    One bets on every day's share of bad cases against "it is `expected` on average", see `excess_evidence`. A day counts as
    one case, whatever its games have in common: sources fail for whole days.

    Args:
        shares: of bad cases on each day, 0 to 1, in order of time.
        days: their labels. expected: the usual share, above 0 and below 1.
    """
    x = np.asarray(shares, dtype=np.float64)
    if not 0 < expected < 1 or not ((x >= 0) & (x <= 1)).all() or len(x) != len(days):
        raise ValueError("shares lie between 0 and 1, one a day; expected lies between them")
    if not len(x):
        return Excess(0.0, expected, 0.0, None)
    capital = excess_evidence(x[None, :], expected)[0]
    reached = np.flatnonzero(capital >= np.log(1 / alpha))
    return Excess(float(x.mean()), expected, float(capital[-1]), days[int(reached[0])] if len(reached) else None)


def excess_evidence(shares: Floats, expected: float) -> Floats:
    """Log evidence after each day that shares exceed `expected` on average, for many seasons at once: [seasons, days].

    The capital of `sequential.log_capital`, which asks nothing of the shares but their mean, begun anew every WEEK days as in
    `shift_evidence`: what a hundred good days have lost must not stand between the first bad ones and the alarm.
    """
    seasons, days = shares.shape
    capital = np.full((seasons, days), -np.inf)
    for number in range(WEEKS + 1):
        start = number * WEEK
        grown = np.zeros((seasons, days))
        if start < days:
            rest = shares[:, start:] - 0.5
            grown[:, start:] = sequential.log_capital(rest, range(1, days - start + 1), expected - 0.5, 0.5)
        capital = np.logaddexp(capital, np.log(0.5 if number == 0 else 0.5 / WEEKS) + grown)
    return capital


@dataclass(frozen=True)
class Skew:
    """One input as serving saw it and as training would have: games compared, how many differ, and by how much at most."""

    name: str
    games: int
    differing: int
    largest: float


def serving_skew(
    trained: Mapping[str, ArrayLike], served: Mapping[str, ArrayLike], *, tolerance: float = 1e-6
) -> list[Skew]:
    """Inputs that serving saw otherwise than training would have, for the same games in the same order.

    Values are compared, not distributions, so that one wrong game is found and a right one never; missing in both is equal,
    missing in one is a difference without a size.

    Args:
        trained, served: input -> a value per game; the same names and games.
        tolerance: relative to the greater of 1 and the value's size; the bundle keeps 32-bit floats.

    Returns:
        The inputs that differ anywhere, most games first.

    Raises:
        ValueError: an input that only one of them has.
    """
    lacking = set(trained) ^ set(served)
    if lacking:
        raise ValueError(f"only one side has the inputs {', '.join(sorted(lacking))}")
    found = []
    for name in trained:
        a, b = np.asarray(trained[name], dtype=np.float64), np.asarray(served[name], dtype=np.float64)
        gap = np.abs(a - b)
        differ = ~((gap <= tolerance * np.maximum(1.0, np.abs(a))) | (np.isnan(a) & np.isnan(b)))
        if differ.any():
            sizes = gap[differ & np.isfinite(gap)]
            found.append(Skew(name, len(a), int(differ.sum()), float(sizes.max()) if len(sizes) else float("nan")))
    return sorted(found, key=lambda one: (-one.differing, one.name))


def unseen(values: Iterable[str], known: Iterable[str]) -> list[str]:
    """Values that were never seen in training (a promoted team, a new stage), sorted."""
    return sorted(set(values) - set(known))
