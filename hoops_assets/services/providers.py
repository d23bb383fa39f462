"""Which provider serves which step: the one place that reads it from the settings.

What belongs here: choosing and opening. A provider's module is imported when its step is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hoops_assets.settings import AwsSettings, PipelineProvider, Provider

if TYPE_CHECKING:
    from hoops_assets.services.monitoring.contract import MonitoringService
    from hoops_assets.services.pipelines.contract import PipelineService
    from hoops_assets.services.prediction.contract import PredictionService
    from hoops_assets.services.registry.contract import Registry
    from hoops_assets.services.training.contract import TrainingService


def open_training(provider: Provider, folder: Path, aws: AwsSettings, *, detached: bool = False) -> TrainingService:
    """Who runs training jobs.

    Args:
        folder: of the jobs.
        detached: whether a job of this machine is a process of its own, which outlives this one.

    Raises:
        ServiceError: invalid (settings are missing).
    """
    if provider == "sagemaker":
        from hoops_assets.services.aws import connect
        from hoops_assets.services.training.sagemaker import SageMakerTraining

        return SageMakerTraining(connect(aws), folder)
    from hoops_assets.services.training.local import LocalTraining

    return LocalTraining(folder, subprocess=detached)


def open_pipelines(provider: PipelineProvider, training: Provider, home: Path, aws: AwsSettings) -> PipelineService:
    """Who runs the steps of training as one pipeline.

    Args:
        provider: not dagster: that is no service.
        training: who trains where the pipeline itself is run here.

    Raises:
        ServiceError: invalid (settings are missing).
    """
    jobs = home / "jobs"
    if provider == "sagemaker":
        from hoops_assets.services.aws import connect
        from hoops_assets.services.pipelines.sagemaker import SageMakerPipelines
        from hoops_assets.services.training.sagemaker import SageMakerTraining

        connected = connect(aws)
        return SageMakerPipelines(connected, SageMakerTraining(connected, jobs))
    from hoops_assets.services.pipelines.local import LocalPipelines

    return LocalPipelines(home / "pipelines", open_training(training, jobs, aws, detached=True))


def open_monitoring(provider: Provider, folder: Path, aws: AwsSettings) -> MonitoringService:
    """Who runs drift jobs. Args: folder: of the jobs. Raises as `open_training`."""
    if provider == "sagemaker":
        from hoops_assets.services.aws import connect
        from hoops_assets.services.monitoring.sagemaker import SageMakerMonitoring

        return SageMakerMonitoring(connect(aws), folder)
    from hoops_assets.services.monitoring.local import LocalMonitoring

    return LocalMonitoring(folder)


def open_registry(provider: Provider, folder: Path, aws: AwsSettings) -> Registry:
    """Where model versions stand and are mirrored. Args: folder: of the record. Raises as `open_training`."""
    if provider == "sagemaker":
        from hoops_assets.services.aws import connect
        from hoops_assets.services.registry.sagemaker import SageMakerRegistry

        return SageMakerRegistry(folder, connect(aws))
    from hoops_assets.services.registry.local import LocalRegistry

    return LocalRegistry(folder)


def open_prediction(provider: Provider, registry: Registry, home: Path, aws: AwsSettings) -> PredictionService:
    """Who forecasts, on demand and in batch. Raises as `open_training`."""
    if provider == "sagemaker":
        from hoops_assets.services.aws import connect
        from hoops_assets.services.prediction.sagemaker import SageMakerPrediction

        return SageMakerPrediction(connect(aws), registry)
    from hoops_assets.services.prediction.local import LocalPrediction

    return LocalPrediction(registry, home)
