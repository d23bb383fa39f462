"""Training on Amazon SageMaker.

What belongs here: the provider of the training contract on CreateTrainingJob with the platform's own image. What a job is
given and what it leaves stand under s3://BUCKET/PREFIX/LEAGUE/jobs/NAME/: input/ (job.json, spec.json,
training_set.parquet) and output/model.tar.gz. SageMaker's own record of its jobs is the state: another process, or the
same after a restart, finds a running job by its name and joins it. A name cannot be used twice there, so a job that is
started again is NAME-2, NAME-3, ...
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from hoops_assets.clouds.aws import Aws, tags
from hoops_assets.services.aws import asked, clean_up, kind_of_reason, unpack
from hoops_assets.services.errors import ErrorKind, ServiceError
from hoops_assets.services.training import built_in
from hoops_assets.services.training.contract import NOTHING, JobState, TrainedModel, TrainingJob, check_frame
from hoops_assets.store import atomic
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads.container import CHANNEL
from hoops_assets.workloads.spec import FileDigest, TrainingOutcome

METRICS = tuple(
    f"{split}_{score}"
    for split in ("validation", "test")
    for score in ("log_loss", "brier", "accuracy", "calibration_error", "n")
)
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
ATTEMPTS = 99
_VISIBLE_WITHIN = 60.0
"""Seconds in which a job that was just made may still be unknown to whoever asks."""
_STOPPED_WITHIN = 600.0
_SPOT_PATIENCE = 3600
_TIMED_OUT = ("MaxRuntimeExceeded", "MaxWaitTimeExceeded", "MaxPendingTimeExceeded")


class SageMakerTraining:
    """See the contract.

    Args:
        aws: also its attribute, for whoever needs the same clients.
        folder: where artefacts are fetched to, FOLDER/NAME/model.
        every: seconds between two looks while waiting for a job to stop.
    """

    provider = "sagemaker"

    def __init__(self, aws: Aws, folder: Path, *, every: float = 2.0) -> None:
        self.aws = self._aws = aws
        self._folder = Path(folder)
        self._every = every
        self._submitted: dict[str, tuple[float, Mapping[str, str]]] = {}

    def submit(self, job: TrainingJob, frame: pd.DataFrame, environment: Mapping[str, str] = NOTHING) -> str:
        """See the contract."""
        table = check_frame(job, frame)
        taken, last = self._attempts(job.name)
        if last is not None and self._usable(taken, last):
            return taken
        number = 1 if last is None else _number(taken, job.name) + 1
        if number > ATTEMPTS:
            raise ServiceError("conflict", f"training job {job.name} was started {ATTEMPTS} times; look why it fails")
        name = job.name if number == 1 else f"{job.name}-{number}"
        written = io.BytesIO()
        pq.write_table(table, written)
        given = self._uri(job.league, name, "input/")
        files = {
            "job.json": job.model_dump_json().encode(),
            layout.SPEC: job.spec.model_dump_json().encode(),
            layout.TRAINING_SET: written.getvalue(),
            **(built_in.files(job, table) if job.learner in built_in.BUILT_IN else {}),
        }
        try:
            with asked(f"starting training job {name}"):
                for file, content in files.items():
                    self._aws.put(self._aws.key(job.league, "jobs", name, "input", file), content)
                self._aws.sagemaker.create_training_job(**self.request(job, name, given, environment))
        except ServiceError as error:
            # On a conflict somebody else was a moment earlier: that is the job.
            if error.kind != "conflict" and (error.kind != "timed_out" or self._look(name) is None):
                clean_up(self._aws, given)
                raise
        self._submitted[name] = (time.monotonic(), environment)
        return name

    def poll(self, name: str) -> JobState:
        """See the contract."""
        return _state(self._describe(name))

    def result(self, name: str) -> TrainedModel:
        """See the contract."""
        told = self._describe(name)
        state = _state(told)
        if state is JobState.FAILED:
            reason = _reason(told)
            clean_up(self._aws, _output(told))
            raise ServiceError(_kind(told), f"training job {name} failed: {reason}")
        if state is not JobState.SUCCEEDED:
            raise ServiceError("conflict", f"training job {name} is {state.value}; only a succeeded job has a model")
        model = self._fetch(name, told)
        outcome = TrainingOutcome.model_validate_json((model / layout.RESULT).read_bytes())
        return TrainedModel(
            name=name,
            job=self._job(name, told),
            provider=self.provider,
            artefacts=model.absolute().as_uri(),
            metrics=json.loads((model / layout.METRICS).read_bytes()),
            outcome=outcome,
            seconds=(told["TrainingEndTime"] - told["CreationTime"]).total_seconds(),
            billed_seconds=float(told.get("BillableTimeInSeconds", 0)),
        )

    def cancel(self, name: str) -> None:
        """See the contract."""
        deadline, told_to_stop = time.monotonic() + _STOPPED_WITHIN, False
        while not _state(told := self._describe(name)).finished:
            try:
                if not told_to_stop:
                    with asked(f"stopping training job {name}"):
                        self._aws.sagemaker.stop_training_job(TrainingJobName=name)
                told_to_stop = True
            except ServiceError as error:
                # It ended, or is being stopped, since we looked; or it is not yet visible to that call.
                if error.kind not in ("invalid", "conflict", "not_found"):
                    raise
            if time.monotonic() > deadline:
                raise ServiceError("timed_out", f"training job {name} does not stop; it is {told['SecondaryStatus']}")
            time.sleep(self._every)
        if _state(told) is JobState.CANCELLED:
            with asked(f"deleting what training job {name} left"):
                self._aws.delete_under(_output(told))

    def log(self, name: str) -> str:
        """What the job printed, from CloudWatch Logs; empty if nothing stands there (yet)."""
        self._describe(name)
        lines: list[str] = []
        try:
            with asked(f"reading the log of training job {name}"):
                pages = self._aws.client("logs").get_paginator("filter_log_events")
                for page in pages.paginate(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/"):
                    lines += [event["message"] for event in page["events"]]
        except ServiceError as error:
            if error.kind != "not_found":
                raise
        return "\n".join(lines)

    def environment(self, name: str) -> dict[str, str]:
        """The variables that a job was started with; of a joined one, those of whoever started it."""
        return self._describe(name).get("Environment", {})

    def request(self, job: TrainingJob, name: str, given: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """CreateTrainingJob for a job whose files stand under `given`, an S3 URI that ends in NAME/input/."""
        settings = self._aws.settings
        limit = max(1, job.time_limit)
        key = {"KmsKeyId": settings.kms_key} if settings.kms_key else {}
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": settings.image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": name, "Regex": rf"metric {name}=(\S+)"} for name in METRICS],
            },
            "HyperParameters": {"learner": job.learner, "league": job.league, "seed": str(job.seed)},
            "RoleArn": settings.role,
            "InputDataConfig": [
                {
                    "ChannelName": CHANNEL,
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": given}},
                }
            ],
            "OutputDataConfig": {"S3OutputPath": given.removesuffix(f"/{name}/input/"), **key},
            "ResourceConfig": {
                "InstanceType": settings.training_instance, "InstanceCount": 1, "VolumeSizeInGB": 5,
                **({"VolumeKmsKeyId": settings.kms_key} if settings.kms_key else {}),
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": limit},
            # The job needs nothing but its channel, and the bucket if it is to tell how it goes.
            "EnableNetworkIsolation": not environment,
            "Environment": dict(environment),
            "Tags": tags(job.league, "training", learner=job.learner, digest=job.training_set.digest[:12]),
        }  # fmt: skip
        if job.learner in built_in.BUILT_IN:
            request |= built_in.request(job, given, settings.region)
        if settings.spot:
            request["EnableManagedSpotTraining"] = True
            request["StoppingCondition"]["MaxWaitTimeInSeconds"] = limit + _SPOT_PATIENCE
        return request

    def _attempts(self, name: str) -> tuple[str, dict[str, Any] | None]:
        """(name, description) of the last job that was started under a name, or (name, None)."""
        last, told = name, self._look(name)
        for number in range(2, ATTEMPTS + 1):
            if told is None:
                break
            later = self._look(f"{name}-{number}")
            if later is None:
                break
            last, told = f"{name}-{number}", later
        return last, told

    def _usable(self, name: str, told: dict[str, Any]) -> bool:
        """Whether a job may be joined or reused; one whose artefacts are gone or damaged may not."""
        state = _state(told)
        if state is not JobState.SUCCEEDED:
            return not state.finished and told["TrainingJobStatus"] != "Stopping"
        try:
            self._fetch(name, told)
        except ServiceError as error:
            if error.kind not in ("not_found", "failed"):
                raise
            return False
        return True

    def _look(self, name: str) -> dict[str, Any] | None:
        """What SageMaker tells of a job; None if it knows none of that name."""
        try:
            with asked(f"asking for training job {name}"):
                return self._aws.sagemaker.describe_training_job(TrainingJobName=name)
        except ServiceError as error:
            if error.kind != "not_found":
                raise
            return None

    def _describe(self, name: str) -> dict[str, Any]:
        told = self._look(name)
        if told is not None:
            return told
        submitted, environment = self._submitted.get(name, (-_VISIBLE_WITHIN, NOTHING))
        if time.monotonic() - submitted < _VISIBLE_WITHIN:
            return {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting", "Environment": dict(environment)}
        raise ServiceError("not_found", f"no training job {name} in {self._aws.settings.region}; submit it first")

    def _job(self, name: str, told: dict[str, Any]) -> TrainingJob:
        return TrainingJob.model_validate_json(self._given(name, told, "job.json"))

    def _given(self, name: str, told: dict[str, Any], file: str) -> bytes:
        """A file of the job's input. The channels of a built-in algorithm are folders within it."""
        channel = told["InputDataConfig"][0]
        given = channel["DataSource"]["S3DataSource"]["S3Uri"].removesuffix("/")
        folder = given if channel["ChannelName"] == CHANNEL else given.rpartition("/")[0]
        with asked(f"reading what training job {name} was given"):
            return self._aws.get(f"{folder}/{file}")

    def _fetch(self, name: str, told: dict[str, Any]) -> Path:
        """The job's artefacts in a local folder, digests checked."""
        folder = self._folder / name / "model"
        with atomic.locked(self._folder / ".locks" / name):
            if _damaged(folder):
                uri = _output(told)
                try:
                    unpack(self._aws, uri, folder)
                    if built_in.IMAGE in told["AlgorithmSpecification"].get("TrainingImage", ""):
                        files = (layout.SPEC, layout.TRAINING_SET)
                        given = {file: self._given(name, told, file) for file in files}
                        built_in.adopt(self._folder / name, given, told)
                    damage = _damaged(folder)
                    if damage:
                        raise ServiceError("failed", f"{uri}: {damage}; ask for the job again")
                except ServiceError as error:
                    if error.kind == "failed":  # of no use to anybody
                        clean_up(self._aws, uri)
                    raise
        return folder

    def _uri(self, league: str, name: str, rest: str) -> str:
        return self._aws.uri(self._aws.key(league, "jobs", name, rest))


def _output(told: dict[str, Any]) -> str:
    """Where the model stands. SageMaker uploads what a job that it stopped has in the model folder, too."""
    return told["ModelArtifacts"]["S3ModelArtifacts"]


def _number(name: str, first: str) -> int:
    return int(name.removeprefix(f"{first}-")) if name != first else 1


def _state(told: dict[str, Any]) -> JobState:
    status = told["TrainingJobStatus"]
    if status == "Completed":
        return JobState.SUCCEEDED
    if status == "Failed":
        return JobState.FAILED
    if status == "Stopped":
        return JobState.FAILED if told["SecondaryStatus"] in _TIMED_OUT else JobState.CANCELLED
    # An interrupted spot job waits for its next instance, but it has run.
    return JobState.RUNNING if "TrainingStartTime" in told else JobState.QUEUED


def _reason(told: dict[str, Any]) -> str:
    if told["SecondaryStatus"] in _TIMED_OUT:
        limit = told["StoppingCondition"]["MaxRuntimeInSeconds"]
        return f"stopped after its time limit of {limit} s ({told['SecondaryStatus']})"
    return told.get("FailureReason", "SageMaker gives no reason")


def _kind(told: dict[str, Any]) -> ErrorKind:
    return "timed_out" if told["SecondaryStatus"] in _TIMED_OUT else kind_of_reason(_reason(told))


def _damaged(model: Path) -> str:
    """What is wrong with fetched artefacts; empty if they are what the job wrote."""
    try:
        outcome = TrainingOutcome.model_validate_json((model / layout.RESULT).read_bytes())
        bad = [name for name, digest in outcome.files.items() if FileDigest.of(model / name) != digest]
    except (OSError, ValueError) as error:
        return f"incomplete ({error})"
    return f"{', '.join(bad)} is not what the job wrote" if bad else ""
