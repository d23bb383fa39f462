"""Every expectation of every table can fail, says on which days, and blocks only where it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.store.expectations import BLOCKING, ROWS_OF
from hoops_assets.store.expectations.suites import SOURCED, SUITES, expectations_of
from hoops_assets.store.expectations.validation import Finding, validate
from hoops_assets.store.schemas import TABLES

GAMES = 120
DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(GAMES)]
TEAMS = ("ANT", "BEE", "CAT")
LEAGUE = League.model_validate(
    {
        "name": "tiny",
        "time_zone": "America/New_York",
        "first_season": 2024,
        "sources": {"games": {"kind": "csv"}},
        "teams": {code: {"name": code} for code in TEAMS},
    }
)
NOON = pd.to_datetime(pd.Series(DAYS)).dt.tz_localize("America/New_York").dt.tz_convert("UTC") + pd.Timedelta(hours=12)

SOUND: dict[str, Any] = {
    "season": 2024, "day": DAYS, "tip_off": NOON, "home": TEAMS[0], "away": TEAMS[1], "team": TEAMS[0],
    "opponent": TEAMS[1], "stage": "regular", "home_score": 101, "away_score": 99, "created_at": NOON,
    "ingested_at": NOON, "text": "what a game", "elo_before": 1500.0, "elo_after": 1510.0, "rest_days_before": 2,
    "margin_sd": 10.0, "form_margin_sd": 10.0, "home_win_probability": 0.6, "split": "train", "minutes": 240.0,
    "points": 100, "possessions": 95.0, "margin": 0.05, "kind": "forecast", "games": 82,
}  # fmt: skip
"""What a sound row says where zero, false or an empty text will not do."""

_ZERO: dict[str, Any] = {"object": "", "bool": False, "boolean": False}


def sound(table: str) -> pd.DataFrame:
    """A frame of the table, one row a day, that meets every expectation."""
    spec = TABLES[table]
    frame = pd.DataFrame(
        {name: SOUND.get(name, _ZERO.get(dtype, 0)) for name, dtype in spec.columns.items() if dtype[:4] != "date"}
        | {name: SOUND.get(name, NOON) for name, dtype in spec.columns.items() if dtype[:4] == "date"},
        index=range(GAMES),
    )
    key = next(name for name in spec.key if name in ("game_id", "post_id", "period"))
    frame[key] = [f"{number:04d}" for number in range(GAMES)]
    return frame[list(spec.columns)].astype(spec.columns)


@dataclass(frozen=True)
class Break:
    """How to break one expectation: a value in one column of one row, or of every row."""

    column: str
    value: Any
    everywhere: bool = False


def _possible(**values: float) -> dict[str, Break]:
    return {f"{column} is possible": Break(column, value) for column, value in values.items()}


def _at_least(*pairs: tuple[str, str]) -> dict[str, Break]:
    return {f"{column} is at least {other}": Break(other, 400) for column, other in pairs}


RESULT = {
    **_possible(home_score=301, away_score=-1),
    "no game is tied": Break("away_score", 101),
    "scores are those of basketball": Break("home_score", 5, everywhere=True),
}
FEATURE = {f"{name} is known and possible": Break(name, np.nan) for name in FEATURES}
OWN: dict[str, dict[str, Break]] = {
    "history": RESULT,
    "results": RESULT,
    "fixtures": {
        "a game tips off on its game day, league time": Break("tip_off", pd.Timestamp("2025-01-01", tz="UTC")),
        "stage is of few kinds": Break("stage", [str(number) for number in range(GAMES)], everywhere=True),
    },
    "fan_posts": {
        "a post was written by the end of its game day": Break("created_at", pd.Timestamp("2025-01-01", tz="UTC")),
        "ingested_at is at least created_at": Break("ingested_at", pd.Timestamp("2020-01-01", tz="UTC")),
        "most posts say something": Break("text", "", everywhere=True),
    },
    "team_form": {
        **_possible(elo_before=0, elo_after=3000, rest_days_before=-1, margin_10_before=500, wins_10_before=1.5),
        **_at_least(("games_before", "wins_before")),
    },
    "game_ratings": _possible(margin_mean=100, margin_sd=0, form_margin_mean=-100, form_margin_sd=90, home_edge=50),
    "fan_sentiment": {
        **_possible(mean_score=2, share_positive=1.5, share_negative=-0.5),
        **_at_least(("posts", "authors")),
    },
    "game_features": FEATURE,
    "training_set": {
        **FEATURE,
        "split is train, validation or test": Break("split", "tset"),
        "no later split holds an earlier game": Break("split", "test"),
    },
    "predictions": {
        **_possible(home_win_probability=1.5),
        "home sides are neither hopeless nor certain on the whole": Break("home_win_probability", 0.99, everywhere=True),
    },
    "scored_predictions": _possible(home_win_probability=-0.1, log_loss=-1, brier=2),
    "box_scores": {
        **_possible(
            points=301, minutes=10, effective_field_goal_pct=2, turnover_pct=2, offensive_rebound_pct=-1, possessions=900
        ),
        **_at_least(
            ("field_goals_attempted", "field_goals_made"), ("field_goals_made", "threes_made"),
            ("free_throws_attempted", "free_throws_made"),
        ),
    },
    "closing_odds": {
        **_possible(home_win_probability=1.2, home_spread=100),
        "the bookmaker's margin is that of a market": Break("margin", 0.9, everywhere=True),
    },
    "model_performance": {
        **_possible(log_loss=-1, brier=2, accuracy=1.1, calibration_error=-0.1, games=0),
        **_at_least(("games", "market_games")),
        "kind is known": Break("kind", "guess"),
    },
}  # fmt: skip
"""Table -> expectation of its own -> how to break it."""


def _from_schema(table: str) -> dict[str, Break]:
    if table not in SOURCED:
        return {}
    spec, first = TABLES[table], sound(table).iloc[0]
    sides = [name for name in ("home", "away", "team", "opponent") if spec.columns.get(name) == "object"]
    broken = {f"{side} is a team of the league": Break(side, "ZZZ") for side in sides}
    if len(sides) == 2:
        broken["no team plays itself"] = Break(sides[1], first[sides[0]])
    return broken


BREAKS = [(table, name, how) for table in OWN for name, how in {**_from_schema(table), **OWN[table]}.items()]


def failed(table: str, frame: pd.DataFrame, expected: pd.Series | None = None) -> list[Finding]:
    return [one for one in validate(table, frame, LEAGUE, expected) if not one.passed]


def test_every_declared_table_has_a_suite() -> None:
    assert set(SUITES) == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_a_sound_frame_meets_every_expectation(table: str) -> None:
    frame = sound(table)
    assert failed(table, frame) == []


@pytest.mark.parametrize("table", TABLES)
def test_the_tests_here_break_every_expectation(table: str) -> None:
    named = {one.meta["name"] for one in expectations_of(table, LEAGUE)}  # type: ignore[index]
    keys = {f"every {' and '.join(TABLES[table].key)} stands once"}
    assert named == {name for of, name, _ in BREAKS if of == table} | keys


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Finding]]:
    """Findings by table and name, of frames in which every row rule is broken once, each on another day."""
    findings = {}
    for table in TABLES:
        frame, key = sound(table), list(TABLES[table].key)
        for row, how in rows_to_break(table).values():
            frame.loc[row, how.column] = how.value
        frame.loc[GAMES - 1, key] = frame.loc[0, key].to_numpy()
        findings[table] = {one.name: one for one in validate(table, frame, LEAGUE)}
    return findings


def rows_to_break(table: str) -> dict[str, tuple[int, Break]]:
    """The row that breaks each rule of the rows of a table."""
    of_rows = {name: how for of, name, how in BREAKS if of == table and not how.everywhere}
    return {name: (5 + 3 * number, how) for number, (name, how) in enumerate(of_rows.items())}


ROW_BREAKS = [(table, name) for table, name, how in BREAKS if not how.everywhere]
WHOLE_BREAKS = [(table, name, how) for table, name, how in BREAKS if how.everywhere]


@pytest.mark.parametrize(("table", "name"), ROW_BREAKS, ids=[f"{table}: {name}" for table, name in ROW_BREAKS])
def test_every_rule_of_a_row_can_fail_and_names_the_day(
    table: str, name: str, found: dict[str, dict[str, Finding]]
) -> None:
    row, _ = rows_to_break(table)[name]
    finding = found[table][name]
    assert (finding.passed, finding.critical) == (False, table in BLOCKING)
    assert DAYS[row + (name == "no later split holds an earlier game")] in finding.days  # to blame is the one too late
    assert len(finding.days) == finding.unexpected <= 2


@pytest.mark.parametrize(("table", "name", "how"), WHOLE_BREAKS, ids=[f"{one[0]}: {one[1]}" for one in WHOLE_BREAKS])
def test_a_rule_of_the_whole_can_fail_and_only_warns(table: str, name: str, how: Break) -> None:
    frame = sound(table)
    frame[how.column] = how.value
    finding = next(one for one in failed(table, frame) if one.name == name)
    assert not finding.critical


@pytest.mark.parametrize("table", TABLES)
def test_what_stands_twice_is_found_on_both_its_days(table: str, found: dict[str, dict[str, Finding]]) -> None:
    finding = found[table][f"every {' and '.join(TABLES[table].key)} stands once"]
    assert (finding.unexpected, finding.days) == (2, (DAYS[0], DAYS[-1]))
    assert finding.critical == (table in BLOCKING)


@pytest.mark.parametrize("table", ROWS_OF)
@pytest.mark.parametrize("rows", [57, 0])
def test_a_row_that_is_missing_beside_its_table_is_found_and_its_day_named(table: str, rows: int) -> None:
    _, each = ROWS_OF[table]
    fixtures = pd.Series(DAYS[::each])
    frame = sound(table).iloc[:rows]
    (finding,) = failed(table, frame.assign(day=[day for day in DAYS[::each] for _ in range(each)][:rows]), fixtures)
    assert (finding.name, finding.critical) == ("no row is missing beside fixtures", table in BLOCKING)
    assert finding.days == tuple(DAYS[::each][rows // each :])


def test_a_span_without_games_has_nothing_to_expect() -> None:
    assert validate("results", sound("results").iloc[:0], LEAGUE) == []
    nothing = pd.Series(dtype=object)
    assert [one.passed for one in validate("game_features", sound("game_features").iloc[:0], LEAGUE, nothing)] == [True]


def test_a_forfeit_without_points_of_one_side_is_possible() -> None:
    forfeit = sound("results")
    forfeit.loc[0, ["home_score", "away_score"]] = (20, 0)
    assert failed("results", forfeit) == []


def test_an_unknown_tip_off_is_no_failure() -> None:
    frame = sound("fixtures")
    frame.loc[3, "tip_off"] = pd.NaT
    assert failed("fixtures", frame) == []


@pytest.mark.parametrize("hour", [0, 23])
def test_a_game_late_in_the_evening_league_time_is_on_its_day_though_utc_is_a_day_ahead(hour: int) -> None:
    frame = sound("fixtures")
    midnight = pd.to_datetime(frame["day"]).dt.tz_localize("America/New_York")
    frame["tip_off"] = (midnight + pd.Timedelta(hours=hour)).dt.tz_convert("UTC")
    assert failed("fixtures", frame) == []


@pytest.mark.slow
def test_real_history_meets_its_suite(real_data: Any) -> None:
    from hoops_assets.basketball.games import fixtures, results
    from hoops_assets_tests.basketball.nba import history

    league, games = history(real_data)
    frames: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {"history": results, "fixtures": fixtures}
    for table, of in frames.items():
        frame = of(games).astype(TABLES[table].columns)
        assert [one for one in validate(table, frame, league) if not one.passed] == []
