"""With a KMS key in the settings nothing is asked for or written without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.monitoring.contract import DriftJob
from hoops_assets.services.monitoring.sagemaker import SageMakerMonitoring
from hoops_assets.services.pipelines.contract import Pipeline
from hoops_assets.services.pipelines.sagemaker import SageMakerPipelines
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets_tests.workloads.frames import job
from hoops_assets_tests.workloads.test_drift import spec

KEY = "arn:aws:kms:us-east-1:123456789012:key/0b1c"


@pytest.fixture
def keyed(aws: Aws, emulator: AwsEmulator) -> Aws:
    emulator.images[aws.settings.image] = ("python", "-c", "import time; time.sleep(60)")
    return Aws(aws.settings.model_copy(update={"kms_key": KEY}))


def keys_of(request: dict[str, Any], output: str) -> set[str]:
    """Of the volumes and of the output of a job."""
    resources = request.get("ResourceConfig") or request["ProcessingResources"]["ClusterConfig"]
    return {resources["VolumeKmsKeyId"], request[output]["KmsKeyId"]}


def test_jobs_and_their_objects(keyed: Aws, frame: pd.DataFrame, tmp_path: Path) -> None:
    training = SageMakerTraining(keyed, tmp_path, every=0.02)
    monitoring = SageMakerMonitoring(keyed, tmp_path, every=0.02)
    trained = training.submit(job(frame), frame)
    watched = monitoring.submit(DriftJob.of(spec(), {"games": pd.DataFrame({"day": ["2026-01-01"]})}, "c" * 64))
    training.cancel(trained)
    monitoring.cancel(watched)
    described = keyed.sagemaker.describe_training_job(TrainingJobName=trained)
    assert keys_of(described, "OutputDataConfig") == {KEY}
    described = keyed.sagemaker.describe_processing_job(ProcessingJobName=watched)
    assert keys_of(described, "ProcessingOutputConfig") == {KEY}
    objects = [keyed.s3.head_object(Bucket=keyed.settings.bucket, Key=key) for key in keyed.keys(keyed.uri(""))]
    assert len(objects) > 4
    assert {(one["ServerSideEncryption"], one["SSEKMSKeyId"]) for one in objects} == {("aws:kms", KEY)}


def test_steps_of_a_pipeline(keyed: Aws, frame: pd.DataFrame, tmp_path: Path) -> None:
    service = SageMakerPipelines(keyed, SageMakerTraining(keyed, tmp_path))
    steps = service.definition(Pipeline(league="sim", jobs=(job(frame),)))["Steps"]
    outputs = {"Training": "OutputDataConfig", "Processing": "ProcessingOutputConfig"}
    found = [keys_of(one["Arguments"], outputs[one["Type"]]) for one in steps if one["Type"] in outputs]
    assert found == [{KEY}] * 3
