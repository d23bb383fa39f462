"""The services of the platform as Dagster resources: the UI's resource page shows which provider serves which step.

What belongs here: one resource per service, thin. A provider's module is imported when the resource is first used.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dagster as dg
import pandas as pd

from hoops_assets.basketball.calendar import calendar_of
from hoops_assets.basketball.games import apply_home_rules
from hoops_assets.basketball.league import League
from hoops_assets.defs.lane import SOURCES, TABLE_IO, VALUE_IO
from hoops_assets.settings import Provider, Settings
from hoops_assets.sources.contract import BoxScoresRead, GamesRead, OddsRead, PostsRead
from hoops_assets.store.calendar import write_calendar
from hoops_assets.store.io_manager import TableIOManager, TablesResource, ValueIOManager

if TYPE_CHECKING:
    from hoops_assets.services.prediction.contract import PredictionService
    from hoops_assets.services.registry.contract import Registry
    from hoops_assets.services.registry.mlflow_mirror import MirrorReport
    from hoops_assets.services.training.contract import TrainingService
    from hoops_assets.store.record import Record


Read = TypeVar("Read", BoxScoresRead, GamesRead, OddsRead, PostsRead)


class SourcesResource(dg.ConfigurableResource):
    """The leagues' sources of games and posts. Reading games also keeps the quarantine and the calendar file up to date."""

    home: str
    now: str = ""

    def clock(self) -> datetime:
        return Settings(home=Path(self.home), now=datetime.fromisoformat(self.now) if self.now else None).clock()

    def games(self, league: League) -> GamesRead:
        from hoops_assets.sources.open import open_games
        from hoops_assets.sources.quarantine import write_quarantine

        read = open_games(league).read(self.clock())
        write_quarantine(Path(self.home) / "quarantine" / league.name, "games", read.rejected)
        games = apply_home_rules(read.games, league)
        if len(games):
            write_calendar(Path(self.home), league.name, calendar_of(games))
        return GamesRead(games, read.rejected, read.notes)

    def posts(self, league: League, start: datetime, end: datetime) -> PostsRead | None:
        from hoops_assets.sources.open import open_posts
        from hoops_assets.sources.quarantine import write_quarantine

        source = open_posts(league)
        if source is None:
            return None
        read = source.read(start, min(end, self.clock()))
        write_quarantine(Path(self.home) / "quarantine" / league.name, "posts", read.rejected)
        return read

    def box_scores(self, league: League, results: pd.DataFrame) -> BoxScoresRead | None:
        from hoops_assets.sources.open import open_box_scores

        source = open_box_scores(league)
        read = source.read(results) if source else None
        return self._quarantined(league, "box_scores", read) if read else None

    def odds(self, league: League, games: pd.DataFrame) -> OddsRead | None:
        from hoops_assets.sources.odds import open_odds

        source = open_odds(league)
        read = source.read(games) if source else None
        return self._quarantined(league, "odds", read) if read else None

    def _quarantined(self, league: League, name: str, read: Read) -> Read:
        from hoops_assets.sources.quarantine import write_quarantine

        write_quarantine(Path(self.home) / "quarantine" / league.name, name, read.rejected)
        return read


class RecordResource(dg.ConfigurableResource):
    """The append-only record: who launched what, and what serves."""

    url: str

    def open(self) -> Record:
        from hoops_assets.store.record import Record

        return Record(self.url)


class TrainingResource(dg.ConfigurableResource):
    """Who runs a training job."""

    provider: Provider
    folder: str

    def service(self) -> TrainingService:
        from hoops_assets.services.training.local import LocalTraining

        return LocalTraining(Path(self.folder))


class RegistryResource(dg.ConfigurableResource):
    """Where model versions stand, and where they are mirrored."""

    provider: Provider
    folder: str
    mlflow_tracking_uri: str = ""

    def service(self) -> Registry:
        from hoops_assets.services.registry.local import LocalRegistry

        return LocalRegistry(Path(self.folder))

    def mirror(self, league: str) -> MirrorReport | None:
        """Brings the MLflow mirror up to date; None if it is switched off."""
        if not self.mlflow_tracking_uri:
            return None
        from hoops_assets.services.registry.mlflow_mirror import MlflowMirror

        return MlflowMirror(self.mlflow_tracking_uri, Path(self.folder).parent / "mlflow").repair(
            self.service(), league
        )


class PredictionResource(dg.ConfigurableResource):
    """Who forecasts with a registered model."""

    provider: Provider

    def service(self, registry: Registry) -> PredictionService:
        from hoops_assets.services.prediction.local import LocalPrediction

        return LocalPrediction(registry)


def resources(settings: Settings) -> dict[str, object]:
    """All resources of the location, by the key under which assets ask for them."""
    home = settings.home
    tables = TablesResource(root=settings.tables_root)
    return {
        SOURCES: SourcesResource(home=str(home), now=settings.now.isoformat() if settings.now else ""),
        "tables": tables,
        TABLE_IO: TableIOManager(tables=tables),
        VALUE_IO: ValueIOManager(folder=str(home / "values")),
        "record": RecordResource(url=settings.record),
        "training": TrainingResource(provider=settings.training, folder=str(home / "jobs")),
        "registry": RegistryResource(
            provider=settings.registry, folder=str(home / "registry"), mlflow_tracking_uri=settings.mlflow
        ),
        "prediction": PredictionResource(provider=settings.prediction),
    }
