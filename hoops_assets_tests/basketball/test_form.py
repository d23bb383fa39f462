from __future__ import annotations

import time
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.form import FORM, extend_form
from hoops_assets.basketball.ratings import rating_change
from hoops_assets_tests.basketball import nba
from hoops_assets_tests.basketball.schedules import FIRST_DAY, LEAGUE, games_of, schedules

BEFORE = ["game_id", "team", *[name for name in FORM if name.endswith("_before")]]
day_numbers = st.integers(0, 25)


def form_of(rows):
    return extend_form(None, games_of(rows), LEAGUE)


def of_team(form, team):
    return form[form["team"] == team].reset_index(drop=True)


def equal(left, right):
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True), check_exact=True)


def stored(form):
    """The form as it comes back from a table: through Arrow, in another row order, integers with nulls as floats."""
    return (
        pa.Table.from_pandas(form, preserve_index=False).to_pandas(ignore_metadata=True).sample(frac=1, random_state=1)
    )


def test_every_game_has_a_home_row_and_an_away_row_in_order():
    form = form_of([(3, "BEA", "CAT", 5, False), (1, "ANN", "BEA", None, True)])
    assert form["team"].tolist() == ["ANN", "BEA", "BEA", "CAT"]
    assert form["opponent"].tolist() == ["BEA", "ANN", "CAT", "BEA"]
    assert form["is_home"].tolist() == [True, False, True, False]
    assert form["played"].tolist() == [False, False, True, True]


@given(schedules)
@settings(max_examples=30, deadline=None)
def test_columns_and_types_are_always_those_declared(rows):
    for form in (form_of(rows), extend_form(form_of(rows), games_of([]), LEAGUE)):
        assert {name: str(dtype) for name, dtype in form.dtypes.items()} == FORM


def test_a_new_team_starts_at_the_rating_of_a_new_team_with_nothing_behind_it():
    first = form_of([(1, "ANN", "BEA", 4, False)]).iloc[0]
    assert first["elo_before"] == LEAGUE.elo.new_team
    assert (first["games_before"], first["wins_before"], first["margin_total_before"]) == (0, 0, 0)
    assert pd.isna(first["rest_days_before"]) and pd.isna(first["margin_10_before"])


def test_what_a_game_changed_is_known_before_the_next():
    form = form_of([(1, "ANN", "BEA", 7, False), (4, "CAT", "ANN", 3, False)])
    first, second = of_team(form, "ANN").iloc[0], of_team(form, "ANN").iloc[1]
    gain = rating_change(100.0, 7, LEAGUE.elo)
    assert first["elo_after"] == 1300.0 + gain == second["elo_before"]
    assert (first["margin_after"], first["won_after"]) == (7, True)
    assert (second["games_before"], second["wins_before"], second["margin_season_before"]) == (1, 1, 7.0)
    assert second["rest_days_before"] == 3
    assert second["elo_after"] < second["elo_before"]


def test_an_unplayed_fixture_counts_for_rest_and_for_nothing_else():
    played = (1, "ANN", "BEA", 7, False)
    form = of_team(form_of([played, (4, "CAT", "ANN", None, False), (5, "ANN", "DOT", 2, False)]), "ANN")
    without = of_team(form_of([played, (5, "ANN", "DOT", 2, False)]), "ANN")
    assert form.loc[1, [name for name in FORM if name.endswith("_after")]].isna().all()
    assert form.loc[2, "rest_days_before"] == 1 and without.loc[1, "rest_days_before"] == 4
    others = [name for name in FORM if name != "rest_days_before"]
    equal(form.loc[[2], others], without.loc[[1], others])


def test_both_games_of_a_double_header_are_seen_from_before_the_day_and_the_day_ends_after_both():
    form = form_of([(1, "ANN", "BEA", 7, False), (1, "ANN", "BEA", -3, False), (2, "ANN", "CAT", 1, False)])
    ann = of_team(form, "ANN")
    assert ann.loc[0, "elo_before"] == ann.loc[1, "elo_before"] == 1300.0
    assert ann.loc[1, "games_before"] == 0 and ann.loc[1, "games_after"] == 2
    assert ann.loc[2, "margin_season_before"] == 2.0 and ann.loc[2, "elo_before"] == ann.loc[1, "elo_after"]


def test_the_rolling_window_holds_the_last_ten_games():
    rows = [(day, "ANN", "BEA", 30 if day == 0 else 1, False) for day in range(11)]
    last = of_team(form_of([*rows, (11, "ANN", "BEA", 1, False)]), "ANN").iloc[-1]
    assert last["margin_10_before"] == 1.0 and last["wins_10_before"] == 1.0
    assert last["margin_season_before"] == 40 / 11


def test_a_new_season_carries_the_rating_over_and_counts_anew():
    form = of_team(form_of([(5, "ANN", "BEA", 9, False), (20, "ANN", "BEA", 9, False)]), "ANN")
    assert form.loc[1, "elo_before"] == 0.75 * form.loc[0, "elo_after"] + 0.25 * 1505.0
    assert form.loc[1, "games_before"] == 0 and pd.isna(form.loc[1, "rest_days_before"])
    assert pd.isna(form.loc[1, "wins_10_before"])


@given(schedules, st.lists(day_numbers, max_size=3))
@settings(max_examples=120, deadline=None)
def test_extending_in_steps_gives_exactly_the_values_of_one_step(rows, splits):
    games = games_of(rows)
    whole = extend_form(None, games, LEAGUE)
    bounds = [FIRST_DAY + timedelta(days=day) for day in sorted(splits)]
    form = extend_form(None, games.iloc[:0], LEAGUE)
    for start, end in zip([date.min, *bounds], [*bounds, date.max], strict=True):
        part = games[(games["day"] >= start) & (games["day"] < end)]
        form = pd.concat([form, extend_form(stored(form), part, LEAGUE)], ignore_index=True).astype(FORM)
    equal(form, whole)


@given(schedules, day_numbers)
@settings(max_examples=60, deadline=None)
def test_a_day_done_again_ignores_what_is_stored_from_that_day_on(rows, split):
    games = games_of(rows)
    whole = extend_form(None, games, LEAGUE)
    again = games[games["day"] >= FIRST_DAY + timedelta(days=split)]
    if len(again):
        equal(extend_form(stored(whole), again, LEAGUE), whole[whole["day"] >= again["day"].min()])


@given(schedules, schedules, day_numbers)
@settings(max_examples=120, deadline=None)
def test_nothing_known_before_a_day_depends_on_that_day_or_later(rows, other, split):
    """Scores of the day itself change, and from the next day on the whole schedule is another."""
    changed = [row for row in rows if row[0] < split] + [row for row in other if row[0] > split]
    for day, home, away, margin, neutral in rows:
        if day == split:
            changed.append((day, home, away, None if margin is None else -margin, neutral))
    if not changed:
        return
    until = FIRST_DAY + timedelta(days=split)
    left, right = form_of(rows), form_of(changed)
    equal(left.loc[left["day"] <= until, BEFORE], right.loc[right["day"] <= until, BEFORE])


@given(schedules, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_rows_given_does_not_matter(rows, random):
    games = games_of(rows)
    order = list(range(len(games)))
    random.shuffle(order)
    equal(extend_form(None, games.iloc[order], LEAGUE), extend_form(None, games, LEAGUE))


def test_a_tied_score_is_refused():
    games = games_of([(1, "ANN", "BEA", 1, False)]).assign(home_score=99, away_score=99)
    with pytest.raises(ValueError, match="tie"):
        extend_form(None, games, LEAGUE)


def test_seventy_years_of_games_take_seconds_and_a_further_day_much_less(real_data):
    league, games = nba.history(real_data)
    started = time.process_time()
    form = extend_form(None, games, league)
    whole = time.process_time() - started
    assert len(form) == 2 * len(games) and whole < 15
    last = games[games["day"] == games["day"].max()]
    started = time.process_time()
    again = extend_form(form, last, league)
    assert time.process_time() - started < whole / 4
    equal(again, form.tail(2 * len(last)))
