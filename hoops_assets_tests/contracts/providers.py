"""The providers that every contract suite runs against, unchanged: a new one is one class and one line of PROVIDERS.

What belongs here: how a suite opens each service of a provider, and what it may do to its far side. The test ids carry the
provider's name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from hoops_assets.services.lineage.contract import Lineage
from hoops_assets.services.lineage.local import LocalLineage
from hoops_assets.services.monitoring.contract import MonitoringService
from hoops_assets.services.monitoring.local import LocalMonitoring
from hoops_assets.services.pipelines.contract import PipelineService
from hoops_assets.services.pipelines.local import LocalPipelines
from hoops_assets.services.registry.contract import Registry
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.training.contract import TrainingService
from hoops_assets.services.training.local import LocalTraining
from hoops_assets.store.record import Record
from hoops_assets_tests.contracts import live
from hoops_assets_tests.contracts.prediction_stages import LiveSageMakerStage, LocalStage, SageMakerStage, Stage

if TYPE_CHECKING:
    from hoops_assets.clouds.aws import Aws


class Provider(Protocol):
    """Opens the services of one provider; `folder` is empty and of that suite alone."""

    name: str

    def registry(self, folder: Path) -> Registry: ...

    def lineage(self, registry: Registry, record: Record) -> Lineage: ...

    def tables(self, folder: Path) -> str:
        """Root of Delta tables."""
        ...

    def training(self, folder: Path) -> TrainingService: ...

    def stage(self, home: Path, registry: Registry) -> Stage:
        """Its prediction service, and its serving side in the test's hands."""
        ...

    def pipelines(self, folder: Path) -> PipelineService: ...

    def monitoring(self, folder: Path) -> MonitoringService: ...


class Local:
    """This machine."""

    name = "local"

    def __init__(self, request: pytest.FixtureRequest) -> None: ...

    def registry(self, folder: Path) -> Registry:
        return LocalRegistry(folder)

    def lineage(self, registry: Registry, record: Record) -> Lineage:
        return LocalLineage(registry, record)

    def tables(self, folder: Path) -> str:
        return str(folder)

    def training(self, folder: Path) -> TrainingService:
        return LocalTraining(folder)

    def stage(self, home: Path, registry: Registry) -> Stage:
        return LocalStage(home, registry)

    def pipelines(self, folder: Path) -> PipelineService:
        return LocalPipelines(folder / "pipelines", LocalTraining(folder / "jobs", subprocess=True), every=0.05)

    def monitoring(self, folder: Path) -> MonitoringService:
        return LocalMonitoring(folder)


class SageMaker:
    """SageMaker on the loopback, or with HOOPS_LIVE=aws a real account."""

    name = "sagemaker"

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    @property
    def aws(self) -> Aws:
        return self._request.getfixturevalue("aws")

    def registry(self, folder: Path) -> Registry:
        from hoops_assets.services.registry.sagemaker import SageMakerRegistry

        return SageMakerRegistry(folder, self.aws)

    def lineage(self, registry: Registry, record: Record) -> Lineage:
        from hoops_assets.services.lineage.sagemaker import SageMakerLineage

        return SageMakerLineage(self.aws)

    def tables(self, folder: Path) -> str:
        return self.aws.uri(self.aws.key("tables")) if live.wanted() else self._request.getfixturevalue("bucket")

    def training(self, folder: Path) -> TrainingService:
        from hoops_assets.services.training.sagemaker import SageMakerTraining

        return SageMakerTraining(self.aws, folder, every=0.05)

    def stage(self, home: Path, registry: Registry) -> Stage:
        if live.wanted():
            return LiveSageMakerStage(self._request.getfixturevalue("live_account"), registry)
        return SageMakerStage(home, registry)

    def pipelines(self, folder: Path) -> PipelineService:
        from hoops_assets.services.pipelines.sagemaker import SageMakerPipelines
        from hoops_assets.services.training.sagemaker import SageMakerTraining

        return SageMakerPipelines(self.aws, SageMakerTraining(self.aws, folder, every=0.05), every=0.05)

    def monitoring(self, folder: Path) -> MonitoringService:
        from hoops_assets.services.monitoring.sagemaker import SageMakerMonitoring

        return SageMakerMonitoring(self.aws, folder, every=0.05)


PROVIDERS: dict[str, Callable[[pytest.FixtureRequest], Provider]] = {"local": Local, "sagemaker": SageMaker}
