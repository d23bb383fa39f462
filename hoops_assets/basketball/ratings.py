"""Elo ratings with margin of victory, as FiveThirtyEight publishes them for basketball.

What belongs here: the formulas, pure and per game. Walking through a schedule is in `basketball.form`.

Source: N. Silver and R. Fischer-Baum, "How We Calculate NBA Elo Ratings" (FiveThirtyEight, 2015). Checked against the
published `elo_prob1` of every NBA game 1984 to 2019.
"""

from __future__ import annotations

import math

from hoops_assets.basketball.league import EloRules

SCALE = 400.0
"""Rating points that multiply the odds by ten."""

LOGIT_PER_POINT = math.log(10.0) / SCALE
"""Log odds per rating point: expected_probability(d) = 1 / (1 + exp(-LOGIT_PER_POINT * d))."""


def expected_probability(difference: float) -> float:
    """Probability of winning with `difference` rating points of advantage, home advantage included."""
    return 1.0 / (1.0 + 10.0 ** (-difference / SCALE))


def rating_difference(home_elo: float, away_elo: float, neutral: bool, rules: EloRules) -> float:
    """The home side's advantage in rating points; the home advantage counts unless the ground is neutral."""
    return home_elo - away_elo + (0.0 if neutral else rules.home_advantage)


def margin_multiplier(margin: int, winner_difference: float) -> float:
    """Weight of one game: ((m + 3) ** 0.8) / (7.5 + 0.006 d).

    Args:
        margin: points by which the winner won, at least 1.
        winner_difference: the winner's advantage before the game in rating points, home advantage included; the
            denominator damps the gain of favourites, who win by more.
    """
    return (margin + 3.0) ** 0.8 / (7.5 + 0.006 * winner_difference)


def rating_change(difference: float, home_margin: int, rules: EloRules) -> float:
    """Rating points that the home side gains and the away side loses.

    Args:
        difference: as `rating_difference` gives it, before the game.
        home_margin: home score minus away score.

    Raises:
        ValueError: the margin is 0; basketball knows no tie.
    """
    if home_margin == 0:
        raise ValueError("a game cannot end in a tie: the margin is 0; correct or remove its score in the source")
    home_won = home_margin > 0
    surprise = (1.0 if home_won else 0.0) - expected_probability(difference)
    multiplier = margin_multiplier(abs(home_margin), difference if home_won else -difference)
    return rules.k * multiplier * surprise


def carried_over(elo: float, rules: EloRules) -> float:
    """The rating with which a team enters a new season: moved towards the mean."""
    return rules.carry_over * elo + (1.0 - rules.carry_over) * rules.mean
