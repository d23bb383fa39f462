from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball import game_ratings as module
from hoops_assets.basketball.game_ratings import GAME_RATINGS, game_ratings, start_season
from hoops_assets.basketball.games import stacked
from hoops_assets.basketball.margin_filter import SLOW
from hoops_assets_tests.basketball import nba
from hoops_assets_tests.basketball.schedules import FIRST_DAY, LEAGUE, games_of, schedules


def rated(rows, first=None):
    return game_ratings(games_of(rows), LEAGUE, first)


@given(schedules)
@settings(max_examples=30, deadline=None)
def test_one_row_a_fixture_in_order_and_of_the_declared_types(rows):
    table = rated(rows)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == GAME_RATINGS
    assert table["game_id"].tolist() == games_of(rows)["game_id"].tolist()
    numbers = table.select_dtypes("float64").to_numpy()
    assert np.isfinite(numbers).all() and (table[["margin_sd", "form_margin_sd"]] > 0).all().all()


def test_no_fixtures_give_an_empty_table_of_the_same_types():
    assert {name: str(dtype) for name, dtype in rated([]).dtypes.items()} == GAME_RATINGS


@given(schedules, st.lists(st.integers(0, 25), max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_spans_give_exactly_the_numbers_of_one_step(rows, cuts):
    whole, games = rated(rows), games_of(rows)
    parts, edges = [], [FIRST_DAY + timedelta(days=cut) for cut in sorted({0, *cuts})]
    for first, after in zip(edges, [*edges[1:], FIRST_DAY + timedelta(days=99)], strict=True):
        module._entering.clear()
        parts.append(game_ratings(games[games["day"] < after], LEAGUE, first))
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True)


@given(schedules, schedules, st.integers(0, 25))
@settings(max_examples=40, deadline=None)
def test_changing_the_future_moves_no_rating_up_to_and_including_the_day(rows, other, split):
    changed = [
        *[row for row in rows if row[0] < split],
        *[(*row[:3], None, row[4]) for row in rows if row[0] == split],
        *[row for row in other if row[0] > split],
    ]
    until = FIRST_DAY + timedelta(days=split)
    left, right = (table[table["day"] <= until].reset_index(drop=True) for table in (rated(rows), rated(changed)))
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_a_side_is_tired_the_day_after_a_fixture_played_or_not():
    expected = {"both": SLOW.tired_home + SLOW.tired_away, "away": SLOW.tired_away}
    first = [(1, "ANN", "CAT", None, True), (1, "BEA", "DOT", None, True)]
    both = rated([*first, (2, "ANN", "BEA", None, True)])["margin_mean"].iloc[-1]
    away = rated([*first[1:], (2, "ANN", "BEA", None, True)])["margin_mean"].iloc[-1]
    rested = rated([*first, (3, "ANN", "BEA", None, True)])["margin_mean"].iloc[-1]
    assert (both, away, rested) == (expected["both"], expected["away"], 0.0)


def test_what_was_kept_from_other_games_is_never_taken_for_these():
    rows = [(1, "ANN", "BEA", 30, False), (20, "ANN", "BEA", 1, False)]
    turned = [(1, "ANN", "BEA", -30, False), rows[1]]
    module._entering.clear()
    fresh = rated(turned)
    rated(rows)
    pd.testing.assert_frame_equal(rated(turned), fresh, check_exact=True)
    assert fresh["margin_mean"].iloc[-1] < rated(rows)["margin_mean"].iloc[-1]


def test_the_filters_of_a_season_start_at_most_25_seasons_earlier():
    assert {season - start_season(season) for season in range(1950, 2050)} == set(range(5, 25))
    games = pd.concat(
        [
            games_of([(1, "ANN", "BEA", margin, False)]).assign(season=season)
            for season, margin in ((1979, 30), (1999, 2))
        ]
    )
    games["game_id"] = ["old", "new"]
    recent = games[games["season"] == 1999]
    new = game_ratings(stacked([games]).astype({"season": "int32"}), LEAGUE).set_index("game_id")
    assert new.loc["new", "margin_mean"] == game_ratings(recent, LEAGUE)["margin_mean"].iloc[0] == SLOW.league_edge


def test_on_the_nba_a_season_in_days_equals_the_season_and_permuted_scores_move_nothing_before(real_data):
    league, games = nba.history(real_data)
    games = games[games["season"].between(2004, 2007)].reset_index(drop=True)
    whole = game_ratings(games, league)
    days = sorted(games.loc[games["season"] == 2007, "day"].unique())
    for day in (days[0], days[60], days[-30]):
        module._entering.clear()
        alone = game_ratings(games[games["day"] <= day], league, day)
        pd.testing.assert_frame_equal(alone, whole[whole["day"] == day].reset_index(drop=True), check_exact=True)
    now = days[-20]
    future = np.flatnonzero(games["day"] >= now)
    permuted = games.copy()
    scores = ["home_score", "away_score"]
    permuted.loc[future, scores] = games.loc[np.random.default_rng(0).permutation(future), scores].to_numpy()
    other = game_ratings(permuted, league)
    known = (whole["day"] <= now).to_numpy()
    pd.testing.assert_frame_equal(whole[known], other[known], check_exact=True)
    moved = whole["margin_mean"].to_numpy()[~known] != other["margin_mean"].to_numpy()[~known]
    assert moved.mean() > 0.9
    late = whole[(whole["season"] == 2007) & (whole["day"] > days[-60])]
    assert late["home_eliminated"].any() and late["home_settled"].any() and late["home_near_cut"].any()
