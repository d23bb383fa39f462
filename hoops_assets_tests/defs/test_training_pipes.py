"""What a remote training job tells appears in Dagster while it runs, and ending the run ends the job."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.defs.training.pipes import PipesSageMakerTrainingClient
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import TrainingJob
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets.workloads.spec import ONNX_PARITY
from hoops_assets_tests.workloads.frames import job, training_frame

KEY = dg.AssetKey(["sim", "logistic"])


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return training_frame()


@pytest.fixture
def emulator(emulator: AwsEmulator) -> Iterator[AwsEmulator]:
    yield emulator
    assert emulator.running() == []


@pytest.fixture
def client(aws: Aws, emulator: AwsEmulator, tmp_path: Path) -> PipesSageMakerTrainingClient:
    return PipesSageMakerTrainingClient(SageMakerTraining(aws, tmp_path, every=0.02), aws, every=0.02)


def materialise(
    client: PipesSageMakerTrainingClient, asked: TrainingJob, frame: pd.DataFrame, instance: dg.DagsterInstance,
    seen: list[Any] | None = None,
) -> dg.ExecuteInProcessResult:  # fmt: skip
    @dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec(ONNX_PARITY, asset=KEY)])
    def candidate(context: dg.AssetExecutionContext):
        done = client.run(context=context, job=asked, frame=frame)
        if seen is not None:
            seen.append(done.trained)
        return dg.MaterializeResult(
            value=done.trained.billed_seconds, metadata=done.told, check_results=list(done.checks)
        )

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return dg.materialize([candidate], instance=instance, run_config=quiet, raise_on_error=False)


def log_of(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(entry.message for entry in instance.all_logs(result.run_id))


def objects(emulator: AwsEmulator) -> list[str]:
    return [key for key in emulator.standing()["object"] if "/pipes/" in key]


def test_log_metrics_metadata_and_checks_of_the_job_stand_on_the_asset(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    result = materialise(client, job(frame, "logistic"), frame, instance)
    assert result.success
    assert "fitting logistic on 360 games of sim" in log_of(instance, result)
    observed = [
        event.asset_observation_data.asset_observation.metadata for event in result.get_asset_observation_events()
    ]
    assert [{name.split("_")[0] for name in one if name != "training_job"} for one in observed] == [
        {"validation"},
        {"test"},
    ]
    (event,) = result.get_asset_materialization_events()
    told = event.materialization.metadata
    assert told["fitted_on_games"].value == 480
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (ONNX_PARITY, True)
    assert 0 <= check.metadata["greatest_difference"].value <= 1e-5
    described = aws.sagemaker.describe_training_job(TrainingJobName=job(frame, "logistic").name)
    assert max(map(len, described["Environment"].values())) < 512
    assert described["EnableNetworkIsolation"] is False
    assert objects(emulator) == []


TELL = (
    "import time; from hoops_assets.workloads.telling import listener\n"
    "with listener() as told:\n told.log('under way'); told.metrics({'validation_brier': 0.25}); time.sleep(60)"
)


def started(
    client: PipesSageMakerTrainingClient, asked: TrainingJob, frame: pd.DataFrame, instance: dg.DagsterInstance
) -> threading.Thread:
    thread = threading.Thread(target=materialise, args=(client, asked, frame, instance), daemon=True)
    thread.start()
    return thread


def until(happened: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def observations(instance: dg.DagsterInstance) -> int:
    return len(instance.fetch_observations(KEY, limit=10).records)


def test_metrics_are_seen_while_the_job_runs_and_ending_the_run_stops_it(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Dagster ends a run by an interrupt, which reaches the body as a BaseException of its own."""
    emulator.images[aws.settings.image] = ("python", "-c", TELL)
    instance = dg.DagsterInstance.ephemeral()
    poll, seen = SageMakerTraining.poll, []

    def interrupted(self: SageMakerTraining, name: str) -> Any:
        if observations(instance):
            seen.append(aws.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])
            raise dg.DagsterExecutionInterruptedError
        return poll(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(SageMakerTraining, "poll", interrupted)
        assert not materialise(client, job(frame, "logistic"), frame, instance).success
    assert seen == ["InProgress"]
    assert emulator.training_jobs.job(job(frame, "logistic").name).status == "Stopped"
    assert emulator.running() == []
    assert objects(emulator) == []


@pytest.mark.parametrize("trouble", [dg.DagsterExecutionInterruptedError(), ServiceError("throttled", "Rate exceeded")])
def test_a_run_that_ends_before_it_waits_stops_the_job_and_one_that_fails_there_leaves_it_running(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch, trouble: BaseException,
) -> None:  # fmt: skip
    emulator.images[aws.settings.image] = ("python", "-c", "import time; time.sleep(60)")

    def environment(self: SageMakerTraining, name: str) -> Any:
        raise trouble

    monkeypatch.setattr(SageMakerTraining, "environment", environment)
    asked = job(frame, "logistic")
    assert not materialise(client, asked, frame, dg.DagsterInstance.ephemeral()).success
    goes_on = isinstance(trouble, ServiceError)
    assert emulator.training_jobs.job(asked.name).status == ("InProgress" if goes_on else "Stopped")
    assert [key.rpartition("/")[2] for key in objects(emulator)] == (["context.json"] if goes_on else [])
    client._service.cancel(asked.name)


@pytest.mark.slow
def test_a_run_that_tries_again_hears_a_job_that_began_only_then(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    emulator.fault("slow_start", seconds=2)

    def throttled(self: SageMakerTraining, name: str) -> Any:
        raise ServiceError("throttled", "Rate exceeded")

    asked, instance = job(frame, "elo"), dg.DagsterInstance.ephemeral()
    with monkeypatch.context() as patch:
        patch.setattr(SageMakerTraining, "poll", throttled)
        assert not materialise(client, asked, frame, instance).success
    assert "TrainingStartTime" not in aws.sagemaker.describe_training_job(TrainingJobName=asked.name)
    again = materialise(client, asked, frame, instance)
    assert again.success
    assert len(again.get_asset_observation_events()) == 2
    assert "fitting elo on 360 games of sim" in log_of(instance, again)
    assert emulator.standing()["training job"] == [asked.name]
    assert objects(emulator) == []


def test_a_run_that_joins_hears_all_that_the_job_told_before(
    aws: Aws, emulator: AwsEmulator, frame: pd.DataFrame, tmp_path: Path
) -> None:
    emulator.images[aws.settings.image] = ("python", "-c", TELL)
    asked, lost = job(frame, "logistic"), dg.DagsterInstance.ephemeral()

    class Killed(SageMakerTraining):
        """The waiting process is gone before the job has ended: nothing more is polled, read or deleted."""

        def poll(self, name: str) -> Any:
            threading.Event().wait()

    first = PipesSageMakerTrainingClient(Killed(aws, tmp_path, every=0.02), aws, every=0.02)
    started(first, asked, frame, lost)
    until(lambda: any(key.endswith("/1.json") for key in objects(emulator)))
    instance = dg.DagsterInstance.ephemeral()
    second = PipesSageMakerTrainingClient(
        SageMakerTraining(Aws(aws.settings), tmp_path / "b", every=0.02), aws, every=0.02
    )
    waiting = started(second, asked, frame, instance)
    until(lambda: observations(instance))
    assert emulator.standing()["training job"] == [asked.name]
    aws.sagemaker.stop_training_job(TrainingJobName=asked.name)
    waiting.join(20)
    assert objects(emulator) == []


def test_a_job_that_fails_says_why_in_the_log_and_leaves_no_message(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    result = materialise(client, job(frame, "logistic", parameters={"C": -1}), frame, instance)
    assert not result.success
    assert "failed: learner logistic cannot be fitted" in log_of(instance, result)
    (failure,) = [event for event in result.all_node_events if event.is_step_failure]
    assert "ServiceError" in str(failure.step_failure_data.error) and "AlgorithmError" in str(
        failure.step_failure_data.error
    )
    assert objects(emulator) == []


def test_a_refused_submission_leaves_no_context(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    emulator.fault("limit_exceeded", "CreateTrainingJob")
    assert not materialise(client, job(frame, "logistic"), frame, dg.DagsterInstance.ephemeral()).success
    assert emulator.standing()["object"] == []


@pytest.mark.slow
def test_messages_that_cannot_be_read_now_are_read_later(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    emulator.fault("access_denied", "ListBucket", times=3)
    result = materialise(client, job(frame, "elo"), frame, dg.DagsterInstance.ephemeral())
    assert result.success
    assert len(result.get_asset_observation_events()) == 2


@pytest.mark.slow
def test_an_interrupted_spot_job_is_heard_after_it_began_again(
    aws: Aws, emulator: AwsEmulator, frame: pd.DataFrame, tmp_path: Path
) -> None:
    spot = Aws(aws.settings.model_copy(update={"spot": True}))
    client = PipesSageMakerTrainingClient(SageMakerTraining(spot, tmp_path, every=0.02), spot, every=0.02)
    emulator.fault("spot_interruption", seconds=0.05)
    result = materialise(client, job(frame, "elo"), frame, dg.DagsterInstance.ephemeral())
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert objects(emulator) == []


def test_without_the_variables_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hoops_assets.workloads import telling

    with telling.listener() as told:
        told.log("nothing")
    assert type(told) is telling.Listener
    monkeypatch.setenv(telling.CONTEXT, "x")
    monkeypatch.setenv(telling.MESSAGES, "y")
    with telling.listener() as told:
        told.check(ONNX_PARITY, True, {})
    assert type(told) is telling.Listener
    assert "nobody listens to this job" in capsys.readouterr().err
    assert os.environ[telling.CONTEXT] == "x"


def test_a_service_error_keeps_its_kind(
    client: PipesSageMakerTrainingClient, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    kinds = []

    @dg.asset(key=KEY)
    def candidate(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        try:
            client.run(context=context, job=job(frame, "elo"), frame=frame)
        except ServiceError as error:
            kinds.append((error.kind, error.transient))
        return dg.MaterializeResult(value=None)

    emulator.fault("capacity_error")
    assert dg.materialize([candidate], instance=dg.DagsterInstance.ephemeral()).success
    assert kinds == [("quota", True)]
