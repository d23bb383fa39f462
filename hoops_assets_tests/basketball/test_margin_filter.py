from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hoops_assets.basketball.margin_filter import FORM, SLOW, Encounter, MarginFilter

BOTH = pytest.mark.parametrize("rules", [SLOW, FORM], ids=["slow", "form"])


def game(home="ANN", away="BEA", margin: int | None = None, neutral=False, home_tired=False, away_tired=False):
    return Encounter(home, away, neutral, home_tired, away_tired, margin)


def after(rules, games):
    state = MarginFilter(rules)
    for one in games:
        state.forecast(one)
        state.learn([one])
    return state


class Textbook:
    """The same filter by the equations of a textbook, dense, with the measurement as a row vector."""

    def __init__(self, rules, teams):
        self.rules, self.teams = rules, teams
        self.x = np.array([rules.league_edge, rules.tired_home, rules.tired_away] + [0.0, 0.0] * len(teams))
        variances = [rules.league_edge_variance, rules.tired_variance, rules.tired_variance]
        self.p = np.diag(variances + [rules.rating_variance, rules.edge_variance] * len(teams))
        self.noise = rules.noise

    def row(self, one):
        h = np.zeros(len(self.x))
        home, away = (3 + 2 * self.teams.index(team) for team in (one.home, one.away))
        h[home], h[away] = 1.0, -1.0
        h[0] = h[home + 1] = 0.0 if one.neutral else 1.0
        h[1], h[2] = one.home_tired, one.away_tired
        return h

    def forecast(self, one):
        h = self.row(one)
        return h @ self.x, math.sqrt(h @ self.p @ h + self.noise)

    def learn(self, games):
        surplus = 0.0
        for one in games:
            h = self.row(one)
            s = h @ self.p @ h + self.noise
            error = self.rules.damping * math.tanh(one.margin / self.rules.damping) - h @ self.x
            gain = self.p @ h / s
            surplus += error**2 - s
            self.x = self.x + gain * error
            self.p = (np.eye(len(h)) - np.outer(gain, h)) @ self.p
        self.noise += surplus / self.rules.noise_memory


def test_it_is_the_kalman_filter_of_the_textbooks():
    teams = ["ANN", "BEA", "CAT", "DOT"]
    random = np.random.default_rng(1)
    ours, textbook = MarginFilter(SLOW), Textbook(SLOW, teams)
    for _ in range(40):
        order = [teams[at] for at in random.permutation(4)]
        margins = random.integers(1, 40, 2) * random.choice([-1, 1], 2)
        day = [
            game(home, away, int(margin), *(bool(one) for one in random.random(3) < 0.3))
            for home, away, margin in zip(order[:2], order[2:], margins, strict=True)
        ]
        for one in day:
            found = ours.forecast(one)
            assert (found.mean, found.sd) == pytest.approx(textbook.forecast(one), rel=1e-9)
        ours.learn(day)
        textbook.learn(day)


@BOTH
def test_a_new_league_is_even_but_for_home_advantage_and_tired_legs(rules):
    state = MarginFilter(rules)
    assert state.forecast(game(neutral=True)).mean == 0.0
    assert state.forecast(game()).mean == rules.league_edge
    assert state.forecast(game(neutral=True, home_tired=True)).mean == rules.tired_home
    assert state.forecast(game(neutral=True, away_tired=True)).mean == rules.tired_away


@BOTH
def test_a_win_by_more_than_expected_raises_the_winner_and_narrows_the_forecast(rules):
    state = MarginFilter(rules)
    before = state.forecast(game(neutral=True))
    state.learn([game(margin=25, neutral=True)])
    later = state.forecast(game(neutral=True))
    assert later.mean > before.mean and later.home_rating > 0 > later.away_rating
    noise = rules.noise
    assert later.sd**2 - noise < before.sd**2 - noise


@BOTH
def test_the_mirror_image_of_a_neutral_game_is_its_negative(rules):
    history = [game("ANN", "BEA", 9), game("CAT", "ANN", -3), game("BEA", "CAT", 14, home_tired=True)]
    state = after(rules, history)
    there, back = state.forecast(game("ANN", "CAT", neutral=True)), state.forecast(game("CAT", "ANN", neutral=True))
    assert there.mean == pytest.approx(-back.mean, abs=1e-12) and there.sd == pytest.approx(back.sd, rel=1e-12)


@BOTH
def test_a_rout_counts_hardly_more_than_a_clear_win(rules):
    def raised(margin):
        return after(rules, [game(margin=margin, neutral=True)]).forecast(game(neutral=True)).mean

    assert raised(60) - raised(40) < 0.2 * (raised(20) - raised(1))


@BOTH
def test_an_unplayed_game_teaches_nothing(rules):
    state = after(rules, [game(margin=7)])
    before = state.forecast(game())
    state.learn([game(), game("BEA", "CAT")])
    assert state.forecast(game()) == before


@BOTH
def test_a_newcomer_is_expected_to_lose_and_is_less_certain_until_it_has_played(rules):
    state = after(rules, [game(*pair, margin, True) for pair in (("ANN", "BEA"), ("BEA", "ANN")) for margin in (3, -3)])
    state.next_season()
    known = state.forecast(game("ANN", "BEA", neutral=True))
    new = state.forecast(game("NEW", "BEA", neutral=True))
    assert new.mean < known.mean - 4 and new.sd > known.sd
    for number in range(30):
        state.learn([game("NEW", ("ANN", "BEA")[number % 2], 2, neutral=True)])
    ordinary = state.forecast(game("NEW", "BEA", neutral=True))
    assert ordinary.sd < new.sd and ordinary.mean > new.mean


@BOTH
def test_a_team_that_is_not_seen_before_moves_no_forecast_of_the_others(rules):
    history = [game("ANN", "BEA", 9), game("BEA", "CAT", 4)]
    with_newcomer, without = after(rules, history), after(rules, history)
    with_newcomer.forecast(game("NEW", "ANN"))
    for state in (with_newcomer, without):
        state.pass_days(3)
        state.learn([game("CAT", "ANN", 5)])
        state.next_season()
    assert with_newcomer.forecast(game("ANN", "BEA")) == without.forecast(game("ANN", "BEA"))


@BOTH
def test_seasons_and_days_widen_and_a_season_moves_towards_the_mean(rules):
    state = after(rules, [game(margin=12, neutral=True)] * 20)
    now = state.forecast(game(neutral=True))
    state.pass_days(5)
    assert state.forecast(game(neutral=True)).sd > now.sd
    state.next_season()
    assert 0 < state.forecast(game(neutral=True)).mean < now.mean


def test_form_fades_and_ratings_stay():
    lasting = replace(SLOW, day_variance=0.0)
    steady, moody = after(lasting, [game(margin=20, neutral=True)]), after(FORM, [game(margin=20, neutral=True)])
    before = [state.forecast(game(neutral=True)).mean for state in (steady, moody)]
    for state in (steady, moody):
        state.pass_days(60)
    later = [state.forecast(game(neutral=True)).mean for state in (steady, moody)]
    assert later[0] == before[0] and 0 < later[1] < before[1]


@BOTH
def test_noise_is_learned(rules):
    calm = after(rules, [game(margin=(1, -1)[number % 2], neutral=True) for number in range(3000)])
    wild = after(rules, [game(margin=(30, -30)[number % 2], neutral=True) for number in range(3000)])
    assert calm.forecast(game()).sd < math.sqrt(rules.noise) < wild.forecast(game()).sd


@BOTH
def test_a_copy_goes_its_own_way(rules):
    state = after(rules, [game(margin=7)])
    before, twin = state.forecast(game()), state.copy()
    twin.learn([game(margin=-30)])
    twin.forecast(game("NEW", "ANN"))
    twin.next_season()
    assert state.forecast(game()) == before != twin.forecast(game())
