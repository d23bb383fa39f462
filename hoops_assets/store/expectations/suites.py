"""The Great Expectations suite of every table, beside the schema it guards.

What belongs here: what must hold of a span of days as a whole. What follows from a table's declared schema is expected of
every table: its key, and the league's teams where it comes from a source; the rest is said per table. Rows that break a
rule of their own never reach a table, the source quarantines them; a suite guards what is left, so it warns, and blocks
only where no row can be blamed.

Great Expectations spends 6 ms on every expectation whatever it asks, so each asks as much as its name can say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

from hoops_assets.basketball.features import FEATURES, MAX_REST
from hoops_assets.basketball.league import League
from hoops_assets.basketball.performance import KINDS
from hoops_assets.store.expectations import BLOCKING, ROWS_OF
from hoops_assets.store.schemas import TABLES

HIGHEST_SCORE = 300
"""Points of one team; the sources refuse more."""

SPANS = {
    "elo_difference": (-1500, 1500),
    "home_court": (0, 1),
    "post_season": (0, 1),
    "rest_difference": (-MAX_REST, MAX_REST),
    "home_back_to_back": (0, 1),
    "away_back_to_back": (0, 1),
    "margin_season_difference": (-2 * HIGHEST_SCORE, 2 * HIGHEST_SCORE),
    "margin_10_difference": (-2 * HIGHEST_SCORE, 2 * HIGHEST_SCORE),
    "wins_10_difference": (-1, 1),
    "home_sentiment": (-1, 1),
    "away_sentiment": (-1, 1),
    "posts_difference": (-20, 20),
    "margin_ratio": (-10, 10),
    "eliminated_difference": (-1, 1),
    "settled_difference": (-1, 1),
    "near_cut_difference": (-1, 1),
}
"""Feature -> the least and greatest value that its definition allows."""

TEAM_COLUMNS = ("home", "away", "team", "opponent")
SOURCED = ("history", "fixtures", "results", "fan_posts", "box_scores", "closing_odds")
"""Tables that come from a source; the teams of the others are those of these."""


@dataclass(frozen=True)
class Suite:
    """What is expected of one table.

    Attributes:
        own: expectations besides those that follow from the schema, named by `say`.
        prepare: adds what the expectations look at and the table does not hold; rows stay in their order.
    """

    own: Callable[[], list[gxe.Expectation]]
    prepare: Callable[[pd.DataFrame, League], pd.DataFrame] = lambda frame, league: frame


def say(name: str, expectation: gxe.Expectation, *, warns: bool = False) -> gxe.Expectation:
    """Names an expectation; results come back in another order than the suite's."""
    expectation.meta = {"name": name, "warns": warns}
    return expectation


def between(column: str, low: float | None, high: float | None, *, mostly: float = 1.0) -> gxe.Expectation:
    """Known values of a column lie in [low, high]."""
    return say(
        f"{column} is possible",
        gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, mostly=mostly),
    )


def at_least(column: str, other: str) -> gxe.Expectation:
    """One column is nowhere less than another."""
    return say(
        f"{column} is at least {other}",
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=column, column_B=other, or_equal=True, ignore_row_if="either_value_is_missing"
        ),
    )


def _unique(columns: tuple[str, ...]) -> gxe.Expectation:
    name = f"every {' and '.join(columns)} stands once"
    if len(columns) == 1:
        return say(name, gxe.ExpectColumnValuesToBeUnique(column=columns[0]))
    return say(name, gxe.ExpectCompoundColumnsToBeUnique(column_list=list(columns)))


def _different(name: str, *columns: str) -> gxe.Expectation:
    return say(name, gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(column_list=list(columns)))


def _from_schema(table: str, league: League) -> list[gxe.Expectation]:
    spec = TABLES[table]
    teams = sorted(league.teams)
    sides = [name for name in TEAM_COLUMNS if spec.columns.get(name) == "object"] if table in SOURCED else []
    return [
        _unique(spec.key),
        *(
            say(f"{side} is a team of the league", gxe.ExpectColumnValuesToBeInSet(column=side, value_set=teams))
            for side in sides
        ),
        *([_different("no team plays itself", *sides)] if len(sides) == 2 else []),
    ]


def expectations_of(table: str, league: League, rows: int | None = None) -> list[gxe.Expectation]:
    """All that is expected of a table, with severities.

    Args:
        rows: how many rows must be there; None if that is not known.
    """
    suite = SUITES[table]
    found = [*_from_schema(table, league), *suite.own()]
    if rows is not None:
        found.append(say(f"no row is missing beside {ROWS_OF[table][0]}", gxe.ExpectTableRowCountToEqual(value=rows)))
    for one in found:
        blocks = table in BLOCKING and not one.meta["warns"]  # type: ignore[index]
        one.severity = "critical" if blocks else "warning"  # type: ignore[assignment]
    return found


# -- per table --------------------------------------------------------------------------------------------------------


def _hours_into_day(frame: pd.DataFrame, league: League) -> pd.DataFrame:
    midnight = pd.to_datetime(frame["day"]).dt.tz_localize(league.zone, ambiguous="NaT", nonexistent="shift_forward")
    return frame.assign(tip_off_hour=(frame["tip_off"] - midnight) / pd.Timedelta(hours=1))


def _fixtures() -> list[gxe.Expectation]:
    return [
        say(
            "a game tips off on its game day, league time",
            gxe.ExpectColumnValuesToBeBetween(column="tip_off_hour", min_value=0, max_value=25, strict_max=True),
        ),
        say(
            "stage is of few kinds",
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="stage", min_value=1, max_value=12),
        ),
    ]


def _results() -> list[gxe.Expectation]:
    return [
        *(between(f"{side}_score", 0, HIGHEST_SCORE) for side in ("home", "away")),
        _different("no game is tied", "home_score", "away_score"),
        say(
            "scores are those of basketball",
            gxe.ExpectColumnMeanToBeBetween(column="home_score", min_value=40, max_value=180),
            warns=True,
        ),
    ]


def _days_before_its_own(frame: pd.DataFrame, league: League) -> pd.DataFrame:
    local = frame["created_at"].dt.tz_convert(league.zone).dt.tz_localize(None).dt.normalize()
    return frame.assign(days_early=(pd.to_datetime(frame["day"]) - local).dt.days)


def _fan_posts() -> list[gxe.Expectation]:
    return [
        say(
            "a post was written by the end of its game day",
            gxe.ExpectColumnValuesToBeBetween(column="days_early", min_value=0),
        ),
        at_least("ingested_at", "created_at"),
        say(
            "most posts say something",
            gxe.ExpectColumnValueLengthsToBeBetween(column="text", min_value=1, mostly=0.8),
        ),
    ]


def _team_form() -> list[gxe.Expectation]:
    return [
        between("elo_before", 500, 2500),
        at_least("games_before", "wins_before"),
        between("rest_days_before", 0, 300),
        between("margin_10_before", -HIGHEST_SCORE, HIGHEST_SCORE),
        between("wins_10_before", 0, 1),
        between("elo_after", 500, 2500),
    ]


def _game_ratings() -> list[gxe.Expectation]:
    return [
        between("margin_mean", -60, 60),
        between("margin_sd", 3, 40),
        between("form_margin_mean", -60, 60),
        between("form_margin_sd", 3, 40),
        between("home_edge", -20, 20),
    ]


def _fan_sentiment() -> list[gxe.Expectation]:
    return [
        between("mean_score", -1, 1),
        between("share_positive", 0, 1),
        between("share_negative", 0, 1),
        at_least("posts", "authors"),
    ]


def _unknown_as_impossible(frame: pd.DataFrame, league: League) -> pd.DataFrame:
    """An expectation about a span of values passes over nulls; infinity it does not."""
    return frame.assign(**{name: frame[name].fillna(np.inf) for name in FEATURES})


def _features() -> list[gxe.Expectation]:
    return [
        say(
            f"{name} is known and possible",
            gxe.ExpectColumnValuesToBeBetween(column=name, min_value=SPANS[name][0], max_value=SPANS[name][1]),
        )
        for name in FEATURES
    ]


def _split_in_time(frame: pd.DataFrame, league: League) -> pd.DataFrame:
    numbers = frame["split"].map({"train": 0, "validation": 1, "test": 2})
    ordered = numbers.iloc[np.argsort(frame["game_id"].to_numpy(), kind="stable")]
    back = (ordered.diff() < 0).reindex(frame.index)
    return _unknown_as_impossible(frame, league).assign(goes_back=back.astype("int32"))


def _training_set() -> list[gxe.Expectation]:
    return [
        say(
            "split is train, validation or test",
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=["train", "validation", "test"]),
        ),
        say(
            "no later split holds an earlier game",
            gxe.ExpectColumnValuesToBeInSet(column="goes_back", value_set=[0]),
        ),
        *_features(),
    ]


def _predictions() -> list[gxe.Expectation]:
    return [
        between("home_win_probability", 0, 1),
        say(
            "home sides are neither hopeless nor certain on the whole",
            gxe.ExpectColumnMeanToBeBetween(column="home_win_probability", min_value=0.2, max_value=0.9),
        ),
    ]


def _scored_predictions() -> list[gxe.Expectation]:
    return [between("home_win_probability", 0, 1), between("log_loss", 0, 40), between("brier", 0, 1)]


def _box_scores() -> list[gxe.Expectation]:
    return [
        between("points", 20, HIGHEST_SCORE),
        between("minutes", 150, 400),
        between("possessions", 40, 180, mostly=0.999),
        at_least("field_goals_attempted", "field_goals_made"),
        at_least("field_goals_made", "threes_made"),
        at_least("free_throws_attempted", "free_throws_made"),
        between("effective_field_goal_pct", 0, 1.5),
        between("turnover_pct", 0, 1),
        between("offensive_rebound_pct", 0, 1),
    ]


def _closing_odds() -> list[gxe.Expectation]:
    return [
        between("home_win_probability", 0, 1),
        between("home_spread", -60, 60),
        say(
            "the bookmaker's margin is that of a market",
            gxe.ExpectColumnValuesToBeBetween(column="margin", min_value=0, max_value=0.15, mostly=0.99),
        ),
    ]


def _model_performance() -> list[gxe.Expectation]:
    return [
        between("log_loss", 0, 40),
        between("brier", 0, 1),
        between("accuracy", 0, 1),
        between("calibration_error", 0, 1),
        between("games", 1, None),
        at_least("games", "market_games"),
        say(
            "kind is known",
            gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=list(KINDS)),
        ),
    ]


SUITES: dict[str, Suite] = {
    "history": Suite(_results),
    "fixtures": Suite(_fixtures, prepare=_hours_into_day),
    "results": Suite(_results),
    "fan_posts": Suite(_fan_posts, prepare=_days_before_its_own),
    "team_form": Suite(_team_form),
    "game_ratings": Suite(_game_ratings),
    "fan_sentiment": Suite(_fan_sentiment),
    "game_features": Suite(_features, prepare=_unknown_as_impossible),
    "box_scores": Suite(_box_scores),
    "closing_odds": Suite(_closing_odds),
    "training_set": Suite(_training_set, prepare=_split_in_time),
    "predictions": Suite(_predictions),
    "scored_predictions": Suite(_scored_predictions),
    "model_performance": Suite(_model_performance),
}
"""Table -> its suite, for every declared table."""
