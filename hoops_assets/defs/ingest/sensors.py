"""Sensors and the schedule that keep a league's game days up to date.

What belongs here: when a range of days is asked for. What has changed is decided by pure functions of the domain.
"""

import hashlib
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
from pydantic import BaseModel, ConfigDict, TypeAdapter

from hoops_assets.basketball.games import on_days, stale_days
from hoops_assets.defs.lane import SETTLING, Lane
from hoops_assets.defs.resources import SourcesResource
from hoops_assets.store.calendar import calendar_digest, read_calendar
from hoops_assets.store.io_manager import TablesResource

LATE_AT_ONCE = 60
"""Late game days that a sensor asks for at once; the rest waits behind its cursor."""

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

GAME_DAYS_TAG, LATE_TAG = "hoops/game_days", "hoops/late"
"""Of runs over game days the league, of which one runs at a time; and of those of late days their run key."""

PRIORITY = "dagster/priority"
TODAY_FIRST, LATE_LAST = "10", "-10"
"""Priorities in the queue: the days around today never wait behind late ones. All other runs have 0."""


def game_days_job_name(lane: Lane) -> str:
    """The job of everything of a league that has a partition per game day."""
    return f"{lane.league.name}_game_days"


def range_tags(days: list[date]) -> dict[str, str]:
    """Tags that make one run of all days from the first to the last."""
    return {RANGE_START: min(days).isoformat(), RANGE_END: max(days).isoformat()}


def partition_days(lane: Lane) -> list[date]:
    return [date.fromisoformat(key) for key in lane.days.get_partition_keys()]


def daily_schedule(lane: Lane) -> dg.ScheduleDefinition:
    """Every morning, league time: settle the last fortnight and forecast the days ahead."""

    @dg.schedule(
        name=f"{lane.league.name}_daily",
        job_name=game_days_job_name(lane),
        cron_schedule="0 9 * * *",
        execution_timezone=lane.league.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Settles the last fortnight and forecasts the days ahead, at nine in the morning, league time.",
    )
    def daily(context: dg.ScheduleEvaluationContext, sources: SourcesResource) -> dg.RunRequest | dg.SkipReason:
        today = sources.clock().astimezone(lane.league.zone).date()
        days = [day for day in partition_days(lane) if day >= today - SETTLING]
        if not days:
            return dg.SkipReason(f"{lane.league.name} has no game days from {today - SETTLING} on")
        return dg.RunRequest(
            run_key=f"{lane.league.name}:daily:{today}", tags={**range_tags(days), PRIORITY: TODAY_FIRST}
        )

    return daily


class Asked(BaseModel):
    """The range of late days that was asked for last, which is what the cursor keeps; `on` is the day of asking."""

    model_config = ConfigDict(frozen=True)

    first: date
    last: date
    run_key: str
    on: date


_CURSOR = TypeAdapter(Asked | None)


def results_sensor(lane: Lane) -> dg.SensorDefinition:
    """Asks for the days from the first changed game on, because every later day's form rests on it.

    Days of the last fortnight and ahead are asked for at once. Late days, however many, are asked for in ranges of
    LATE_AT_ONCE, oldest first and up to the last day, the next only when the one before is done; a range that failed is
    asked for again the next day. So of a league the queue holds at most one range of late days, and one of the days
    around today that has not begun.
    """
    league = lane.league

    @dg.sensor(
        name=f"{league.name}_results",
        job_name=game_days_job_name(lane),
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notices new results, corrected scores, moved and cancelled games, also by the hundreds.",
    )
    def results(
        context: dg.SensorEvaluationContext, sources: SourcesResource, tables: TablesResource
    ) -> dg.SensorResult | dg.SkipReason:
        begin = tables.store.read(league.name, "fixtures", columns=["day"])["day"].min()
        # Days before the first stored one were never asked for; a person may do so with a backfill.
        days = [day for day in partition_days(lane) if day >= begin] if pd.notna(begin) else []
        if not days:
            return dg.SkipReason(f"nothing is stored yet; begin with: hoops backfill {league.name}")
        games = on_days(sources.games(league).games, days)
        stored = [
            tables.store.read(league.name, name, first=days[0], last=days[-1]) for name in ("fixtures", "results")
        ]
        stale = stale_days(games, *stored)
        today = sources.clock().astimezone(league.zone).date()
        settled = today - SETTLING
        requests: list[dg.RunRequest] = []
        reason = "what is stored is what the source says"

        recent = [day for day in stale if day >= settled]
        if recent and _waits(context.instance, league.name):
            reason = f"{recent[0]} has changed, and a run over the days around today waits to begin"
        elif recent:
            due = [day for day in days if day >= recent[0]] or days[-1:]
            key = _run_key(league.name, today, due, recent, games)
            requests.append(dg.RunRequest(run_key=key, tags={**range_tags(due), PRIORITY: TODAY_FIRST}))

        late = [day for day in stale if day < settled]
        asked = _CURSOR.validate_json(context.cursor or "null")
        run = _run_over(context.instance, asked)
        if asked and run and not run.is_finished:
            reason = f"the late days {asked.first} to {asked.last} are under way"
        elif asked and run and not run.is_success and asked.on == today:
            reason = f"the run over the late days {asked.first} to {asked.last} failed; it is tried again tomorrow"
        else:
            due, after = _late_due(asked, run, late, days)
            asked = None
            if due:
                changed = [day for day in late if day <= due[-1]]
                key = _run_key(league.name, today, due, changed, games, after)
                tags = {**range_tags(due), PRIORITY: LATE_LAST, LATE_TAG: key}
                requests.append(dg.RunRequest(run_key=key, tags=tags))
                asked = Asked(first=due[0], last=due[-1], run_key=key, on=today)
                behind = sum(day > due[-1] for day in days)
                context.log.info(f"{len(late)} late days differ; asks for {due[0]} to {due[-1]}, {behind} days wait")
        cursor = _CURSOR.dump_json(asked).decode()
        return dg.SensorResult(requests, None if requests else reason, cursor=cursor)

    return results


def _run_key(
    league: str, today: date, due: list[date], changed: list[date], games: pd.DataFrame, after: str = ""
) -> str:
    """The same change is asked for once a day: a failed run is tried again tomorrow, or by hand."""
    told = f"{today}{due[0]}{due[-1]}{changed}{on_days(games, changed).to_csv(index=False)}{after}"
    return f"{league}:results:{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _run_over(instance: dg.DagsterInstance, asked: Asked | None) -> dg.DagsterRun | None:
    """The newest run over the late days asked for last."""
    found = instance.get_runs(dg.RunsFilter(tags={LATE_TAG: asked.run_key}), limit=1) if asked else []
    return found[0] if found else None


def _late_due(
    asked: Asked | None, run: dg.DagsterRun | None, late: list[date], days: list[date]
) -> tuple[list[date], str]:
    """The late days to ask for now, none if all is done, and the run key of the range that they follow."""
    if asked and run and run.is_success:
        rest = [day for day in days if day > asked.last]
        if rest:
            return rest[:LATE_AT_ONCE], asked.run_key
    elif asked:
        late = sorted([asked.first, *late])
    return (([day for day in days if day >= late[0]] or days[-1:])[:LATE_AT_ONCE] if late else []), ""


def _waits(instance: dg.DagsterInstance, league: str) -> bool:
    """Whether a run over a league's days around today has not begun yet."""
    waiting = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
    tags = {GAME_DAYS_TAG: league, PRIORITY: TODAY_FIRST}
    return bool(instance.get_runs(dg.RunsFilter(statuses=waiting, tags=tags), limit=1))


def calendar_sensor(lane: Lane) -> dg.SensorDefinition:
    """Says when the calendar file is no longer the one that this code location was loaded with."""
    league, loaded = lane.league.name, calendar_digest(lane.calendar)

    @dg.sensor(
        name=f"{league}_calendar",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notices that the calendar of game days has changed and a reload of the code location is due.",
    )
    def calendar(context: dg.SensorEvaluationContext, sources: SourcesResource) -> dg.SensorResult:
        stored = calendar_digest(read_calendar(Path(sources.home), league))
        if stored == loaded:
            return dg.SensorResult(skip_reason="the loaded calendar is the stored one", cursor=stored)
        reason = "the calendar has changed: reload the code location (Deployment, Reload) to see its new game days"
        if context.cursor == stored:
            return dg.SensorResult(skip_reason=reason)
        observation = dg.AssetObservation(lane.key("fixtures"), description=reason, metadata={"calendar": stored})
        return dg.SensorResult(asset_events=[observation], skip_reason=reason, cursor=stored)

    return calendar
