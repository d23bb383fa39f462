"""Drift jobs on Amazon SageMaker.

What belongs here: the provider of the monitoring contract on processing jobs of the platform's own image (Model Monitor takes
no new customers). What a job is given and what it leaves stand under s3://BUCKET/PREFIX/LEAGUE/drift/NAME/: input/ and
output/report.json. Its figures go to CloudWatch, namespace `hoops/drift`, dimensions League and Signal: `red` is 1 or 0,
`evidence` is the statistic as a share of its threshold, so 1 or more is an alarm.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoops_assets.clouds.aws import Aws, tags
from hoops_assets.services.aws import asked, clean_up, kind_of_reason, over_its_limit
from hoops_assets.services.errors import ErrorKind, ServiceError
from hoops_assets.services.monitoring.contract import REPORT, DriftJob, no_job
from hoops_assets.services.training.contract import JobState
from hoops_assets.store import atomic

if TYPE_CHECKING:
    from hoops_assets.workloads.drift import DriftReport

NAMESPACE = "hoops/drift"
ATTEMPTS = 99
INPUT, OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
_log = logging.getLogger(__name__)
_VISIBLE_WITHIN = 60.0
"""Seconds in which a job that was just made may still be unknown to whoever asks."""
_STOPPED_WITHIN = 600.0
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_STATES = {
    "InProgress": JobState.RUNNING, "Stopping": JobState.RUNNING, "Completed": JobState.SUCCEEDED,
    "Failed": JobState.FAILED, "Stopped": JobState.CANCELLED,
}  # fmt: skip


class SageMakerMonitoring:
    """See the contract.

    Args:
        folder: where reports are kept that were fetched.
        every: seconds between two looks while waiting for a job to stop.
    """

    provider = "sagemaker"

    def __init__(self, aws: Aws, folder: Path, *, every: float = 2.0) -> None:
        self._aws, self._folder, self._every = aws, Path(folder), every
        self._submitted: dict[str, float] = {}

    def submit(self, job: DriftJob) -> str:
        """See the contract."""
        number, name, told = 1, job.name, self._look(job.name)
        while told is not None:
            usable = _state(told) in (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)
            if usable and told["ProcessingJobStatus"] != "Stopping":
                return name
            number += 1
            if number > ATTEMPTS:
                raise ServiceError("conflict", f"drift job {job.name} was started {ATTEMPTS} times; look why it fails")
            name = f"{job.name}-{number}"
            told = self._look(name)
        place = self._aws.key(job.league, "drift", name)
        try:
            with asked(f"starting drift job {name}"):
                for file, content in job.files.items():
                    self._aws.put(f"{place}/input/{file}", content)
                self._aws.sagemaker.create_processing_job(**self._request(job, name, self._aws.uri(place)))
        except ServiceError as error:
            # On a conflict somebody else was a moment earlier: that is the job.
            if error.kind != "conflict" and (error.kind != "timed_out" or self._look(name) is None):
                clean_up(self._aws, f"{self._aws.uri(place)}/")
                raise
        self._submitted[name] = time.monotonic()
        return name

    def poll(self, name: str) -> JobState:
        """See the contract."""
        return _state(self._describe(name))

    def result(self, name: str) -> DriftReport:
        """See the contract."""
        from hoops_assets.workloads.drift import DriftReport

        told = self._describe(name)
        state = _state(told)
        if state is JobState.FAILED:
            raise ServiceError(_kind(told), f"drift job {name} failed: {_reason(told)}")
        if state is not JobState.SUCCEEDED:
            raise ServiceError("conflict", f"drift job {name} is {state.value}; only a succeeded job has a report")
        file = self._folder / name / REPORT
        if file.is_file():
            return DriftReport.model_validate_json(file.read_bytes())
        with asked(f"reading the report of drift job {name}"):
            content = self._aws.get(f"{_output(told)}/{REPORT}")
        report = DriftReport.model_validate_json(content)
        self._tell(report)
        atomic.write_bytes(file, content)
        return report

    def cancel(self, name: str) -> None:
        """See the contract."""
        deadline, told_to_stop = time.monotonic() + _STOPPED_WITHIN, False
        while not _state(self._describe(name)).finished:
            try:
                if not told_to_stop:
                    with asked(f"stopping drift job {name}"):
                        self._aws.sagemaker.stop_processing_job(ProcessingJobName=name)
                told_to_stop = True
            except ServiceError as error:
                # It ended, or is being stopped, since we looked; or it is not yet visible to that call.
                if error.kind not in ("invalid", "conflict", "not_found"):
                    raise
            if time.monotonic() > deadline:
                raise ServiceError("timed_out", f"drift job {name} does not stop within {_STOPPED_WITHIN:g} s")
            time.sleep(self._every)

    def _request(self, job: DriftJob, name: str, place: str) -> dict[str, Any]:
        settings = self._aws.settings
        key = {"KmsKeyId": settings.kms_key} if settings.kms_key else {}
        given = {
            "S3Uri": f"{place}/input/", "LocalPath": INPUT, "S3DataType": "S3Prefix", "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
        }  # fmt: skip
        made = {"S3Uri": f"{place}/output", "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}
        volume = {"VolumeKmsKeyId": settings.kms_key} if settings.kms_key else {}
        return {
            "ProcessingJobName": name,
            "RoleArn": settings.role,
            "AppSpecification": {"ImageUri": settings.image, "ContainerArguments": ["drift"]},
            "ProcessingInputs": [{"InputName": "given", "S3Input": given}],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "made", "S3Output": made}], **key},
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1, "InstanceType": settings.training_instance, "VolumeSizeInGB": 5, **volume,
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": max(1, job.time_limit)},
            # The job needs nothing but its folder.
            "NetworkConfig": {"EnableNetworkIsolation": True},
            "Tags": tags(job.league, "monitoring"),
        }  # fmt: skip

    def _tell(self, report: DriftReport) -> None:
        """The report's figures to CloudWatch; a figure that cannot be told must not stop the alarm itself."""
        figures: list[dict[str, Any]] = []
        for one in report.signals:
            named = [{"Name": "League", "Value": report.league}, {"Name": "Signal", "Value": one.name}]
            figures.append({"MetricName": "red", "Dimensions": named, "Value": float(one.state == "red")})
            if one.statistic is not None and one.threshold:
                figures.append({"MetricName": "evidence", "Dimensions": named, "Value": one.statistic / one.threshold})
        try:
            with asked("telling CloudWatch"):
                self._aws.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=figures)
        except ServiceError as error:
            _log.warning("CloudWatch does not know what drifts in %s: %s", report.league, error)

    def _look(self, name: str) -> dict[str, Any] | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            with asked(f"asking for drift job {name}"):
                return self._aws.sagemaker.describe_processing_job(ProcessingJobName=name)
        except ServiceError as error:
            if error.kind != "not_found":
                raise
            return None

    def _describe(self, name: str) -> dict[str, Any]:
        told = self._look(name)
        if told is not None:
            return told
        if time.monotonic() - self._submitted.get(name, -_VISIBLE_WITHIN) < _VISIBLE_WITHIN:
            return {"ProcessingJobStatus": "InProgress"}
        raise no_job(name)


def _state(told: dict[str, Any]) -> JobState:
    if over_its_limit(told):
        return JobState.FAILED
    state = _STATES[told["ProcessingJobStatus"]]
    return JobState.QUEUED if state is JobState.RUNNING and "ProcessingStartTime" not in told else state


def _reason(told: dict[str, Any]) -> str:
    if over_its_limit(told):
        return f"stopped after its time limit of {told['StoppingCondition']['MaxRuntimeInSeconds']} s"
    return told.get("FailureReason") or told.get("ExitMessage") or "SageMaker gives no reason"


def _kind(told: dict[str, Any]) -> ErrorKind:
    if over_its_limit(told) or "MaxRuntime" in _reason(told):
        return "timed_out"
    return kind_of_reason(_reason(told))


def _output(told: dict[str, Any]) -> str:
    return told["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
