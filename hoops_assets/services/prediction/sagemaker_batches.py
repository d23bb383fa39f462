"""Batch forecasts on Amazon SageMaker: transform jobs.

What belongs here: the batch half of the prediction contract. A batch's rows, answers and description stand under
s3://BUCKET/PREFIX/LEAGUE/batches/NAME/: job.json, input/NNNNN.json, output/NNNNN.json.out. A transform job's name cannot be
used twice, so a batch that is run again is NAME-2, NAME-3, ...; the last of them tells where the batch is. Each has a model
of its own name, deleted when it has finished.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from hoops_assets.clouds.aws import Aws, tags
from hoops_assets.errors import ModelError
from hoops_assets.services.aws import archive_of, asked, bare_bundle, clean_up, kind_of_reason
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import BatchState, batch_name
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.workloads.inputs import model_input

_log = logging.getLogger(__name__)

ROWS = 5000
"""Rows in one object."""

ATTEMPTS = 99
_VISIBLE_WITHIN = 60.0
"""Seconds in which a job that was just made may still be unknown to whoever asks."""
_STOPPED_WITHIN = 600.0
_NAME = re.compile(r"hoops-([a-z][a-z0-9-]*)-\d+-[0-9a-f]{16}")
_STATES = {
    "InProgress": BatchState.RUNNING, "Stopping": BatchState.RUNNING, "Completed": BatchState.SUCCEEDED,
    "Failed": BatchState.FAILED, "Stopped": BatchState.CANCELLED,
}  # fmt: skip


class SageMakerBatches:
    """See the contract.

    Args:
        registry: of the models.
        every: seconds between two looks while waiting for a job to stop.
    """

    def __init__(self, aws: Aws, registry: Registry, *, every: float = 2.0) -> None:
        self._aws, self._registry, self._every = aws, registry, every
        self._submitted: dict[str, float] = {}

    def submit(self, version: ModelVersion, rows: pd.DataFrame) -> str:
        """See the contract."""
        try:
            values = model_input(rows, version.features)
        except ModelError as error:
            raise ServiceError("invalid", f"{version.name}: {error}") from error
        name = batch_name(version, values)
        told = self._last(name) if len(values) else None
        known = told is not None and self._usable(name, told, len(values))
        with asked(f"starting batch {name}"):  # of a known one too: a lifecycle rule may have taken it
            self._aws.put(self._key(name, "job.json"), json.dumps({"rows": len(values)}).encode())
        if len(values) and not known:
            if told is not None:
                self._delete_model(told["TransformJobName"])
            self._start(name, _next(name, told), version, values)
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
            raise ServiceError("conflict", f"batch {job} is {state.value}; only one that succeeded has results")
        return self._answers(job, rows)

    def cancel(self, job: str) -> None:
        """See the contract."""
        state, _, told = self._told(job)
        if state.finished:
            return
        running, deadline = told["TransformJobName"], time.monotonic() + _STOPPED_WITHIN
        while not _state(told).finished:
            if told["TransformJobStatus"] == "InProgress":
                self._stop(running)
            if time.monotonic() > deadline:
                raise ServiceError("timed_out", f"batch {job} does not stop within {_STOPPED_WITHIN:g} s")
            time.sleep(self._every)
            told = self._look(running)
            if told is None:
                raise _unknown(job)
        self._delete_model(running)

    def _answers(self, name: str, rows: int) -> np.ndarray:
        """What a completed job answered. Raises ServiceError failed if it is not what it must be, not_found if it is gone."""
        found: list[float] = []
        for part in range(-(-rows // ROWS)):
            for one in self._read(name, "output", f"{part:05d}.json.out")["predictions"]:
                if one["degraded"]:
                    raise ServiceError("failed", f"batch {name} was not answered by the model: {one['degraded']}")
                found.append(one["home_win_probability"])
        if len(found) != rows:
            raise ServiceError("failed", f"batch {name} has {len(found)} answers to {rows} rows; submit it again")
        return np.array(found, dtype="float64")

    def _usable(self, name: str, told: dict[str, Any], rows: int) -> bool:
        """Whether the last job of a batch may be joined or reused; one whose answers are gone or damaged may not."""
        state = _state(told)
        if state is not BatchState.SUCCEEDED:
            return not state.finished and told["TransformJobStatus"] != "Stopping"
        try:
            self._answers(name, rows)
        except ServiceError as error:
            if error.kind not in ("not_found", "failed"):
                raise
            return False
        return True

    def _start(self, name: str, job: str, version: ModelVersion, values: np.ndarray) -> None:
        settings, sagemaker = self._aws.settings, self._aws.sagemaker
        try:
            onnx = (self._registry.artefacts(version.league, version.version) / "model.onnx").read_bytes()
            archive = archive_of(bare_bundle(version), onnx)
            with asked(f"starting batch {name}"):
                for part, first in enumerate(range(0, len(values), ROWS)):
                    body = json.dumps({"instances": values[first : first + ROWS].tolist()}).encode()
                    self._aws.put(self._key(name, "input", f"{part:05d}.json"), body)
                uri = self._aws.put(self._key(name, "model.tar.gz"), archive)
            with _starting(name):
                sagemaker.create_model(
                    ModelName=job, ExecutionRoleArn=settings.role, EnableNetworkIsolation=True,
                    PrimaryContainer={"Image": settings.image, "ModelDataUrl": uri},
                    Tags=tags(version.league, "prediction", version=str(version.version)),
                )  # fmt: skip
            with _starting(name):
                sagemaker.create_transform_job(**self._request(name, job, version))
        except ServiceError:
            if self._look(job) is None:  # else it was taken, and only the answer lost; or somebody else started it
                self._forget(name, job)
                raise
        self._submitted[job] = time.monotonic()

    def _request(self, name: str, job: str, version: ModelVersion) -> dict[str, Any]:
        settings = self._aws.settings
        key = {"KmsKeyId": settings.kms_key} if settings.kms_key else {}
        volume = {"VolumeKmsKeyId": settings.kms_key} if settings.kms_key else {}
        given = {"S3DataType": "S3Prefix", "S3Uri": self._aws.uri(self._key(name, "input/"))}
        return {
            "TransformJobName": job, "ModelName": job, "MaxPayloadInMB": 20, "BatchStrategy": "SingleRecord",
            "TransformInput": {
                "DataSource": {"S3DataSource": given}, "ContentType": "application/json", "SplitType": "None",
            },
            "TransformOutput": {
                "S3OutputPath": self._aws.uri(self._key(name, "output")), "Accept": "application/json",
                "AssembleWith": "None", **key,
            },
            "TransformResources": {"InstanceType": settings.serving_instance, "InstanceCount": 1, **volume},
            "Tags": tags(version.league, "prediction", version=str(version.version)),
        }  # fmt: skip

    def _told(self, name: str) -> tuple[BatchState, int, dict[str, Any]]:
        """(state, rows, SageMaker's description); a finished job's model is deleted."""
        rows = self._read(name, "job.json")["rows"]
        if not rows:
            return BatchState.SUCCEEDED, 0, {}
        told = self._last(name)
        if told is None:
            raise _unknown(name)
        if _state(told).finished:
            self._delete_model(told["TransformJobName"])
        return _state(told), rows, told

    def _last(self, name: str) -> dict[str, Any] | None:
        """The description of the last transform job of a batch."""
        told = self._look(_fit(name))
        for number in range(2, ATTEMPTS + 1):
            if told is None or told["TransformJobStatus"] == "InProgress":  # which no other follows
                break
            later = self._look(f"{_fit(name)}-{number}")
            if later is None:
                break
            told = later
        return told

    def _look(self, job: str) -> dict[str, Any] | None:
        """What SageMaker tells of a transform job; None if it knows none of that name."""
        try:
            with asked(f"asking for transform job {job}"):
                return self._aws.sagemaker.describe_transform_job(TransformJobName=job)
        except ServiceError as error:
            if error.kind != "not_found":
                raise
        if time.monotonic() - self._submitted.get(job, -_VISIBLE_WITHIN) < _VISIBLE_WITHIN:
            return {"TransformJobName": job, "TransformJobStatus": "InProgress"}
        return None

    def _stop(self, job: str) -> None:
        try:
            with asked(f"stopping transform job {job}"):
                self._aws.sagemaker.stop_transform_job(TransformJobName=job)
        except ServiceError as error:
            # It ended, or is being stopped, since we looked; or it is not yet visible to that call.
            if error.kind not in ("invalid", "conflict", "not_found"):
                raise

    def _forget(self, name: str, job: str) -> None:
        """Leaves nothing of a job that was not taken, if it can: why it was not taken matters more."""
        try:
            self._delete_model(job)
        except ServiceError as error:
            _log.warning("%s; a model of no use is left", error)
        clean_up(self._aws, self._aws.uri(self._key(name, "")))

    def _delete_model(self, job: str) -> None:
        try:
            with asked(f"deleting model {job}"):
                self._aws.sagemaker.delete_model(ModelName=job)
        except ServiceError as error:
            if error.kind != "not_found":
                raise

    def _read(self, name: str, *parts: str) -> Any:
        try:
            with asked(f"reading batch {name}"):
                return json.loads(self._aws.get(self._aws.uri(self._key(name, *parts))))
        except ServiceError as error:
            if error.kind == "not_found":
                raise _unknown(name) from error
            raise

    def _key(self, name: str, *parts: str) -> str:
        found = _NAME.fullmatch(name)
        if found is None:
            raise _unknown(name)
        return "/".join([self._aws.key(found[1].replace("-", "_"), "batches", name), *parts])


def _fit(name: str) -> str:
    """A batch's name within SageMaker's 63 characters, with room for "-99"."""
    return name if len(name) <= 60 else f"{name[:43].rstrip('-')}-{name[-16:]}"


def _next(name: str, told: dict[str, Any] | None) -> str:
    """The name after that of the last transform job of a batch."""
    first = _fit(name)
    if told is None:
        return first
    job = told["TransformJobName"]
    number = 2 if job == first else int(job.removeprefix(f"{first}-")) + 1
    if number > ATTEMPTS:
        raise ServiceError("conflict", f"batch {name} was started {ATTEMPTS} times; look why it fails")
    return f"{first}-{number}"


def _state(told: dict[str, Any]) -> BatchState:
    state = _STATES[told["TransformJobStatus"]]
    return BatchState.QUEUED if state is BatchState.RUNNING and "TransformStartTime" not in told else state


@contextmanager
def _starting(name: str) -> Iterator[None]:
    """What stands already was made for the same batch: a moment ago by somebody else, or before a kill."""
    try:
        with asked(f"starting batch {name}"):
            yield
    except ServiceError as error:
        if error.kind != "conflict":
            raise


def _unknown(name: str) -> ServiceError:
    return ServiceError("not_found", f"there is no batch {name!r}; submit its rows again")
