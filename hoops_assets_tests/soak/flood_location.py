"""The code location of a flood: that of a soak, whose daily schedules are due soon after it was loaded.

What belongs here: nothing else. The schedules are asked once, by the real clock, and want the pretended day's run.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hoops_assets_tests.soak.location import defs

__all__ = ["defs"]

SOON = timedelta(minutes=3)
"""By then the sensors have asked for late days."""

for _schedule in defs.schedules or ():
    if _schedule.name.endswith("_daily"):
        _due = datetime.now(ZoneInfo(_schedule.execution_timezone or "UTC")) + SOON  # type: ignore[union-attr]
        _schedule._cron_schedule = f"{_due.minute} {_due.hour} * * *"  # type: ignore[union-attr]
