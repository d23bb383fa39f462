"""The rule that decides over a challenger, on seasons whose true gain is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.judging import sequential as seq
from hoops_assets.judging.sequential import DEFAULT, Rule
from hoops_assets.judging.simulation import LEAST_EXCESS, brier_gains, excess, noise_of

SEASONS, GAMES = 10_000, 1_230
DAILY = seq.looks_of(GAMES, 7)


def gains(true_gain: float, seasons: int = SEASONS, games: int = GAMES, seed: int = 20261123) -> seq.Floats:
    return brier_gains(np.random.default_rng(seed), (seasons, games), true_gain)


# -- the simulation knows what it claims ------------------------------------------------------------------------------


@pytest.mark.parametrize("true_gain", [-0.01, 0.0, 0.014])
def test_simulated_gains_have_the_true_gain_on_average(true_gain: float) -> None:
    found = gains(true_gain, seasons=400)
    assert found.mean() == pytest.approx(true_gain, abs=4 * found.std() / np.sqrt(found.size))
    assert np.abs(found).max() <= 1


def test_noise_costs_what_was_asked_for() -> None:
    assert excess(0.0) == pytest.approx(0.0, abs=1e-15)
    for wanted in (LEAST_EXCESS, 0.015):
        assert excess(noise_of(wanted)) == pytest.approx(wanted, rel=1e-9)
    with pytest.raises(ValueError, match="no noise costs"):
        noise_of(0.9)


# -- error rates, with a look every day -------------------------------------------------------------------------------


def test_a_challenger_worse_by_exactly_the_margin_is_rolled_out_in_at_most_alpha_of_10000_seasons() -> None:
    found = seq.outlook(gains(-DEFAULT.margin), DAILY)
    assert found.roll_out <= DEFAULT.alpha
    assert found.roll_out > 0.005, "a rule that never errs at the border has no power either"
    assert found.roll_back > 0.5


def test_a_rule_that_looks_as_if_it_looked_once_would_be_caught() -> None:
    """The same seasons, judged every day by the usual 95 % interval: far more than alpha are rolled out."""
    x = np.clip(gains(-DEFAULT.margin, seasons=1_000), -DEFAULT.bound, DEFAULT.bound)
    n = np.arange(1, GAMES + 1)
    mean = np.cumsum(x, axis=1) / n
    error = np.sqrt(np.maximum(np.cumsum(x**2, axis=1) / n - mean**2, 1e-12) / n)
    naive = (mean - 1.645 * error)[:, np.array(DAILY[3:]) - 1] > -DEFAULT.margin
    assert naive.any(axis=1).mean() > 2 * DEFAULT.alpha


def test_an_equal_challenger_is_rolled_back_in_at_most_alpha_and_nearly_always_rolled_out() -> None:
    found = seq.outlook(gains(0.0, seasons=4_000), DAILY)
    assert found.roll_back <= DEFAULT.alpha
    assert found.roll_out > 0.95
    assert found.games < 300


def test_gains_that_change_with_time_are_covered_as_long_as_their_running_average_is_no_better() -> None:
    early, late = gains(-0.02, 2_000, 615, seed=1), gains(0.0, 2_000, 615, seed=2)
    found = seq.outlook(np.concatenate([early, late], axis=1), DAILY)
    assert found.roll_out <= DEFAULT.alpha


def test_blunders_can_hardly_hide_behind_the_clipping() -> None:
    """Equal but for one game in a hundred, which it loses by one: worse by the margin, and clipped to a quarter of it.

    No rule can see blunders that have not happened yet, so this is more than alpha; without the guard it is nearly all.
    """
    rng = np.random.default_rng(3)
    blundering = gains(0.0, 2_000)
    blundering[rng.random(blundering.shape) < 0.01] = -1.0
    assert seq.outlook(blundering, DAILY).roll_out < 0.25
    assert seq.outlook(blundering, DAILY, Rule(hidden=1.0)).roll_out > 0.75


# -- the confidence sequence ------------------------------------------------------------------------------------------


def test_the_sequence_misses_the_true_gain_at_any_look_in_at_most_twice_alpha() -> None:
    looks = [25, 50, 100, 200, 400]
    missed = 0
    for season in gains(0.004, seasons=300, games=400):
        sequence = seq.confidence_sequence(season, looks)
        missed += bool(((sequence[:, 1] > 0.004) | (sequence[:, 2] < 0.004)).any())
    assert missed / 300 <= 2 * DEFAULT.alpha


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60))
def test_ends_enclose_the_clipped_mean_and_mirror_when_the_roles_are_swapped(season: list[float]) -> None:
    low, high = seq.interval(season)
    mean = np.clip(season, -DEFAULT.bound, DEFAULT.bound).mean()
    assert -DEFAULT.bound <= low <= mean + 1e-6
    assert mean - 1e-6 <= high <= DEFAULT.bound
    assert seq.interval([-x for x in season]) == pytest.approx((-high, -low))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 400), st.sampled_from([-0.05, -0.02, 0.0, 0.05]))
def test_the_decision_is_what_the_ends_say(seed: int, games: int, shift: float) -> None:
    season = np.clip(gains(0.0, 1, games, seed)[0] + shift, -DEFAULT.bound, DEFAULT.bound)
    verdict = seq.judge(season, [games])
    low, high = seq.interval(season)
    assert (verdict.low, verdict.high) == (low, high)
    expected = "roll_back" if high < 0 else "roll_out" if low > -DEFAULT.margin else "wait"
    assert verdict.choice == expected


def test_long_products_are_cut_before_they_vanish() -> None:
    x = np.full((1, 3_000), -DEFAULT.bound)
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        found = seq.log_capital(x, [3_000], -DEFAULT.margin, DEFAULT.bound)
    assert found[0, 0] == pytest.approx(3_000 * np.log(1 - seq.SHARES[0]) - np.log(len(seq.SHARES)))


# -- judging ----------------------------------------------------------------------------------------------------------


def test_once_decided_later_games_change_nothing() -> None:
    good = gains(0.004, 1)[0]
    verdict = seq.judge(good, DAILY)
    assert verdict.choice == "roll_out"
    assert verdict.games in DAILY
    until = [look for look in DAILY if look <= verdict.games]
    assert seq.judge(good[: verdict.games], until) == verdict
    terrible = np.concatenate([good[: verdict.games], np.full(GAMES - verdict.games, -1.0)])
    assert seq.judge(terrible, DAILY) == verdict


def test_what_is_undecided_after_max_games_leaves_the_champion() -> None:
    rule = Rule(max_games=100, margin=0.002)
    x = gains(0.0, 1)[0][:105]
    looks = seq.looks_of(105, 7)
    assert seq.judge(x[:98], looks[:14], rule).choice == "wait"
    verdict = seq.judge(x, looks, rule)
    assert (verdict.choice, verdict.games, verdict.more_games) == ("keep_champion", 100, None)


def test_without_games_there_is_nothing_to_tell() -> None:
    verdict = seq.judge([], [])
    assert (verdict.choice, verdict.games, verdict.mean, verdict.decided) == ("wait", 0, None, False)


def test_how_many_games_more_is_about_right() -> None:
    guessed, needed = [], []
    for season in gains(0.0, 60, seed=5):
        early = seq.judge(season[:98], DAILY[:14])
        whole = seq.judge(season, DAILY)
        if not early.decided and early.more_games is not None and whole.decided:
            guessed.append(early.more_games)
            needed.append(whole.games - early.games)
    assert len(guessed) > 20
    assert 0.5 < np.median(guessed) / np.median(needed) < 2


def test_it_says_when_the_games_that_are_left_will_not_do() -> None:
    level = np.tile([0.2, -0.21], 100)
    verdict = seq.judge(level, seq.looks_of(200, 10), Rule(max_games=230))
    assert (verdict.choice, verdict.more_games) == ("wait", None)
    assert "not within the 30 games that are left" in verdict.reason


def test_the_outlook_from_past_gains_is_that_of_the_seasons_they_came_from() -> None:
    found = seq.expected(gains(0.004, 1)[0])
    assert found.roll_out > 0.9
    assert found.roll_out + found.roll_back + found.keep_champion == pytest.approx(1)
    assert found.games == pytest.approx(seq.outlook(gains(0.004, 500), DAILY).games, rel=0.35)


@pytest.mark.parametrize(
    ("season", "looks"), [([0.1, float("nan")], [2]), ([0.1, 0.2], [1]), ([0.1], [0, 1]), ([0.1, 0.1], [2, 1, 2])]
)
def test_what_cannot_be_judged_is_refused(season: list[float], looks: list[int]) -> None:
    with pytest.raises(ValueError, match=r"gain is missing|looks must ascend"):
        seq.judge(season, looks)


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"margin": 0.3}, {"bound": 2}, {"max_games": 0}, {"hidden": -1}])
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must hold|is a probability"):
        Rule(**wrong)  # type: ignore[arg-type]
