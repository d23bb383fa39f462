"""The forecasting core on the real NBA games: how good it is, and that it never sees the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES, game_features
from hoops_assets.basketball.form import extend_form
from hoops_assets.basketball.game_ratings import game_ratings
from hoops_assets.judging.walkforward import report, walk_forward
from hoops_assets_tests.basketball import nba


def forecast(features, labels, seasons):
    return walk_forward(features[list(FEATURES)], labels, features["season"], LEARNERS, forecast=seasons)


@pytest.fixture(scope="module")
def judged(real_data):
    features = nba.features(real_data)
    forecasts = forecast(features, features["home_win"], range(2009, 2020))
    found = report(forecasts, features["home_win"], features["day"], elo="elo")
    return {row["learner"]: row for row in found["learners"]}, found["paired"]


def test_every_game_of_2009_to_2019_is_forecast_by_every_learner(judged):
    assert {name: row["n"] for name, row in judged[0].items()} == dict.fromkeys(LEARNERS, 14205)


def test_elo_and_base_rate_lose_what_is_known_of_them(judged):
    assert judged[0]["elo"]["log_loss"] == pytest.approx(0.6015, abs=0.0003)
    assert judged[0]["base_rate"]["log_loss"] == pytest.approx(0.6755, abs=0.0005)


def test_the_best_learner_is_good_and_none_is_too_good(judged):
    losses = [row["log_loss"] for row in judged[0].values()]
    assert 0.590 <= min(losses) <= 0.598
    assert max(row["accuracy"] for row in judged[0].values()) <= 0.71
    assert all(row["calibration_error"] < 0.015 for name, row in judged[0].items() if name != "elo")


def test_the_logistic_beats_elo_with_the_interval_clear_of_zero(judged):
    pair = next(row for row in judged[1] if (row["learner"], row["against"]) == ("logistic", "elo"))
    assert pair["high"] < 0 and pair["brier_high"] < 0


def test_the_ensemble_beats_the_simple_learners_as_required(judged):
    assert judged[0]["ensemble"]["log_loss"] <= 0.5955
    pairs = {row["against"]: row for row in judged[1] if row["learner"] == "ensemble"}
    assert pairs["logistic"]["log_loss_difference"] <= -0.0005 and pairs["logistic"]["high"] < 0
    assert pairs["boosting"]["high"] < 0 and pairs["elo"]["high"] < 0


def test_permuting_every_score_from_a_day_on_moves_no_forecast_up_to_and_including_that_day(real_data):
    league, games = nba.history(real_data)
    games = games[games["season"].between(2000, 2011)].reset_index(drop=True)
    now = games.loc[games["season"] == 2010, "day"].iloc[700]
    future = np.flatnonzero(games["day"] >= now)
    scores = ["home_score", "away_score"]
    permuted = games.copy()
    permuted.loc[future, scores] = games.loc[np.random.default_rng(0).permutation(future), scores].to_numpy()

    def rebuilt(games):
        ratings = game_ratings(games, league)
        features = game_features(games, extend_form(None, games, league), ratings, pd.DataFrame(), league)
        return features, forecast(features, games["home_score"] > games["away_score"], [2009, 2010, 2011])

    (features, forecasts), (other_features, other) = rebuilt(games), rebuilt(permuted)
    known = (games["day"] <= now).to_numpy()
    pd.testing.assert_frame_equal(features[known], other_features[known], check_exact=True)
    pd.testing.assert_frame_equal(forecasts[known], other[known], check_exact=True)
    later = (games["day"] > now).to_numpy()
    for name in ("logistic", "ensemble"):
        assert (forecasts.loc[later, name] != other.loc[later, name]).mean() > 0.9


def test_a_rating_that_knows_the_games_own_result_sets_off_the_alarm(real_data):
    from hoops_assets.errors import LeakAlarm

    league, games = nba.history(real_data)
    games = games[games["season"].between(2004, 2010)].reset_index(drop=True)
    form = extend_form(None, games, league)
    leaking = form.assign(elo_before=form["elo_after"])
    forecasts, ratings = {}, game_ratings(games, league)
    for name, used in (("elo", form), ("logistic", leaking)):
        features = game_features(games, used, ratings, pd.DataFrame(), league)
        forecasts[name] = walk_forward(
            features[list(FEATURES)],
            games["home_score"] > games["away_score"],
            games["season"],
            {name: LEARNERS[name]},
            forecast=[2009, 2010],
        )[name]
    with pytest.raises(LeakAlarm, match="logistic"):
        report(pd.DataFrame(forecasts), games["home_score"] > games["away_score"], games["day"], elo="elo")
