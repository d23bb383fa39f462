"""The server: one WSGI application in front of moto's.

What belongs here: the wire (which action is asked, validation, faults, JSON answers) and the life of the whole emulator.
One emulator is one account in one region; moto's state is global, so a process has one emulator at a time.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3.session
from botocore.config import Config
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from hoops_assets.emulators.aws import shapes, xgboost
from hoops_assets.emulators.aws.cards import Cards
from hoops_assets.emulators.aws.containers import OUR_IMAGE, Containers
from hoops_assets.emulators.aws.endpoints import Endpoints
from hoops_assets.emulators.aws.errors import Refused, invalid
from hoops_assets.emulators.aws.experiments import Experiments
from hoops_assets.emulators.aws.faults import Fault, Faults, of_s3
from hoops_assets.emulators.aws.lineage import Lineage
from hoops_assets.emulators.aws.packages import Packages
from hoops_assets.emulators.aws.pipelines import Pipelines
from hoops_assets.emulators.aws.processing import ProcessingJobs
from hoops_assets.emulators.aws.training import TrainingJobs
from hoops_assets.emulators.aws.transform import TransformJobs

ACCOUNT = "123456789012"
REGION = "us-east-1"
OWN_KEY = "EMULATOR"
"""Access key of what the emulator does to S3 and Logs in the name of the role that it was given: not hit by faults."""

_ONE = threading.Lock()
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations")
_IAM = {"": "s3", "monitoring": "cloudwatch"}
"""Services that sign by another name than IAM knows."""

_MOTO = ("s3", "sts", "iam", "logs", "cloudwatch", "applicationautoscaling", "kms")

Handler = Callable[[dict[str, Any]], dict[str, Any]]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class AwsEmulator:
    """SageMaker on loopback, from `start` to `stop`.

    Args:
        port: 0 takes a free one.
        pace: seconds that a job or endpoint spends in each state in which nothing really runs.
        grace: seconds between SIGTERM and SIGKILL (120 on AWS).
    """

    def __init__(self, port: int = 0, *, region: str = REGION, pace: float = 0.01, grace: float = 5.0) -> None:
        self.region, self.account = region, ACCOUNT
        self.pace, self.grace = pace, grace
        self.faults = Faults()
        self.seen: Counter[str] = Counter()
        self.acted: Counter[str] = Counter()
        self.images: dict[str, tuple[str, ...]] = {}
        self.containers = Containers()
        self.folder = Path()
        self._port = port
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._clients: dict[str, Any] = {}
        self._parts: list[Any] = []
        self._actions: dict[str, Handler] = {}
        self._setup()

    def _setup(self) -> None:
        self.training_jobs = TrainingJobs(self)
        self.packages = Packages(self)
        self.endpoints = Endpoints(self)
        self.transform_jobs = TransformJobs(self)
        self.processing_jobs = ProcessingJobs(self)
        self.pipelines = Pipelines(self)
        self.lineage = Lineage(self)
        self.cards, self.experiments = Cards(self), Experiments(self)
        # A pipeline's steps are jobs of the others: it is closed before them.
        self._parts = [
            self.pipelines, self.training_jobs, self.packages, self.endpoints, self.transform_jobs,
            self.processing_jobs, self.lineage, self.cards, self.experiments,
        ]  # fmt: skip
        self._actions = {name: handler for part in self._parts for name, handler in part.actions().items()}

    def start(self) -> Self:
        """Raises OSError if the port is taken, RuntimeError if this process has an emulator already."""
        if not _ONE.acquire(blocking=False):
            raise RuntimeError("this process runs an AWS emulator already, and moto's state is the process's own")
        self.folder = Path(tempfile.mkdtemp(prefix="hoops-aws-"))
        _forget()
        self._server = make_server("127.0.0.1", self._port, self, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the server and every process that it started, and forgets everything."""
        for part in self._parts:
            part.close()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self.containers.close()
        _forget()
        shutil.rmtree(self.folder, ignore_errors=True)
        _ONE.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def reset(self) -> None:
        """As just started."""
        for part in self._parts:
            part.close()
        self.faults.clear()
        self.seen.clear()
        self.acted.clear()
        self.images.clear()
        _forget()
        self._setup()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("the emulator was not started")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Variables with which boto3 talks to this emulator, whatever program it is in."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def fault(self, kind: str, action: str = "*", times: int = 1, seconds: float = 1.0, after: int = 0) -> None:
        """Lets the next fitting calls or resources meet a fault, see `faults`."""
        self.faults.add(Fault(kind, action, times, seconds, after))

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name}"

    def client(self, service: str) -> Any:
        """The emulator's own client of a service that moto keeps."""
        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(
                service, endpoint_url=self.url, region_name=self.region, aws_access_key_id=OWN_KEY,
                aws_secret_access_key=OWN_KEY, config=Config(retries={"total_max_attempts": 1}),
            )  # fmt: skip
        return self._clients[service]

    def command(self, image: str) -> tuple[str, ...]:
        """What an image runs, without its argument; every unknown image is this platform's own."""
        return self.images.get(image, xgboost.COMMAND if xgboost.IMAGE in image else OUR_IMAGE)

    def standing(self) -> dict[str, list[str]]:
        """Names of everything that exists, by kind, objects included."""
        found = {kind: names for part in self._parts for kind, names in part.standing().items()}
        s3 = self.client("s3")
        found["object"] = [
            f"{bucket['Name']}/{item['Key']}"
            for bucket in s3.list_buckets()["Buckets"]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
            for item in page.get("Contents", ())
        ]
        return found

    def billed(self) -> dict[str, int]:
        """Instance seconds so far, by what AWS bills for: rounded up for each job, as it does."""
        return {
            "training": self.training_jobs.billed(), "processing": self.processing_jobs.billed(),
            "transform": self.transform_jobs.billed(), "endpoint": self.endpoints.billed(),
        }  # fmt: skip

    def running(self) -> list[int]:
        """Pids of all processes."""
        return [pid for part in self._parts for pid in part.running()]

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        path, target = environ.get("PATH_INFO", ""), environ.get("HTTP_X_AMZ_TARGET", "")
        if path.startswith("/hoops/"):
            return _answer(start_response, *self._manage(environ, path))
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key, service = (found[1], found[3]) if found else ("", "")
        if key == OWN_KEY:
            self.acted[_iam_action(environ, service)] += 1
            return self._moto(environ, start_response)
        if target.startswith("SageMaker."):
            return _answer(start_response, *self._sagemaker(environ, target.removeprefix("SageMaker.")))
        invoked = _INVOCATIONS.fullmatch(path)
        if invoked and environ["REQUEST_METHOD"] == "POST":
            return self._invoke(environ, start_response, invoked[1])
        if path == "/BatchPutMetrics":
            return _answer(start_response, *self._put_metrics(environ))
        action = _iam_action(environ, service)
        self.seen[action] += 1
        try:
            self.faults.refuse(action.partition(":")[2])
        except Refused as told:
            if target:
                return _answer(start_response, *_json(told))
            refused = of_s3(told) if service in ("s3", "") else told
            return _answer(start_response, refused.status, _xml(refused), "application/xml", refused.code)
        if not action.endswith(":RegisterScalableTarget"):
            return self._moto(environ, start_response)
        body = _body(environ)
        answer = self._moto({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
        self.endpoints.registered(json.loads(body).get("ResourceId", ""))
        return answer

    def _sagemaker(self, environ: dict[str, Any], action: str) -> tuple[int, bytes, str, str]:
        self.seen[f"sagemaker:{action}"] += 1
        try:
            request = json.loads(_body(environ) or b"{}")
            self.faults.refuse(action)
            self._check(action, request)
            # What IAM asks for beside the action itself.
            self.seen["sagemaker:AddTags"] += bool(request.get("Tags"))
            self.seen["iam:PassRole"] += "RoleArn" in request or "ExecutionRoleArn" in request
            answer = self._actions[action](request)
            wrong = shapes.output_problems("sagemaker", action, answer)
            if wrong:
                raise Refused("InternalFailure", f"the emulator's own answer is wrong: {'; '.join(wrong)}", 500)
        except Refused as refused:
            return _json(refused)
        return 200, json.dumps(answer, default=_moment).encode(), "application/x-amz-json-1.1", ""

    def _put_metrics(self, environ: dict[str, Any]) -> tuple[int, bytes, str, str]:
        """BatchPutMetrics, which is REST and a service of its own."""
        action = "BatchPutMetrics"
        self.seen[f"sagemaker:{action}"] += 1
        try:
            request = json.loads(_body(environ) or b"{}")
            self.faults.refuse(action)
            wrong = shapes.input_problems("sagemaker-metrics", action, request)
            if wrong:
                raise invalid(f"{len(wrong)} validation errors detected: {'; '.join(wrong)}")
            answer = self.experiments.put_metrics(request)
        except Refused as refused:
            return _json(refused)
        return 200, json.dumps(answer).encode(), "application/json", ""

    def act(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """What an action answers when SageMaker itself asks for it, as a pipeline does. Raises Refused."""
        self._check(action, request)
        self.acted[f"sagemaker:{action}"] += 1
        self.acted["sagemaker:AddTags"] += bool(request.get("Tags"))
        self.acted["iam:PassRole"] += "RoleArn" in request
        return self._actions[action](request)

    def _check(self, action: str, request: dict[str, Any]) -> None:
        if action not in self._actions:
            raise Refused("UnknownOperationException", f"the emulator does not know {action}", 501)
        wrong = shapes.input_problems("sagemaker", action, request)
        if wrong:
            raise invalid(f"{len(wrong)} validation errors detected: {'; '.join(wrong)}")

    def _invoke(self, environ: dict[str, Any], start_response: StartResponse, endpoint: str) -> Iterable[bytes]:
        """InvokeEndpoint, which is REST."""
        self.seen["sagemaker:InvokeEndpoint"] += 1
        try:
            self.faults.refuse("InvokeEndpoint")
            answered = self.endpoints.invoke(endpoint, environ, _body(environ))
        except Refused as refused:
            told = {"Message": refused.message, **refused.more}
            body = json.dumps(told).encode()
            return _answer(start_response, refused.status, body, "application/json", refused.code)
        start_response(
            "200 OK",
            [
                ("Content-Type", answered.content_type),
                ("Content-Length", str(len(answered.body))),
                ("x-Amzn-Invoked-Production-Variant", answered.variant),
            ],
        )
        return [answered.body]

    def _manage(self, environ: dict[str, Any], path: str) -> tuple[int, bytes, str, str]:
        """From another process: POST and DELETE /hoops/faults; GET /hoops/standing and /hoops/seen tell."""
        told: Any
        if path == "/hoops/faults" and environ["REQUEST_METHOD"] == "POST":
            try:
                self.faults.add(self.faults.of(json.loads(_body(environ))))
            except (Refused, ValueError) as error:
                return 400, json.dumps({"error": str(error)}).encode(), "application/json", ""
            told = {}
        elif path == "/hoops/faults" and environ["REQUEST_METHOD"] == "DELETE":
            self.faults.clear()
            told = {}
        else:
            told = {"/hoops/standing": self.standing, "/hoops/seen": lambda: dict(self.seen)}.get(path, dict)()
        return 200, json.dumps(told).encode(), "application/json", ""


class _QuietHandler(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        if type == "error":
            sys.stderr.write(message % args + "\n")


def _forget() -> None:
    """moto's state is of the process."""
    for name in _MOTO:
        get_backend(name).reset()  # pyright: ignore[reportArgumentType]


def _body(environ: dict[str, Any]) -> bytes:
    return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def _moment(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} is no part of an answer")


def _answer(
    start_response: StartResponse, status: int, body: bytes, content_type: str, error: str = ""
) -> Iterable[bytes]:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("x-amzn-RequestId", "0")]
    headers += [("x-amzn-ErrorType", error)] if error else []
    start_response(f"{status} {'OK' if status < 400 else 'refused'}", headers)
    return [body]


def _json(refused: Refused) -> tuple[int, bytes, str, str]:
    told = {"__type": refused.code, "message": refused.message}
    return refused.status, json.dumps(told).encode(), "application/x-amz-json-1.1", refused.code


def _xml(refused: Refused) -> bytes:
    return (
        f"<?xml version='1.0'?><Error><Code>{refused.code}</Code><Message>{refused.message}</Message></Error>"
    ).encode()


def _iam_action(environ: dict[str, Any], service: str) -> str:
    """What is asked of a service of moto's, as IAM names it."""
    if service in ("s3", ""):
        return f"s3:{_s3_action(environ)}"
    action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2] or environ.get("PATH_INFO", "")
    return f"{_IAM.get(service, service)}:{action}"


def _s3_action(environ: dict[str, Any]) -> str:
    """S3's action as IAM names it."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "").strip("/")
    query = environ.get("QUERY_STRING", "")
    if "/" not in path:
        if method == "POST" and "delete" in query:
            return "DeleteObject"
        return {"PUT": "CreateBucket", "DELETE": "DeleteBucket"}.get(method, "ListBucket")
    return {"PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}.get(method, "GetObject")


def now() -> datetime:
    return datetime.now(UTC)
