"""Running a table's suite on a frame.

What belongs here: one pass of Great Expectations over all rows of a span, and what it found in words of ours.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, lru_cache
from typing import Any

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when Great Expectations is imported

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.core import ExpectationSuite
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import ProgressBarsConfig

from hoops_assets.basketball.league import League
from hoops_assets.store.expectations import ROWS_OF
from hoops_assets.store.expectations.suites import SUITES, expectations_of


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


def quiet_context() -> EphemeralDataContext:
    """A context of Great Expectations that stores nothing, sends nothing and draws no progress bars."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def add_frames(context: EphemeralDataContext, name: str) -> BatchDefinition:
    """Whole frames under a name in a context."""
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    return asset.add_batch_definition_whole_dataframe(name)


@lru_cache(maxsize=1)
def _context() -> EphemeralDataContext:
    return quiet_context()


@cache
def _frames(table: str) -> BatchDefinition:
    return add_frames(_context(), table)


def validate(table: str, frame: pd.DataFrame, league: League, expected_days: pd.Series | None = None) -> list[Finding]:
    """Runs a table's suite once on all rows of `frame` (the table's columns; may be empty).

    Args:
        expected_days: the game day of every row of the table in ROWS_OF; None if that is not known.

    Returns:
        One finding per expectation, in the suite's order; of an empty frame only the number of rows is judged.
    """
    suite = SUITES[table]
    wanted = expected_rows(table, expected_days)
    expectations = expectations_of(table, league, None if wanted is None else wanted.total())
    if frame.empty:
        expectations = [one for one in expectations if isinstance(one, gxe.ExpectTableRowCountToEqual)]
    if not expectations:
        return []
    prepared = suite.prepare(frame.reset_index(drop=True), league) if len(frame) else frame
    batch = _frames(table).get_batch(batch_parameters={"dataframe": prepared})
    named = ExpectationSuite(name=table, expectations=expectations)
    outcome = batch.validate(named, result_format="BOOLEAN_ONLY")
    if not outcome.success:  # only now is it worth the time to ask which rows
        outcome = batch.validate(named, result_format="COMPLETE")
    return findings_of(expectations, outcome, frame, wanted)


def expected_rows(table: str, days: pd.Series | None) -> Counter[date] | None:
    """Rows that a table must have on each day, from the day of every row of its table in ROWS_OF."""
    if days is None:
        return None
    _, each = ROWS_OF[table]
    return Counter({day: number * each for day, number in Counter(days).items()})


def findings_of(
    expectations: Sequence[gxe.Expectation], outcome: Any, frame: pd.DataFrame, wanted: Counter[date] | None
) -> list[Finding]:
    """The outcome of a validation of `frame`, one finding per expectation, in their order."""
    by_name = {result.expectation_config.meta["name"]: result for result in outcome.results}
    return [_finding(one, by_name[one.meta["name"]], frame, wanted) for one in expectations]  # type: ignore[index]


def _finding(expectation: gxe.Expectation, result: Any, frame: pd.DataFrame, wanted: Counter[date] | None) -> Finding:
    passed = bool(result.success)
    critical = str(expectation.severity).endswith(("critical", "CRITICAL"))
    name = expectation.meta["name"]  # type: ignore[index]
    if passed:
        return Finding(name, passed, critical)
    bad = list(result.result.get("unexpected_index_list") or [])
    days = set(frame["day"].take(bad))
    if isinstance(expectation, gxe.ExpectTableRowCountToEqual):
        counts, wanted = Counter(frame["day"]), wanted or Counter()
        days = {day for day in counts | wanted if counts[day] != wanted[day]}
    raised = (getattr(result, "exception_info", None) or {}) if not bad else {}
    return Finding(
        name=name,
        passed=False,
        critical=critical,
        unexpected=len(bad),
        observed=str(result.result.get("observed_value", "")) or _why(raised),
        days=tuple(sorted(days)),
    )


def _why(raised: Any) -> str:
    """What went wrong inside an expectation that could not be evaluated."""
    told = raised.values() if raised and "exception_message" not in raised else [raised]
    return "; ".join(
        str(one["exception_message"]) for one in told if isinstance(one, dict) and one.get("exception_message")
    )
