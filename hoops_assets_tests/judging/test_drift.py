"""Drift: false alarms as rare as promised, shifts found, and what is known of the real NBA found in the real games."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.form import extend_form
from hoops_assets.judging import drift
from hoops_assets.judging.drift import (
    ALPHA,
    Reference,
    concept_drift,
    excess,
    input_drift,
    mean_shift,
    psi,
    serving_skew,
    shift_evidence,
    unseen,
)
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.open import open_games

GAMES, DAYS = 1200, 150
DAY = np.repeat(np.arange(DAYS), GAMES // DAYS)
NEEDED = np.log(1 / ALPHA)


def looked_at(seasons: np.ndarray, slack: float = 0.0) -> np.ndarray:
    """Evidence at the end of every day of many seasons, [seasons, games]."""
    total = np.cumsum(seasons, axis=1)[:, GAMES // DAYS - 1 :: GAMES // DAYS]
    return shift_evidence(total, np.arange(1, DAYS + 1) * GAMES / DAYS, slack)


# -- means ------------------------------------------------------------------------------------------------------------


def test_nothing_moved_rarely_alarms_though_one_looks_every_day() -> None:
    seasons = np.random.default_rng(1).normal(size=(4000, GAMES))
    alarmed = (looked_at(seasons) >= NEEDED).any(axis=1).mean()
    assert 0.002 < alarmed <= ALPHA


def test_wagering_on_coins_rarely_alarms_either() -> None:
    """Residuals are no normal numbers: home wins against a known probability."""
    draw = np.random.default_rng(2)
    p = 1 / (1 + np.exp(-draw.normal(0.4, 0.9, (3000, GAMES))))
    residuals = (draw.random(p.shape) < p) - p
    total, variance = (np.cumsum(x, axis=1)[:, 7::8] for x in (residuals, p * (1 - p)))
    sd = np.sqrt(0.2)
    assert (shift_evidence(total / sd, variance / sd**2, 0.0) >= NEEDED).any(axis=1).mean() <= ALPHA


def test_evidence_is_worth_one_on_average_where_nothing_moved() -> None:
    evidence = looked_at(np.random.default_rng(3).normal(size=(20000, GAMES)))
    assert np.exp(evidence[:, [5, 40, 100]]).mean(axis=0) == pytest.approx(1.0, abs=0.15)


def test_the_error_of_the_reference_is_allowed_for() -> None:
    """A reference of 1,200 games is off by its own error; a test that took it for the truth would alarm too often."""
    draw = np.random.default_rng(4)
    seasons = draw.normal(size=(3000, GAMES)) + draw.normal(0, 1 / np.sqrt(GAMES), (3000, 1))
    assert (looked_at(seasons) >= NEEDED).any(axis=1).mean() > ALPHA
    assert (looked_at(seasons, slack=1 / GAMES) >= NEEDED).any(axis=1).mean() <= ALPHA


@pytest.mark.parametrize(("size", "start", "found"), [(0.2, 0, 0.99), (-0.2, 0, 0.99), (0.25, GAMES // 2, 0.95)])
def test_a_shift_is_found_from_the_beginning_and_from_the_middle(size: float, start: int, found: float) -> None:
    seasons = np.random.default_rng(5).normal(size=(300, GAMES)) + size * (np.arange(GAMES) >= start)
    assert (looked_at(seasons) >= NEEDED).any(axis=1).mean() >= found


def test_the_alarm_is_the_first_day_that_reaches_the_threshold_and_dates_the_shift() -> None:
    draw = np.random.default_rng(6)
    values = draw.normal(size=GAMES) + 0.5 * (np.arange(GAMES) >= 640)
    found = mean_shift(values, DAY.tolist(), tolerance=0.0)
    assert len(found.looks) == len(found.evidence) == DAYS
    assert found.evidence == pytest.approx(looked_at(values[None])[0])
    first = int(np.argmax(found.evidence >= found.needed))
    assert found.alarm == first and 80 < first < 110
    assert abs(found.since - 80) <= 8


def test_the_interval_holds_at_all_looks_at_once() -> None:
    draw = np.random.default_rng(7)
    missed = 0
    for _ in range(200):
        truth = draw.normal(0, 0.1)
        values = draw.normal(truth, 1.0, 400)
        ends = range(16, 401, 16)
        spans = [mean_shift(values[:n], DAY[:n].tolist(), tolerance=0.0) for n in ends]
        missed += any(not one.low <= truth <= one.high for one in spans)  # type: ignore[operator]
    assert missed / 200 <= ALPHA


def test_the_interval_never_gets_narrower_than_the_reference_is_sure() -> None:
    exact, vague = (mean_shift(np.zeros(GAMES), DAY.tolist(), reference_variance=n) for n in (1e9, 100))
    assert vague.high - vague.low > exact.high - exact.low > 0  # type: ignore[operator]


@given(st.permutations(range(8)))
def test_the_order_within_a_day_does_not_matter(order: list[int]) -> None:
    values = np.random.default_rng(8).normal(size=64)
    dealt = values.reshape(8, 8)[:, order].ravel()
    days = np.repeat(np.arange(8), 8).tolist()
    assert mean_shift(dealt, days).evidence == pytest.approx(mean_shift(values, days).evidence)


def test_no_games_are_no_alarm_and_bad_ones_are_refused() -> None:
    nothing = mean_shift([], [])
    assert (nothing.alarm, nothing.games, nothing.shift) == (None, 0, None)
    with pytest.raises(ValueError, match="must be finite"):
        mean_shift([0.1, np.nan], [1, 2])
    with pytest.raises(ValueError, match="must ascend; 1 stands after 2"):
        mean_shift([0.1, 0.2], [2, 1])


def test_a_reference_knows_that_games_of_a_day_are_alike() -> None:
    draw = np.random.default_rng(9)
    plain = Reference.of(draw.normal(3, 2, GAMES), DAY.tolist())
    assert (plain.mean, plain.sd) == (pytest.approx(3, abs=0.2), pytest.approx(2, rel=0.2))
    alike = Reference.of(draw.normal(size=GAMES) + draw.normal(size=DAYS)[DAY], DAY.tolist())
    assert alike.sd > 1.5 * np.sqrt(2)
    assert plain.standardised([plain.mean]) == pytest.approx(0)
    with pytest.raises(ValueError, match="that differ"):
        Reference.of([1.0, 1.0], [1, 2])


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_the_index_is_the_formula() -> None:
    then, now = np.repeat([0.0, 1.0], [60, 40]), np.repeat([0.0, 1.0], [30, 70])
    a, b = np.array([60.5, 40.5]) / 101, np.array([30.5, 70.5]) / 101
    assert psi(then, now) == pytest.approx(((b - a) * np.log(b / a)).sum())
    assert psi(then, then) == pytest.approx(0)


@settings(max_examples=30)
@given(st.lists(st.floats(-5, 5) | st.just(np.nan), min_size=3, max_size=60), st.integers(0, 9))
def test_the_index_is_finite_and_not_negative(values: list[float], seed: int) -> None:
    other = np.random.default_rng(seed).normal(size=20)
    assert np.isfinite(psi(values, other)) and psi(values, other) >= 0
    assert np.isfinite(psi(other, values))


def test_days_that_differ_are_no_drift() -> None:
    """Dealing single games instead of whole days would alarm in a third of these."""
    draw = np.random.default_rng(10)
    p_values = []
    for number in range(60):
        then, now = (draw.normal(size=400) + 0.7 * draw.normal(size=50)[np.repeat(np.arange(50), 8)] for _ in "ab")
        days = np.repeat(np.arange(100), 8)
        found = input_drift(
            {"x": then}, {"x": now}, days[:400].tolist(), days[400:].tolist(), permutations=199, seed=number
        )
        p_values.append(found[0].p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.12
    assert 0.3 < np.mean(p_values) < 0.7


def test_a_moved_input_is_named_and_the_others_are_not() -> None:
    draw = np.random.default_rng(11)
    then = {name: draw.normal(size=GAMES) for name in "abc"}
    now = {name: draw.normal(size=GAMES) + (0.8 if name == "b" else 0.0) for name in "abc"}
    found = {one.name: one for one in input_drift(then, now, DAY.tolist(), (DAY + DAYS).tolist())}
    assert [name for name, one in found.items() if one.moved] == ["b"]
    assert found["b"].p_value == pytest.approx(1 / 1000)


def test_an_input_that_goes_missing_has_moved() -> None:
    draw = np.random.default_rng(12)
    then = {"posts": draw.normal(size=GAMES)}
    now = {"posts": np.where(draw.random(GAMES) < 0.4, np.nan, draw.normal(size=GAMES))}
    assert input_drift(then, now, DAY.tolist(), (DAY + DAYS).tolist())[0].moved


def test_spans_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="must not overlap"):
        input_drift({"x": [1.0, 2.0]}, {"x": [3.0]}, [1, 2], [2])


# -- concept ----------------------------------------------------------------------------------------------------------


def losses(draw: np.random.Generator, worse: float, games: int = GAMES) -> np.ndarray:
    p = 1 / (1 + np.exp(-draw.normal(0.4, 0.9, games)))
    return np.clip((p - (draw.random(games) < p)) ** 2 + worse * (np.arange(games) >= games // 2), 0, 1)


def test_a_loss_that_rises_is_found_and_a_steady_one_is_not() -> None:
    draw = np.random.default_rng(13)
    steady = [concept_drift(losses(draw, 0.0), DAY.tolist()) for _ in range(200)]
    assert sum(map(bool, steady)) / 200 <= ALPHA
    for _ in range(20):
        found = concept_drift(losses(draw, 0.1), DAY.tolist())
        assert found and found[-1].look >= DAYS // 2
        assert found[-1].after > found[-1].before


def test_a_loss_that_falls_is_told_only_on_demand() -> None:
    falling = losses(np.random.default_rng(14), 0.2)[::-1]
    assert not concept_drift(falling, DAY.tolist())
    assert concept_drift(falling, DAY.tolist(), only_worse=False)


# -- arrival, skew, newcomers -----------------------------------------------------------------------------------------


def test_the_usual_share_of_missing_inputs_is_no_alarm_even_if_whole_days_fail() -> None:
    draw = np.random.default_rng(15)
    alarmed = [excess(draw.random(150) < 0.02, range(150), expected=0.02).alarm is not None for _ in range(300)]
    assert np.mean(alarmed) <= ALPHA + 0.02


def test_a_source_that_is_gone_is_told_within_days() -> None:
    for good in (0, 3, 20, 100):
        found = excess([0.0] * good + [1.0] * 10, range(good + 10), expected=0.02)
        assert found.alarm is not None and good <= found.alarm <= good + 4
    assert found.share == pytest.approx(10 / 110)
    assert excess([], [], expected=0.02).alarm is None
    with pytest.raises(ValueError, match="expected lies between"):
        excess([0.1], [1], expected=0.0)


def test_skew_compares_values_and_names_what_differs() -> None:
    trained = {"elo": [1500.0, 1510.0, np.nan], "rest": [1.0, 2.0, 3.0]}
    assert serving_skew(trained, {name: np.float32(values) for name, values in trained.items()}) == []
    served = {"elo": [1500.0, 1400.0, np.nan], "rest": [np.nan, 2.0, 3.0]}
    elo, rest = serving_skew(trained, served)
    assert (elo.name, elo.games, elo.differing, elo.largest) == ("elo", 3, 1, 110.0)
    assert (rest.name, rest.differing) == ("rest", 1) and np.isnan(rest.largest)
    with pytest.raises(ValueError, match="only one side has the inputs rest"):
        serving_skew(trained, {"elo": [1.0, 2.0, 3.0]})


def test_newcomers_are_named() -> None:
    assert unseen(["BOS", "SEA", "BOS"], ["BOS", "NYK"]) == ["SEA"]


def test_the_module_loads_no_heavy_library() -> None:
    code = "import hoops_assets.judging.drift, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"pandas", "river", "scipy", "sklearn"}


# -- the real NBA -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nba(real_data: Path) -> pd.DataFrame:
    """Played games since 1990 with the Elo difference before each, in points over 100, 0 on neutral ground's home edge."""
    files = [real_data / "nba" / "nba_elo_1947_2019.csv.gz", *sorted((real_data / "nba" / "snapshots").glob("*.csv"))]
    league, _ = new_league("nba", "fivethirtyeight", [str(path) for path in files])
    games = open_games(league).read(datetime.now(UTC)).games
    games = games[(games["season"] >= 1990) & games["home_score"].notna()].reset_index(drop=True)
    form = extend_form(None, games, league).set_index(["game_id", "is_home"])["elo_before"].unstack()
    rating = form.loc[games["game_id"]]
    return games.assign(
        rating=((rating[True] - rating[False]) / 100).to_numpy(),
        home_win=(games["home_score"] > games["away_score"]).to_numpy(dtype=np.float64),
        total=(games["home_score"] + games["away_score"]).to_numpy(dtype=np.float64),
    )


def residuals(games: pd.DataFrame, season: int) -> drift.Shift:
    """Of a logistic regression on rating and home court, fitted on the 15 seasons before."""
    design = np.column_stack([1.0 - games["neutral"].astype(float), games["rating"]])
    past = games["season"].between(season - 15, season - 1).to_numpy()
    won, beta = games["home_win"].to_numpy(), np.zeros(2)
    for _ in range(8):
        p = 1 / (1 + np.exp(-design[past] @ beta))
        step = (design[past] * (p * (1 - p))[:, None]).T @ design[past]
        beta += np.linalg.solve(step, design[past].T @ (won[past] - p))
    now = (games["season"] == season).to_numpy()
    p = 1 / (1 + np.exp(-design[now] @ beta))
    variance = p * (1 - p)
    sd = np.sqrt(variance.mean())
    days = games.loc[now, "day"].tolist()
    return mean_shift((won[now] - p) / sd, days, variances=variance / sd**2, reference_variance=past.sum())


def test_empty_arenas_move_the_residuals_of_2021(nba: pd.DataFrame) -> None:
    found = residuals(nba, 2021)
    assert found.alarm is not None and date(2021, 1, 1) < found.alarm < date(2021, 5, 16)
    assert found.shift < 0 and found.high < 0  # type: ignore[operator]
    assert found.since - date(2020, 12, 22) < timedelta(days=60)


@pytest.mark.parametrize("season", [2009, 2010, 2011])
def test_quiet_seasons_do_not_though_one_looks_every_day(nba: pd.DataFrame, season: int) -> None:
    assert residuals(nba, season).alarm is None


@pytest.mark.parametrize(("season", "moves"), [(2009, False), (2011, False), (2019, True)])
def test_total_points_move_in_2019_only(nba: pd.DataFrame, season: int, moves: bool) -> None:
    last, now = nba[nba["season"] == season - 1], nba[nba["season"] == season]
    reference = Reference.of(last["total"], last["day"].tolist())
    found = mean_shift(
        reference.standardised(now["total"]), now["day"].tolist(), reference_variance=reference.n, tolerance=0.05
    )
    assert (found.alarm is not None) == moves
    assert not moves or found.alarm < date(2018, 11, 15)  # type: ignore[operator]
