"""The code location of a soak: the home's own leagues, looked at every few seconds, by a clock that moves.

What belongs here: what makes the shipped location fast. The clock of its sources is the setting `now` as it stands in the
file at the moment; everything else is as shipped.
"""

from datetime import datetime

from hoops_assets.definitions import build_defs
from hoops_assets.defs.lane import SOURCES
from hoops_assets.defs.resources import SourcesResource, resources
from hoops_assets.settings import load_settings
from hoops_assets.sources.leagues import load_league

HASTE_SECONDS = {"_results": 2}
"""Seconds between two looks of a sensor whose name ends so."""


class MovingSources(SourcesResource):
    """The leagues' sources, by a clock that is read whenever somebody asks for the time."""

    def clock(self) -> datetime:
        return load_settings().clock()


_settings = load_settings()
_shipped = resources(_settings)[SOURCES]
defs = build_defs(
    _settings,
    overrides={SOURCES: MovingSources(**_shipped.model_dump(include={"home", "now"}))},  # type: ignore[attr-defined]
    leagues=[load_league(path) for path in sorted((_settings.home / "leagues").glob("*.yaml"))],
)
for _sensor in defs.sensors or ():
    for _end, _seconds in HASTE_SECONDS.items():
        if _sensor.name.endswith(_end):
            _sensor._min_interval = _seconds  # type: ignore[union-attr]
