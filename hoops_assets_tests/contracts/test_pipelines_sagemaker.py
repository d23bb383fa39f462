"""What is the SageMaker pipelines' own: their definition, faults of the cloud, and what is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.pipelines.contract import Pipeline, PipelineResult, StepState, run
from hoops_assets.services.pipelines.sagemaker import SageMakerPipelines
from hoops_assets.services.pipelines.steps import CANDIDATES, training_steps
from hoops_assets.services.training.contract import JobState, TrainedModel, artefact_folder
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets_tests.workloads.frames import job

pytestmark = pytest.mark.slow


@pytest.fixture
def service(aws: Aws, emulator: AwsEmulator, tmp_path: Path) -> SageMakerPipelines:
    return SageMakerPipelines(aws, SageMakerTraining(aws, tmp_path, every=0.02), every=0.02)


def pipeline(frame: pd.DataFrame, *learners: str, retries: int = 1, time_limit: int = 3600) -> Pipeline:
    jobs = tuple(job(frame, learner, time_limit=time_limit) for learner in learners or ("base_rate",))
    return Pipeline(league="sim", jobs=jobs, parallelism=2, retries=retries)


def go(service: SageMakerPipelines, asked: Pipeline, frame: pd.DataFrame) -> PipelineResult:
    return run(service, asked, frame, every=0.03)[0]


def test_the_definition_is_the_list_of_steps(service: SageMakerPipelines, frame: pd.DataFrame) -> None:
    asked = pipeline(frame, *CANDIDATES, retries=3)
    told = service.definition(asked)
    condition = told["Steps"][-1]
    inner = [*condition["Arguments"]["IfSteps"], *condition["Arguments"]["ElseSteps"]]
    steps = {one["Name"]: one for one in (*told["Steps"], *inner)}
    types = {
        "train": "Training", "evaluate": "Processing", "judge": "Processing", "condition": "Condition",
        "register": "RegisterModel", "refuse": "Fail",
    }  # fmt: skip
    assert {name: one["Type"] for name, one in steps.items()} == {
        step.name.replace("_", "-"): types[step.kind] for step in training_steps(CANDIDATES)
    }
    for name in ("elo", "elo-evaluation", "judgement"):
        retried = {kind: one["MaxAttempts"] for one in steps[name]["RetryPolicies"] for kind in one["ExceptionType"]}
        assert retried["SageMaker.CAPACITY_ERROR"] == retried["Step.THROTTLING"] == 3
    assert service.definition(pipeline(frame.head(590), *CANDIDATES, retries=3)) == told
    assert "RetryPolicies" not in json.dumps(service.definition(pipeline(frame, retries=0)))


@pytest.mark.parametrize("action", ["CreateTrainingJob", "CreateProcessingJob"])
@pytest.mark.parametrize("fault", ["capacity_error", "throttling", "internal_error"])
def test_a_step_is_tried_again_when_that_may_help(
    service: SageMakerPipelines, emulator: AwsEmulator, frame: pd.DataFrame, action: str, fault: str
) -> None:
    emulator.fault(fault, action)
    result, progress = run(service, pipeline(frame), frame, every=0.03)
    assert result.challenger == "base_rate"
    assert sorted(step.attempts for step in progress.steps) == [0, 1, 1, 1, 1, 2]


def test_a_step_that_has_no_capacity_at_all_fails_as_quota_and_may_be_started_again(
    service: SageMakerPipelines, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    emulator.fault("capacity_error", "CreateTrainingJob", times=2)
    asked = pipeline(frame)
    with pytest.raises(ServiceError, match="CapacityError") as failed:
        go(service, asked, frame)
    assert failed.value.kind == "quota"
    assert service.follow(asked.name).step("base_rate").attempts == 2
    assert go(service, asked, frame).name == f"{asked.name}-2"


def test_a_step_over_its_time_limit_is_timed_out(
    service: SageMakerPipelines, emulator: AwsEmulator, frame: pd.DataFrame
) -> None:
    image = service.definition(pipeline(frame))["Steps"][0]["Arguments"]["AlgorithmSpecification"]["TrainingImage"]
    emulator.images[image] = ("python", "-c", "import time; time.sleep(60)")
    with pytest.raises(ServiceError) as failed:
        go(service, pipeline(frame, time_limit=1), frame)
    assert failed.value.kind == "timed_out"


@pytest.mark.parametrize("action", ["PutObject", "CreatePipeline", "CreateModelPackageGroup", "StartPipelineExecution"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("throttling", "throttled"), ("expired_credentials", "permission"), ("limit_exceeded", "quota")],
)
def test_a_start_that_is_refused_leaves_no_object_and_no_execution(
    service: SageMakerPipelines, emulator: AwsEmulator, frame: pd.DataFrame, action: str, fault: str, kind: str
) -> None:
    emulator.fault(fault, action, times=4)
    with pytest.raises(ServiceError) as refused:
        service.start(pipeline(frame), frame)
    assert refused.value.kind == kind
    standing = emulator.standing()
    assert (standing["object"], standing["running pipeline execution"], standing["training job"]) == ([], [], [])


@pytest.mark.parametrize(("fault", "action"), [("access_denied", "PutObject"), ("expired_credentials", "*")])
def test_what_is_refused_in_the_midst_of_a_start_keeps_its_kind(
    service: SageMakerPipelines, emulator: AwsEmulator, frame: pd.DataFrame, fault: str, action: str
) -> None:
    emulator.fault(fault, action, times=100, after=1)
    with pytest.raises(ServiceError) as refused:
        service.start(pipeline(frame), frame)
    assert refused.value.kind == "permission"
    assert emulator.standing()["object"] == []


def test_an_evaluation_over_its_time_limit_is_timed_out(
    service: SageMakerPipelines, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, trained: dict[str, TrainedModel]
) -> None:
    program = (
        "import os, shutil, sys, time\n"
        "if sys.argv[1] != 'train': time.sleep(60)\n"
        f"shutil.copytree({str(artefact_folder(trained['base_rate'].artefacts))!r},"
        " os.environ['SAGEMAKER_BASE_DIR'] + '/model', dirs_exist_ok=True)"
    )
    emulator.images[aws.settings.image] = ("python", "-c", program)
    with pytest.raises(ServiceError, match="base_rate_evaluation") as failed:
        go(service, pipeline(frame, time_limit=1), frame)
    assert failed.value.kind == "timed_out"


def test_a_new_process_joins_what_runs_and_stopping_leaves_nothing_running(
    service: SageMakerPipelines, emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, tmp_path: Path
) -> None:
    emulator.fault("slow_start", "CreateTrainingJob", seconds=5)
    name = service.start(pipeline(frame), frame)
    another = SageMakerPipelines(aws, SageMakerTraining(aws, tmp_path / "b", every=0.02), every=0.02)
    assert another.start(pipeline(frame), frame) == name
    another.stop(name)
    assert service.follow(name).state is JobState.CANCELLED
    assert service.follow(name).step("base_rate").state is StepState.CANCELLED
    standing = emulator.standing()
    assert [kind for kind, names in standing.items() if kind.startswith("running") and names] == []
    assert emulator.running() == []
    assert standing["model package"] == []


def test_a_definition_that_makes_no_sense_is_refused(emulator: AwsEmulator, aws: Aws) -> None:
    fail = {"Name": "a", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
    for wrong, told in (
        ([fail, fail], "unique"),
        ([{**fail, "DependsOn": ["b"]}], "refers to step b"),
        ([{**fail, "DependsOn": ["b"]}, {**fail, "Name": "b", "DependsOn": ["a"]}], "cycle"),
        ([{**fail, "Arguments": {"ErrorMessage": {"Get": "Parameters.P"}}}], "Parameters.P"),
        ([{**fail, "Type": "EMR"}], "no steps of type EMR"),
    ):
        definition = json.dumps({"Version": "2020-12-01", "Steps": wrong})
        with pytest.raises(aws.sagemaker.exceptions.ClientError, match=told):
            aws.sagemaker.create_pipeline(
                PipelineName="p", PipelineDefinition=definition, RoleArn=aws.settings.role, ClientRequestToken="t" * 32
            )
