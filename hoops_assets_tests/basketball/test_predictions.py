"""A forecast of a game that has begun is never replaced; forecasts of games that are no more disappear."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.predictions import (
    PREDICTIONS,
    SCORED_PREDICTIONS,
    by_ratings,
    may_forecast,
    merge_predictions,
    predictions,
    started,
    with_outcomes,
)
from hoops_assets.basketball.ratings import expected_probability

ZONE = ZoneInfo("America/New_York")
DAY = date(2024, 11, 3)  # the day on which summer time ends there: 25 hours
NOON = datetime(2024, 11, 3, 17, tzinfo=UTC)


def fixtures(*tip_offs: str | None, day: date = DAY) -> pd.DataFrame:
    """Games of one day: G0, G1, ... with their tip-offs in UTC."""
    number = len(tip_offs)
    frame = pd.DataFrame(
        {
            "game_id": [f"G{i}" for i in range(number)],
            "season": np.int32(2025),
            "day": [day] * number,
            "tip_off": pd.Series(pd.to_datetime(list(tip_offs), utc=True)).astype("datetime64[us, UTC]"),
            "home": "A",
            "away": "B",
            "neutral": False,
            "stage": "regular",
        }
    )
    return frame.astype({name: PREDICTIONS[name] for name in frame.columns})


def forecast(games: pd.DataFrame, probability: float, *, version: int = 1, now: datetime = NOON) -> pd.DataFrame:
    return predictions(games, np.full(len(games), probability), version=version, learner="elo", now=now, zone=ZONE)


def told(frame: pd.DataFrame) -> dict[tuple[str, int], float]:
    assert not frame.duplicated(["game_id", "version"]).any()
    return {(row.game_id, row.version): row.home_win_probability for row in frame.itertuples()}  # type: ignore[misc]


def test_a_game_begins_at_tip_off_or_when_its_day_has_ended_in_the_leagues_zone() -> None:
    games = fixtures("2024-11-03 17:00", "2024-11-03 17:01", None)
    assert started(games, NOON, ZONE).tolist() == [True, False, False]
    midnight = datetime(2024, 11, 4, 5, tzinfo=UTC)  # 24:00 there, on winter time
    assert started(games, midnight, ZONE).tolist() == [True, True, True]
    assert not started(games, datetime(2024, 11, 4, 4, 59, tzinfo=UTC), ZONE)[2]


def test_predictions_have_the_declared_columns_and_types() -> None:
    made = forecast(fixtures("2024-11-03 16:00", None), 0.6, now=NOON.astimezone(ZONE))
    assert made.dtypes.astype(str).to_dict() == PREDICTIONS
    assert made["backfilled"].tolist() == [True, False]
    assert (made["made_at"] == pd.Timestamp(NOON)).all()


def test_a_version_forecasts_only_days_after_all_that_it_was_fitted_on() -> None:
    days = pd.Series([date(2024, 11, 2), DAY, date(2024, 11, 4)])
    assert may_forecast(days, DAY).tolist() == [False, False, True]


def test_a_game_that_has_not_begun_is_forecast_anew() -> None:
    games = fixtures("2024-11-03 23:00", None)
    stored = forecast(games, 0.6, now=datetime(2024, 11, 2, tzinfo=UTC))
    merged = merge_predictions(stored, forecast(games, 0.7), games["game_id"])
    assert told(merged) == {("G0", 1): 0.7, ("G1", 1): 0.7}


def test_a_forecast_made_before_tip_off_stays_once_the_game_has_begun() -> None:
    games = fixtures("2024-11-03 16:00", "2024-11-03 23:00")
    stored = forecast(games, 0.6, now=datetime(2024, 11, 2, tzinfo=UTC))
    merged = merge_predictions(stored, forecast(games, 0.7), games["game_id"])
    assert told(merged) == {("G0", 1): 0.6, ("G1", 1): 0.7}
    assert merged.set_index("game_id")["backfilled"].to_dict() == {"G0": False, "G1": False}


def test_a_game_put_off_before_it_began_is_forecast_anew() -> None:
    early, late = fixtures("2024-11-03 16:00"), fixtures("2024-11-03 23:00")
    stored = forecast(early, 0.6, now=datetime(2024, 11, 2, tzinfo=UTC))
    assert told(merge_predictions(stored, forecast(late, 0.7), late["game_id"])) == {("G0", 1): 0.7}


def test_another_version_forecasts_beside_the_earlier_one() -> None:
    games = fixtures("2024-11-03 16:00", "2024-11-03 23:00")
    stored = forecast(games, 0.6, now=datetime(2024, 11, 2, tzinfo=UTC))
    merged = merge_predictions(stored, forecast(games, 0.7, version=2), games["game_id"])
    assert told(merged) == {("G0", 1): 0.6, ("G1", 1): 0.6, ("G0", 2): 0.7, ("G1", 2): 0.7}
    assert merged.set_index(["game_id", "version"])["backfilled"].to_dict()["G0", 2]


def test_forecasts_of_games_that_are_no_more_disappear_whatever_version_made_them() -> None:
    games = fixtures("2024-11-03 16:00", "2024-11-03 23:00")
    stored = pd.concat([forecast(games, 0.6), forecast(games, 0.5, version=2)])
    remaining = games[1:]
    merged = merge_predictions(stored, forecast(remaining, 0.7, version=2), remaining["game_id"])
    assert told(merged) == {("G1", 1): 0.6, ("G1", 2): 0.7}


def test_what_a_version_may_not_forecast_leaves_the_others_as_they_are() -> None:
    games = fixtures("2024-11-03 16:00")
    stored = forecast(games, 0.6)
    merged = merge_predictions(stored, forecast(games[:0], 0.7, version=2), games["game_id"])
    pd.testing.assert_frame_equal(merged, stored)


def test_nothing_stored_and_nothing_made_is_an_empty_frame_of_the_right_types() -> None:
    nothing = forecast(fixtures(), 0.5)
    assert merge_predictions(nothing, nothing, nothing["game_id"]).dtypes.astype(str).to_dict() == PREDICTIONS


moments = st.integers(0, 8).map(lambda hour: datetime(2024, 11, 3, 12 + hour, tzinfo=UTC))
schedules = st.lists(st.integers(0, 9).map(lambda hour: f"2024-11-03 {12 + hour}:30"), max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(
        st.tuples(schedules, st.integers(1, 2), moments, st.floats(0.01, 0.99)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_called_when_a_forecast_of_a_begun_game_never_changes(
    calls: list[tuple[list[str], int, datetime, float]],
) -> None:
    """Model: of every game and version the first forecast from its tip-off on, or the last one before it, remains."""
    table, model = forecast(fixtures(), 0.5), dict[tuple[str, int], float]()
    for tip_offs, version, now, probability in sorted(calls, key=lambda call: call[2]):
        games = fixtures(*tip_offs)
        begun = dict(zip(games["game_id"], started(games, now, ZONE), strict=True))
        model = {key: value for key, value in model.items() if key[0] in begun}
        for game, has_begun in begun.items():
            if not has_begun or (game, version) not in model:
                model[game, version] = probability
        table = merge_predictions(table, forecast(games, probability, version=version, now=now), games["game_id"])
        assert told(table) == model


def test_outcomes_are_joined_to_played_games_only() -> None:
    games = fixtures("2024-11-03 16:00", "2024-11-03 23:00")
    made = pd.concat([forecast(games, 0.6), forecast(games, 0.7, version=2)])
    results = pd.DataFrame({"game_id": ["G0"], "home_score": [90], "away_score": [95]})
    scored = with_outcomes(made, results)
    assert list(scored.columns) == [name for name in SCORED_PREDICTIONS if name not in {"log_loss", "brier"}]
    assert scored[["game_id", "version", "home_win"]].values.tolist() == [["G0", 1, False], ["G0", 2, False]]


def test_a_game_with_two_results_is_refused() -> None:
    games = fixtures(None)
    twice = pd.DataFrame({"game_id": ["G0", "G0"], "home_score": [90, 91], "away_score": [95, 95]})
    with pytest.raises(pd.errors.MergeError):
        with_outcomes(forecast(games, 0.6), twice)


def test_without_a_model_the_ratings_answer_by_the_published_formula() -> None:
    features = pd.DataFrame({"elo_difference": [-200.0, 0.0, 92.0, 400.0]})
    expected = [expected_probability(difference) for difference in features["elo_difference"]]
    assert np.allclose(by_ratings(features), expected, atol=1e-12)


def test_a_degraded_forecast_never_replaces_a_models_and_gives_way_to_one() -> None:
    games = fixtures("2024-11-03 22:00", "2024-11-03 16:00")
    whole, poor = forecast(games, 0.7), forecast(games, 0.5).assign(degraded="by Elo ratings: broken")
    first = merge_predictions(poor.iloc[:0], poor, games["game_id"])
    assert set(first["degraded"]) == {"by Elo ratings: broken"}
    then = merge_predictions(first, whole, games["game_id"])
    assert told(then) == {("G0", 1): 0.7, ("G1", 1): 0.5}, "the second game has begun"
    assert told(merge_predictions(then, poor, games["game_id"])) == told(then)
