"""A training set never mixes time, and a league of any age can be split."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.features import FEATURE_TABLE, FEATURES
from hoops_assets.basketball.training_set import LATEST_VALIDATION, MIN_HELD_OUT, TRAINING_SET, HeldOut, training_set
from hoops_assets.errors import ModelError


def season(year: int, days: int, games_a_day: int = 1) -> pd.DataFrame:
    """Features and scores of a season: the home team wins every other game."""
    rows = [(date(year - 1, 11, 1) + timedelta(days=n // games_a_day), n) for n in range(days * games_a_day)]
    frame = pd.DataFrame({name: pd.Series(0.5, index=range(len(rows)), dtype="float64") for name in FEATURES})
    frame = frame.assign(
        game_id=[f"{day}.{number}" for day, number in rows],
        season=np.int32(year),
        day=[day for day, _ in rows],
        home_score=[100 + number % 2 for _, number in rows],
        away_score=[100 + (number + 1) % 2 for _, number in rows],
    )
    return frame.assign(elo_difference=np.arange(len(rows), dtype="float64"))


def split(*seasons: pd.DataFrame, held_out: HeldOut = "seasons") -> pd.DataFrame:
    games = pd.concat(seasons, ignore_index=True)
    features = games[[name for name in FEATURE_TABLE if name in games]]
    return training_set(
        features, games[["game_id", "home_score", "away_score"]].sample(frac=1, random_state=3), held_out
    )


def parts(made: pd.DataFrame) -> dict[str, set[int]]:
    return {part: set(own["season"]) for part, own in made.groupby("split")}


def assert_in_order(made: pd.DataFrame) -> None:
    train, validation, test = (made.loc[made["split"] == part, "day"] for part in ("train", "validation", "test"))
    assert len(train)
    assert len(validation)
    assert len(test)
    assert train.max() < validation.min()
    assert validation.max() < test.min()


def test_it_has_the_declared_columns_one_row_a_game_in_order_of_time() -> None:
    made = split(season(2021, 10), season(2020, 10))
    assert made.dtypes.astype(str).to_dict() == TRAINING_SET
    assert made["game_id"].tolist() == sorted(made["game_id"])
    assert made["home_win"].tolist() == [bool(number % 2) for number in range(10)] * 2


def test_the_latest_season_is_test_the_one_before_validation() -> None:
    made = split(*(season(year, 120) for year in (2018, 2019, 2020, 2021)))
    assert parts(made) == {"train": {2018, 2019}, "validation": {2020}, "test": {2021}}


def test_a_season_just_begun_is_held_out_together_with_the_one_before() -> None:
    made = split(season(2018, 120), season(2019, 120), season(2020, 120), season(2021, 5))
    assert parts(made) == {"train": {2018}, "validation": {2019}, "test": {2020, 2021}}


def test_a_league_with_two_seasons_is_split_by_game_day() -> None:
    made = split(season(2020, 120), season(2021, 120))
    assert made["split"].value_counts().to_dict() == {"train": 144, "validation": 48, "test": 48}
    assert_in_order(made)


@pytest.mark.parametrize(
    ("days", "expected"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (5, (3, 1, 1)), (9, (7, 1, 1)), (10, (6, 2, 2))]
)
def test_a_league_in_its_first_days_has_all_three_parts(days: int, expected: tuple[int, int, int]) -> None:
    made = split(season(2021, days))
    counts = made.groupby("split")["day"].nunique()
    assert tuple(counts[part] for part in ("train", "validation", "test")) == expected
    assert_in_order(made)


@settings(max_examples=40, deadline=None)
@given(
    days=st.lists(st.integers(0, 130), min_size=1, max_size=6).filter(lambda counts: sum(counts) >= 3),
    games_a_day=st.integers(1, 3),
)
def test_whatever_the_seasons_the_parts_follow_each_other_in_time(days: list[int], games_a_day: int) -> None:
    made = split(*(season(2010 + number, count, games_a_day) for number, count in enumerate(days)))
    assert len(made) == sum(days) * games_a_day
    assert_in_order(made)
    # No day is in two parts; no season either where three have enough games.
    assert made.groupby("day")["split"].nunique().max() == 1
    if len(days) > 2 and min(days) * games_a_day >= MIN_HELD_OUT:
        assert made.groupby("season")["split"].nunique().max() == 1


def test_games_that_were_not_played_are_left_out() -> None:
    games = season(2021, 10)
    made = training_set(
        games[[*FEATURES, "game_id", "season", "day"]], games.loc[:7, ["game_id", "home_score", "away_score"]]
    )
    assert made["game_id"].tolist() == games["game_id"].tolist()[:8]


@pytest.mark.parametrize(("days", "games_a_day"), [(0, 1), (1, 5), (2, 9)])
def test_fewer_than_three_game_days_are_too_few(days: int, games_a_day: int) -> None:
    said = f"{days * games_a_day} played games on {days} days are too few to split; backfill more days"
    with pytest.raises(ModelError, match=said):
        split(season(2021, days, games_a_day))


def test_in_the_middle_of_a_season_the_latest_games_are_held_out_and_the_season_is_learned_from() -> None:
    made = split(season(2020, 200, 3), season(2021, 70, 9), held_out="games")
    assert_in_order(made)
    sizes = made["split"].value_counts()
    assert MIN_HELD_OUT <= sizes["test"] < MIN_HELD_OUT + 9
    assert LATEST_VALIDATION <= sizes["validation"] < LATEST_VALIDATION + 9
    fitted_on = made[made["split"] != "test"]
    assert (fitted_on["season"] == 2021).sum() == 70 * 9 - sizes["test"]
    assert parts(split(season(2020, 200, 3), season(2021, 70, 9)))["train"] == {2020}


def test_a_league_too_young_to_hold_out_games_is_split_by_day() -> None:
    made = split(season(2021, 60, 5), held_out="games")
    assert_in_order(made)
    assert made["split"].value_counts().to_dict() == {"train": 180, "validation": 60, "test": 60}
