"""Many forecasters against the best: the intervals are those of the pairwise comparison, and the set holds its promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t

from hoops_assets.judging import scoring
from hoops_assets.judging.comparison import paired_difference
from hoops_assets.judging.paired import against_best, losses, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 17, 100, 1000])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.975, 0.99995])
def test_the_t_quantile_is_scipys(freedom: int, probability: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(student_t.ppf(probability, freedom), rel=2e-6)


def test_losses_are_those_of_the_scores() -> None:
    p, won = np.array([0.0, 0.2, 0.7, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    scores = scoring.scores(p, won)
    assert losses([p], won, "log_loss").mean() == pytest.approx(scores["log_loss"])
    assert losses([p], won, "brier").mean() == pytest.approx(scores["brier"])


def test_intervals_are_those_of_the_paired_difference() -> None:
    draw = np.random.default_rng(3)
    loss = draw.random((4, 90))
    days = draw.integers(0, 20, 90)
    found = against_best(loss, days, 0.9)
    for row in set(range(4)) - {found.best}:
        one = paired_difference(loss[row], loss[found.best], days, 1 - 0.1 / 3)
        assert (found.difference[row], found.low[row], found.high[row]) == pytest.approx(
            (one.mean, one.low, one.high), rel=1e-5
        )


def test_the_truly_best_is_in_the_set_as_often_as_promised_and_a_clearly_worse_one_is_not() -> None:
    draw = np.random.default_rng(4)
    days = np.repeat(np.arange(60), 5)
    missed = found = 0
    for _ in range(400):
        common = draw.normal(0, 1, 300) + np.repeat(draw.normal(0, 0.5, 60), 5)
        loss = common + draw.normal(0, 0.3, (12, 300)) + np.repeat(draw.normal(0, 0.1, (12, 60)), 5, axis=1)
        loss[1:] += 0.001  # the first is the best, by less than can be seen
        loss[11] += 0.2
        as_good = against_best(loss, days).as_good
        missed += not as_good[0]
        found += not as_good[11]
    assert missed / 400 <= 0.05
    assert found / 400 > 0.95


def test_one_cluster_tells_nothing_apart() -> None:
    assert against_best([[0.1, 0.1], [0.9, 0.8]], ["day", "day"]).as_good.all()


def test_a_missing_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="a loss is missing"):
        against_best([[0.1, np.nan], [0.9, 0.8]], [1, 2])
    with pytest.raises(ValueError, match="forecasters x games"):
        against_best([[0.1, 0.2]], [1])
