from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.training_set import TRAINING_SET
from hoops_assets.errors import LeakAlarm, ModelError
from hoops_assets.judging.scoring import log_losses
from hoops_assets.workloads.evaluate import (
    evaluate_league,
    evaluate_training_set,
    evaluation,
    judge,
    loss_by_season,
)
from hoops_assets.workloads.evaluation import Evaluation


def training_set(seasons: int, games: int, seed: int = 0) -> pd.DataFrame:
    """`games` a season on days of four, the stronger side winning more often; the last two seasons are held out."""
    draw = np.random.default_rng(seed)
    n = seasons * games
    season = np.repeat(np.arange(2021, 2021 + seasons), games)
    frame = pd.DataFrame({name: np.zeros(n) for name in FEATURES})
    frame["elo_difference"], frame["home_court"] = draw.normal(60, 120, n).round(2), 1.0
    frame["season"] = season
    frame["day"] = [
        date(int(s) - 1, 11, 1) + timedelta(days=int(i) // 4)
        for s, i in zip(season, np.tile(np.arange(games), seasons), strict=True)
    ]
    frame["game_id"] = [f"{number:05d}" for number in range(n)]
    frame["home_win"] = draw.random(n) < 1 / (1 + 10 ** (-frame["elo_difference"] / 400))
    age = frame["day"].map({day: k for k, day in enumerate(sorted(frame["day"].unique()))}) / frame["day"].nunique()
    frame["split"] = np.select([age >= 0.8, age >= 0.6], ["test", "validation"], "train")
    return frame[list(TRAINING_SET)].astype(TRAINING_SET)


METRICS = dict.fromkeys(
    ("validation_log_loss", "test_log_loss", "test_brier", "test_accuracy", "test_calibration_error"), 0.6
)


def an_evaluation(frame: pd.DataFrame, learner: str, version: int, validation: float = 0.6) -> Evaluation:
    return evaluation(frame, "tiny", learner, version, {}, {**METRICS, "validation_log_loss": validation})


def test_the_report_of_a_league_has_the_promised_names_and_nothing_else() -> None:
    frame = training_set(seasons=3, games=240)
    report = evaluate_league(frame, [2023], ["elo", "base_rate"])
    assert list(report) == ["learners", "paired"]
    for row in report["learners"]:
        assert list(row) == ["learner", "n", "log_loss", "brier", "accuracy", "calibration_error"]
    assert [(row["learner"], row["n"]) for row in report["learners"]] == [("elo", 240), ("base_rate", 240)]
    json.dumps(report, allow_nan=False)


def test_an_unknown_learner_is_told_with_those_that_exist() -> None:
    with pytest.raises(ModelError, match=r"unknown learner neural; there are base_rate, elo, logistic, boosting"):
        evaluate_league(training_set(2, 240), learners=["elo", "neural"])


def test_a_season_without_earlier_games_is_told() -> None:
    with pytest.raises(ModelError, match="for season 2021 cannot be trained on 0 games"):
        evaluate_league(training_set(2, 240), [2021], ["elo"])


def test_a_learner_that_knows_the_results_stops_with_the_reason() -> None:
    frame = training_set(6, 240)
    frame["wins_10_difference"] = frame["home_win"].astype("float64")
    with pytest.raises(LeakAlarm, match="logistic beats walk-forward Elo"):
        evaluate_league(frame, learners=["elo", "logistic"])


def test_seasons_are_forecast_only_once_enough_games_precede_them() -> None:
    forecasts = evaluate_training_set(training_set(4, 120), "base_rate", {})
    assert sorted(forecasts["season"].unique()) == [2023, 2024]


def test_a_league_is_judged_on_all_seasons_with_enough_games_before_them() -> None:
    report = evaluate_league(training_set(4, 120), learners=["elo"])
    assert report["learners"][0]["n"] == 240
    with pytest.raises(ModelError, match="no season has 200 played games before it"):
        evaluate_league(training_set(2, 120))


def test_a_forecast_of_a_season_does_not_move_with_its_own_or_later_results() -> None:
    frame = training_set(4, 240)
    other = frame.assign(home_win=frame["home_win"] ^ (frame["season"] >= 2023))
    before = evaluate_training_set(frame, "logistic", {})
    after = evaluate_training_set(other, "logistic", {})
    same = before["season"] <= 2023
    pd.testing.assert_series_equal(before.loc[same, "probability"], after.loc[same, "probability"], check_exact=True)
    assert not before.loc[~same, "probability"].equals(after.loc[~same, "probability"])


@pytest.mark.parametrize("seasons", [1, 2])
def test_a_league_too_young_for_that_is_walked_by_split(seasons: int) -> None:
    frame = training_set(seasons, 90)
    forecasts = evaluate_training_set(frame, "base_rate", {})
    assert set(forecasts["split"]) == {"validation", "test"}
    assert list(forecasts["game_id"]) == list(frame.loc[frame["split"] != "train", "game_id"])
    for split, known in (("validation", ["train"]), ("test", ["train", "validation"])):
        # The base rate is the share of home wins among what it was fitted on: nothing of the split itself.
        games = frame[frame["split"].isin(known)]
        (rate,) = forecasts.loc[forecasts["split"] == split, "probability"].unique()
        assert rate == pytest.approx(
            LEARNERS["base_rate"]()
            .fit(games[list(FEATURES)].to_numpy(), games["home_win"])
            .predict_proba(games[list(FEATURES)].to_numpy()[:1])[0, 1]
        )


def test_a_young_league_gets_a_challenger_too() -> None:
    frame = training_set(1, 90)
    judged = judge([an_evaluation(frame, "base_rate", 1, 0.70), an_evaluation(frame, "elo", 2, 0.65)])
    assert (judged.version, judged.learner) == (2, "elo")
    assert len(judged.forecasts) == len(judged.home_wins) > 0


def test_the_lowest_validation_log_loss_wins_whatever_the_test_games_say() -> None:
    frame = training_set(3, 240)
    worse_on_test = an_evaluation(frame, "elo", 7, 0.59)
    worse_on_test = worse_on_test.model_copy(update={"metrics": {**worse_on_test.metrics, "test_log_loss": 0.9}})
    judged = judge([an_evaluation(frame, "base_rate", 6, 0.61), worse_on_test])
    assert (judged.version, judged.learner) == (7, "elo")
    assert list(judged.candidates["learner"]) == ["elo", "base_rate"]
    assert judged.evidence["chosen_by"] == "validation_log_loss"
    json.dumps(judged.evidence, allow_nan=False)


def test_of_equally_good_candidates_the_older_version_wins() -> None:
    frame = training_set(3, 240)
    assert judge([an_evaluation(frame, "elo", 9), an_evaluation(frame, "base_rate", 8)]).version == 8


def test_an_evaluation_survives_its_way_through_json_exactly() -> None:
    made = an_evaluation(training_set(2, 240), "elo", 3)
    again = Evaluation.model_validate_json(made.model_dump_json())
    assert again == made
    pd.testing.assert_frame_equal(again.frame(), made.frame(), check_exact=True)


def test_the_loss_of_a_season_is_the_mean_over_its_games() -> None:
    forecasts = an_evaluation(training_set(4, 240), "elo", 1).frame()
    by_season = loss_by_season(forecasts)
    last = forecasts[forecasts["season"] == 2024]
    assert by_season[2024] == pytest.approx(log_losses(last["probability"], last["home_win"]).mean())
