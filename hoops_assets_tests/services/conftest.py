"""Trained models."""

from __future__ import annotations

import pandas as pd
import pytest

from hoops_assets.services.training.contract import TrainedModel, train
from hoops_assets.services.training.local import LocalTraining
from hoops_assets_tests.workloads.frames import job, training_frame


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return training_frame()


@pytest.fixture(scope="session")
def trained(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainedModel]:
    """A finished job of each of three learners, by learner. Do not change their files."""
    service = LocalTraining(tmp_path_factory.mktemp("trained"))
    return {learner: train(service, job(frame, learner), frame) for learner in ("elo", "logistic", "base_rate")}
