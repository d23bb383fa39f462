"""The services of the platform as Dagster resources: the UI's resource page shows which provider serves which step.

What belongs here: one resource per service, thin. A provider's module is imported when the resource is first used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import dagster as dg
import pandas as pd

from hoops_assets.basketball.calendar import calendar_of
from hoops_assets.basketball.games import apply_home_rules
from hoops_assets.basketball.league import League
from hoops_assets.defs.lane import SOURCES, TABLE_IO, VALUE_IO
from hoops_assets.errors import SourceError
from hoops_assets.settings import AwsSettings, BufferPolicy, PipelineProvider, Provider, Settings, Step
from hoops_assets.sources.contract import BoxScoresRead, GamesRead, OddsRead, PostsRead
from hoops_assets.store.calendar import write_calendar
from hoops_assets.store.io_manager import TableIOManager, TablesResource, ValueIOManager

if TYPE_CHECKING:
    from hoops_assets.judging.health import Look
    from hoops_assets.services.monitoring.contract import MonitoringService
    from hoops_assets.services.monitoring.watch import Watch
    from hoops_assets.services.pipelines.contract import PipelineService
    from hoops_assets.services.prediction.captured import Collected
    from hoops_assets.services.prediction.contract import Endpoint, Packed, PredictionService
    from hoops_assets.services.prediction.rollout import Rollout
    from hoops_assets.services.registry.contract import MirrorReport, Registry
    from hoops_assets.services.training.contract import TrainedModel, TrainingJob, TrainingService
    from hoops_assets.store.delta import DeltaStore
    from hoops_assets.store.deployments import Deployment
    from hoops_assets.store.post_buffer import BufferMetrics, PostBuffer
    from hoops_assets.store.record import Record
    from hoops_assets.workloads.drift import DriftReport


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

    def compared_games(self, league: League) -> GamesRead:
        """The games of the league's second source; raises SourceError if it has none."""
        from hoops_assets.sources.open import open_compared_games

        source = open_compared_games(league)
        if source is None:
            raise SourceError(f"league {league.name} names no second source of games; add sources.compare to its file")
        read = self._quarantined(league, "compared_games", source.read(self.clock()))
        return GamesRead(apply_home_rules(read.games, league), read.rejected, read.notes)

    def posts(self, league: League, start: datetime, end: datetime) -> Iterator[PostsRead]:
        """Posts with start <= created_at < end, in parts where the source can stream them; none without a source."""
        from hoops_assets.sources.open import open_posts, read_parts
        from hoops_assets.sources.quarantine import write_quarantine

        source = open_posts(league)
        if source is None:
            return
        rejected = []
        for read in read_parts(source, start, min(end, self.clock())):
            rejected += read.rejected
            yield read
        write_quarantine(Path(self.home) / "quarantine" / league.name, "posts", rejected)

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


class PostBufferResource(dg.ConfigurableResource):
    """The bounded buffer through which each league's fan posts enter."""

    home: str
    policy: BufferPolicy
    high_water_posts: int
    high_water_bytes: int

    def open(self, league: League) -> PostBuffer:
        from hoops_assets.store.post_buffer import PostBuffer

        path = Path(self.home) / "posts" / f"{league.name}.sqlite"
        return PostBuffer(path, self.policy, self.high_water_posts, self.high_water_bytes)

    def tell(self, league: League) -> BufferMetrics:
        """The buffer's counts as of now, also written to HOME/metrics."""
        from hoops_assets.store.fan_posts import tell_metrics

        metrics = self.open(league).metrics()
        tell_metrics(Path(self.home), league.name, metrics)
        return metrics


class RecordResource(dg.ConfigurableResource):
    """The append-only record: who launched what, and what serves."""

    url: str

    def open(self) -> Record:
        from hoops_assets.store.record import Record

        return Record(self.url)


class Training(NamedTuple):
    """A job that succeeded, and what it told meanwhile.

    Attributes:
        told: metadata from the job itself; empty where it runs in this process.
        checks: outcomes that it reported.
    """

    trained: TrainedModel
    told: dict[str, Any]
    checks: Sequence[dg.AssetCheckResult]


class TrainingResource(dg.ConfigurableResource):
    """Who runs a training job, and whether the run that submits it waits for its end."""

    provider: Provider
    folder: str
    waits: bool = True
    aws: dict[str, Any]

    def service(self) -> TrainingService:
        from hoops_assets.services.providers import open_training

        return open_training(self.provider, Path(self.folder), AwsSettings(**self.aws), detached=not self.waits)

    def train(self, context: dg.AssetExecutionContext, job: TrainingJob, frame: pd.DataFrame) -> Training:
        """Trains and waits; what a remote job tells meanwhile appears on the asset and in the run's log."""
        from hoops_assets.services.training.built_in import BUILT_IN
        from hoops_assets.services.training.contract import train
        from hoops_assets.workloads.telling import Lines, listening

        service, tells = self.service(), job.learner not in BUILT_IN
        if self.provider == "local" or AwsSettings(**self.aws).isolated or not tells:
            with listening(Lines(context.log.info)):
                return Training(train(service, job, frame), {}, ())
        from hoops_assets.defs.training.pipes import PipesSageMakerTrainingClient
        from hoops_assets.services.training.sagemaker import SageMakerTraining

        assert isinstance(service, SageMakerTraining)
        client = PipesSageMakerTrainingClient(service, service.aws)
        done = client.run(context=context, job=job, frame=frame)
        return Training(done.trained, done.told, done.checks)


class PipelinesResource(dg.ConfigurableResource):
    """Who runs the steps of training as one pipeline, where not each is an asset of its own."""

    provider: PipelineProvider
    training: Provider
    home: str
    parallelism: int = 3
    retries: int = 2
    aws: dict[str, Any]

    def service(self) -> PipelineService:
        from hoops_assets.services.providers import open_pipelines

        return open_pipelines(self.provider, self.training, Path(self.home), AwsSettings(**self.aws))


class MonitoringResource(dg.ConfigurableResource):
    """Who asks what moved in a league."""

    provider: Provider
    folder: str
    aws: dict[str, Any]

    def service(self) -> MonitoringService:
        from hoops_assets.services.providers import open_monitoring

        return open_monitoring(self.provider, Path(self.folder), AwsSettings(**self.aws))

    def judge(self, watch: Watch) -> DriftReport:
        """The report of what is to be watched. Raises ServiceError."""
        from hoops_assets.services.monitoring.contract import DriftJob, look
        from hoops_assets.services.training.code import code

        return look(self.service(), DriftJob.of(watch.spec, watch.frames, code().digest))


class RegistryResource(dg.ConfigurableResource):
    """Where model versions stand, and where they are mirrored."""

    provider: Provider
    folder: str
    mlflow_tracking_uri: str = ""
    aws: dict[str, Any]

    def service(self) -> Registry:
        from hoops_assets.services.providers import open_registry

        return open_registry(self.provider, Path(self.folder), AwsSettings(**self.aws))

    def mirror(self, league: str) -> MirrorReport | None:
        """Brings the MLflow mirror up to date; None if it is switched off."""
        if not self.mlflow_tracking_uri:
            return None
        from hoops_assets.services.registry.mlflow_mirror import MlflowMirror

        return MlflowMirror(self.mlflow_tracking_uri, Path(self.folder).parent / "mlflow").repair(
            self.service(), league
        )


class PredictionResource(dg.ConfigurableResource):
    """Who forecasts with a registered model, on demand and in batch."""

    provider: Provider
    home: str
    upcoming_days: int = 7
    aws: dict[str, Any]

    def service(self, registry: Registry) -> PredictionService:
        from hoops_assets.services.providers import open_prediction

        return open_prediction(self.provider, registry, Path(self.home), AwsSettings(**self.aws))

    def rollout(self, league: League, registry: Registry, store: DeltaStore, record: Record, now: datetime) -> Rollout:
        """By which what serves a league is changed, and every change recorded."""
        from hoops_assets.services.prediction.rollout import Rollout

        def pack(version: int) -> Packed:
            from hoops_assets.services.prediction.bundle import pack

            return pack(registry, store, league, version, now, self.upcoming_days)

        def tell(rows: list[Deployment]) -> None:
            from hoops_assets.store.deployments import in_words
            from hoops_assets.workloads.serve.bundle import endpoint_folder, write_deployments

            write_deployments(endpoint_folder(Path(self.home), league.name), [*in_words(rows)])

        lock = Path(self.home) / "serving" / f".{league.name}.rollout.lock"
        return Rollout(league.name, self.service(registry), record, pack, lock, tell)

    def look(self, league: str, canary: int, champion: int) -> tuple[str, Look] | None:
        """The running server, and what it has counted of two versions' answers; None if none runs."""
        from hoops_assets.judging.health import Look, read_counts
        from hoops_assets.workloads.serve.client import running_server

        server = running_server(Path(self.home))
        if server is None:
            return None
        page = server.metrics()
        counted = (read_counts(page, league, version) for version in (canary, champion))
        return f"{server.pid} {server.started_at}", Look(*counted)

    def collect_answers(self, league: str, store: DeltaStore, record: Record) -> Collected:
        """Takes what a cloud's endpoint answered into the record. A server of this machine writes there by itself."""
        from hoops_assets.services.prediction.captured import Collected, import_captured, places_of

        if self.provider == "local":
            return Collected(0, 0)
        from hoops_assets.services.aws import connect

        places = places_of(store.read(league, "fixtures", columns=["game_id", "day", "home", "away"]))
        cursor = Path(self.home) / "serving" / f"captured.{league}.json"
        return import_captured(connect(AwsSettings(**self.aws)), league, record, places, cursor)

    def renew_fixtures(self, league: League, registry: Registry, store: DeltaStore, now: datetime) -> Endpoint | None:
        """Gives the league's endpoint the features of the coming games as materialised; None without an endpoint."""
        from hoops_assets.services.errors import ServiceError
        from hoops_assets.services.prediction.bundle import coming_fixtures

        service = self.service(registry)
        try:
            service.describe(league.name)
        except ServiceError as error:
            if error.kind == "not_found":
                return None
            raise
        return service.update_fixtures(league.name, coming_fixtures(store, league, now, self.upcoming_days))


def resources(settings: Settings) -> dict[str, object]:
    """All resources of the location, by the key under which assets ask for them."""
    home, aws = settings.home, settings.aws.model_dump()
    tables = TablesResource(root=settings.tables_root, region=settings.aws.region, kms_key=settings.aws.kms_key)
    return {
        SOURCES: SourcesResource(home=str(home), now=settings.now.isoformat() if settings.now else ""),
        "tables": tables,
        "post_buffer": PostBufferResource(
            home=str(home),
            policy=settings.post_buffer_policy,
            high_water_posts=settings.post_buffer_posts,
            high_water_bytes=settings.post_buffer_bytes,
        ),
        TABLE_IO: TableIOManager(tables=tables),
        VALUE_IO: ValueIOManager(folder=str(home / "values")),
        "record": RecordResource(url=settings.record),
        "training": TrainingResource(
            provider=settings.training, folder=str(home / "jobs"), waits=settings.training_wait, aws=aws
        ),
        "pipelines": PipelinesResource(
            provider=settings.pipelines,
            training=settings.training,
            home=str(home),
            aws=aws,
            parallelism=settings.pipeline_parallelism,
            retries=settings.steps.get("training", Step()).retries,
        ),
        "monitoring": MonitoringResource(provider=settings.monitoring, folder=str(home / "drift"), aws=aws),
        "registry": RegistryResource(
            provider=settings.registry, folder=str(home / "registry"), mlflow_tracking_uri=settings.mlflow, aws=aws
        ),
        "prediction": PredictionResource(
            provider=settings.prediction, home=str(home), upcoming_days=settings.upcoming_days, aws=aws
        ),
    }
