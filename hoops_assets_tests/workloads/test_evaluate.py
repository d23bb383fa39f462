from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.basketball.training_set import TRAINING_SET
from hoops_assets.errors import LeakAlarm, ModelError
from hoops_assets.judging.scoring import log_losses
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.open import open_games, open_posts
from hoops_assets.workloads.evaluate import (
    _ablated_season,
    ablate_sentiment,
    evaluate_league,
    evaluate_training_set,
    evaluation,
    judge,
    league_features,
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


# -- the closing line and the worth of sentiment ----------------------------------------------------------------------


def test_a_learner_far_better_than_the_closing_line_stops_with_the_reason() -> None:
    frame = training_set(6, 240)
    line = pd.Series(0.5, index=frame.index)
    with pytest.raises(LeakAlarm, match="elo beats the closing line"):
        evaluate_league(frame, learners=["elo"], closing_line=line)
    line[frame["season"] > 2023] = np.nan  # 240 games are too few for an alarm
    assert evaluate_league(frame, learners=["elo"], closing_line=line)["learners"][0]["n"] == 1200


def with_posts(seasons: int, games: int, worth: float, first: int = 2021) -> pd.DataFrame:
    """Games of which those from season `first` on have posts; `worth` is how much of the result the mood knows."""
    frame, draw = training_set(seasons, games), np.random.default_rng(3)
    has = (frame["season"] >= first).to_numpy()
    tell = np.where(frame["home_win"], worth, -worth)
    frame["home_sentiment"] = np.where(has, 0.1 + tell + draw.normal(0, 0.3, len(frame)), 0.0)
    frame["away_sentiment"] = np.where(has, 0.1 - tell + draw.normal(0, 0.3, len(frame)), 0.0)
    frame["posts_difference"] = np.where(has, draw.normal(0, 0.8, len(frame)), 0.0)
    return frame.assign(posts=np.where(has, 20, 0), home_win=frame["home_win"].astype("boolean"))


def test_the_ablation_says_that_sentiment_helps_where_it_does_and_only_there() -> None:
    helps = ablate_sentiment(with_posts(5, 240, 0.3))
    noise = ablate_sentiment(with_posts(6, 240, 0.0), learners=["logistic", "ensemble"])
    json.dumps([helps, noise], allow_nan=False)
    assert [row["learner"] for row in helps["learners"]] == ["logistic", "boosting", "ensemble"]
    for row in helps["learners"]:
        assert row["says"] == "sentiment helps"
        assert row["high"] < 0
        assert row["log_loss_difference"] == pytest.approx(row["log_loss_with"] - row["log_loss_without"])
    for row in noise["learners"]:
        assert row["says"].startswith("no effect to be told from chance: at most ")
        assert row["low"] < 0 < row["high"]
    assert helps["games"] == helps["informed_games"] == helps["learners"][0]["n"] == 960


def test_the_first_season_with_posts_is_forecast_month_by_month() -> None:
    frame = with_posts(4, 480, 0.3, first=2024)
    found = ablate_sentiment(frame, learners=["logistic"])
    assert found["games"] == 480
    # Four games a day from 1 November on: 240 precede the third month.
    assert found["informed_games"] == found["learners"][0]["informed_n"] == 480 - (30 + 31) * 4
    assert found["learners"][0]["informed_high"] < 0


def test_no_later_result_moves_a_forecast_of_the_ablation() -> None:
    frame = with_posts(4, 480, 0.3, first=2024)
    turn = date(2024, 1, 1)
    other = frame.assign(home_win=frame["home_win"] ^ (frame["day"] >= turn))
    told = (frame["posts"] > 0).to_numpy()
    before, after = (
        _ablated_season(one, told, 2024, {"logistic": LEARNERS["logistic"]}, None) for one in (frame, other)
    )
    known = before["day"] < date(2024, 2, 1)  # January is forecast from the months before
    columns = ["logistic with", "logistic without"]
    pd.testing.assert_frame_equal(before.loc[known, columns], after.loc[known, columns], check_exact=True)
    assert not before.loc[~known, columns].equals(after.loc[~known, columns])


def test_an_ablation_without_posts_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match=r"no game of these seasons has both fan posts.*declare sources\.posts"):
        ablate_sentiment(with_posts(3, 240, 0.3, first=2030))
    with pytest.raises(ModelError, match="no game of these seasons"):
        ablate_sentiment(with_posts(3, 240, 0.3), [2021])


@pytest.mark.slow
def test_real_tweets_do_no_harm(real_data: Path) -> None:
    made, _ = new_league(
        "nba",
        "fivethirtyeight",
        [
            str(real_data / "nba" / "nba_elo_1947_2019.csv.gz"),
            str(real_data / "nba" / "snapshots" / "nba_elo_latest_asof_2020-09-13.csv"),
            str(real_data / "nba" / "snapshots" / "nba_elo_latest_asof_2021-05-29.csv"),
            str(real_data / "nba" / "snapshots" / "nba_elo_latest_asof_2022-02-05.csv"),
        ],
    )
    tweets = real_data / "sentiment" / "tweets"
    archive, schedule = tweets / "tweets_2021-22_to_2022-02-05.tar.gz", tweets / "training.csv"
    content = made.model_dump()
    content["sources"]["posts"] = {"kind": "tweets_archive", "archive": str(archive), "schedule": str(schedule)}
    league, ever = League.model_validate(content), datetime(2100, 1, 1, tzinfo=UTC)
    games = open_games(league).read(ever).games
    source = open_posts(league)
    assert source is not None
    features = league_features(league, games, source.read(datetime(2000, 1, 1, tzinfo=UTC), ever).posts)
    found = ablate_sentiment(features[features["season"] >= 2000].reset_index(drop=True))
    assert (found["games"], found["informed_games"]) == (795, 477)
    for row in found["learners"]:
        assert row["log_loss_difference"] < 0.005, row
