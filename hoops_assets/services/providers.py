"""Which provider serves which step: the one place that reads it from the settings.

What belongs here: choosing and opening. A provider's module is imported when its step is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hoops_assets.settings import AwsSettings, Provider

if TYPE_CHECKING:
    from hoops_assets.services.prediction.contract import PredictionService
    from hoops_assets.services.registry.contract import Registry
    from hoops_assets.services.training.contract import TrainingService


def open_training(provider: Provider, folder: Path, aws: AwsSettings) -> TrainingService:
    """Who runs training jobs. Args: folder: of the jobs. Raises ServiceError invalid: settings are missing."""
    if provider == "sagemaker":
        from hoops_assets.services.aws import connect
        from hoops_assets.services.training.sagemaker import SageMakerTraining

        return SageMakerTraining(connect(aws), folder)
    from hoops_assets.services.training.local import LocalTraining

    return LocalTraining(folder)


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
