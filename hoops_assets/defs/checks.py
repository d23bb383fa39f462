"""Asset checks that every table with a suite gets.

What belongs here: the one check that runs a table's Great Expectations suite over the days of the run. A range is
validated once, and the evaluation names the failing days.
"""

from datetime import date

import dagster as dg

from hoops_assets.defs.lane import Lane
from hoops_assets.store.io_manager import TablesResource


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
        partitions_def=lane.days,
        additional_deps=[lane.key(rows_of)] if rows_of else None,
        description=f"The Great Expectations suite of {table}, once over all days of the run.",
    )
    def expectations(context: dg.AssetCheckExecutionContext, tables: TablesResource) -> dg.AssetCheckResult:
        from hoops_assets.store.expectations import validate

        keys = context.partition_keys
        first, last = date.fromisoformat(min(keys)), date.fromisoformat(max(keys))
        frame = tables.store.read(league, table, first=first, last=last)
        expected = len(tables.store.read(league, rows_of, first=first, last=last, columns=["day"])) if rows_of else None
        findings = validate(table, frame, lane.league, expected)
        failed = [one for one in findings if not one.passed]
        return dg.AssetCheckResult(
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR if any(one.critical for one in failed) else dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{one.name}: {one.unexpected or one.observed}" for one in failed)
            or "all expectations hold",
            metadata={
                "days": f"{first} to {last}",
                "rows": len(frame),
                "expectations": len(findings),
                "failing_days": [day.isoformat() for one in failed for day in one.days][:200],
            },
        )

    return expectations
