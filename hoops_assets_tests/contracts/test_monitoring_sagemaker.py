"""What is SageMaker's monitoring's own: figures in CloudWatch, faults of the cloud, and what is left behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.monitoring.contract import DriftJob, look
from hoops_assets.services.monitoring.sagemaker import NAMESPACE, SageMakerMonitoring
from hoops_assets.services.training.contract import JobState
from hoops_assets_tests.workloads.test_drift import spec, with_home_defeats, world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def games() -> pd.DataFrame:
    return with_home_defeats(world(), 0.3)


@pytest.fixture
def service(aws: Aws, emulator: AwsEmulator, tmp_path: Path) -> SageMakerMonitoring:
    return SageMakerMonitoring(aws, tmp_path, every=0.02)


def drift_job(games: pd.DataFrame, time_limit: int = 600) -> DriftJob:
    return DriftJob.of(spec(), {"games": games}, "c" * 64, time_limit)


def test_the_figures_of_every_signal_are_in_cloudwatch_once(
    service: SageMakerMonitoring, aws: Aws, games: pd.DataFrame
) -> None:
    report = look(service, drift_job(games), every=0.05)
    look(service, drift_job(games), every=0.05)
    now = datetime.now(UTC)
    for signal in report.signals:
        found = aws.client("cloudwatch").get_metric_statistics(
            Namespace=NAMESPACE, MetricName="red", StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
            Period=7200, Statistics=["Maximum", "SampleCount"],
            Dimensions=[{"Name": "League", "Value": "tiny"}, {"Name": "Signal", "Value": signal.name}],
        )["Datapoints"]  # fmt: skip
        assert sum(one["SampleCount"] for one in found) == 1
        assert max(one["Maximum"] for one in found) == float(signal.state == "red")


def test_a_cloudwatch_that_refuses_stops_no_alarm(
    service: SageMakerMonitoring, emulator: AwsEmulator, games: pd.DataFrame
) -> None:
    emulator.fault("access_denied", "PutMetricData")
    assert look(service, drift_job(games), every=0.05).red


@pytest.mark.parametrize("action", ["PutObject", "CreateProcessingJob"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("throttling", "throttled"), ("expired_credentials", "permission"), ("limit_exceeded", "quota")],
)
def test_a_job_that_is_refused_leaves_nothing(
    service: SageMakerMonitoring, emulator: AwsEmulator, games: pd.DataFrame, action: str, fault: str, kind: str
) -> None:
    emulator.fault(fault, action, times=4)
    with pytest.raises(ServiceError) as refused:
        service.submit(drift_job(games))
    assert refused.value.kind == kind
    assert (emulator.standing()["object"], emulator.standing()["processing job"]) == ([], [])


@pytest.mark.parametrize(("fault", "action"), [("access_denied", "PutObject"), ("expired_credentials", "*")])
def test_what_is_refused_in_the_midst_of_a_submission_keeps_its_kind(
    service: SageMakerMonitoring, emulator: AwsEmulator, games: pd.DataFrame, fault: str, action: str
) -> None:
    emulator.fault(fault, action, times=100, after=1)
    with pytest.raises(ServiceError) as refused:
        service.submit(drift_job(games))
    assert refused.value.kind == "permission"
    assert emulator.standing()["object"] == []


def test_no_capacity_is_a_quota_and_asking_again_starts_another(
    service: SageMakerMonitoring, emulator: AwsEmulator, games: pd.DataFrame
) -> None:
    emulator.fault("capacity_error", "CreateProcessingJob")
    asked = drift_job(games)
    with pytest.raises(ServiceError, match="CapacityError") as failed:
        look(service, asked, every=0.05)
    assert failed.value.kind == "quota"
    name = service.submit(asked)
    assert name == f"{asked.name}-2"
    service.cancel(name)


def test_a_running_job_is_joined_by_another_process_and_stopped(
    service: SageMakerMonitoring, emulator: AwsEmulator, aws: Aws, games: pd.DataFrame, tmp_path: Path
) -> None:
    emulator.fault("slow_start", "CreateProcessingJob", seconds=5)
    name = service.submit(drift_job(games))
    another = SageMakerMonitoring(aws, tmp_path / "b", every=0.02)
    assert another.submit(drift_job(games)) == name
    with pytest.raises(ServiceError) as early:
        another.result(name)
    assert early.value.kind == "conflict"
    another.cancel(name)
    assert service.poll(name) is JobState.CANCELLED
    assert emulator.running() == []


def test_a_job_that_is_not_yet_visible_is_queued(
    service: SageMakerMonitoring, emulator: AwsEmulator, games: pd.DataFrame
) -> None:
    emulator.fault("not_yet_visible", "CreateProcessingJob", times=3)
    name = service.submit(drift_job(games))
    assert service.poll(name) is JobState.QUEUED
    service.cancel(name)


@pytest.mark.parametrize("overtime", ["Stopped", "Failed"])
def test_a_job_over_its_time_limit_is_timed_out(
    service: SageMakerMonitoring, emulator: AwsEmulator, aws: Aws, games: pd.DataFrame,
    overtime: Literal["Stopped", "Failed"],
) -> None:  # fmt: skip
    emulator.processing_jobs.overtime = overtime
    emulator.images[aws.settings.image] = ("python", "-c", "import time; time.sleep(60)")
    asked = drift_job(games, time_limit=1)
    with pytest.raises(ServiceError, match=r"time limit of 1 s|MaxRuntimeInSeconds") as failed:
        look(service, asked, every=0.05)
    assert failed.value.kind == "timed_out"
    assert aws.sagemaker.describe_processing_job(ProcessingJobName=asked.name)["ProcessingJobStatus"] == overtime
