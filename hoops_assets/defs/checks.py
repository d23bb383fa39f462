"""Asset checks that every table with a suite gets.

What belongs here: the one check that runs a table's Great Expectations suite over the days of the run. A range is
validated once, and the evaluation names the failing days. The check itself has no partitions: Dagster would plan one
evaluation per day of a range, store the whole range with each (60 MB a season), and fill in none of them.
"""

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from hoops_assets.defs.lane import Lane
from hoops_assets.store.io_manager import TablesResource

if TYPE_CHECKING:
    from hoops_assets.store.expectations import Finding


def suite_check(lane: Lane, table: str, rows_of: str | None = None) -> dg.AssetChecksDefinition:
    """The blocking check `expectations` of a table.

    Args:
        rows_of: another table that must have as many rows on the same days.
    """
    league = lane.league.name

    @dg.asset_check(
        asset=lane.key(table),
        name="expectations",
        blocking=True,
        additional_deps=[lane.key(rows_of)] if rows_of else None,
        description=f"The Great Expectations suite of {table}, once over all days of the run.",
    )
    def expectations(context: dg.AssetCheckExecutionContext, tables: TablesResource) -> dg.AssetCheckResult:
        from hoops_assets.store.expectations import validate

        days = context.partition_key_range
        first, last = date.fromisoformat(days.start), date.fromisoformat(days.end)
        frame = tables.store.read(league, table, first=first, last=last)
        expected = (
            tables.store.read(league, rows_of, first=first, last=last, columns=["day"])["day"] if rows_of else None
        )
        findings = validate(table, frame, lane.league, expected)
        failed = [one for one in findings if not one.passed]
        return dg.AssetCheckResult(
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR if any(one.critical for one in failed) else dg.AssetCheckSeverity.WARN,
            description="; ".join(_sentence(one) for one in failed) or "all expectations hold",
            metadata={
                "days": f"{first} to {last}",
                "rows": len(frame),
                "expectations": len(findings),
                "failing_days": sorted({day.isoformat() for one in failed for day in one.days})[:200],
            },
        )

    return expectations


def _sentence(failed: "Finding") -> str:
    what = f"{failed.unexpected} rows break it" if failed.unexpected else f"observed {failed.observed}"
    shown = ", ".join(day.isoformat() for day in failed.days[:5])
    more = f" and {len(failed.days) - 5} days more" if len(failed.days) > 5 else ""
    return f"{failed.name}: {what}" + (f", on {shown}{more}" if shown else "")
