"""Great Expectations suites of the tables: what must hold of a span of days as a whole.

What belongs here: the suites, next to the schemas they guard, and running one on a frame. Rows that break a rule of their
own never reach a table, they are quarantined by the source; a suite guards what is left. Great Expectations takes seconds
to import, so this module is imported when a check runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.core import ExpectationSuite
from great_expectations.data_context.types.base import ProgressBarsConfig

from hoops_assets.basketball.features import FEATURES, MAX_REST
from hoops_assets.basketball.league import League

HIGHEST_SCORE = 300
"""Points of one team; the sources refuse more."""

_SPANS = {
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


@dataclass(frozen=True)
class Finding:
    """One expectation's outcome.

    Attributes:
        name: of the expectation, in words.
        critical: whether a failure blocks what comes after; else it warns.
        unexpected: rows that broke it (0 where no row can be blamed).
        observed: what was seen instead, for expectations about the whole.
        days: game days of the rows that broke it, ascending.
    """

    name: str
    passed: bool
    critical: bool
    unexpected: int = 0
    observed: str = ""
    days: tuple[date, ...] = field(default=())


def _results(league: League, expected_rows: int | None) -> list[gxe.Expectation]:
    teams = sorted(league.teams)
    return [
        _whole("every played game stands once", gxe.ExpectColumnValuesToBeUnique(column="game_id")),
        *(
            _whole(f"{side} is a team of the league", gxe.ExpectColumnValuesToBeInSet(column=side, value_set=teams))
            for side in ("home", "away")
        ),
        _whole(
            "no team plays itself", gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(column_list=["home", "away"])
        ),
        *(
            _whole(
                f"{side}_score is possible",
                gxe.ExpectColumnValuesToBeBetween(column=f"{side}_score", min_value=0, max_value=HIGHEST_SCORE),
            )
            for side in ("home", "away")
        ),
        _whole(
            "no game is tied",
            gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(column_list=["home_score", "away_score"]),
        ),
        _whole(
            "scores are those of basketball",
            gxe.ExpectColumnMeanToBeBetween(column="home_score", min_value=40, max_value=180),
            critical=False,
        ),
    ]


def _game_features(league: League, expected_rows: int | None) -> list[gxe.Expectation]:
    expectations = [_whole("every game stands once", gxe.ExpectColumnValuesToBeUnique(column="game_id"))]
    for name in FEATURES:
        low, high = _SPANS[name]
        expectations += [
            _whole(f"{name} is known", gxe.ExpectColumnValuesToNotBeNull(column=name)),
            _whole(
                f"{name} is possible", gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high)
            ),
        ]
    if expected_rows is not None:
        expectations.append(_whole("every fixture has features", gxe.ExpectTableRowCountToEqual(value=expected_rows)))
    return expectations


def _whole(name: str, expectation: gxe.Expectation, *, critical: bool = True) -> gxe.Expectation:
    """Names an expectation and fixes its severity; results come back in another order than the suite's."""
    expectation.meta = {"name": name}
    expectation.severity = "critical" if critical else "warning"  # type: ignore[assignment]
    return expectation


SUITES: dict[str, Callable[[League, int | None], list[gxe.Expectation]]] = {
    "results": _results,
    "game_features": _game_features,
}
"""Table -> its suite, made from the league and the number of rows that must be there (None: not known)."""


def validate(table: str, frame: pd.DataFrame, league: League, expected_days: pd.Series | None = None) -> list[Finding]:
    """Runs a table's suite once on all rows of `frame` (the table's columns; may be empty).

    Args:
        expected_days: the game day of every row that must be there, one entry a row; None if that is not known.

    Returns:
        One finding per expectation, in the suite's order; of an empty frame only the number of rows is judged.
    """
    expectations = SUITES[table](league, None if expected_days is None else len(expected_days))
    if frame.empty:
        expectations = [one for one in expectations if isinstance(one, gxe.ExpectTableRowCountToEqual)]
    if not expectations:
        return []
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    definition = (
        context.data_sources.add_pandas(table).add_dataframe_asset(table).add_batch_definition_whole_dataframe(table)
    )
    batch = definition.get_batch(batch_parameters={"dataframe": frame.reset_index(drop=True)})
    suite = ExpectationSuite(name=table, expectations=expectations)
    outcome = batch.validate(suite, result_format="BOOLEAN_ONLY")
    if not outcome.success:  # only now is it worth the time to ask which rows
        outcome = batch.validate(suite, result_format="COMPLETE")
    by_name = {result.expectation_config.meta["name"]: result for result in outcome.results}  # type: ignore[union-attr]
    return [_finding(one, by_name[one.meta["name"]], frame, expected_days) for one in expectations]  # type: ignore[index]


def _finding(
    expectation: gxe.Expectation, result: Any, frame: pd.DataFrame, expected_days: pd.Series | None
) -> Finding:
    bad = list(result.result.get("unexpected_index_list") or [])
    days = set(frame["day"].take(bad))
    if isinstance(expectation, gxe.ExpectTableRowCountToEqual):
        days = _unequal(frame["day"], expected_days)
    passed = bool(result.success)
    return Finding(
        name=expectation.meta["name"],  # type: ignore[index]
        passed=passed,
        critical=str(expectation.severity).endswith(("critical", "CRITICAL")),
        unexpected=0 if passed else len(bad),
        observed=str(result.result.get("observed_value", "")),
        days=() if passed else tuple(sorted(days)),
    )


def _unequal(days: pd.Series, expected: pd.Series | None) -> set[date]:
    """The days that do not have as many rows as expected."""
    counts, wanted = Counter(days), Counter(expected if expected is not None else ())
    return {day for day in counts | wanted if counts[day] != wanted[day]}
