"""Batch forecasts on Amazon SageMaker: transform jobs.

What belongs here: the batch half of the prediction contract. A job's rows, answers and description stand under
s3://BUCKET/PREFIX/LEAGUE/batches/NAME/: job.json, input/NNNNN.json, output/NNNNN.json.out. Its model is made for it and
deleted when it has finished.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from hoops_assets.clouds.aws import Aws, tags
from hoops_assets.errors import ModelError
from hoops_assets.services.aws import archive_of, asked, bare_bundle, kind_of_reason
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import BatchState, batch_name
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.workloads.inputs import model_input

ROWS = 5000
"""Rows in one object."""

ATTEMPTS = 99
_NAME = re.compile(r"hoops-([a-z][a-z0-9-]*)-\d+-[0-9a-f]{16}")
_STATES = {
    "InProgress": BatchState.RUNNING, "Stopping": BatchState.RUNNING, "Completed": BatchState.SUCCEEDED,
    "Failed": BatchState.FAILED, "Stopped": BatchState.FAILED,
}  # fmt: skip


class SageMakerBatches:
    """See the contract. Args: registry: of the models."""

    def __init__(self, aws: Aws, registry: Registry) -> None:
        self._aws, self._registry = aws, registry

    def submit(self, version: ModelVersion, rows: pd.DataFrame) -> str:
        """See the contract."""
        try:
            values = model_input(rows, version.features)
        except ModelError as error:
            raise ServiceError("invalid", f"{version.name}: {error}") from error
        name = batch_name(version, values)
        job, told = self._last(name)
        if told is not None and _STATES[told["TransformJobStatus"]] is not BatchState.FAILED:
            return name
        with asked(f"starting batch {name}"):
            self._aws.put(self._key(name, "job.json"), json.dumps({"rows": len(values)}).encode())
        if len(values):
            self._start(name, job if told is None else _next(name, job), version, values)
        return name

    def poll(self, job: str) -> BatchState:
        """See the contract."""
        return self._told(job)[0]

    def results(self, job: str) -> np.ndarray:
        """See the contract."""
        state, rows, told = self._told(job)
        if state is BatchState.FAILED:
            reason = told.get("FailureReason", "SageMaker gives no reason")
            raise ServiceError(kind_of_reason(reason), f"batch {job}: {reason}")
        if state is not BatchState.SUCCEEDED:
            raise ServiceError("conflict", f"batch {job} is {state.value}; only a finished one has results")
        found: list[float] = []
        with asked(f"reading the answers of batch {job}"):
            for part in range(-(-rows // ROWS)):
                content = self._aws.get(self._aws.uri(self._key(job, "output", f"{part:05d}.json.out")))
                for one in json.loads(content)["predictions"]:
                    if one["degraded"]:
                        raise ServiceError("failed", f"batch {job} was not answered by the model: {one['degraded']}")
                    found.append(one["home_win_probability"])
        if len(found) != rows:
            raise ServiceError("failed", f"batch {job} has {len(found)} answers to {rows} rows; submit it again")
        return np.array(found, dtype="float64")

    def _start(self, name: str, job: str, version: ModelVersion, values: np.ndarray) -> None:
        settings, sagemaker = self._aws.settings, self._aws.sagemaker
        onnx = (self._registry.artefacts(version.league, version.version) / "model.onnx").read_bytes()
        archive = archive_of(bare_bundle(version), onnx)
        key = {"KmsKeyId": settings.kms_key} if settings.kms_key else {}
        try:
            with asked(f"starting batch {name}"):
                for part, first in enumerate(range(0, len(values), ROWS)):
                    body = json.dumps({"instances": values[first : first + ROWS].tolist()}).encode()
                    self._aws.put(self._key(name, "input", f"{part:05d}.json"), body)
                uri = self._aws.put(self._key(name, "model.tar.gz"), archive)
                sagemaker.create_model(
                    ModelName=job, ExecutionRoleArn=settings.role, EnableNetworkIsolation=True,
                    PrimaryContainer={"Image": settings.image, "ModelDataUrl": uri},
                    Tags=tags(version.league, "prediction", version=str(version.version)),
                )  # fmt: skip
                sagemaker.create_transform_job(
                    TransformJobName=job, ModelName=job, MaxPayloadInMB=20, BatchStrategy="SingleRecord",
                    TransformInput={
                        "DataSource": {
                            "S3DataSource": {
                                "S3DataType": "S3Prefix", "S3Uri": self._aws.uri(self._key(name, "input/")),
                            }
                        },
                        "ContentType": "application/json", "SplitType": "None",
                    },
                    TransformOutput={
                        "S3OutputPath": self._aws.uri(self._key(name, "output")), "Accept": "application/json",
                        "AssembleWith": "None", **key,
                    },
                    TransformResources={"InstanceType": settings.serving_instance, "InstanceCount": 1},
                    Tags=tags(version.league, "prediction", version=str(version.version)),
                )  # fmt: skip
        except ServiceError as error:
            if error.kind == "conflict":  # somebody else was a moment earlier
                return
            self._forget(name, job)
            raise

    def _told(self, name: str) -> tuple[BatchState, int, dict[str, Any]]:
        """(state, rows, SageMaker's description); a finished job's model is deleted."""
        try:
            with asked(f"asking for batch {name}"):
                rows = json.loads(self._aws.get(self._aws.uri(self._key(name, "job.json"))))["rows"]
        except ServiceError as error:
            if error.kind == "not_found":
                raise _unknown(name) from error
            raise
        if not rows:
            return BatchState.SUCCEEDED, 0, {}
        job, told = self._last(name)
        if told is None:
            raise _unknown(name)
        state = _STATES[told["TransformJobStatus"]]
        if state.finished:
            self._delete_model(job)
        elif state is BatchState.RUNNING and "TransformStartTime" not in told:
            state = BatchState.QUEUED
        return state, rows, told

    def _last(self, name: str) -> tuple[str, dict[str, Any] | None]:
        """(name, description) of the last transform job of a batch."""
        last, told = _fit(name), self._look(_fit(name))
        for number in range(2, ATTEMPTS + 1):
            if told is None or _STATES[told["TransformJobStatus"]] is not BatchState.FAILED:
                break  # only a failed one is followed by another
            later = self._look(f"{_fit(name)}-{number}")
            if later is None:
                break
            last, told = f"{_fit(name)}-{number}", later
        return last, told

    def _look(self, job: str) -> dict[str, Any] | None:
        try:
            with asked(f"asking for transform job {job}"):
                return self._aws.sagemaker.describe_transform_job(TransformJobName=job)
        except ServiceError as error:
            if error.kind == "not_found":
                return None
            raise

    def _forget(self, name: str, job: str) -> None:
        """Leaves nothing of a job that was not taken."""
        self._delete_model(job)
        with asked(f"clearing away batch {name}"):
            self._aws.delete_under(self._aws.uri(self._key(name, "")))

    def _delete_model(self, job: str) -> None:
        try:
            with asked(f"deleting model {job}"):
                self._aws.sagemaker.delete_model(ModelName=job)
        except ServiceError as error:
            if error.kind != "not_found":
                raise

    def _key(self, name: str, *parts: str) -> str:
        found = _NAME.fullmatch(name)
        if found is None:
            raise _unknown(name)
        return "/".join([self._aws.key(found[1].replace("-", "_"), "batches", name), *parts])


def _fit(name: str) -> str:
    """A batch's name within SageMaker's 63 characters, with room for "-99"."""
    return name if len(name) <= 60 else f"{name[:43].rstrip('-')}-{name[-16:]}"


def _next(name: str, job: str) -> str:
    """The name after that of the last transform job of a batch."""
    first = _fit(name)
    number = 2 if job == first else int(job.removeprefix(f"{first}-")) + 1
    if number > ATTEMPTS:
        raise ServiceError("conflict", f"batch {name} was started {ATTEMPTS} times; look why it fails")
    return f"{first}-{number}"


def _unknown(name: str) -> ServiceError:
    return ServiceError("not_found", f"there is no batch {name!r}; submit its rows again")
