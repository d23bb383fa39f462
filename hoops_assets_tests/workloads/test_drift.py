"""Every signal fires on a planted change, says since when, and is quiet without one."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.errors import ModelError
from hoops_assets.workloads import drift
from hoops_assets.workloads.drift import DriftReport, DriftSpec

SEASONS, DAYS, A_DAY = (2020, 2021, 2022, 2023), 70, 6
NOW = SEASONS[-1]
TEAMS = [f"T{number:02d}" for number in range(20)]


def begin(season: int) -> date:
    return date(season - 1, 11, 1)


def world(seed: int = 4) -> pd.DataFrame:
    """Four seasons of games in which nothing moves: 420 each, on 70 days."""
    draw = np.random.default_rng(seed)
    parts = []
    for season in SEASONS:
        n = DAYS * A_DAY
        days = [begin(season) + timedelta(days=number // A_DAY) for number in range(n)]
        strength = draw.normal(0, 100, n)
        p = 1 / (1 + np.exp(-(0.4 + 0.0058 * strength)))
        margin = np.round(np.where(draw.random(n) < p, 1, -1) * (1 + np.abs(draw.normal(0, 9, n))))
        away = np.round(105 + draw.normal(0, 8, n) - margin / 2)
        sides = [draw.choice(TEAMS, 2, replace=False) for _ in range(n)]
        frame = pd.DataFrame({
            "game_id": [f"{season}.{number:04d}" for number in range(n)], "season": season, "day": days,
            "home": [pair[0] for pair in sides], "away": [pair[1] for pair in sides], "neutral": False,
            "home_score": (away + margin).astype("int32"), "away_score": away.astype("int32"),
        })  # fmt: skip
        values = {name: draw.normal(0, 1, n) for name in FEATURES} | {
            "elo_difference": strength, "home_court": np.ones(n), "post_season": np.zeros(n),
        }  # fmt: skip
        parts.append(pd.concat([frame, pd.DataFrame(values)], axis=1))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def quiet() -> pd.DataFrame:
    return world()


def arrivals(bad_from: int | None = None) -> pd.DataFrame:
    rows = [(begin(season) + timedelta(days=number), season) for season in SEASONS for number in range(DAYS)]
    frame = pd.DataFrame(rows, columns=["day", "season"]).assign(missing_results=0.0)
    if bad_from is not None:
        frame.loc[
            (frame["season"] == NOW) & (frame["day"] >= begin(NOW) + timedelta(days=bad_from)), "missing_results"
        ] = 1
    return frame


def judge(games: pd.DataFrame, through: date | None = None, **frames: pd.DataFrame) -> DriftReport:
    return drift.judge(spec(through), {drift.GAMES: games, **frames})


def spec(through: date | None = None) -> DriftSpec:
    return DriftSpec(league="tiny", season=NOW, through=through or begin(NOW) + timedelta(days=DAYS))


def this_season(games: pd.DataFrame) -> pd.Series:
    return games["season"] == NOW


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_nothing_alarms_where_nothing_moved(seed: int) -> None:
    same = pd.DataFrame({"game_id": ["a"], "name": ["elo_difference"], "trained": [1.5], "served": [1.5]})
    report = judge(world(seed), arrivals=arrivals(), served=same)
    assert {one.name: one.state for one in report.signals} == dict.fromkeys(
        ("inputs", "target", "home_advantage", "totals", "residuals", "concept", "skew", "missing_results", "unseen"),
        "green",
    )
    assert report.games == DAYS * A_DAY and not report.red
    assert all(one.since is None and one.alarmed is None for one in report.signals)


def with_home_defeats(games: pd.DataFrame, share: float) -> pd.DataFrame:
    """Turns a share of this season's home wins into defeats by the same margin."""
    draw = np.random.default_rng(1)
    hit = this_season(games) & (games["home_score"] > games["away_score"]) & (draw.random(len(games)) < share)
    home, away = games["home_score"], games["away_score"]
    return games.assign(home_score=home.mask(hit, away), away_score=away.mask(hit, home))


def test_a_home_side_that_wins_less_moves_residuals_target_and_home_advantage(quiet: pd.DataFrame) -> None:
    report = judge(with_home_defeats(quiet, 0.4))
    for name in ("residuals", "target", "home_advantage"):
        found = report.signal(name)
        assert found.state == "red" and found.alarmed and found.since, name
        assert begin(NOW) <= found.since <= found.alarmed <= begin(NOW) + timedelta(days=DAYS)
        assert found.p_value is not None and found.p_value <= 0.05
        assert "fewer" in found.told or "smaller" in found.told
        low, high = found.details["low"], found.details["high"]
        assert isinstance(low, float) and isinstance(high, float) and low < high < 0
    assert report.signal("totals").state == "green"


def test_the_first_alarm_stays_where_it_is_when_further_days_are_played(quiet: pd.DataFrame) -> None:
    games = with_home_defeats(quiet, 0.4)
    whole = judge(games).signal("residuals")
    assert whole.alarmed
    assert judge(games, whole.alarmed).signal("residuals").alarmed == whole.alarmed
    assert judge(games, whole.alarmed - timedelta(days=1)).signal("residuals").state == "green"


def test_games_after_the_last_settled_day_are_not_looked_at(quiet: pd.DataFrame) -> None:
    through = begin(NOW) + timedelta(days=20)
    later = quiet["day"] > through
    wild = quiet.assign(home_score=quiet["home_score"].mask(later, 1000), away=quiet["away"].mask(later, "ZZZ"))
    assert judge(wild, through) == judge(quiet, through)


def test_more_points_move_the_totals_alone(quiet: pd.DataFrame) -> None:
    more = 6 * this_season(quiet)
    report = judge(quiet.assign(home_score=quiet["home_score"] + more, away_score=quiet["away_score"] + more))
    assert [one.name for one in report.red] == ["totals"]
    shift = report.signal("totals").details["shift"]
    assert isinstance(shift, float) and 10 < shift < 14
    assert "12" in report.signal("totals").told or "11" in report.signal("totals").told


def test_an_input_in_another_unit_is_named(quiet: pd.DataFrame) -> None:
    moved = quiet.assign(
        rest_difference=quiet["rest_difference"].where(~this_season(quiet), quiet["rest_difference"] * 24)
    )
    found = judge(moved).signal("inputs")
    assert found.state == "red" and found.details["moved"] == ["rest_difference"]
    assert found.alarmed == begin(NOW) + timedelta(days=drift.INPUT_DAYS - 1)


def test_inputs_that_change_with_the_season_are_compared_with_the_same_part_of_the_one_before(
    quiet: pd.DataFrame,
) -> None:
    into = np.array([(day - begin(season)).days for day, season in zip(quiet["day"], quiet["season"], strict=True)])
    grown = quiet.assign(margin_season_difference=quiet["margin_season_difference"] * (1 + into / 5))
    assert judge(grown, begin(NOW) + timedelta(days=35)).signal("inputs").state == "green"


def test_inputs_wait_for_thirty_game_days(quiet: pd.DataFrame) -> None:
    assert judge(quiet, begin(NOW) + timedelta(days=drift.INPUT_DAYS - 2)).signal("inputs").state == "not enough"
    assert judge(quiet, begin(NOW) + timedelta(days=drift.INPUT_DAYS - 1)).signal("inputs").state == "green"


def forecasts(games: pd.DataFrame, right: np.ndarray) -> pd.DataFrame:
    """Forecasts of this season that are sure, and right where `right` says so."""
    own = games[this_season(games)]
    won = (own["home_score"] > own["away_score"]).to_numpy()
    return pd.DataFrame(
        {"game_id": own["game_id"].to_numpy(), "home_win_probability": np.where(won == right, 0.7, 0.3)}
    )


def test_forecasts_that_turn_bad_in_the_middle_are_a_drift_of_the_concept(quiet: pd.DataFrame) -> None:
    n = DAYS * A_DAY
    draw = np.random.default_rng(2)
    good = draw.random(n) < 0.75
    bad = np.where(np.arange(n) < n // 2, good, draw.random(n) < 0.3)
    assert judge(quiet, forecasts=forecasts(quiet, good)).signal("concept").state == "green"
    found = judge(quiet, forecasts=forecasts(quiet, bad)).signal("concept")
    assert found.state == "red" and found.alarmed and "what was forecast" in found.told
    assert begin(NOW) + timedelta(days=DAYS // 2) <= found.alarmed


def test_without_forecasts_the_concept_is_that_of_the_refitted_logistic(quiet: pd.DataFrame) -> None:
    assert "refitted logistic" in judge(quiet).signal("concept").told


def test_one_value_that_serving_sees_otherwise_is_named(quiet: pd.DataFrame) -> None:
    served = pd.DataFrame({
        "game_id": ["a", "b", "a", "a"], "name": ["elo_difference", "elo_difference", "home_court", drift.ANSWERED],
        "trained": [100.0, 50.0, 1.0, 0.61], "served": [100.0, 50.5, 1.0, 0.610001],
    })  # fmt: skip
    found = judge(quiet, served=served).signal("skew")
    assert (found.state, found.details) == ("red", {"differing_games": {"elo_difference": 1}})
    assert judge(quiet, served=served.iloc[[0, 2, 3]]).signal("skew").state == "green"
    answer = served.assign(served=[100.0, 50.0, 1.0, 0.62])
    assert judge(quiet, served=answer).signal("skew").details == {"differing_games": {drift.ANSWERED: 1}}


def test_results_that_stop_coming_alarm_within_days(quiet: pd.DataFrame) -> None:
    found = judge(quiet, arrivals=arrivals(bad_from=40)).signal("missing_results")
    assert found.state == "red" and found.since == begin(NOW) + timedelta(days=40)
    assert found.alarmed and found.alarmed <= begin(NOW) + timedelta(days=45)


def test_what_was_never_known_is_not_judged(quiet: pd.DataFrame) -> None:
    unknown = arrivals().assign(late_posts=np.nan)
    assert judge(quiet, arrivals=unknown).signal("late_posts").state == "not enough"


def test_a_promoted_team_is_named_before_and_after_its_first_game(quiet: pd.DataFrame) -> None:
    first = begin(NOW) + timedelta(days=10)
    coming = pd.DataFrame({"day": [first], "home": ["NEW"], "away": ["T01"]})
    before = judge(quiet, first - timedelta(days=1), coming=coming).signal("unseen")
    played = quiet.assign(home=quiet["home"].mask(this_season(quiet) & (quiet["day"] == first), "NEW"))
    after = judge(played).signal("unseen")
    for found in (before, after):
        assert (found.state, found.details, found.since) == ("red", {"teams": ["NEW"]}, first)


def test_a_team_is_seen_once_the_serving_version_was_trained_on_it(quiet: pd.DataFrame) -> None:
    first = begin(NOW) + timedelta(days=10)
    played = quiet.assign(home=quiet["home"].mask(this_season(quiet) & (quiet["day"] == first), "NEW"))
    trained = spec().model_copy(update={"trained_through": first})
    assert drift.judge(trained, {drift.GAMES: played}).signal("unseen").state == "green"


def test_a_watch_that_begins_anew_forgets_what_a_new_version_has_learned_from(quiet: pd.DataFrame) -> None:
    games = with_home_defeats(quiet, 0.4)
    anew = spec().model_copy(update={"watch_from": begin(NOW) + timedelta(days=DAYS - 2)})
    assert drift.judge(spec(), {drift.GAMES: games}).signal("residuals").state == "red"
    assert drift.judge(anew, {drift.GAMES: games}).signal("residuals").state == "green"


def test_a_league_without_a_past_is_told_that_it_is_too_early(quiet: pd.DataFrame) -> None:
    report = judge(quiet[this_season(quiet)])
    states = {one.name: one.state for one in report.signals}
    assert not report.red
    assert {states[name] for name in ("target", "home_advantage", "totals", "residuals", "inputs")} == {"not enough"}


def test_the_folder_gives_the_same_report_whatever_the_order_of_its_rows(tmp_path: Path, quiet: pd.DataFrame) -> None:
    frames = {drift.GAMES: with_home_defeats(quiet, 0.4), drift.ARRIVALS: arrivals()}
    drift.write_inputs(tmp_path / "a", spec(), frames)
    mixed = {name: frame.sample(frac=1, random_state=3) for name, frame in frames.items()}
    drift.write_inputs(tmp_path / "b", spec(), mixed)
    reports = [drift.run(tmp_path / name, tmp_path / "out" / name) for name in ("a", "b")]
    files = [(tmp_path / "out" / name / drift.REPORT).read_bytes() for name in ("a", "b")]
    assert reports[0] == reports[1] and files[0] == files[1]
    assert DriftReport.model_validate_json(files[0]) == reports[0] == drift.judge(spec(), frames)


def test_the_program_says_one_line_a_signal(tmp_path: Path, quiet: pd.DataFrame) -> None:
    drift.write_inputs(tmp_path / "in", spec(), {drift.GAMES: quiet})
    command = [sys.executable, "-m", "hoops_assets.workloads.drift", str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "signal residuals=green: No alarm" in done.stdout
    assert (tmp_path / "out" / drift.REPORT).exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / drift.SPEC).unlink(), "spec.json is missing"),
        (lambda folder: (folder / drift.SPEC).write_text('{"league": 3}'), "field league"),
        (lambda folder: (folder / "games.parquet").unlink(), "frame games is missing"),
        (lambda folder: (folder / "games.parquet").write_bytes(b"nothing"), "not a readable Parquet file"),
    ],
)
def test_a_broken_folder_is_told_by_name_and_leaves_no_report(tmp_path: Path, quiet: pd.DataFrame, spoil, said) -> None:
    drift.write_inputs(tmp_path, spec(), {drift.GAMES: quiet})
    spoil(tmp_path)
    with pytest.raises(ModelError, match=said):
        drift.run(tmp_path, tmp_path / "out")
    assert drift.main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out" / drift.REPORT).exists()


def test_games_without_a_score_or_a_column_are_refused(quiet: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="without a score"):
        judge(quiet.assign(home_score=quiet["home_score"].astype("float64").mask(quiet.index == 3)))
    with pytest.raises(ModelError, match="lacks the columns margin_ratio"):
        judge(quiet.drop(columns="margin_ratio"))


@pytest.mark.slow
def test_empty_arenas_of_2021_move_the_nba_as_docs_drift_says(real_data: Path, tmp_path: Path) -> None:
    from hoops_assets.sources.leagues import new_league
    from hoops_assets.sources.open import open_games
    from hoops_assets.workloads.evaluate import league_features

    files = [real_data / "nba" / "nba_elo_1947_2019.csv.gz", *sorted((real_data / "nba" / "snapshots").glob("*.csv"))]
    league, _ = new_league("nba", "fivethirtyeight", [str(file) for file in files])
    games = open_games(league).read(datetime.now(UTC)).games
    features = league_features(league, games).drop(columns=["home_win", "posts"])
    played = features.merge(games[["game_id", "home_score", "away_score"]].dropna(), on="game_id")
    played = played[played["season"] >= 1990]

    def report(season: int, through: date) -> DriftReport:
        given, out = tmp_path / f"{season}.in", tmp_path / f"{season}.out"
        drift.write_inputs(given, DriftSpec(league="nba", season=season, through=through), {drift.GAMES: played})
        return drift.run(given, out)

    residuals = report(2021, date(2021, 5, 29)).signal("residuals")
    assert (residuals.state, residuals.alarmed, residuals.since) == ("red", date(2021, 4, 14), date(2020, 12, 22))
    for season in (2009, 2010, 2011):
        assert report(season, date(season, 7, 1)).signal("residuals").state == "green"
    totals = report(2019, date(2019, 7, 1)).signal("totals")
    assert (totals.state, totals.alarmed) == ("red", date(2018, 10, 26))
    assert report(2009, date(2009, 7, 1)).signal("totals").state == "green"
