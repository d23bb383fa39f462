"""docs/aws.md names exactly the actions that each step asks for: no more, no less."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.sagemaker import SageMakerLineage
from hoops_assets.services.monitoring.contract import DriftJob, look
from hoops_assets.services.monitoring.sagemaker import SageMakerMonitoring
from hoops_assets.services.pipelines.contract import Pipeline, run
from hoops_assets.services.pipelines.sagemaker import SageMakerPipelines
from hoops_assets.services.prediction.captured import import_captured
from hoops_assets.services.prediction.contract import Night
from hoops_assets.services.prediction.sagemaker import SageMakerPrediction
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.registry.sagemaker import SageMakerRegistry
from hoops_assets.services.training.contract import train
from hoops_assets.services.training.local import LocalTraining
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets_tests.conftest import REPOSITORY
from hoops_assets_tests.contracts.conftest import GAMES, Pack, coming
from hoops_assets_tests.emulators.accounts import EmulatorProcess, account
from hoops_assets_tests.store.frames import results
from hoops_assets_tests.workloads.frames import job
from hoops_assets_tests.workloads.test_drift import spec, world

NOW = datetime(2030, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.slow


@pytest.fixture
def emulator(emulator: AwsEmulator) -> AwsEmulator:
    emulator.seen.clear()
    return emulator


def documented(step: str) -> set[str]:
    text = (REPOSITORY / "docs" / "aws.md").read_text()
    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    (policy,) = [one for one in policies if one["Statement"][0]["Sid"].startswith(step)]
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def seen(emulator: AwsEmulator) -> set[str]:
    return {action for action, count in emulator.seen.items() if count}


def acted(emulator: AwsEmulator) -> set[str]:
    """In the name of the role."""
    return {action for action, count in emulator.acted.items() if count}


def test_the_role_of_jobs_and_endpoints(
    emulator: AwsEmulator, aws: Aws, pack: Pack, registry: LocalRegistry, frame: pd.DataFrame, tmp_path: Path
) -> None:
    train(SageMakerTraining(aws, tmp_path, every=0.02), job(frame, "base_rate"), frame, every=0.05)
    prediction = SageMakerPrediction(aws, registry, patience=60, every=0.03)
    prediction.deploy("roles", pack("roles", 1), {1: 100})
    prediction.invoke("roles", GAMES)
    prediction.remove("roles")
    # The emulator pulls no image and measures no machine.
    unseen = {action for action in documented("RoleOfJobs") if action.startswith(("ecr:", "cloudwatch:"))}
    assert acted(emulator) | unseen | {"logs:DescribeLogStreams"} == documented("RoleOfJobs")


def test_tables_in_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    process, day = EmulatorProcess(), date(2030, 1, 1)
    try:
        for name, value in process.environment.items():
            monkeypatch.setenv(name, value)
        store = DeltaStore(f"s3://{account(process.environment).settings.bucket}/tables")
        for score in (70, 80):
            store.overwrite("policies", "results", results([day], score))
        assert store.vacuum("policies", "results", timedelta(0), [])[0] == 1
        with urllib.request.urlopen(f"{process.environment['AWS_ENDPOINT_URL']}/hoops/seen", timeout=10) as answer:
            asked = set(json.load(answer)) - {"s3:CreateBucket"}
    finally:
        process.close()
    # An upload in parts that fails is taken back.
    assert asked | {"s3:AbortMultipartUpload"} == documented("Tables")


def test_training(emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, tmp_path: Path) -> None:
    service = SageMakerTraining(aws, tmp_path, every=0.02)
    model = train(service, job(frame, "base_rate"), frame, every=0.05)
    service.log(model.name)
    service.cancel(service.submit(job(frame, "elo"), frame))
    emulator.fault("limit_exceeded", "CreateTrainingJob")
    with pytest.raises(ServiceError):
        service.submit(job(frame, "logistic"), frame)
    assert seen(emulator) == documented("Training")


def test_registry(emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, tmp_path: Path) -> None:
    registry = SageMakerRegistry(tmp_path / "registry", aws)
    version = registry.register(train(LocalTraining(tmp_path / "jobs"), job(frame, "base_rate"), frame))
    registry.name_challenger(version.league, version.version, {})
    assert seen(emulator) == documented("Registry")


def test_lineage(emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, tmp_path: Path) -> None:
    registry = SageMakerRegistry(tmp_path / "registry", aws)
    version = registry.register(train(LocalTraining(tmp_path / "jobs"), job(frame, "base_rate"), frame))
    emulator.seen.clear()
    assert SageMakerLineage(aws).ancestry("sim", 1, version.digest).commit == version.commit
    assert seen(emulator) == documented("Lineage")


def test_pipelines(emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, tmp_path: Path) -> None:
    service = SageMakerPipelines(aws, SageMakerTraining(aws, tmp_path, every=0.02), every=0.02)
    asked = Pipeline(league="sim", jobs=(job(frame, "base_rate"),))
    run(service, asked, frame, every=0.05)
    other = Pipeline(league="sim", jobs=(job(frame, "elo"),))
    service.stop(service.start(other, frame))
    emulator.fault("limit_exceeded", "StartPipelineExecution")
    with pytest.raises(ServiceError):
        service.start(other, frame)
    # DescribeProcessingJob tells why an evaluation failed.
    assert seen(emulator) | {"sagemaker:DescribeProcessingJob"} == documented("Pipelines")
    # StopProcessingJob is for a pipeline that is stopped while it judges.
    assert acted(emulator) - documented("RoleOfJobs") | {"sagemaker:StopProcessingJob"} == documented("RoleOfPipelines")


def test_monitoring(emulator: AwsEmulator, aws: Aws, tmp_path: Path) -> None:
    service, games = SageMakerMonitoring(aws, tmp_path, every=0.02), world()
    look(service, DriftJob.of(spec(), {"games": games}, "c" * 64), every=0.05)
    service.cancel(service.submit(DriftJob.of(spec(), {"games": games.head(1500)}, "c" * 64)))
    emulator.fault("limit_exceeded", "CreateProcessingJob")
    with pytest.raises(ServiceError):
        service.submit(DriftJob.of(spec(), {"games": games.head(1400)}, "c" * 64))
    assert seen(emulator) == documented("Monitoring")


def test_prediction(
    emulator: AwsEmulator, aws: Aws, pack: Pack, registry: LocalRegistry, models: dict[int, ModelVersion],
    frame: pd.DataFrame, tmp_path: Path,
) -> None:  # fmt: skip
    service = SageMakerPrediction(aws, registry, patience=60, every=0.03)
    league = "policies"
    calls: list[Callable[[], object]] = [
        lambda: service.deploy(league, pack(league, 1), {1: 100}),
        lambda: service.deploy(league, pack(league, 2), {1: 90, 2: 10}),
        lambda: service.set_traffic(league, {2: 100}),
        lambda: service.update_fixtures(league, coming(league, shift=1.0)),
        lambda: service.invoke(league, GAMES),
        lambda: service.scale(league, 1, 2),
        lambda: service.remove(league, 1),
        lambda: service.batch(models[1], frame.head(3)),
        lambda: emulator.fault("slow_start", "CreateTransformJob", seconds=30),
        lambda: service.cancel(service.submit(models[1], frame.head(4))),
    ]
    for call in calls:
        call()
    newer = aws.settings.model_copy(update={"image": f"{aws.settings.image}-2"})
    SageMakerPrediction(Aws(newer), registry, patience=60, every=0.03).renew(league)
    night = Night(begin=NOW, end=NOW + timedelta(hours=5), least=2, most=4)
    service.plan_nights(league, [night])
    service.plan_nights(league, [night.model_copy(update={"begin": NOW + timedelta(hours=1)})])
    emulator.fault("damaged_model", "-m-1-")
    with pytest.raises(ServiceError, match=r"model\.onnx"):
        service.deploy(league, pack(league, 1), {2: 90, 1: 10})
    service.remove(league)
    import_captured(aws, league, Record(f"sqlite:///{tmp_path / 'record.db'}"), {}, tmp_path / "captured.json")
    assert seen(emulator) == documented("Prediction")
