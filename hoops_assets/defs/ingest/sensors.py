"""Sensors and the schedule that keep a league's game days up to date.

What belongs here: when a range of days is asked for. What has changed is decided by pure functions of the domain.
"""

import hashlib
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd

from hoops_assets.basketball.games import on_days, stale_days
from hoops_assets.defs.lane import SETTLING, Lane
from hoops_assets.defs.resources import SourcesResource
from hoops_assets.store.calendar import calendar_digest, read_calendar
from hoops_assets.store.io_manager import TablesResource

LARGEST_RANGE = 250
"""Game days that a sensor asks for at once; more is a backfill, which a person starts."""

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


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
        return dg.RunRequest(run_key=f"{lane.league.name}:daily:{today}", tags=range_tags(days))

    return daily


def results_sensor(lane: Lane) -> dg.SensorDefinition:
    """Asks for the days from the first changed game on, because every later day's form rests on it."""
    league = lane.league

    @dg.sensor(
        name=f"{league.name}_results",
        job_name=game_days_job_name(lane),
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notices new results, corrected scores, moved and cancelled games.",
    )
    def results(
        context: dg.SensorEvaluationContext, sources: SourcesResource, tables: TablesResource
    ) -> dg.RunRequest | dg.SkipReason:
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
        if not stale:
            return dg.SkipReason("what is stored is what the source says")
        due = [day for day in days if day >= stale[0]] or [days[-1]]
        if len(due) > LARGEST_RANGE:
            return dg.SkipReason(
                f"{len(due)} game days are due since {due[0]}; that is a backfill: hoops backfill {league.name} --from {due[0]}"
            )
        # The same change is asked for once a day: a failed run is tried again tomorrow or by hand.
        changed = on_days(games, stale).to_csv(index=False)
        today = sources.clock().date()
        digest = hashlib.sha256(f"{today}{stale}{changed}".encode()).hexdigest()[:16]
        context.log.info(f"{len(stale)} days differ from the source, the first is {stale[0]}")
        return dg.RunRequest(run_key=f"{league.name}:results:{digest}", tags=range_tags(due))

    return results


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
