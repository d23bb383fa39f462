"""Who is new, from when until when, what its predecessors let one expect, and that nothing of it rests on the future."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball import new_teams as nt
from hoops_assets.basketball.game_ratings import game_ratings
from hoops_assets.basketball.games import GAMES, with_game_ids
from hoops_assets.basketball.league import League
from hoops_assets.basketball.margin_filter import FORM, SLOW, Encounter, MarginFilter

LEAGUE = League.model_validate(
    {
        "name": "growing",
        "time_zone": "UTC",
        "first_season": 2020,
        "season_starts": "01-01",
        "sources": {"games": {"kind": "csv"}},
        "teams": {code: {"name": code} for code in ("ANT", "BEE", "CAT", "DOE", "NEW", "OWL")},
    }
)
OLD = ("ANT", "BEE", "CAT", "DOE")
JOINED = {"NEW": 2021, "OWL": 2023}
LAST = date(2023, 12, 31)


def growing(seed: int = 3, weakness: float = 9.0) -> pd.DataFrame:
    """Four seasons of a league that NEW joins in the second and OWL in the fourth, both losing by some points."""
    draw, rows = np.random.default_rng(seed), []
    for season in range(2020, 2024):
        teams = [*OLD, *(team for team, since in JOINED.items() if since <= season)]
        for number in range(60):
            home, away = draw.choice(teams, 2, replace=False)
            margin = 3 + weakness * ((away in JOINED) - (home in JOINED)) + draw.normal(0, 8)
            margin = int(np.rint(margin)) or 1
            rows.append((season, date(season, 2, 1) + timedelta(days=2 * number), home, away, 90 + margin, 90))
    frame = pd.DataFrame(rows, columns=["season", "day", "home", "away", "home_score", "away_score"])
    frame = frame.assign(tip_off=pd.NaT, neutral=False, stage="regular")
    frame["tip_off"] = pd.Series(pd.NaT, index=frame.index, dtype=GAMES["tip_off"])
    return with_game_ids(frame.astype(GAMES))


def as_of(games: pd.DataFrame, today: date) -> pd.DataFrame:
    """What is known on the morning of a day: later games stand without scores."""
    ahead = games["day"] >= today
    return games.assign(home_score=games["home_score"].mask(ahead), away_score=games["away_score"].mask(ahead))


def test_teams_of_the_first_season_are_never_new_and_others_from_their_first_fixture() -> None:
    games = growing()
    teams = nt.new_teams(games, LAST)
    assert list(teams["team"]) == ["NEW", "OWL"]
    assert list(teams["season"]) == [2021, 2023]
    for team in teams.itertuples():
        own = games[(games["home"] == team.team) | (games["away"] == team.team)]
        assert (team.first_day, team.games) == (own["day"].min(), len(own))
    assert {name: str(kind) for name, kind in teams.dtypes.items()} == nt.NEW_TEAMS


def test_a_league_without_games_or_with_one_season_has_no_new_team() -> None:
    games = growing()
    for few in (games.iloc[:0], games[games["season"] == 2020]):
        assert nt.new_teams(few, LAST).empty


def test_a_team_is_unseen_until_the_day_after_its_first_game() -> None:
    games = growing()
    first = nt.new_teams(games, LAST).set_index("team").loc["OWL", "first_day"]
    for today, expected in ((first - timedelta(days=9), ["OWL"]), (first, ["OWL"]), (first + timedelta(days=1), [])):
        assert list(nt.unseen(nt.new_teams(as_of(games, today), today))["team"]) == expected


def test_a_predecessor_counts_once_it_has_a_whole_record() -> None:
    games = growing()
    teams = nt.new_teams(games, LAST).set_index("team")
    assert list(teams["predecessors"]) == [0, 1]
    own = games[(games["home"] == "NEW") | (games["away"] == "NEW")]
    few = games.drop(own.index[nt.RECORD_GAMES - 1 :])
    assert list(nt.new_teams(few, LAST)["predecessors"]) == [0, 0]


def test_a_team_is_followed_until_it_has_played_so_many_games() -> None:
    games = growing()
    own = games.loc[(games["home"] == "NEW") | (games["away"] == "NEW"), "day"].sort_values()
    young, grown = own.iloc[nt.RECORD_GAMES - 1], own.iloc[nt.RECORD_GAMES - 1] + timedelta(days=1)
    ratings = game_ratings(as_of(games, young), LEAGUE)
    assert "NEW" in set(nt.followed(nt.new_teams(as_of(games, young), young), ratings, young)["team"])
    assert "NEW" not in set(nt.followed(nt.new_teams(as_of(games, grown), grown), ratings, grown)["team"])


def test_the_forecast_of_a_new_team_has_a_wider_interval_which_narrows() -> None:
    games = growing()
    own = games.loc[(games["home"] == "NEW") | (games["away"] == "NEW"), "day"].sort_values()
    widths = []
    for number in (0, 10, 19):
        today = own.iloc[number]
        known = as_of(games, today)
        row = nt.followed(nt.new_teams(known, today), game_ratings(known, LEAGUE), today).set_index("team").loc["NEW"]
        assert row["low"] < row["expected_margin"] < row["high"]
        assert row["games"] == number
        widths.append(row["high"] - row["low"])
        if number == 0:
            assert row["rating"] == row["prior_rating"] < 0
            assert widths[0] > 1.05 * row["ordinary_width"]
    assert widths == sorted(widths, reverse=True)


def test_without_a_coming_fixture_a_new_team_is_followed_without_a_forecast() -> None:
    games = growing()
    teams = nt.new_teams(games.iloc[:75], LAST)
    row = nt.followed(teams, game_ratings(games, LEAGUE).iloc[:0], LAST).iloc[0]
    assert row["next_game"] is None and np.isnan(row["expected_margin"])


@settings(max_examples=15, deadline=None)
@given(turn=st.integers(0, 239), seed=st.integers(0, 5))
def test_another_future_changes_nothing_that_is_known_of_new_teams(turn: int, seed: int) -> None:
    games = growing()
    today = games["day"].iloc[turn]
    other = growing(seed + 10, weakness=-20.0)
    future = games["day"] >= today
    changed = games.assign(
        home_score=games["home_score"].mask(future, other["home_score"]),
        away_score=games["away_score"].mask(future, other["away_score"]),
    )
    pd.testing.assert_frame_equal(nt.new_teams(games, today), nt.new_teams(changed, today), check_exact=True)


# -- the prior --------------------------------------------------------------------------------------------------------


@given(records=st.lists(st.floats(-30, 30), max_size=8), usual=st.floats(-15, 0))
def test_the_prior_lies_between_the_usual_and_the_predecessors(records: list[float], usual: float) -> None:
    prior = nt.newcomer_rating(records, usual)
    assert min([usual, *records]) - 1e-9 <= prior <= max([usual, *records]) + 1e-9
    if not records:
        assert prior == usual


def _season(state: MarginFilter, newcomer: str, margin: int) -> None:
    for number in range(nt.RECORD_GAMES):
        one = Encounter(newcomer, OLD[number % 4], True, False, False, margin)
        state.forecast(one)
        state.learn([one])


@pytest.mark.parametrize("rules", [SLOW, FORM], ids=["slow", "form"])
def test_strong_predecessors_let_one_expect_more_of_a_new_team_and_weak_ones_less(rules) -> None:
    priors = []
    for margin in (-20, 0, 20):
        state = MarginFilter(rules)
        state.learn([Encounter(*pair, True, False, False, 1) for pair in (OLD[:2], OLD[2:])])
        state.next_season()
        _season(state, "NEW", margin)
        state.next_season()
        priors.append(state.forecast(Encounter("OWL", "ANT", True, False, False, None)).home_rating)
    assert priors[0] < rules.newcomer < priors[1] < priors[2]


def test_a_prior_is_the_one_of_its_first_day_whatever_its_predecessors_do_later() -> None:
    games = growing()
    first = nt.new_teams(games, LAST).set_index("team").loc["OWL", "first_day"]
    future = games["day"] >= first
    changed = games.assign(home_score=games["away_score"].where(future, games["home_score"]),
                           away_score=games["home_score"].where(future, games["away_score"]))  # fmt: skip
    priors = [
        nt.followed(nt.new_teams(as_of(frame, first), first), game_ratings(frame, LEAGUE), first)
        .set_index("team")
        .loc["OWL", "prior_rating"]
        for frame in (games, changed)
    ]
    assert priors[0] == priors[1] != SLOW.newcomer
