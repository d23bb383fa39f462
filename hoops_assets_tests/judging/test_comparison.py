from __future__ import annotations

import numpy as np
import pytest

from hoops_assets.errors import LeakAlarm
from hoops_assets.judging.comparison import LEAK_GAMES, leak_alarm, paired_difference


def test_the_interval_of_a_worked_example():
    # One game a day: the interval of Student's t test. d = (1, 2, 3, 4), mean 2.5, standard error sqrt(5 / 3 / 4).
    found = paired_difference([2, 4, 6, 8], [1, 2, 3, 4], [1, 2, 3, 4])
    half = 3.182446 * (5 / 3 / 4) ** 0.5
    assert (found.n, found.clusters, found.mean) == (4, 4, 2.5)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half), abs=1e-5)


def test_games_of_one_day_that_move_together_count_as_one():
    d = np.repeat([1.0, -1.0, 2.0, 0.0, 0.5], 6)
    days = np.repeat(np.arange(5), 6)
    alone = paired_difference(d[::6], np.zeros(5), days[::6])
    together = paired_difference(d, np.zeros(30), days)
    assert together.low == pytest.approx(alone.low) and together.high == pytest.approx(alone.high)


def test_exchanging_the_forecasters_turns_the_sign():
    random = np.random.default_rng(0)
    a, b, days = random.random(50), random.random(50), random.integers(0, 9, 50)
    one, other = paired_difference(a, b, days), paired_difference(b, a, days)
    assert one.mean == -other.mean
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    days = np.repeat(np.arange(40), 5)
    hits = 0
    for _ in range(1000):
        d = 0.3 + np.repeat(random.normal(size=40), 5) + random.normal(size=200)
        found = paired_difference(d, np.zeros(200), days)
        hits += found.low <= 0.3 <= found.high
    assert 925 <= hits <= 975


def test_one_day_alone_has_no_interval():
    found = paired_difference([1.0, 2.0], [0.0, 0.0], ["a", "a"])
    assert (found.mean, found.low, found.high) == (1.5, None, None)


@pytest.mark.parametrize(
    ("losses", "against", "days", "message"),
    [([], [], [], "length"), ([1.0], [1.0], [1, 2], "length"), ([np.nan], [1.0], [1], "missing")],
)
def test_what_cannot_be_paired_is_refused(losses, against, days, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(losses, against, days)


def test_too_large_a_gain_on_elo_stops_with_the_reason():
    elo = np.full(LEAK_GAMES, 0.600)
    leak_alarm("boosting", elo - 0.024, elo=elo)
    with pytest.raises(LeakAlarm, match=r"boosting beats walk-forward Elo by 0\.0260 .* on 1000 games"):
        leak_alarm("boosting", elo - 0.026, elo=elo)


def test_too_large_a_gain_on_the_closing_line_stops_on_the_games_that_have_one():
    own = np.full(LEAK_GAMES + 5, 0.560)
    line = np.append(np.full(LEAK_GAMES, 0.571), np.full(5, np.nan))
    with pytest.raises(LeakAlarm, match="the closing line"):
        leak_alarm("logistic", own, closing_line=line)
    leak_alarm("logistic", own, closing_line=np.where(np.isnan(line), np.nan, 0.569))


def test_luck_on_few_games_raises_no_alarm():
    leak_alarm("boosting", np.full(LEAK_GAMES - 1, 0.1), elo=np.full(LEAK_GAMES - 1, 0.6))
