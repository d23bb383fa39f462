"""Asset checks that every table gets.

What belongs here: the checks that run tables' Great Expectations suites over the days of the run. A range is validated
once per suite, and the evaluation names the failing days. A check itself has no partitions: Dagster would plan one
evaluation per day of a range, store the whole range with each (60 MB a season), and fill in none of them.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from hoops_assets.defs.lane import WHOLE, Lane
from hoops_assets.defs.metadata import table as as_table
from hoops_assets.store.expectations import BLOCKING, ROWS_OF
from hoops_assets.store.io_manager import TablesResource

if TYPE_CHECKING:
    from hoops_assets.store.expectations.validation import Finding

SUITE = "expectations"
"""Name of the check that runs a table's suite."""

SHOWN_DAYS = 200


def suite_checks(lane: Lane, stage: str, tables: Sequence[str]) -> list[dg.AssetChecksDefinition]:
    """The check `expectations` of every table of a stage: one that blocks for each in BLOCKING, one step for all others.

    Args:
        tables: those that the league has.
    """
    warning = [name for name in tables if name not in BLOCKING]
    blocking = [_suite_check(lane, name, [name]) for name in tables if name in BLOCKING]
    return [*blocking, *([_suite_check(lane, f"{lane.league.name}_{stage}_expectations", warning)] if warning else [])]


def _spec(lane: Lane, table: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        SUITE,
        asset=lane.key(table),
        blocking=table in BLOCKING,
        additional_deps=[lane.key(ROWS_OF[table][0])] if table in ROWS_OF else None,
        description=f"The Great Expectations suite of {table}, once over all days of the run.",
    )


def _suite_check(lane: Lane, name: str, of: Sequence[str]) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=name if len(of) > 1 else f"{lane.league.name}_{of[0]}_{SUITE}",
        specs=[_spec(lane, table) for table in of],
        can_subset=len(of) > 1,
    )
    def expectations(context: dg.AssetCheckExecutionContext, tables: TablesResource) -> Iterator[dg.AssetCheckResult]:
        selected = {key.asset_key for key in context.selected_asset_check_keys}
        for table in of:
            if lane.key(table) in selected:
                yield _evaluate(lane, table, tables, None if table in WHOLE else _span(context))

    return expectations


def _span(context: dg.AssetCheckExecutionContext) -> tuple[date, date] | None:
    if not context.has_partition_key_range:
        return None
    days = context.partition_key_range
    return date.fromisoformat(days.start), date.fromisoformat(days.end)


def _evaluate(lane: Lane, table: str, tables: TablesResource, span: tuple[date, date] | None) -> dg.AssetCheckResult:
    from hoops_assets.store.expectations.validation import validate

    def read(name: str, columns: list[str] | None = None) -> pd.DataFrame:
        first, last = span or (None, None)
        return tables.store.read(lane.league.name, name, first=first, last=last, columns=columns)

    frame = read(table)
    expected = read(ROWS_OF[table][0], ["day"])["day"] if table in ROWS_OF else None
    return evaluation(lane.key(table), frame, validate(table, frame, lane.league, expected), span)


def evaluation(
    key: dg.AssetKey, frame: pd.DataFrame, findings: "Sequence[Finding]", span: tuple[date, date] | None
) -> dg.AssetCheckResult:
    """What a suite found, as the evaluation of the check: failing days and rows only where there are any."""
    failed = [one for one in findings if not one.passed]
    days = sorted({day.isoformat() for one in failed for day in one.days})
    told: dict[str, dg.RawMetadataValue] = {"rows": len(frame), "expectations": len(findings)}
    if span:
        told = {"days": f"{span[0]} to {span[1]}", **told}
    if failed:
        columns = ["expectation", "severity", "rows", "observed", "days"]
        told["failures"] = as_table(pd.DataFrame([_row(one) for one in failed], columns=columns))
    if days:
        told["failing_days"] = days[:SHOWN_DAYS]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=SUITE,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if any(one.critical for one in failed) else dg.AssetCheckSeverity.WARN,
        description="; ".join(_sentence(one) for one in failed) or "all expectations hold",
        metadata=told,
    )


def _row(failed: "Finding") -> list[str]:
    rows = str(failed.unexpected) if failed.unexpected else ""
    return [failed.name, "error" if failed.critical else "warning", rows, failed.observed, _shown(failed)]


def _sentence(failed: "Finding") -> str:
    what = f"{failed.unexpected} rows break it" if failed.unexpected else f"observed {failed.observed}"
    shown = _shown(failed)
    return f"{failed.name}: {what}" + (f", on {shown}" if shown else "")


def _shown(failed: "Finding") -> str:
    more = f" and {len(failed.days) - 5} days more" if len(failed.days) > 5 else ""
    return ", ".join(day.isoformat() for day in failed.days[:5]) + more
