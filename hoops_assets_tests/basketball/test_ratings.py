from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.basketball import ratings
from hoops_assets.basketball.league import EloRules
from hoops_assets_tests.basketball import nba

RULES = EloRules()
differences = st.floats(-900, 900)
margins = st.integers(1, 70)


def test_even_teams_have_even_chances_and_400_points_are_ten_to_one():
    assert ratings.expected_probability(0.0) == 0.5
    assert ratings.expected_probability(400.0) == pytest.approx(10 / 11)


@given(differences)
def test_the_two_sides_probabilities_add_to_one_and_follow_the_logistic_curve(difference):
    p = ratings.expected_probability(difference)
    assert p + ratings.expected_probability(-difference) == pytest.approx(1.0, abs=1e-12)
    assert p == pytest.approx(1 / (1 + math.exp(-ratings.LOGIT_PER_POINT * difference)), abs=1e-12)


def test_home_advantage_counts_only_on_home_ground():
    assert ratings.rating_difference(1500.0, 1450.0, False, RULES) == 150.0
    assert ratings.rating_difference(1500.0, 1450.0, True, RULES) == 50.0


def test_the_first_game_of_the_published_history_changes_ratings_as_published():
    # 1946-11-01: TRH 66, NYK 68, both at 1300 before, published as 1293.2767 and 1306.7233 after.
    difference = ratings.rating_difference(1300.0, 1300.0, False, RULES)
    assert ratings.rating_change(difference, -2, RULES) == pytest.approx(-6.7233, abs=5e-5)


@given(differences, margins)
def test_the_winner_gains_and_gains_more_by_a_higher_margin(difference, margin):
    assert ratings.rating_change(difference, margin, RULES) > 0 > ratings.rating_change(difference, -margin, RULES)
    assert ratings.rating_change(difference, margin + 1, RULES) > ratings.rating_change(difference, margin, RULES)


@given(differences, margins)
def test_what_one_side_gains_the_other_side_would_lose(difference, margin):
    assert ratings.rating_change(difference, margin, RULES) == pytest.approx(
        -ratings.rating_change(-difference, -margin, RULES), abs=1e-9
    )


def test_a_tie_is_refused():
    with pytest.raises(ValueError, match="tie"):
        ratings.rating_change(0.0, 0, RULES)


def test_a_new_season_moves_a_rating_a_quarter_of_the_way_to_the_mean():
    assert ratings.carried_over(1705.0, RULES) == 1655.0
    assert ratings.carried_over(1505.0, RULES) == 1505.0


def test_elo_equals_the_published_probability_on_every_nba_game_1984_to_2019(real_data):
    league, _ = nba.history(real_data)
    ours = nba.features(real_data)
    theirs = nba.published(real_data, league)
    both = ours[ours["season"] >= 1984].merge(
        theirs[theirs["season"] >= 1984], on=["season", "day", "home", "away"], how="outer", validate="one_to_one"
    )
    assert len(both) == 43613
    probability = both["elo_difference"].map(ratings.expected_probability)
    assert (probability - both["elo_prob1"]).abs().max() <= 0.01
