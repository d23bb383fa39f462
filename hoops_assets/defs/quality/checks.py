"""The standing check of a lane: that no game day is left failed.

What belongs here: reading from the instance which game days a failed run left behind. Dagster's own status of a partition
does not tell it: a range that is planned as one event leaves no failed partitions, only a failed run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import dagster as dg

from hoops_assets.defs.lane import BY_DAY, Lane

NO_DAY_FAILED = "no_game_day_left_failed"
LOOKED_AT = 100
"""Failed runs, the latest first, that are looked at."""

_PARTITION, _FIRST, _LAST = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


@dataclass(frozen=True)
class LeftFailed:
    """Game days that a run was to materialise, and nothing has since.

    Attributes:
        tables: those that lack one of the days.
        days: ascending.
    """

    run_id: str
    tables: tuple[str, ...]
    days: tuple[date, ...]


def checks(lane: Lane) -> list[dg.AssetChecksDefinition]:
    @dg.asset_check(
        asset=lane.key("data_docs"),
        name=NO_DAY_FAILED,
        description="Every game day that a run failed to materialise has been materialised since.",
    )
    def no_game_day_left_failed(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        left = left_failed(context.instance, lane)
        days = sorted({day for one in left for day in one.days})
        return dg.AssetCheckResult(
            passed=not left,
            severity=dg.AssetCheckSeverity.WARN,
            description=_sentence(lane, left, days) if left else "no game day is left failed",
            metadata={
                "failed_days": [day.isoformat() for day in days],
                "failed_tables": sorted({table for one in left for table in one.tables}),
                "failed_runs": [one.run_id for one in left],
            }
            if left
            else {},
        )

    return [no_game_day_left_failed]


def _sentence(lane: Lane, left: list[LeftFailed], days: list[date]) -> str:
    league = lane.league.name
    return (
        f"{len(days)} game days from {days[0]} to {days[-1]} are left failed by run {left[0].run_id[:8]}"
        f"{f' and {len(left) - 1} others' if len(left) > 1 else ''}; look at why it failed, then run:"
        f" hoops backfill {league} --from {days[0]} --to {days[-1]} --force"
    )


def left_failed(instance: dg.DagsterInstance, lane: Lane) -> list[LeftFailed]:
    """What the latest failed runs of a lane left behind, the latest run first."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
    known = [date.fromisoformat(key) for key in lane.days.get_partition_keys()]
    found: list[LeftFailed] = []
    for record in instance.get_run_records(failed, limit=LOOKED_AT):
        run = record.dagster_run
        days = _days(run.tags, known)
        tables = _tables(lane, run) if days else ()
        since = record.start_time or record.create_timestamp.timestamp()
        lacking = {
            table: missing for table in tables if (missing := days - _materialised(instance, lane, table, days, since))
        }
        if lacking:
            found.append(LeftFailed(run.run_id, tuple(sorted(lacking)), tuple(sorted(set().union(*lacking.values())))))
    return found


def _days(tags: Mapping[str, str], known: Iterable[date]) -> set[date]:
    """The game days that a run was about, of those that still have a partition."""
    first, last = tags.get(_FIRST) or tags.get(_PARTITION), tags.get(_LAST) or tags.get(_PARTITION)
    if not first or not last:
        return set()
    return {day for day in known if date.fromisoformat(first) <= day <= date.fromisoformat(last)}


def _tables(lane: Lane, run: dg.DagsterRun) -> tuple[str, ...]:
    """The lane's day-partitioned tables among what a run was to materialise."""
    league = lane.league.name
    if run.asset_selection:
        names = {key.path[-1] for key in run.asset_selection if key.path[0] == league}
    else:
        names = set(BY_DAY) if run.tags.get("hoops/league") == league else set()
    return tuple(sorted(names & set(BY_DAY)))


def _materialised(instance: dg.DagsterInstance, lane: Lane, table: str, days: set[date], since: float) -> set[date]:
    wanted = dg.AssetRecordsFilter(asset_key=lane.key(table), after_timestamp=since)
    found: set[date] = set()
    cursor = None
    while True:
        page = instance.fetch_materializations(wanted, limit=1000, cursor=cursor)
        found |= {date.fromisoformat(one.partition_key) for one in page.records if one.partition_key}
        if days <= found or not page.has_more:
            return found
        cursor = page.cursor
