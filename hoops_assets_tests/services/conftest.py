"""Providers for the registry suite (a new one is one more entry), and trained models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.services.registry.contract import Registry
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.training.contract import TrainedModel, train
from hoops_assets.services.training.local import LocalTraining
from hoops_assets_tests.workloads.frames import job, training_frame

SAGEMAKER = "sagemaker"
REGISTRY: dict[str, Callable[[Path], Registry]] = {"local": LocalRegistry}


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return training_frame()


@pytest.fixture(params=[*REGISTRY, SAGEMAKER])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    if request.param == SAGEMAKER:
        from hoops_assets.services.registry.sagemaker import SageMakerRegistry

        return SageMakerRegistry(tmp_path / "registry", request.getfixturevalue("aws"))
    return REGISTRY[request.param](tmp_path / "registry")


@pytest.fixture(scope="session")
def trained(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainedModel]:
    """A finished job of each of three learners, by learner. Do not change their files."""
    service = LocalTraining(tmp_path_factory.mktemp("trained"))
    return {learner: train(service, job(frame, learner), frame) for learner in ("elo", "logistic", "base_rate")}
