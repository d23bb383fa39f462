"""Pipelines on Amazon SageMaker.

What belongs here: the provider of the pipeline contract on CreatePipeline. A league has one pipeline, hoops-LEAGUE-training,
whose definition is made from the list of our training steps and renewed when it differs; one of ours is an execution of it,
by its display name. A name that has failed is started again as NAME-2. What an execution reads and writes stands under
s3://BUCKET/PREFIX/LEAGUE/pipelines/NAME/:

    given/LEARNER/                      job.json, spec.json, training_set.parquet: the channel of its training job
    models/LEARNER/JOB/output/          model.tar.gz
    evaluations/LEARNER/evaluation.json
    judgement/judgement.json

The best candidate's package goes to the group hoops-LEAGUE-pipeline, pending approval: what the pipeline itself has to say.
The registry's own packages (see `registry.sagemaker`) follow from the record.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hoops_assets.clouds.aws import Aws, dashed, tags
from hoops_assets.services.aws import asked, clean_up, kind_of_reason, over_its_limit
from hoops_assets.services.errors import ErrorKind, ServiceError
from hoops_assets.services.pipelines.contract import (
    Pipeline,
    PipelineResult,
    Progress,
    StepProgress,
    StepState,
    check_frames,
    no_pipeline,
    unfinished,
)
from hoops_assets.services.pipelines.steps import Step
from hoops_assets.services.training.contract import JobState
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads.evaluation import Evaluation
from hoops_assets.workloads.spec import training_table

FOLDER = "Folder"
"""The definition's one parameter: URI under which an execution reads and writes."""

ATTEMPTS = 99
INPUT, OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
_FILE = "pipeline.json"
_EVALUATION, _JUDGEMENT = "evaluation.json", "judgement.json"
_STOPPED_WITHIN = 900.0
_PROCESSED = ("evaluate", "judge")
_NAME = re.compile(r"(hoops-([a-z0-9-]+)-training)-[0-9a-f]{16}(?:-(\d+))?")
_STATES = {
    "Executing": JobState.RUNNING, "Stopping": JobState.RUNNING, "Stopped": JobState.CANCELLED,
    "Failed": JobState.FAILED, "CompletedWithFailures": JobState.FAILED, "Succeeded": JobState.SUCCEEDED,
}  # fmt: skip
_STEP_STATES = {
    "Starting": StepState.RUNNING, "Executing": StepState.RUNNING, "Stopping": StepState.RUNNING,
    "Stopped": StepState.CANCELLED, "Failed": StepState.FAILED, "Succeeded": StepState.SUCCEEDED,
}  # fmt: skip


class SageMakerPipelines:
    """See the contract.

    Args:
        training: fetches the models that training jobs left.
        every: seconds between two looks while waiting for a pipeline to stop.
    """

    provider = "sagemaker"

    def __init__(self, aws: Aws, training: SageMakerTraining, *, every: float = 2.0) -> None:
        self._aws, self._training, self._every = aws, training, every
        self._arns: dict[str, str] = {}

    def start(self, pipeline: Pipeline, frame: pd.DataFrame) -> str:
        """See the contract."""
        check_frames(pipeline, frame)
        last = self._last(pipeline.name)
        if last is not None and _STATES[last["PipelineExecutionStatus"]] in (JobState.RUNNING, JobState.SUCCEEDED):
            name = last["PipelineExecutionDisplayName"]
            if last["PipelineExecutionStatus"] != "Stopping":
                return name
        name = _next(pipeline.name, last)
        folder = self._folder(pipeline, name)
        try:
            with asked(f"starting pipeline {name}"):
                self._give(pipeline, frame, folder)
                self._define(pipeline)
                self._arns[name] = self._aws.sagemaker.start_pipeline_execution(
                    PipelineName=_pipeline_of(name), PipelineExecutionDisplayName=name,
                    PipelineParameters=[{"Name": FOLDER, "Value": folder}], ClientRequestToken=_token(name),
                    ParallelismConfiguration={"MaxParallelExecutionSteps": pipeline.parallelism},
                )["PipelineExecutionArn"]  # fmt: skip
        except ServiceError as error:
            # Without an answer it may run all the same; its token lets it be started only once.
            if error.kind != "timed_out":
                clean_up(self._aws, folder)
            raise
        return name

    def follow(self, name: str) -> Progress:
        """See the contract."""
        arn = self._arn(name)
        with asked(f"asking for pipeline {name}"):
            told = self._aws.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
            begun = self._begun(arn)
        state = _STATES[told["PipelineExecutionStatus"]]
        pipeline = self._pipeline(name)
        steps = tuple(_progress(step, begun.get(dashed(step.name)), state) for step in pipeline.steps)
        failed = [f"{step.name}: {step.reason}" for step in steps if step.state is StepState.FAILED]
        return Progress(name=name, state=state, steps=steps, reason="; ".join(failed) or told.get("FailureReason", ""))

    def result(self, name: str) -> PipelineResult:
        """See the contract."""
        progress, pipeline = self.follow(name), self._pipeline(name)
        if progress.state is JobState.FAILED:
            raise ServiceError(self._kind(progress), f"pipeline {name} failed: {progress.reason}")
        if progress.state is not JobState.SUCCEEDED:
            raise unfinished(name, progress.state)
        folder = self._folder(pipeline, name)
        learners = [job.learner for job in pipeline.jobs]
        with asked(f"reading what pipeline {name} made"):
            judged = json.loads(self._aws.get(f"{folder}/judgement/{_JUDGEMENT}"))
            evaluations = {
                one: Evaluation.model_validate_json(self._aws.get(f"{folder}/evaluations/{one}/{_EVALUATION}"))
                for one in learners
            }
        return PipelineResult(
            name=name, provider=self.provider, evaluations=evaluations, challenger=judged["challenger"],
            models={one: self._training.result(progress.step(one).job) for one in learners},
            evidence=judged["evidence"], registered=progress.step("challenger").job,
        )  # fmt: skip

    def stop(self, name: str) -> None:
        """See the contract."""
        arn = self._arn(name)
        if self.follow(name).state.finished:
            return
        try:
            with asked(f"stopping pipeline {name}"):
                self._aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=_token(arn))
        except ServiceError as error:
            if error.kind not in ("invalid", "conflict"):  # it ended, or is being stopped, since we looked
                raise
        deadline = time.monotonic() + _STOPPED_WITHIN
        while not self.follow(name).state.finished:
            if time.monotonic() > deadline:
                raise ServiceError("timed_out", f"pipeline {name} does not stop within {_STOPPED_WITHIN:g} s")
            time.sleep(self._every)

    # -- defining -----------------------------------------------------------------------------------------------------

    def definition(self, pipeline: Pipeline) -> dict[str, Any]:
        """The definition in SageMaker's language, schema 2020-12-01; the same for every data of a league."""
        parts = {
            "train": self._train, "evaluate": self._evaluate, "judge": self._judge, "register": self._register,
            "refuse": self._refuse,
        }  # fmt: skip
        made: list[dict[str, Any]] = []
        for step in pipeline.steps:
            if step.kind == "condition":
                branches = {
                    outcome: [
                        parts[one.kind](one, pipeline)
                        for one in pipeline.steps
                        if step.name in one.needs and one.branch is outcome
                    ]
                    for outcome in (True, False)
                }
                honest = {"Type": "Equals", "LeftValue": _judged(step.needs[0], "honest"), "RightValue": True}
                made.append({
                    "Name": dashed(step.name), "Type": "Condition",
                    "Arguments": {"Conditions": [honest], "IfSteps": branches[True], "ElseSteps": branches[False]},
                })  # fmt: skip
            elif step.branch is None:
                made.append(parts[step.kind](step, pipeline))
        return {
            "Version": "2020-12-01", "Metadata": {}, "Parameters": [{"Name": FOLDER, "Type": "String"}], "Steps": made,
        }  # fmt: skip

    def _train(self, step: Step, pipeline: Pipeline) -> dict[str, Any]:
        request = self._training.request(pipeline.job(step.learner), "-", "", {})
        request.pop("TrainingJobName")
        request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = _under("given", step.learner, "")
        request["OutputDataConfig"]["S3OutputPath"] = _under("models", step.learner)
        request["Tags"] = tags(pipeline.league, "training", learner=step.learner)
        return {"Name": dashed(step.name), "Type": "Training", "Arguments": request, **_again(pipeline)}

    def _evaluate(self, step: Step, pipeline: Pipeline) -> dict[str, Any]:
        model = {"Get": f"Steps.{dashed(step.learner)}.ModelArtifacts.S3ModelArtifacts"}
        given = {"given": _under("given", step.learner, ""), "model": model}
        return self._process(step, pipeline, given, _under("evaluations", step.learner))

    def _judge(self, step: Step, pipeline: Pipeline) -> dict[str, Any]:
        made = self._process(step, pipeline, {"": _under("evaluations", "")}, _under("judgement"))
        file = {"PropertyFileName": "judgement", "OutputName": "made", "FilePath": _JUDGEMENT}
        return {**made, "DependsOn": [dashed(need) for need in step.needs], "PropertyFiles": [file]}

    def _process(self, step: Step, pipeline: Pipeline, given: dict[str, Any], made: Any) -> dict[str, Any]:
        settings = self._aws.settings
        limit = max(job.time_limit for job in pipeline.jobs)
        key = {"KmsKeyId": settings.kms_key} if settings.kms_key else {}
        arguments = {
            "RoleArn": settings.role,
            "AppSpecification": {"ImageUri": settings.image, "ContainerArguments": [step.kind]},
            "ProcessingInputs": [
                {
                    "InputName": name or "given",
                    "S3Input": {
                        "S3Uri": uri, "LocalPath": f"{INPUT}/{name}".rstrip("/"), "S3DataType": "S3Prefix",
                        "S3InputMode": "File", "S3DataDistributionType": "FullyReplicated",
                    },
                }
                for name, uri in given.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "made",
                        "S3Output": {"S3Uri": made, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
                    }
                ],
                **key,
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1, "InstanceType": settings.training_instance, "VolumeSizeInGB": 5,
                    **({"VolumeKmsKeyId": settings.kms_key} if settings.kms_key else {}),
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": limit},
            "NetworkConfig": {"EnableNetworkIsolation": True},
            "Tags": tags(pipeline.league, "training"),
        }  # fmt: skip
        return {"Name": dashed(step.name), "Type": "Processing", "Arguments": arguments, **_again(pipeline)}

    def _register(self, step: Step, pipeline: Pipeline) -> dict[str, Any]:
        judgement = "judgement"
        return {
            "Name": dashed(step.name), "Type": "RegisterModel", **_again(pipeline, jobs=False),
            "Arguments": {
                "ModelPackageGroupName": group_of(_league_part(pipeline.name)),
                "ModelApprovalStatus": "PendingManualApproval",
                "ModelPackageDescription": _judged(judgement, "told"),
                "SourceUri": _join("/", {"Get": f"Parameters.{FOLDER}"}, "models", _judged(judgement, "challenger")),
            },
        }  # fmt: skip

    def _refuse(self, step: Step, pipeline: Pipeline) -> dict[str, Any]:
        return {"Name": dashed(step.name), "Type": "Fail", "Arguments": {"ErrorMessage": _judged("judgement", "told")}}

    def _define(self, pipeline: Pipeline) -> None:
        """Makes the league's pipeline and package group, or renews a definition that differs."""
        name, sagemaker = _pipeline_of(pipeline.name), self._aws.sagemaker
        wanted = json.dumps(self.definition(pipeline), sort_keys=True)
        try:
            with asked(f"asking for pipeline {name}"):
                known = sagemaker.describe_pipeline(PipelineName=name)
        except ServiceError as error:
            if error.kind != "not_found":
                raise
            self._make_group(pipeline)
            sagemaker.create_pipeline(
                PipelineName=name, PipelineDefinition=wanted, RoleArn=self._aws.settings.role,
                PipelineDescription=f"Training of league {pipeline.league}", ClientRequestToken=_token(wanted),
                Tags=tags(pipeline.league, "training"),
            )  # fmt: skip
            return
        if (known["PipelineDefinition"], known["RoleArn"]) != (wanted, self._aws.settings.role):
            sagemaker.update_pipeline(
                PipelineName=name, PipelineDefinition=wanted, RoleArn=self._aws.settings.role
            )  # fmt: skip

    def _make_group(self, pipeline: Pipeline) -> None:
        try:
            with asked("making the pipeline's model package group"):
                self._aws.sagemaker.create_model_package_group(
                    ModelPackageGroupName=group_of(_league_part(pipeline.name)),
                    ModelPackageGroupDescription=f"Challengers of league {pipeline.league}, as its pipeline chose them",
                    Tags=tags(pipeline.league, "training"),
                )  # fmt: skip
        except ServiceError as error:
            if error.kind != "conflict":
                raise

    def _give(self, pipeline: Pipeline, frame: pd.DataFrame, folder: str) -> None:
        """Uploads what every step reads."""
        place = folder.removeprefix(self._aws.uri(""))
        self._aws.put(f"{place}/{_FILE}", pipeline.model_dump_json().encode())
        for job in pipeline.jobs:
            sink = pa.BufferOutputStream()
            pq.write_table(training_table(frame, job.features), sink)
            for file, content in (
                ("job.json", job.model_dump_json().encode()), (layout.SPEC, job.spec.model_dump_json().encode()),
                (layout.TRAINING_SET, sink.getvalue().to_pybytes()),
            ):  # fmt: skip
                self._aws.put(f"{place}/given/{job.learner}/{file}", content)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _folder(self, pipeline: Pipeline, name: str) -> str:
        return self._aws.uri(self._aws.key(pipeline.league, "pipelines", name))

    def _pipeline(self, name: str) -> Pipeline:
        league = _league_part(name).replace("-", "_")
        with asked(f"reading what pipeline {name} is"):
            uri = self._aws.uri(self._aws.key(league, "pipelines", name, _FILE))
            return Pipeline.model_validate_json(self._aws.get(uri))

    def _executions(self, name: str) -> list[dict[str, Any]]:
        """The executions of a name and of those that followed it, newest first."""
        first = _first(name)
        try:
            with asked(f"asking for pipeline {name}"):
                pages = self._aws.sagemaker.get_paginator("list_pipeline_executions").paginate(
                    PipelineName=_pipeline_of(first), SortBy="CreationTime", SortOrder="Descending"
                )
                found = [one for page in pages for one in page["PipelineExecutionSummaries"]]
        except ServiceError as error:
            if error.kind == "not_found":
                return []
            raise
        return [one for one in found if _first(one.get("PipelineExecutionDisplayName", "")) == first]

    def _last(self, name: str) -> dict[str, Any] | None:
        return next(iter(self._executions(name)), None)

    def _arn(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise no_pipeline(name)
        if name not in self._arns:
            found = {one["PipelineExecutionDisplayName"]: one["PipelineExecutionArn"] for one in self._executions(name)}
            if name not in found:
                raise no_pipeline(name)
            self._arns[name] = found[name]
        return self._arns[name]

    def _begun(self, arn: str) -> dict[str, dict[str, Any]]:
        pages = self._aws.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(PipelineExecutionArn=arn)
        return {one["StepName"]: one for page in pages for one in page["PipelineExecutionSteps"]}

    def _kind(self, progress: Progress) -> ErrorKind:
        failed = next((step for step in progress.steps if step.state is StepState.FAILED), None)
        if failed is None:
            return "failed"
        if failed.kind == "train" and failed.job:
            try:
                self._training.result(failed.job)
            except ServiceError as error:
                return error.kind
        if "MaxRuntime" in failed.reason or (failed.kind in _PROCESSED and failed.job and self._overdue(failed.job)):
            return "timed_out"
        return "throttled" if failed.reason.startswith("Throttling") else kind_of_reason(failed.reason)

    def _overdue(self, job: str) -> bool:
        with asked(f"asking for processing job {job}"):
            return over_its_limit(self._aws.sagemaker.describe_processing_job(ProcessingJobName=job))


def group_of(league: str) -> str:
    """Name of the package group of a league's pipeline. Args: league: with dashes."""
    return f"hoops-{league}-pipeline"


def _progress(step: Step, told: dict[str, Any] | None, pipeline: JobState) -> StepProgress:
    if told is None:
        left = {JobState.FAILED: StepState.SKIPPED, JobState.SUCCEEDED: StepState.SKIPPED}
        state = left.get(pipeline, StepState.CANCELLED if pipeline is JobState.CANCELLED else StepState.WAITING)
        return StepProgress(name=step.name, kind=step.kind, state=state)
    made = [one["Arn"] for one in told.get("Metadata", {}).values() if "Arn" in one]
    return StepProgress(
        name=step.name, kind=step.kind, state=_STEP_STATES[told["StepStatus"]], attempts=told.get("AttemptCount", 1),
        began=told.get("StartTime"), ended=told.get("EndTime"), reason=told.get("FailureReason", ""),
        job=made[0].split("/", 1)[1] if made else "",
    )  # fmt: skip


def _again(pipeline: Pipeline, jobs: bool = True) -> dict[str, Any]:
    """Retry policies of a step: of its call, and of its job."""
    if not pipeline.retries:
        return {}
    base = {"IntervalSeconds": 10, "BackoffRate": 2.0, "MaxAttempts": pipeline.retries}
    kinds = [["Step.SERVICE_FAULT", "Step.THROTTLING"]]
    if jobs:
        kinds.append(["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"])
    return {"RetryPolicies": [{"ExceptionType": kind, **base} for kind in kinds]}


def _join(on: str, *values: Any) -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def _under(*parts: str) -> dict[str, Any]:
    return _join("/", {"Get": f"Parameters.{FOLDER}"}, *parts)


def _judged(step: str, path: str) -> dict[str, Any]:
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{dashed(step)}.PropertyFiles.judgement"}, "Path": path}}


def _token(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _match(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(name)


def _league_part(name: str) -> str:
    found = _match(name)
    if found is None:
        raise no_pipeline(name)
    return found[2]


def _pipeline_of(name: str) -> str:
    found = _match(name)
    if found is None:
        raise no_pipeline(name)
    return found[1]


def _first(name: str) -> str:
    """The name of the first of those that were started again."""
    found = _match(name)
    return name.removesuffix(f"-{found[3]}") if found and found[3] else name


def _next(first: str, last: dict[str, Any] | None) -> str:
    if last is None:
        return first
    found = _match(last["PipelineExecutionDisplayName"])
    number = int((found and found[3]) or 1) + 1
    if number > ATTEMPTS:
        raise ServiceError("conflict", f"pipeline {first} was started {ATTEMPTS} times; look why it fails")
    return f"{first}-{number}"
