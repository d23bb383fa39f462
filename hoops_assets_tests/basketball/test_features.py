from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.features import FEATURE_TABLE, FEATURES, MAX_REST, SHRINKAGE, game_features
from hoops_assets.basketball.form import extend_form
from hoops_assets.basketball.game_ratings import GAME_RATINGS, game_ratings
from hoops_assets.errors import ModelError
from hoops_assets_tests.basketball.schedules import FIRST_DAY, LEAGUE, games_of, schedules

NO_POSTS = pd.DataFrame({"game_id": [], "team": [], "posts": [], "mean_score": []})


def features_of(rows, sentiment=NO_POSTS):
    games = games_of(rows)
    return game_features(games, extend_form(None, games, LEAGUE), game_ratings(games, LEAGUE), sentiment, LEAGUE)


@given(schedules)
@settings(max_examples=40, deadline=None)
def test_one_row_a_fixture_finite_and_exact_in_float32(rows):
    features = features_of(rows)
    assert {name: str(dtype) for name, dtype in features.dtypes.items()} == FEATURE_TABLE
    assert features["game_id"].tolist() == games_of(rows)["game_id"].tolist()
    values = features[list(FEATURES)].to_numpy()
    assert np.isfinite(values).all()
    assert (values.astype(np.float32).astype(np.float64) == values).all()


def test_no_fixtures_give_an_empty_table_of_the_same_types():
    features = features_of([])
    assert {name: str(dtype) for name, dtype in features.dtypes.items()} == FEATURE_TABLE


@given(schedules)
@settings(max_examples=30, deadline=None)
def test_only_what_was_known_before_the_game_is_read(rows):
    games = games_of(rows)
    form = extend_form(None, games, LEAGUE)
    blind = form.drop(columns=[name for name in form if name.endswith("_after") or name == "played"])
    ratings = game_ratings(games, LEAGUE)
    pd.testing.assert_frame_equal(
        game_features(games, blind, ratings, NO_POSTS, LEAGUE),
        game_features(games, form, ratings, NO_POSTS, LEAGUE),
        check_exact=True,
    )


def test_elo_difference_includes_home_advantage_unless_neutral():
    features = features_of([(1, "ANN", "BEA", 4, False), (1, "CAT", "DOT", 4, True)])
    assert features["elo_difference"].tolist() == [100.0, 0.0]
    assert features["home_court"].tolist() == [1.0, 0.0]


def test_stages_other_than_the_regular_season_are_flagged():
    assert features_of([(1, "ANN", "BEA", 4, False), (7, "ANN", "BEA", 4, False)])["post_season"].tolist() == [0.0, 1.0]


def test_rest_is_capped_and_back_to_back_belongs_to_the_tired_side():
    features = features_of([(1, "ANN", "BEA", 4, False), (9, "BEA", "CAT", 4, False), (10, "ANN", "BEA", 4, False)])
    assert features["rest_difference"].tolist() == [0.0, 0.0, MAX_REST - 1.0]
    assert features["home_back_to_back"].tolist() == [0.0, 0.0, 0.0]
    assert features["away_back_to_back"].tolist() == [0.0, 0.0, 1.0]


def test_margins_and_wins_are_shrunk_by_some_games_of_average_form():
    last = features_of([(1, "ANN", "BEA", 12, False), (3, "ANN", "CAT", 1, False)]).iloc[-1]
    assert last["margin_season_difference"] == last["margin_10_difference"] == np.float32(12 / (1 + SHRINKAGE))
    assert last["wins_10_difference"] == np.float32(0.5 / (1 + SHRINKAGE))


def test_sentiment_belongs_to_its_game_and_side_and_silence_is_neutral():
    rows = [(1, "ANN", "BEA", 4, False), (2, "ANN", "BEA", 4, False)]
    game_id = games_of(rows)["game_id"].iloc[1]
    sentiment = pd.DataFrame(
        {"game_id": [game_id, game_id], "team": ["BEA", "ANN"], "posts": [9, 0], "mean_score": [-0.25, np.nan]}
    )
    features = features_of(rows, sentiment)
    assert features["home_sentiment"].tolist() == [0.0, 0.0]
    assert features["away_sentiment"].tolist() == [0.0, -0.25]
    assert features["posts_difference"].tolist() == [0.0, np.float32(-np.log(10.0))]


def test_a_fixture_without_team_form_is_named():
    games = games_of([(1, "ANN", "BEA", 4, False), (2, "CAT", "DOT", 4, False)])
    form = extend_form(None, games.head(1), LEAGUE)
    with pytest.raises(ModelError, match=r"1 of 2 fixtures.*CAT\.DOT"):
        game_features(games, form, game_ratings(games, LEAGUE), NO_POSTS, LEAGUE)


def test_a_fixture_without_game_ratings_is_named():
    games = games_of([(1, "ANN", "BEA", 4, False), (2, "CAT", "DOT", 4, False)])
    ratings = game_ratings(games.head(1), LEAGUE)
    with pytest.raises(ModelError, match=r"game_ratings lacks 1 of 2 fixtures.*CAT\.DOT"):
        game_features(games, extend_form(None, games, LEAGUE), ratings, NO_POSTS, LEAGUE)


def test_what_is_at_stake_counts_for_the_home_side_and_against_the_away_side():
    games = games_of([(1, "ANN", "BEA", 4, False)])
    for side, sign in (("home", 1.0), ("away", -1.0)):
        ratings = game_ratings(games, LEAGUE).assign(**{f"{side}_settled": True})
        features = game_features(games, extend_form(None, games, LEAGUE), ratings, NO_POSTS, LEAGUE)
        assert features.loc[0, ["eliminated_difference", "settled_difference", "near_cut_difference"]].tolist() == [
            0.0,
            sign,
            0.0,
        ]


def test_the_margin_ratio_is_the_mean_of_both_filters():
    games = games_of([(1, "ANN", "BEA", 4, False)])
    margins = {"margin_mean": 4.0, "margin_sd": 8.0, "form_margin_mean": 2.5, "form_margin_sd": 10.0}
    ratings = game_ratings(games, LEAGUE).assign(**margins)
    assert set(margins) < set(GAME_RATINGS)
    features = game_features(games, extend_form(None, games, LEAGUE), ratings, NO_POSTS, LEAGUE)
    assert features["margin_ratio"].tolist() == [0.375]


@given(schedules, schedules, st.integers(0, 25))
@settings(max_examples=60, deadline=None)
def test_changing_results_and_fixtures_of_the_future_moves_no_feature(rows, other, split):
    changed = [
        *[row for row in rows if row[0] < split],
        *[(*row[:3], None, row[4]) for row in rows if row[0] == split],
        *[row for row in other if row[0] > split],
    ]
    until = FIRST_DAY + timedelta(days=split)
    left, right = (features[features["day"] <= until] for features in (features_of(rows), features_of(changed)))
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True), check_exact=True)
