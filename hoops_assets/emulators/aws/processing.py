"""Processing jobs: real processes between folders of S3.

What belongs here: CreateProcessingJob, DescribeProcessingJob, ListProcessingJobs, StopProcessingJob.
"""

from __future__ import annotations

import json
import math
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from hoops_assets.emulators.aws.containers import Container
from hoops_assets.emulators.aws.endpoints import tell_log
from hoops_assets.emulators.aws.errors import Refused, in_use, invalid
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
BASE = PurePosixPath("/opt/ml")
_ECHOED = (
    "ProcessingInputs", "ProcessingOutputConfig", "ProcessingJobName", "ProcessingResources", "StoppingCondition",
    "AppSpecification", "Environment", "NetworkConfig", "RoleArn", "ExperimentConfig",
)  # fmt: skip


class Failure(Exception):  # noqa: N818
    """The job ends as Failed, with that reason."""


class Job:
    """One job and its thread."""

    def __init__(self, emulator: AwsEmulator, request: dict[str, Any]) -> None:
        self.emulator, self.request = emulator, request
        self.name: str = request["ProcessingJobName"]
        self.arn = emulator.arn("processing-job", self.name)
        self.created = self.modified = datetime.now(UTC)
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self.status, self.reason, self.exit_message = "InProgress", "", ""
        self.container: Container | None = None
        self.hidden = emulator.faults.take("not_yet_visible", "CreateProcessingJob")
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    @property
    def finished(self) -> bool:
        return self.ended is not None

    def stop(self) -> None:
        if self.finished:
            raise invalid(f"The request was rejected because the processing job is in status {self.status}.")
        self.status = "Stopping"
        self.stopping.set()

    def end(self) -> None:
        self.stopping.set()
        if self.container is not None:
            self.container.end(0.2)
        self.thread.join(10)

    def _live(self) -> None:
        try:
            self._run()
            status, reason = "Stopped" if self.stopping.is_set() else "Completed", ""
        except Failure as failure:
            status, reason = "Failed", str(failure)
        except Exception as error:
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        if self.container is not None:
            tell_log(self.emulator, LOG_GROUP, f"{self.name}/algo-1", self.container.printed())
        self.reason, self.modified, self.status = reason[:1024], datetime.now(UTC), status
        self.ended = self.modified

    def _run(self) -> None:
        slow = self.emulator.faults.take("slow_start", "CreateProcessingJob")
        self.stopping.wait(slow.seconds if slow else self.emulator.pace)
        if self.emulator.faults.take("capacity_error", "CreateProcessingJob"):
            raise Failure("CapacityError: Unable to provision requested ML compute capacity. Please retry using a"
                          " different ML instance type.")  # fmt: skip
        if self.stopping.is_set():
            return
        folder = self._folder()
        self._download(folder)
        self._work(folder)
        if not self.stopping.is_set():
            self._upload(folder)

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.emulator.folder, prefix=f"{self.name}-")) / "ml"
        for told in self._outputs():
            _at(folder, told["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
        (folder / "config").mkdir(parents=True, exist_ok=True)
        (folder / "config" / "processingjobconfig.json").write_text(json.dumps(self.request, default=str))
        return folder

    def _outputs(self) -> list[dict[str, Any]]:
        return self.request.get("ProcessingOutputConfig", {}).get("Outputs", [])

    def _download(self, folder: Path) -> None:
        s3 = self.emulator.client("s3")
        for told in self.request.get("ProcessingInputs", ()):
            source = urlsplit(told["S3Input"]["S3Uri"])
            prefix = source.path.lstrip("/")
            target = _at(folder, told["S3Input"]["LocalPath"])
            target.mkdir(parents=True, exist_ok=True)
            try:
                pages = s3.get_paginator("list_objects_v2").paginate(Bucket=source.netloc, Prefix=prefix)
                found = [item["Key"] for one in pages for item in one.get("Contents", ())]
            except ClientError as error:
                raise Failure(f"ClientError: Data download failed: {error}") from error
            if not found:
                raise Failure(f"ClientError: Data download failed:No S3 objects found under {source.geturl()}")
            for key in found:
                file = target / (key.removeprefix(prefix).lstrip("/") or PurePosixPath(key).name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(s3.get_object(Bucket=source.netloc, Key=key)["Body"].read())

    def _work(self, folder: Path) -> None:
        given = self.request["AppSpecification"]
        command = [*given.get("ContainerEntrypoint", self.emulator.command(given["ImageUri"]))]
        command += given.get("ContainerArguments", [])
        environment = {
            **self.emulator.environment(), **self.request.get("Environment", {}), "AWS_REGION": self.emulator.region,
            "PROCESSING_JOB_NAME": self.name,
        }  # fmt: skip
        self.began = datetime.now(UTC)
        self.container = self.emulator.containers.start(command, folder, environment)
        limit = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        began = time.monotonic()
        while self.container.ended() is None:
            over = time.monotonic() - began > limit
            if over or self.stopping.is_set():
                self.container.end(self.emulator.grace)
                if over and not self.stopping.is_set() and self.emulator.processing_jobs.overtime == "Failed":
                    raise Failure(f"ClientError: The job exceeded its MaxRuntimeInSeconds of {limit} seconds.")
                self.stopping.set()
                return
            time.sleep(0.02)
        if self.container.ended() != 0:
            message = folder / "output" / "message"
            if message.is_file():
                self.exit_message = message.read_text(errors="replace")[:1024]
            told = (self.container.printed().strip().splitlines() or [""])[-1]
            raise Failure(
                f"AlgorithmError: {self.exit_message.strip() or told}, exit code: {self.container.ended()}"[:1024]
            )

    def _upload(self, folder: Path) -> None:
        s3 = self.emulator.client("s3")
        for told in self._outputs():
            target = urlsplit(told["S3Output"]["S3Uri"])
            local = _at(folder, told["S3Output"]["LocalPath"])
            for file in sorted(path for path in local.rglob("*") if path.is_file()):
                key = f"{target.path.strip('/')}/{file.relative_to(local).as_posix()}"
                try:
                    s3.put_object(Bucket=target.netloc, Key=key, Body=file.read_bytes())
                except ClientError as error:
                    raise Failure(f"ClientError: Artifact upload failed: {error}") from error

    def describe(self) -> dict[str, Any]:
        told = {
            **{name: self.request[name] for name in _ECHOED if name in self.request},
            "ProcessingJobArn": self.arn, "ProcessingJobStatus": self.status, "CreationTime": self.created,
            "LastModifiedTime": self.modified,
        }  # fmt: skip
        more = {
            "ProcessingStartTime": self.began, "ProcessingEndTime": self.ended, "FailureReason": self.reason or None,
            "ExitMessage": self.exit_message or None,
        }  # fmt: skip
        return told | {name: value for name, value in more.items() if value is not None}


class ProcessingJobs:
    """All jobs of the account.

    Attributes:
        overtime: how a job over its stopping condition ends: Stopped, as botocore's model of the service says, or Failed
            with a sentence, lest a client relies on the first.
    """

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self.overtime: Literal["Stopped", "Failed"] = "Stopped"
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "CreateProcessingJob": self.create, "DescribeProcessingJob": self._describe,
            "ListProcessingJobs": self._list, "StopProcessingJob": self._stop,
        }  # fmt: skip

    def standing(self) -> dict[str, list[str]]:
        return {
            "processing job": sorted(self._jobs),
            "running processing job": sorted(name for name, job in self._jobs.items() if not job.finished),
        }

    def job(self, name: str) -> Job:
        """One job, whether or not others see it yet."""
        return self._jobs[name]

    def billed(self) -> int:
        """Seconds of all jobs that ran."""
        return sum(
            math.ceil((job.ended - job.began).total_seconds()) for job in self._jobs.values() if job.began and job.ended
        )

    def running(self) -> list[int]:
        containers = [job.container for job in self._jobs.values() if job.container]
        return [container.pid for container in containers if container.ended() is None]

    def close(self) -> None:
        for job in list(self._jobs.values()):
            job.end()

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        paths = [told["S3Input"]["LocalPath"] for told in request.get("ProcessingInputs", ())]
        paths += [
            told["S3Output"]["LocalPath"] for told in request.get("ProcessingOutputConfig", {}).get("Outputs", ())
        ]
        for path in paths:
            if not path.startswith("/opt/ml/processing/"):
                raise invalid(f"LocalPath {path} must be under /opt/ml/processing/")
        with self._lock:
            name = request["ProcessingJobName"]
            if name in self._jobs:
                raise in_use("Job name must be unique within an AWS account; processing job", self._jobs[name].arn)
            self._jobs[name] = job = Job(self._emulator, request)
        return {"ProcessingJobArn": job.arn}

    def _job(self, request: dict[str, Any]) -> Job:
        job = self._jobs.get(request["ProcessingJobName"])
        if job is not None and job.hidden is not None:
            job.hidden.times -= 1
            if job.hidden.times < 0:
                job.hidden = None
            job = None
        if job is None:
            raise Refused(
                "ValidationException", "Could not find requested job with name: " + request["ProcessingJobName"]
            )
        return job

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._job(request).describe()

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        self._job(request).stop()
        return {}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            job
            for job in self._jobs.values()
            if request.get("NameContains", "") in job.name and request.get("StatusEquals", job.status) == job.status
        ]
        rows, more = page(wanted, request)
        told = [
            {
                "ProcessingJobName": job.name, "ProcessingJobArn": job.arn, "CreationTime": job.created,
                "ProcessingJobStatus": job.status,
            }
            for job in rows
        ]  # fmt: skip
        return {"ProcessingJobSummaries": told, **more}


def _at(folder: Path, local: str) -> Path:
    """A path in the container as one in the folder that stands for /opt/ml."""
    return folder / PurePosixPath(local).relative_to(BASE)
