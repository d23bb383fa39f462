"""Training jobs: real processes that go through SageMaker's states.

What belongs here: CreateTrainingJob, DescribeTrainingJob, ListTrainingJobs, StopTrainingJob, DeleteTrainingJob. The
states, their order and messages are those of the API's documentation of SecondaryStatus.
"""

from __future__ import annotations

import io
import json
import math
import re
import tarfile
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from hoops_assets.emulators.aws import xgboost
from hoops_assets.emulators.aws.containers import Container
from hoops_assets.emulators.aws.endpoints import tell_log
from hoops_assets.emulators.aws.errors import in_use, invalid
from hoops_assets.emulators.aws.jobs import Action, Jobs

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_REASON = 1024
_ECHOED = (
    "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig",
    "VpcConfig", "StoppingCondition", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining", "CheckpointConfig", "ExperimentConfig", "Environment", "RetryStrategy",
)  # fmt: skip
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "Interrupted": "Training job interrupted",
    "MaxRuntimeExceeded": "Training job exceeded maximum runtime",
    "MaxWaitTimeExceeded": "Training job exceeded maximum wait time",
}
_FINISHED = ("Completed", "Failed", "Stopped")


class Job:
    """One job: its request, its states, and the thread that takes it through them."""

    def __init__(self, emulator: AwsEmulator, request: dict[str, Any]) -> None:
        self.emulator, self.request = emulator, request
        self.name: str = request["TrainingJobName"]
        self.arn = emulator.arn("training-job", self.name)
        self.created = self.modified = datetime.now(UTC)
        self.status, self.secondary = "InProgress", ""
        self.transitions: list[dict[str, Any]] = []
        self.training_began: datetime | None = None
        self.training_ended: datetime | None = None
        self.billed = 0.0
        self.reason = ""
        self.metrics: list[dict[str, Any]] = []
        self.output_key = ""
        self.container: Container | None = None
        self.hidden = emulator.faults.take("not_yet_visible", "CreateTrainingJob")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.enter("Starting")
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    @property
    def finished(self) -> bool:
        return self.status in _FINISHED

    @property
    def seconds(self) -> int:
        return math.ceil(self.billed)

    def stop(self) -> None:
        with self._lock:
            if self.finished:
                raise invalid(f"The request was rejected because the training job is in status {self.status}.")
            if self.status == "InProgress":
                self.status = "Stopping"
                self._stop.set()

    def end(self) -> None:
        self._stop.set()
        if self.container is not None:
            self.container.end(0.2)
        self.thread.join(10)

    def enter(self, secondary: str, status: str | None = None) -> None:
        with self._lock:
            now = datetime.now(UTC)
            if self.transitions:
                self.transitions[-1]["EndTime"] = now
            told = {"Status": secondary, "StartTime": now, "StatusMessage": self.reason or _MESSAGES[secondary]}
            self.transitions.append(told)
            self.secondary, self.modified = secondary, now
            if status is not None:
                self.transitions[-1]["EndTime"] = now
                self.status = status

    def _live(self) -> None:
        try:
            self._run()
        except _Failure as failure:
            self._fail(str(failure))
        except Exception as error:
            self._fail(f"InternalServerError: {type(error).__name__}: {error}")

    def _run(self) -> None:
        slow = self.emulator.faults.take("slow_start", "CreateTrainingJob")
        self._stop.wait(slow.seconds if slow else self.emulator.pace)
        if self.emulator.faults.take("capacity_error", "CreateTrainingJob"):
            raise _Failure("CapacityError: Unable to provision requested ML compute capacity. Please retry using a"
                           " different ML instance type.")  # fmt: skip
        while True:
            if self._stop.is_set():
                return self.enter("Stopped", "Stopped")
            self.enter("Downloading")
            folder = self._folder()
            self._download(folder)
            ended = self._train(folder)
            if ended != "Interrupted":
                break
            self.enter("Interrupted")  # SageMaker takes the next spare instance and begins again
            self._stop.wait(self.emulator.pace)
            if not self.request.get("EnableManagedSpotTraining"):
                raise _Failure("InternalServerError: We encountered an internal error. Please try again.")
        self._tell_log()
        if ended == "Failed":
            raise _Failure(self._failure(folder))
        self.enter("Uploading")
        self._upload(folder)
        if ended == "Training":
            self.enter("Completed", "Completed")
        elif ended == "Stopping":
            self.enter("Stopped", "Stopped")
        else:
            self.enter(ended, "Stopped")
        return None

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.emulator.folder, prefix=f"{self.name}-")) / "ml"
        for part in ("input/config", "input/data", "model", "output/data"):
            (folder / part).mkdir(parents=True)
        config = folder / "input" / "config"
        (config / "hyperparameters.json").write_text(json.dumps(self.request.get("HyperParameters", {})))
        (config / "resourceconfig.json").write_text(
            json.dumps({"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"})
        )
        channels = {
            channel["ChannelName"]: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
            for channel in self.request.get("InputDataConfig", ())
        }
        (config / "inputdataconfig.json").write_text(json.dumps(channels))
        return folder

    def _download(self, folder: Path) -> None:
        s3 = self.emulator.client("s3")
        for channel in self.request.get("InputDataConfig", ()):
            source = channel["DataSource"]["S3DataSource"]["S3Uri"]
            bucket, prefix = urlsplit(source).netloc, urlsplit(source).path.lstrip("/")
            target = folder / "input" / "data" / channel["ChannelName"]
            target.mkdir(parents=True)
            try:
                found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
            except ClientError as error:
                raise _Failure(f"ClientError: Data download failed: {error}") from error
            if not found:
                raise _Failure(
                    "ClientError: Data download failed:No S3 objects found under S3 URL"
                    f' "{source}" given in input data source'
                )
            for item in found:
                file = target / (item["Key"].removeprefix(prefix).lstrip("/") or Path(item["Key"]).name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())

    def _train(self, folder: Path) -> str:
        """Runs the container; returns Training (it ended well), Failed, Stopping, Interrupted or MaxRuntimeExceeded."""
        algorithm = self.request["AlgorithmSpecification"]
        command = [*algorithm.get("ContainerEntrypoint", ()), *algorithm.get("ContainerArguments", ())]
        if not command:
            command = [*self.emulator.command(algorithm.get("TrainingImage", "")), "train"]
        # Without a network a container reaches no service, so it is not told where the services are.
        reached = {} if self.request.get("EnableNetworkIsolation") else self.emulator.environment()
        environment = {
            **reached,
            **self.request.get("Environment", {}),
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
            "AWS_REGION": self.emulator.region,
        }
        interruption = self.emulator.faults.take("spot_interruption", "CreateTrainingJob")
        began = time.monotonic()
        self.training_began = self.training_began or datetime.now(UTC)
        self.enter("Training")
        self.container = self.emulator.containers.start(command, folder, environment)
        limit = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        ended = "Training"
        while self.container.ended() is None:
            spent = time.monotonic() - began
            if interruption and spent > interruption.seconds:
                ended = "Interrupted"
            elif self._stop.is_set():
                ended = "Stopping"
            elif self.billed + spent > limit:
                ended = "MaxRuntimeExceeded"
            if ended != "Training":
                if ended != "Interrupted":
                    self.enter("Stopping")
                self.container.end(self.emulator.grace)
                break
            time.sleep(0.02)
        self.training_ended = datetime.now(UTC)
        self.billed += time.monotonic() - began
        if ended == "Training" and self.container.ended() != 0:
            return "Failed"
        self.metrics = self._final_metrics(self.container.printed())
        return ended

    def _final_metrics(self, printed: str) -> list[dict[str, Any]]:
        """The last value of each metric, by the request's regular expressions."""
        found = []
        algorithm = self.request["AlgorithmSpecification"]
        own = xgboost.METRICS if xgboost.IMAGE in algorithm.get("TrainingImage", "") else ()
        for metric in algorithm.get("MetricDefinitions", own):
            values = re.findall(metric["Regex"], printed)
            if values:
                found.append({"MetricName": metric["Name"], "Value": float(values[-1]), "Timestamp": datetime.now(UTC)})
        return found

    def _failure(self, folder: Path) -> str:
        file = folder / "output" / "failure"
        status = self.container.ended() if self.container else None
        if file.is_file():
            told = file.read_text(errors="replace").strip()
        else:
            told = (self.container.printed().strip().splitlines() or [""])[-1] if self.container else ""
        return f"AlgorithmError: {told[: _REASON - 100]}, exit code: {status}"

    def _fail(self, reason: str) -> None:
        self.reason = reason[:_REASON]
        self.enter("Failed", "Failed")

    def _upload(self, folder: Path) -> None:
        target = urlsplit(self.request["OutputDataConfig"]["S3OutputPath"])
        key = f"{target.path.strip('/')}/{self.name}/output/model.tar.gz".lstrip("/")
        content = pack(folder / "model")
        if self.emulator.faults.take("damaged_upload", "CreateTrainingJob"):
            content = content[: len(content) // 2]
        try:
            self.emulator.client("s3").put_object(Bucket=target.netloc, Key=key, Body=content)
        except ClientError as error:
            raise _Failure(f"ClientError: Artifact upload failed:{error}") from error
        self.output_key = f"s3://{target.netloc}/{key}"

    def _tell_log(self) -> None:
        printed = self.container.printed() if self.container else ""
        tell_log(self.emulator, LOG_GROUP, f"{self.name}/algo-1-{int(self.created.timestamp())}", printed)

    def describe(self) -> dict[str, Any]:
        with self._lock:
            told: dict[str, Any] = {
                "TrainingJobName": self.name, "TrainingJobArn": self.arn, "TrainingJobStatus": self.status,
                "SecondaryStatus": self.secondary, "CreationTime": self.created, "LastModifiedTime": self.modified,
                "SecondaryStatusTransitions": [dict(one) for one in self.transitions],
                "FinalMetricDataList": self.metrics,
                **{name: self.request[name] for name in _ECHOED if name in self.request},
            }  # fmt: skip
            # Present from the start, whether or not anything ever stands there.
            target = self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
            told["ModelArtifacts"] = {"S3ModelArtifacts": f"{target}/{self.name}/output/model.tar.gz"}
            if self.training_began:
                told["TrainingStartTime"] = self.training_began
            if self.finished:
                told["TrainingEndTime"] = self.training_ended or self.modified
                if self.billed:
                    told["TrainingTimeInSeconds"] = told["BillableTimeInSeconds"] = math.ceil(self.billed)
            if self.reason:
                told["FailureReason"] = self.reason
            return told

    def summary(self) -> dict[str, Any]:
        told = {
            "TrainingJobName": self.name, "TrainingJobArn": self.arn, "CreationTime": self.created,
            "LastModifiedTime": self.modified, "TrainingJobStatus": self.status, "SecondaryStatus": self.secondary,
        }  # fmt: skip
        return {**told, "TrainingEndTime": self.modified} if self.finished else told


class _Failure(Exception):  # noqa: N818
    """The job ends as Failed, with that reason."""


class TrainingJobs(Jobs[Job]):
    """All training jobs of the account."""

    noun, taken = "Training", "Training job names must be unique within an AWS account"

    def begin(self, request: dict[str, Any]) -> Job:
        return Job(self._emulator, request)

    def actions(self) -> dict[str, Action]:
        return {**super().actions(), "DeleteTrainingJob": self._delete}

    def check(self, request: dict[str, Any]) -> None:
        for missing in ("ResourceConfig", "StoppingCondition"):
            if missing not in request:
                raise invalid(f"{missing} is required")
        condition = request["StoppingCondition"]
        if request.get("EnableManagedSpotTraining"):
            if condition.get("MaxWaitTimeInSeconds", 0) < condition.get("MaxRuntimeInSeconds", 86400):
                raise invalid("Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to"
                              " MaxRuntimeInSeconds")  # fmt: skip
        elif "MaxWaitTimeInSeconds" in condition:
            raise invalid("MaxWaitTimeInSeconds is only for managed spot training")
        for name, value in request.get("Environment", {}).items():
            if len(name) > 512 or len(value) > 512:
                raise invalid(f"environment variable {name} is longer than 512 characters")
        algorithm = request["AlgorithmSpecification"]
        if xgboost.IMAGE in algorithm.get("TrainingImage", "") and algorithm.get("MetricDefinitions"):
            raise invalid("You can't override the metric definitions for Amazon SageMaker algorithms.")

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._visible(request)
        if not job.finished:
            raise in_use("A running training job cannot be deleted; it", job.arn)
        del self._jobs[job.name]
        return {}


def pack(folder: Path) -> bytes:
    """A folder's content as tar.gz, names relative to the folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    return out.getvalue()
