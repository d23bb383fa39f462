from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.judging import scoring

forecasts = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_a_coin_forecast_costs_log_2_and_a_quarter():
    assert scoring.log_loss([0.5, 0.5], [True, False]) == pytest.approx(math.log(2))
    assert scoring.brier([0.5, 0.5], [True, False]) == 0.25
    assert scoring.accuracy([0.5, 0.5], [True, True]) == 0.5


def test_scores_of_a_worked_example():
    p, y = [0.8, 0.3, 0.6], [True, False, False]
    assert scoring.log_loss(p, y) == pytest.approx(-(math.log(0.8) + math.log(0.7) + math.log(0.4)) / 3)
    assert scoring.brier(p, y) == pytest.approx((0.04 + 0.09 + 0.36) / 3)
    assert scoring.accuracy(p, y) == pytest.approx(2 / 3)


def test_a_certain_miss_costs_much_but_not_everything():
    assert scoring.log_loss([0.0], [True]) == pytest.approx(-math.log(1e-6))
    assert scoring.log_loss([1.0], [True]) == pytest.approx(1e-6, rel=1e-3)


@given(forecasts)
def test_scores_stay_in_their_bounds(rows):
    p, y = zip(*rows, strict=True)
    found = scoring.scores(p, y)
    assert found["n"] == len(rows)
    assert 0 <= found["log_loss"] <= -math.log(1e-6) + 1e-9
    assert 0 <= found["brier"] <= 1 and 0 <= found["accuracy"] <= 1 and 0 <= found["calibration_error"] <= 1


@given(forecasts, st.randoms(use_true_random=False))
def test_the_order_of_games_does_not_matter(rows, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    for score in (scoring.log_loss, scoring.brier, scoring.accuracy, scoring.calibration_error):
        assert score(*zip(*shuffled, strict=True)) == pytest.approx(score(*zip(*rows, strict=True)), abs=1e-12)


def test_the_truth_scores_best_in_the_long_run():
    random = np.random.default_rng(0)
    truth = random.uniform(0.2, 0.9, 20_000)
    outcome = random.random(20_000) < truth
    for shifted in (truth - 0.1, truth + 0.1):
        assert scoring.log_loss(truth, outcome) < scoring.log_loss(shifted, outcome)
        assert scoring.brier(truth, outcome) < scoring.brier(shifted, outcome)
        assert scoring.calibration_error(truth, outcome) < 0.02 < scoring.calibration_error(shifted, outcome)


def test_calibration_error_of_a_shifted_forecast_is_the_shift():
    p = np.repeat(np.linspace(0.15, 0.85, 8), 100)
    y = np.concatenate([np.arange(100) < round(100 * (share - 0.1)) for share in np.linspace(0.15, 0.85, 8)])
    assert scoring.calibration_error(p, y) == pytest.approx(0.1, abs=0.006)


def test_equal_forecasts_share_one_bin():
    y = [True] * 60 + [False] * 40
    assert scoring.calibration_error([0.6] * 100, y) == pytest.approx(0.0, abs=1e-12)
    assert scoring.reliability([0.6] * 100, y)["n"].tolist() == [100]


def test_the_reliability_table_has_ten_bins_of_equal_count():
    random = np.random.default_rng(1)
    p = random.random(1000)
    table = scoring.reliability(p, random.random(1000) < p)
    assert table["n"].tolist() == [100] * 10
    assert table["mean_probability"].is_monotonic_increasing
    assert ((table["low"] < table["share"]) & (table["share"] < table["high"])).all()


def test_wilson_interval_of_a_worked_example():
    # Brown, Cai and DasGupta (2001): 0 of 10 gives [0, .278]; 5 of 10 gives [.237, .763].
    low, high = scoring.wilson_interval([0, 5], [10, 10])
    assert low == pytest.approx([0.0, 0.2366], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.7634], abs=1e-4)


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([0.5, 0.5], [True], "one length"),
        ([], [], "length >= 1"),
        ([1.2], [True], "outside"),
        ([math.nan], [True], "missing"),
        ([0.5], [0.5], "played"),
        ([0.5], [math.nan], "played"),
    ],
)
def test_what_cannot_be_scored_is_refused(p, y, message):
    with pytest.raises(ValueError, match=message):
        scoring.log_loss(p, y)


def test_a_perfect_forecaster_stays_below_the_error_by_luck_and_an_overconfident_one_does_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, 1_000)
    limit = scoring.calibration_error_by_luck(truth)
    errors = [scoring.calibration_error(truth, rng.random(1_000) < truth) for _ in range(200)]
    assert 0.95 <= np.mean(np.array(errors) <= limit) <= 1.0
    certain = np.where(truth > 0.5, 0.95, 0.05)
    assert scoring.calibration_error(certain, rng.random(1_000) < truth) > scoring.calibration_error_by_luck(certain)
