"""Batch transform jobs: the objects of a prefix through a serving container, one answer beside each.

What belongs here: CreateTransformJob, DescribeTransformJob, ListTransformJobs, StopTransformJob.
"""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from hoops_assets.emulators.aws.containers import Container
from hoops_assets.emulators.aws.endpoints import Server, Sick, tell_log
from hoops_assets.emulators.aws.errors import Refused, invalid
from hoops_assets.emulators.aws.jobs import Jobs

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
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    @property
    def finished(self) -> bool:
        return self.ended is not None

    @property
    def seconds(self) -> int:
        return math.ceil((self.ended - self.began).total_seconds()) if self.began and self.ended else 0

    @property
    def container(self) -> Container | None:
        return self.server.container if self.server else None

    def stop(self) -> None:
        if self.finished:
            raise invalid(f"The request was rejected because the transform job is in status {self.status}.")
        self.status = "Stopping"
        self.stopping.set()

    def end(self) -> None:
        self.stopping.set()
        self.thread.join(20)

    def _live(self) -> None:
        slow = self.emulator.faults.take("slow_start", "CreateTransformJob")
        self.stopping.wait(slow.seconds if slow else self.emulator.pace)
        try:
            if self.emulator.faults.take("capacity_error", "CreateTransformJob"):
                raise Sick("CapacityError: Unable to provision requested ML compute capacity. Please retry using a different"
                           " ML instance type.")  # fmt: skip
            self._run()
            status, reason = "Completed", ""
        except (Sick, ClientError, OSError) as error:
            status, reason = "Stopped" if self.stopping.is_set() else "Failed", str(error)
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
        if self.stopping.is_set():
            raise Sick("stopped")
        self.began = datetime.now(UTC)
        self.server = Server(self.emulator, self.model)
        self.server.wait(self.stopping)
        headers = {"Content-Type": self.request["TransformInput"].get("ContentType", "application/octet-stream")}
        if "Accept" in self.request["TransformOutput"]:
            headers["Accept"] = self.request["TransformOutput"]["Accept"]
        answers: dict[str, bytes] = {}
        for item in found:
            if self.stopping.is_set():
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

    def summary(self) -> dict[str, Any]:
        return {
            "TransformJobName": self.name, "TransformJobArn": self.arn, "CreationTime": self.created,
            "TransformJobStatus": self.status,
        }  # fmt: skip


class TransformJobs(Jobs[Job]):
    """All transform jobs of the account."""

    noun = "Transform"

    def begin(self, request: dict[str, Any]) -> Job:
        return Job(self._emulator, request, self._emulator.endpoints.model(request["ModelName"]))

    def missing(self, name: str) -> Refused:
        return Refused("ResourceNotFound", "Requested resource not found.")
