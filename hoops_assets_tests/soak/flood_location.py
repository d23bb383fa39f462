"""The code location of a flood: that of a soak, whose daily schedule is asked every minute.

What belongs here: nothing else. However often it is asked, the schedule wants one run a day by the pretended clock.
"""

from hoops_assets_tests.soak.location import defs

__all__ = ["defs"]

EVERY_MINUTE = "* * * * *"

for _schedule in defs.schedules or ():
    if _schedule.name.endswith("_daily"):
        _schedule._cron_schedule = EVERY_MINUTE  # type: ignore[union-attr]
