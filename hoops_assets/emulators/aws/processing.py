"""Processing jobs: real processes between folders of S3.

What belongs here: CreateProcessingJob, DescribeProcessingJob, ListProcessingJobs, StopProcessingJob.
"""

from __future__ import annotations

import json
import math
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from hoops_assets.emulators.aws.containers import Container
from hoops_assets.emulators.aws.endpoints import tell_log
from hoops_assets.emulators.aws.errors import Refused, invalid
from hoops_assets.emulators.aws.jobs import Jobs

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

    @property
    def seconds(self) -> int:
        return math.ceil((self.ended - self.began).total_seconds()) if self.began and self.ended else 0

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

    def summary(self) -> dict[str, Any]:
        return {
            "ProcessingJobName": self.name, "ProcessingJobArn": self.arn, "CreationTime": self.created,
            "ProcessingJobStatus": self.status,
        }  # fmt: skip


class ProcessingJobs(Jobs[Job]):
    """All processing jobs of the account.

    Attributes:
        overtime: how a job over its stopping condition ends: Stopped, as botocore's model of the service says, or Failed
            with a sentence, lest a client relies on the first.
    """

    noun = "Processing"

    def __init__(self, emulator: AwsEmulator) -> None:
        super().__init__(emulator)
        self.overtime: Literal["Stopped", "Failed"] = "Stopped"

    def begin(self, request: dict[str, Any]) -> Job:
        return Job(self._emulator, request)

    def check(self, request: dict[str, Any]) -> None:
        paths = [told["S3Input"]["LocalPath"] for told in request.get("ProcessingInputs", ())]
        paths += [
            told["S3Output"]["LocalPath"] for told in request.get("ProcessingOutputConfig", {}).get("Outputs", ())
        ]
        for path in paths:
            if not path.startswith("/opt/ml/processing/"):
                raise invalid(f"LocalPath {path} must be under /opt/ml/processing/")

    def missing(self, name: str) -> Refused:
        return Refused("ValidationException", f"Could not find requested job with name: {name}")


def _at(folder: Path, local: str) -> Path:
    """A path in the container as one in the folder that stands for /opt/ml."""
    return folder / PurePosixPath(local).relative_to(BASE)
