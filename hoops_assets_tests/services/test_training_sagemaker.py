"""What is the SageMaker training provider's own: attempts, adoption, faults, and that nothing is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.aws import connect
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import JobState, TrainedModel, artefact_folder, train
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets.settings import AwsSettings
from hoops_assets_tests.workloads.frames import job

SLEEP = ("python", "-c", "import time; print('asleep', flush=True); time.sleep(60)")


@pytest.fixture
def emulator(emulator: AwsEmulator) -> Iterator[AwsEmulator]:
    yield emulator
    assert emulator.running() == []


@pytest.fixture
def service(aws: Aws, emulator: AwsEmulator, tmp_path: Path) -> SageMakerTraining:
    return SageMakerTraining(aws, tmp_path, every=0.02)


@pytest.fixture
def quick(aws: Aws, emulator: AwsEmulator, trained: dict[str, TrainedModel]) -> None:
    """The image leaves a model that was trained before."""
    source = artefact_folder(trained["elo"].artefacts)
    program = (
        "import os, shutil; print('metric test_brier=0.25');"
        f"shutil.copytree({str(source)!r}, os.environ['SAGEMAKER_BASE_DIR'] + '/model', dirs_exist_ok=True)"
    )
    emulator.images[aws.settings.image] = ("python", "-c", program)


def wait(service: SageMakerTraining, name: str, state: JobState) -> None:
    deadline = time.monotonic() + 20
    while (now := service.poll(name)) is not state:
        assert not now.finished and time.monotonic() < deadline, now
        time.sleep(0.01)


def left(emulator: AwsEmulator) -> list[str]:
    """Objects that belong to no job, and models of jobs that did not succeed."""
    standing = emulator.standing()
    jobs = {name: emulator.training_jobs.job(name).status for name in standing["training job"]}
    return [
        key
        for key in standing["object"]
        if jobs.get(key.split("/")[4]) is None or ("/output/" in key and jobs[key.split("/")[4]] != "Completed")
    ]


@pytest.mark.usefixtures("quick")
def test_a_model_tells_what_was_billed_and_what_was_printed(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame
) -> None:
    model = train(service, job(frame), frame, every=0.02)
    told = aws.sagemaker.describe_training_job(TrainingJobName=model.name)
    assert model.billed_seconds == told["BillableTimeInSeconds"] >= 1
    assert {one["MetricName"]: one["Value"] for one in told["FinalMetricDataList"]} == {"test_brier": 0.25}
    assert "metric test_brier=0.25" in service.log(model.name)
    assert told["EnableNetworkIsolation"] is True
    assert [one["Status"] for one in told["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert left(emulator) == []


def test_cancel_ends_the_process_and_the_job_can_be_asked_again_under_the_next_name(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame
) -> None:
    emulator.images[aws.settings.image] = SLEEP
    asked = job(frame)
    name = service.submit(asked, frame)
    wait(service, name, JobState.RUNNING)
    with pytest.raises(ServiceError, match="is running") as early:
        service.result(name)
    assert early.value.kind == "conflict"
    service.cancel(name)
    assert service.poll(name) is JobState.CANCELLED
    assert emulator.running() == []
    with pytest.raises(ServiceError, match="is cancelled"):
        service.result(name)
    again = service.submit(asked, frame)
    assert again == f"{asked.name}-2"
    service.cancel(again)
    assert service.submit(asked, frame) == f"{asked.name}-3"
    service.cancel(f"{asked.name}-3")
    assert left(emulator) == []


def test_a_job_that_is_not_yet_visible_can_be_stopped(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame
) -> None:
    emulator.images[aws.settings.image] = SLEEP
    emulator.fault("not_yet_visible", times=3)
    name = service.submit(job(frame), frame)
    service.cancel(name)
    assert emulator.training_jobs.job(name).status == "Stopped"
    assert left(emulator) == []


def test_whoever_comes_later_joins_the_running_job(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, tmp_path: Path
) -> None:
    emulator.images[aws.settings.image] = SLEEP
    name = service.submit(job(frame), frame)
    restarted = SageMakerTraining(Aws(aws.settings), tmp_path / "other", every=0.02)
    assert restarted.submit(job(frame), frame) == name
    assert emulator.standing()["training job"] == [name]
    restarted.cancel(name)


def test_an_interrupted_run_stops_its_job(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.images[aws.settings.image] = SLEEP
    poll = service.poll

    def interrupted(name: str) -> JobState:
        if poll(name) is JobState.RUNNING:
            raise KeyboardInterrupt
        return JobState.QUEUED

    monkeypatch.setattr(service, "poll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(service, job(frame), frame, every=0.02)
    assert poll(job(frame).name) is JobState.CANCELLED
    assert left(emulator) == []


def test_a_job_over_its_time_limit_is_stopped_and_timed_out(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame
) -> None:
    emulator.images[aws.settings.image] = SLEEP
    name = service.submit(job(frame, time_limit=1), frame)
    wait(service, name, JobState.FAILED)
    with pytest.raises(ServiceError, match="time limit of 1 s") as late:
        service.result(name)
    assert late.value.kind == "timed_out"
    assert aws.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("action", ["CreateTrainingJob", "DescribeTrainingJob", "PutObject"])
@pytest.mark.parametrize("kind", ["throttling", "internal_error"])
def test_what_passes_by_itself_is_tried_again(
    service: SageMakerTraining, emulator: AwsEmulator, frame: pd.DataFrame, kind: str, action: str
) -> None:
    emulator.fault(kind, action, times=3)
    assert train(service, job(frame), frame, every=0.02).billed_seconds > 0
    assert len(emulator.standing()["training job"]) == 1
    assert left(emulator) == []


@pytest.mark.parametrize("action", ["CreateTrainingJob", "DescribeTrainingJob", "PutObject"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("throttling", "throttled"),
        ("internal_error", "timed_out"),
        ("expired_credentials", "permission"),
        ("access_denied", "permission"),
        ("limit_exceeded", "quota"),
    ],
)
def test_what_does_not_pass_is_told_by_its_kind_and_leaves_nothing(
    service: SageMakerTraining, emulator: AwsEmulator, frame: pd.DataFrame, fault: str, kind: str, action: str
) -> None:
    emulator.fault(fault, action, times=100)
    with pytest.raises(ServiceError) as refused:
        service.submit(job(frame), frame)
    assert refused.value.kind == kind
    emulator.faults.clear()
    standing = emulator.standing()
    assert (standing["training job"], standing["object"]) == ([], [])


def test_the_second_file_that_is_refused_takes_the_first_with_it(
    service: SageMakerTraining, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    emulator.fault("access_denied", "PutObject", after=1)
    with pytest.raises(ServiceError) as refused:
        service.submit(job(frame), frame)
    assert refused.value.kind == "permission"
    assert emulator.standing()["object"] == []


def test_credentials_that_expire_are_told_as_such_though_the_clean_up_fails_too(
    service: SageMakerTraining, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    emulator.fault("expired_credentials", times=100, after=2)
    with pytest.raises(ServiceError, match="starting training job") as refused:
        service.submit(job(frame), frame)
    assert refused.value.kind == "permission"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "kind"), [("capacity_error", "quota"), ("spot_interruption", "throttled"), ("damaged_upload", "failed")]
)
def test_a_job_that_amazon_spoils_fails_with_its_reason_and_is_made_again(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, fault: str, kind: str
) -> None:
    emulator.fault(fault, seconds=0)
    with pytest.raises(ServiceError) as failed:
        train(service, job(frame), frame, every=0.02)
    assert failed.value.kind == kind
    assert train(service, job(frame), frame, every=0.02).name == f"{job(frame).name}-2"


@pytest.mark.usefixtures("quick")
def test_a_spot_job_goes_on_after_an_interruption(
    aws: Aws, emulator: AwsEmulator, frame: pd.DataFrame, tmp_path: Path
) -> None:
    spot = SageMakerTraining(Aws(aws.settings.model_copy(update={"spot": True})), tmp_path, every=0.02)
    emulator.fault("spot_interruption", seconds=0)
    model = train(spot, job(frame), frame, every=0.02)
    transitions = aws.sagemaker.describe_training_job(TrainingJobName=model.name)["SecondaryStatusTransitions"]
    assert "Interrupted" in [one["Status"] for one in transitions]


@pytest.mark.usefixtures("quick")
def test_a_slow_start_is_queued_and_a_job_that_is_not_yet_visible_too(
    service: SageMakerTraining, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    emulator.fault("slow_start", seconds=0.3)
    emulator.fault("not_yet_visible", times=2)
    name = service.submit(job(frame), frame)
    assert [service.poll(name) for _ in range(4)] == [JobState.QUEUED] * 4
    assert service.submit(job(frame), frame) == name
    wait(service, name, JobState.SUCCEEDED)
    assert emulator.standing()["training job"] == [name]


def test_a_container_that_dies_without_a_word_fails_with_its_last_line(
    service: SageMakerTraining, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame
) -> None:
    emulator.images[aws.settings.image] = ("python", "-c", "import os; print('last words', flush=True); os.abort()")
    with pytest.raises(ServiceError, match="last words, exit code: -6") as failed:
        train(service, job(frame), frame, every=0.02)
    assert failed.value.kind == "failed"


def test_settings_that_are_missing_are_named() -> None:
    with pytest.raises(ServiceError, match=r"aws\.bucket \(HOOPS_AWS__BUCKET\), aws\.role") as refused:
        connect(AwsSettings(region="eu-central-1", image="i"))
    assert refused.value.kind == "invalid"
