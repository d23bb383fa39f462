"""Batch transform jobs: the objects of a prefix through a serving container, one answer beside each.

What belongs here: CreateTransformJob, DescribeTransformJob, ListTransformJobs, StopTransformJob.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from hoops_assets.emulators.aws.endpoints import Server, Sick, tell_log
from hoops_assets.emulators.aws.errors import Refused, in_use, invalid
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_ECHOED = (
    "TransformJobName", "ModelName", "MaxConcurrentTransforms", "ModelClientConfig", "MaxPayloadInMB", "BatchStrategy",
    "Environment", "TransformInput", "TransformOutput", "TransformResources", "DataProcessing",
)  # fmt: skip


class Job:
    """One job and its thread."""

    def __init__(self, emulator: AwsEmulator, request: dict[str, Any], model: dict[str, Any]) -> None:
        self.emulator, self.request, self.model = emulator, request, model
        self.name: str = request["TransformJobName"]
        self.arn = emulator.arn("transform-job", self.name)
        self.created = datetime.now(UTC)
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self.status, self.reason = "InProgress", ""
        self.server: Server | None = None
        self.hidden = emulator.faults.take("not_yet_visible", "CreateTransformJob")
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)

    def _live(self) -> None:
        slow = self.emulator.faults.take("slow_start", "CreateTransformJob")
        self.stop.wait(slow.seconds if slow else self.emulator.pace)
        try:
            if self.emulator.faults.take("capacity_error", "CreateTransformJob"):
                raise Sick("CapacityError: Unable to provision requested ML compute capacity. Please retry using a different"
                           " ML instance type.")  # fmt: skip
            self._run()
            status, reason = "Completed", ""
        except (Sick, ClientError, OSError) as error:
            status, reason = "Stopped" if self.stop.is_set() else "Failed", str(error)
        if self.server is not None:
            self.server.container.end(self.emulator.grace)
            tell_log(self.emulator, LOG_GROUP, f"{self.name}/i-0", self.server.container.printed())
        self._settle(status, reason)

    def _run(self) -> None:
        s3 = self.emulator.client("s3")
        source = urlsplit(self.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        target = urlsplit(self.request["TransformOutput"]["S3OutputPath"])
        found = s3.list_objects_v2(Bucket=source.netloc, Prefix=source.path.lstrip("/")).get("Contents", [])
        if not found:
            raise Sick(f"ClientError: No S3 objects found under S3 URL {source.geturl()}")
        if self.stop.is_set():
            raise Sick("stopped")
        self.began = datetime.now(UTC)
        self.server = Server(self.emulator, self.model)
        self.server.wait(self.stop)
        headers = {"Content-Type": self.request["TransformInput"].get("ContentType", "application/octet-stream")}
        if "Accept" in self.request["TransformOutput"]:
            headers["Accept"] = self.request["TransformOutput"]["Accept"]
        answers: dict[str, bytes] = {}
        for item in found:
            if self.stop.is_set():
                raise Sick("stopped")
            body = s3.get_object(Bucket=source.netloc, Key=item["Key"])["Body"].read()
            if len(body) > self.request.get("MaxPayloadInMB", 6) << 20:
                raise Sick(f"ClientError: {item['Key']} is larger than MaxPayloadInMB")
            status, content, _ = self.server.ask("POST", "/invocations", body, headers)
            if status != 200:
                raise Sick(f"ClientError: {status} from the container: {content.decode(errors='replace')[:500]}")
            name = item["Key"].rpartition("/")[2]
            answers[f"{target.path.strip('/')}/{name}.out".lstrip("/")] = content
        for key, content in answers.items():  # none of a job that was stopped
            s3.put_object(Bucket=target.netloc, Key=key, Body=content)

    def _settle(self, status: str, reason: str) -> None:
        self.ended = datetime.now(UTC)
        self.reason = reason[:1024]
        self.status = status

    def describe(self) -> dict[str, Any]:
        told = {
            **{name: self.request[name] for name in _ECHOED if name in self.request},
            "TransformJobArn": self.arn, "TransformJobStatus": self.status, "CreationTime": self.created,
        }  # fmt: skip
        moments = {
            "TransformStartTime": self.began,
            "TransformEndTime": self.ended,
            "FailureReason": self.reason or None,
        }
        return told | {name: value for name, value in moments.items() if value is not None}


class TransformJobs:
    """All jobs of the account."""

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "CreateTransformJob": self._create, "DescribeTransformJob": self._describe,
            "ListTransformJobs": self._list, "StopTransformJob": self._stop,
        }  # fmt: skip

    def standing(self) -> dict[str, list[str]]:
        return {
            "transform job": sorted(self._jobs),
            "running transform job": sorted(name for name, job in self._jobs.items() if job.ended is None),
        }

    def billed(self) -> int:
        """Seconds of all jobs that ran."""
        return sum(
            math.ceil((job.ended - job.began).total_seconds()) for job in self._jobs.values() if job.began and job.ended
        )

    def running(self) -> list[int]:
        servers = [job.server.container for job in self._jobs.values() if job.server]
        return [container.pid for container in servers if container.ended() is None]

    def close(self) -> None:
        for job in list(self._jobs.values()):
            job.end()

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        model = self._emulator.endpoints.model(request["ModelName"])
        with self._lock:
            name = request["TransformJobName"]
            if name in self._jobs:
                raise in_use("Job name must be unique within an AWS account; transform job", self._jobs[name].arn)
            self._jobs[name] = job = Job(self._emulator, request, model)
        return {"TransformJobArn": job.arn}

    def _job(self, request: dict[str, Any]) -> Job:
        job = self._jobs.get(request["TransformJobName"])
        if job is not None and job.hidden is not None:
            job.hidden.times -= 1
            if job.hidden.times < 0:
                job.hidden = None
            job = None
        if job is None:
            raise Refused("ResourceNotFound", "Requested resource not found.")
        return job

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._job(request).describe()

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job.ended is not None:
            raise invalid(f"The request was rejected because the transform job is in status {job.status}.")
        job.status = "Stopping"
        job.stop.set()
        return {}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            job
            for job in self._jobs.values()
            if request.get("NameContains", "") in job.name
            and request.get("StatusEquals", job.status) == job.status
            and job.hidden is None
        ]
        rows, more = page(wanted, request)
        told = [
            {
                "TransformJobName": job.name, "TransformJobArn": job.arn, "CreationTime": job.created,
                "TransformJobStatus": job.status,
            }
            for job in rows
        ]  # fmt: skip
        return {"TransformJobSummaries": told, **more}
