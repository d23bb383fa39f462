"""Every expectation can fail, says on which days, and blocks only where it should."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURE_TABLE, FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.store.expectations import SUITES, Finding, validate
from hoops_assets.store.schemas import TABLES

DAYS = [date(2024, 1, 1) + timedelta(days=number // 2) for number in range(90)]
LEAGUE = League.model_validate(
    {
        "name": "tiny",
        "time_zone": "UTC",
        "first_season": 2024,
        "sources": {"games": {"kind": "csv"}},
        "teams": {code: {"name": code} for code in ("ANT", "BEE", "CAT")},
    }
)


def results() -> pd.DataFrame:
    n = len(DAYS)
    frame = pd.DataFrame({
        "game_id": [str(number) for number in range(n)], "season": 2024, "day": DAYS,
        "tip_off": pd.Timestamp("2024-01-02", tz="UTC"), "home": ["ANT", "BEE", "CAT"] * (n // 3),
        "away": ["BEE", "CAT", "ANT"] * (n // 3), "neutral": False, "stage": "regular",
        "home_score": 101, "away_score": 99,
    })  # fmt: skip
    return frame.astype(TABLES["results"].columns)


def features() -> pd.DataFrame:
    games = results()
    frame = games[[name for name in FEATURE_TABLE if name in games]].assign(**dict.fromkeys(FEATURES, 0.0))
    return frame.astype(FEATURE_TABLE)


RESULTS = {
    "home is a team of the league": ("home", "ZZZ"),
    "away is a team of the league": ("away", "ZZZ"),
    "no team plays itself": ("away", "ANT"),
    "home_score is possible": ("home_score", 301),
    "away_score is possible": ("away_score", -1),
    "no game is tied": ("away_score", 101),
}
FEATURE = {
    **{f"{name} is known": (name, None) for name in FEATURES},
    **{f"{name} is possible": (name, 5000.0) for name in FEATURES},
}
ONCE = {"results": "every played game stands once", "game_features": "every game stands once"}
BREAKS = [("results", name) for name in RESULTS] + [("game_features", name) for name in FEATURE]
STEP = 2  # rows from one broken row to the next: each has a day of its own


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Finding]]:
    """Findings by table and name, of frames in which every row rule is broken once, each on another day."""
    frames = {"results": results(), "game_features": features()}
    for table, breaks in (("results", RESULTS), ("game_features", FEATURE)):
        for number, (column, value) in enumerate(breaks.values()):
            frames[table].loc[STEP * number, column] = value
        frames[table].loc[len(DAYS) - 1, "game_id"] = frames[table]["game_id"].iloc[0]
    frames["results"].loc[STEP * 2, "home"] = "ANT"
    return {table: {one.name: one for one in validate(table, frame, LEAGUE)} for table, frame in frames.items()}


@pytest.mark.parametrize("table", ["results", "game_features"])
def test_a_sound_frame_meets_every_expectation(table: str) -> None:
    frame = results() if table == "results" else features()
    findings = validate(table, frame, LEAGUE, frame["day"])
    assert [one.name for one in findings if not one.passed] == []
    assert len(findings) == len(SUITES[table](LEAGUE, len(frame)))


def test_a_forfeit_without_points_of_one_side_is_possible() -> None:
    forfeit = results()
    forfeit.loc[0, ["home_score", "away_score"]] = (20, 0)
    assert all(one.passed for one in validate("results", forfeit, LEAGUE))


@pytest.mark.parametrize(("table", "name"), BREAKS, ids=[f"{table}: {name}" for table, name in BREAKS])
def test_every_rule_of_a_row_can_fail_and_names_the_day(
    table: str, name: str, found: dict[str, dict[str, Finding]]
) -> None:
    number = list(RESULTS if table == "results" else FEATURE).index(name)
    finding = found[table][name]
    assert (finding.passed, finding.critical, finding.unexpected) == (False, True, 1)
    assert finding.days == (DAYS[STEP * number],)


@pytest.mark.parametrize("table", ONCE)
def test_a_game_that_stands_twice_is_found_on_both_its_days(table: str, found: dict[str, dict[str, Finding]]) -> None:
    finding = found[table][ONCE[table]]
    assert (finding.passed, finding.critical, finding.unexpected, len(finding.days)) == (False, True, 2, 2)
    assert finding.days[0] == DAYS[0]


def test_scores_of_another_sport_are_a_warning_without_a_day() -> None:
    (failed,) = (one for one in validate("results", results().assign(home_score=5), LEAGUE) if not one.passed)
    assert (failed.name, failed.critical) == ("scores are those of basketball", False)
    assert (failed.days, failed.observed) == ((), "5.0")


def test_the_tests_here_break_every_expectation() -> None:
    for table in SUITES:
        named = {one.meta["name"] for one in SUITES[table](LEAGUE, None)}  # type: ignore[index]
        others = {ONCE[table]} | ({"scores are those of basketball"} if table == "results" else set())
        assert named == {name for of, name in BREAKS if of == table} | others


@pytest.mark.parametrize("rows", [57, 0])
def test_a_fixture_without_features_is_found_and_its_day_named(rows: int) -> None:
    failed = [
        one for one in validate("game_features", features().iloc[:rows], LEAGUE, pd.Series(DAYS)) if not one.passed
    ]
    assert [(one.name, one.critical, one.observed) for one in failed] == [
        ("every fixture has features", True, str(rows))
    ]
    assert failed[0].days == tuple(sorted(set(DAYS[rows:])))


def test_a_span_without_games_has_nothing_to_expect() -> None:
    assert validate("results", results().iloc[:0], LEAGUE) == []
    assert [one.passed for one in validate("game_features", features().iloc[:0], LEAGUE, pd.Series(dtype=object))] == [
        True
    ]
