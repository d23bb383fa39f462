"""The code location on one screen: every league's lane, the services it uses, and how it runs.

What belongs here: assembly. `build_defs` takes settings and overrides, so that tests and the CLI build variants.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from hoops_assets.basketball.calendar import last_known_day
from hoops_assets.basketball.league import League
from hoops_assets.defs import deployment, features, ingest, monitoring, prediction, quality, training
from hoops_assets.defs.lane import SETTLING, Lane
from hoops_assets.defs.partitions import game_days
from hoops_assets.defs.resources import resources
from hoops_assets.errors import HoopsError
from hoops_assets.settings import Settings, load_settings
from hoops_assets.sources.leagues import find_leagues, load_league
from hoops_assets.store.calendar import read_calendar

STAGES = (ingest, features, training, deployment, prediction, monitoring, quality)
LOGGER = logging.getLogger(__name__)


def build_lane(league: League, settings: Settings) -> Lane:
    calendar = read_calendar(settings.home, league.name)
    calendar = calendar if calendar and calendar.days else None
    today = settings.clock().astimezone(league.zone).date()
    playing = calendar is None or last_known_day(calendar) >= today - SETTLING
    days = game_days(league, calendar, settings)
    waits = settings.training_wait or settings.pipelines != "dagster"
    built_in = ("xgboost",) if settings.training == "sagemaker" and settings.aws.xgboost else ()
    return Lane(league, calendar, days, settings.steps, playing, settings.reaction, waits, settings.pipelines, built_in)


def readable_lanes(settings: Settings) -> Iterator[Lane]:
    """The lanes of all leagues; one whose files are wrong is left out with an error in the log, the others stand."""
    for name, path in find_leagues(settings.home).items():
        try:
            yield build_lane(load_league(path), settings)
        except HoopsError as error:
            LOGGER.error("league %s is left out: %s", name, error)


def build_defs(
    settings: Settings | None = None,
    overrides: Mapping[str, Any] | None = None,
    leagues: Iterable[League] | None = None,
) -> dg.Definitions:
    """Assembles the code location.

    Args:
        settings: default: read from the environment and HOOPS_HOME.
        overrides: resources by key that replace the configured ones.
        leagues: only these; default all that can be read, embedded and the user's own.
    """
    settings = settings or load_settings()
    with warnings.catch_warnings():
        # Backfill policies and partitioned checks are marked beta and preview by Dagster; we pin its version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        lanes = [build_lane(one, settings) for one in leagues] if leagues is not None else [*readable_lanes(settings)]
        return dg.Definitions.merge(
            *(stage.lane_defs(lane) for lane in lanes for stage in STAGES),
            dg.Definitions(
                resources={**resources(settings), **(overrides or {})},
                executor=dg.in_process_executor,
            ),
        )


defs = build_defs()
