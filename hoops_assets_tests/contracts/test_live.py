"""What guards a real account, proven on the emulator."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.lineage.sagemaker import SageMakerLineage
from hoops_assets.services.pipelines.contract import Pipeline
from hoops_assets.services.pipelines.sagemaker import SageMakerPipelines
from hoops_assets.services.prediction.sagemaker import SageMakerPrediction
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.registry.sagemaker import SageMakerMirror
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets_tests.conftest import REPOSITORY
from hoops_assets_tests.contracts.conftest import Pack
from hoops_assets_tests.contracts.live import Sweep
from hoops_assets_tests.workloads.frames import job

SUITE = "hoops_assets_tests/contracts/test_training.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "needs the settings aws.region"),
        (dict.fromkeys(("REGION", "ROLE", "IMAGE"), "x") | {"BUCKET": "mine"}, "confirm with HOOPS_LIVE_BUCKET=mine"),
    ],
)
def test_nothing_is_made_in_a_real_account_by_accident(given: dict[str, str], told: str, tmp_path: object) -> None:
    environment = {**os.environ, **{f"HOOPS_AWS__{name}": value for name, value in given.items()}}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", SUITE, "-k", "unknown_name"], capture_output=True, text=True,
        timeout=120, cwd=REPOSITORY, env={**environment, "HOOPS_LIVE": "aws", "HOOPS_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert told in done.stdout + done.stderr


@pytest.mark.slow
def test_the_sweep_leaves_only_what_was_there_before(
    aws: Aws, aws_emulator: AwsEmulator, registry: LocalRegistry, pack: Pack, frame: pd.DataFrame, tmp_path: object
) -> None:
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="hoops-of-somebody-else")
    before = aws_emulator.standing()
    sweep = Sweep(aws)
    training = SageMakerTraining(aws, registry.root / "fetched", every=0.02)
    pipelines = SageMakerPipelines(aws, training, every=0.02)
    pipelines.stop(pipelines.start(Pipeline(league="sim", jobs=(job(frame, "elo"),)), frame))
    training.submit(job(frame, "base_rate"), frame)
    SageMakerMirror(aws, registry.root).repair(registry, "sim")
    prediction = SageMakerPrediction(aws, registry, patience=60, every=0.03)
    prediction.deploy("swept", pack("swept", 1), {1: 100})
    SageMakerLineage(aws).note_serving("swept", 1, registry.get("sim", 1).digest)
    assert len(sweep.left()) >= 12
    sweep.run()
    while aws_emulator.endpoints.endpoints or aws_emulator.running():
        pass
    assert sweep.left() == {}
    history = ("training job", "processing job", "transform job")
    after = {kind: names for kind, names in aws_emulator.standing().items() if kind not in history}
    assert after == {kind: before[kind] for kind in after}
