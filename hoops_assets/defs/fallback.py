"""What a step does when nothing else helps: simpler functionality in place of the whole one, never unsaid.

What belongs here: when a step may fall back, and how it says so. What the simpler functionality is, the step knows.
"""

from __future__ import annotations

import dagster as dg

from hoops_assets.defs.lane import Lane
from hoops_assets.defs.resources import RecordResource
from hoops_assets.errors import HoopsError
from hoops_assets.settings import StepName

PREFIX = "degraded/"
"""Of the alarms that are red while a step stands on simpler functionality."""


def may_fall_back(context: dg.AssetExecutionContext, lane: Lane, stage: StepName, error: Exception) -> bool:
    """Whether simpler functionality may stand in now: the settings allow it, and trying again would not help or has not."""
    step = lane.step(stage)
    transient = error.transient if isinstance(error, HoopsError) else isinstance(error, ConnectionError | TimeoutError)
    return step.fall_back and (not transient or context.retry_number >= step.retries)


def tell(context: dg.AssetExecutionContext, lane: Lane, record: RecordResource, what: str, why: str | None) -> None:
    """Turns the alarm `degraded/WHAT` red with its reason, or green with None, and says it in the log."""
    from hoops_assets.services.monitoring.alerts import raise_alarm
    from hoops_assets.store.alarms import Alarm

    if why:
        context.log.error(why)
    text = why or f"{what} is whole again"
    alarm = Alarm(lane.league.name, PREFIX + what, "red" if why else "green", text, run_id=context.run_id)
    if raise_alarm(record.open(), alarm) == "not told":
        context.log.warning(f"{alarm.alarm} turned {alarm.state}, and nobody could be told yet: see hoops doctor")
