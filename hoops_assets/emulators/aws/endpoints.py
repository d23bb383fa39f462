"""Models, endpoint configurations and endpoints: real serving processes behind weighted routing.

What belongs here: their actions, the states of an endpoint, blue/green updates with canary and alarm roll-back, data
capture, InvokeEndpoint, and the numbers of instances that autoscaling's targets allow. Each variant is one process,
however many instances it is told to have.
"""

from __future__ import annotations

import base64
import io
import json
import math
import random
import re
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from hoops_assets.emulators.aws.containers import Container
from hoops_assets.emulators.aws.errors import Refused, invalid, not_found
from hoops_assets.emulators.aws.faults import is_unseen
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

LOG_GROUP = "/aws/sagemaker/Endpoints/"
HEALTHY_WITHIN = 60.0
"""Seconds in which a container must answer /ping (480 on AWS, unless the configuration says otherwise)."""

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_VARIANT = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_SETTLED = ("InService", "Failed", "OutOfService", "UpdateRollbackFailed")


class Sick(Exception):  # noqa: N818
    """A container did not become healthy."""


class Server:
    """A serving container with its address."""

    def __init__(self, emulator: AwsEmulator, model: dict[str, Any]) -> None:
        container = model.get("PrimaryContainer") or model["Containers"][0]
        self._home = Path(tempfile.mkdtemp(dir=emulator.folder, prefix="serving-"))
        folder = self._home / "ml"
        (folder / "model").mkdir(parents=True)
        if "ModelDataUrl" in container:
            _download_model(emulator, container["ModelDataUrl"], folder / "model")
        if emulator.faults.take("damaged_model", "CreateModel", model["ModelName"]):
            for file in folder.glob("model/*.onnx"):
                file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        command = [*emulator.command(container["Image"]), "serve", "--host", "127.0.0.1", "--port", "0"]
        environment = {
            **emulator.environment(), **container.get("Environment", {}), "AWS_REGION": emulator.region,
            "HOOPS_HOME": str(self._home / "home"),
        }  # fmt: skip
        self.container: Container = emulator.containers.start(command, folder, environment)
        self._address = ""

    def wait(self, stop: threading.Event) -> None:
        """Returns when it is healthy. Raises Sick."""
        deadline = time.monotonic() + HEALTHY_WITHIN
        while not self.healthy():
            if self.container.ended() is not None or time.monotonic() > deadline or stop.is_set():
                raise Sick(
                    "The primary container did not pass the ping health check. Please check CloudWatch logs for this"
                    " endpoint."
                )
            time.sleep(0.02)

    def healthy(self) -> bool:
        try:
            return self.ask("GET", "/ping", b"", {})[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        """(status, body, content type). Raises OSError if nobody answers."""
        data = body if method == "POST" else None
        request = urllib.request.Request(f"{self._find()}{path}", data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers.get("Content-Type", "")

    def _find(self) -> str:
        if not self._address:
            try:
                told = json.loads((self._home / "home" / "serving" / "server.json").read_text())
            except ValueError as error:
                raise OSError("not yet") from error
            self._address = f"http://127.0.0.1:{told['port']}"
        return self._address


@dataclass
class Variant:
    """A variant of an endpoint, as it runs. `model` is the very object that it was started from."""

    name: str
    model: dict[str, Any]
    image: str
    server: Server
    weight: float
    count: int


@dataclass(frozen=True)
class Answered:
    """What a container answered."""

    body: bytes
    content_type: str
    variant: str


class Endpoint:
    """One endpoint."""

    def __init__(self, endpoints: Endpoints, request: dict[str, Any]) -> None:
        self._all, self._emulator = endpoints, endpoints.emulator
        self.name: str = request["EndpointName"]
        self.arn = self._emulator.arn("endpoint", self.name)
        self.config: str = request["EndpointConfigName"]
        self.deployment: dict[str, Any] = {}
        self.status, self.reason = "Creating", ""
        self.created = self.modified = datetime.now(UTC)
        self.variants: list[Variant] = []
        self.errors: Counter[str] = Counter()  # failed answers by variant
        self.hidden = self._emulator.faults.take("not_yet_visible", "CreateEndpoint")
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.thread = self._in_thread(self._create, self.config)

    def update(self, request: dict[str, Any]) -> None:
        with self.lock:
            if self.status not in ("InService", "OutOfService", "UpdateRollbackFailed"):
                raise invalid(f'Cannot update in-progress endpoint "{self.arn}".')
            config = self._all.configuration(request["EndpointConfigName"])
            deployment = request.get("DeploymentConfig", {})
            names = {one["VariantName"] for one in config["ProductionVariants"]}
            if deployment and names != {one.name for one in self.variants}:
                raise invalid(
                    "A deployment configuration needs the same variant names in the new endpoint configuration"
                )
            former = self._all.configurations.get(self.config, config)
            types = {one["VariantName"]: one.get("InstanceType") for one in former["ProductionVariants"]}
            for one in config["ProductionVariants"]:
                name = one["VariantName"]
                if types.get(name, one.get("InstanceType")) != one.get("InstanceType") and self.target(name):
                    raise invalid(f"Cannot change the instance type of variant {name}, a target of autoscaling")
            self.status, self.deployment = "Updating", deployment
            self.modified = datetime.now(UTC)
        self.thread = self._in_thread(self._update, config["EndpointConfigName"])

    def reweigh(self, wanted: list[dict[str, Any]]) -> None:
        with self.lock:
            if self.status != "InService":
                raise invalid(f'Cannot update in-progress endpoint "{self.arn}".')
            known = {one.name: one for one in self.variants}
            for one in wanted:
                if one["VariantName"] not in known:
                    raise invalid(f"The variant name(s) \"{one['VariantName']}\" is/are not present within endpoint"
                                  " configuration")  # fmt: skip
            weights = {one.name: one.weight for one in self.variants}
            weights |= {one["VariantName"]: one["DesiredWeight"] for one in wanted if "DesiredWeight" in one}
            if sum(weights.values()) <= 0:
                raise invalid("At least one variant must have a weight above 0")
            self.status = "Updating"
        self.thread = self._in_thread(self._reweigh, wanted)

    def target(self, variant: str) -> dict[str, Any] | None:
        """A variant as Application Auto Scaling's target; None if it is none."""
        found = self._emulator.client("application-autoscaling").describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{self.name}/variant/{variant}"]
        )
        return next(iter(found["ScalableTargets"]), None)

    def keep_within(self, variant: str) -> None:
        """Brings a variant between its target's numbers, as its registration does; not while the endpoint changes."""
        target = self.target(variant)
        for one in self.variants:
            if target and one.name == variant:
                count = min(max(one.count, target["MinCapacity"]), target["MaxCapacity"])
                if count != one.count:
                    with suppress(Refused):
                        self.reweigh([{"VariantName": variant, "DesiredInstanceCount": count}])

    def seconds(self) -> float:
        """Instance seconds since it was made."""
        return (datetime.now(UTC) - self.created).total_seconds() * sum(one.count for one in self.variants)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)
        _end(self.variants, self._emulator.grace)
        self.variants = []

    def _in_thread(self, run: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        thread.start()
        return thread

    def _pause(self, kind: str) -> None:
        slow = self._emulator.faults.take("slow_start", kind)
        self.stop.wait(slow.seconds if slow else self._emulator.pace)

    def _create(self, config: str) -> None:
        self._pause("CreateEndpoint")
        try:
            if self._emulator.faults.take("capacity_error", "CreateEndpoint"):
                raise Sick("Unable to provision requested ML compute capacity. Please retry using a different ML instance"
                           " type.")  # fmt: skip
            fleet = self._fleet(config)
        except Sick as sick:
            self._settle("Failed", str(sick))
            return
        self.variants = fleet
        self._settle("InService")

    def _update(self, config: str) -> None:
        self._pause("UpdateEndpoint")
        stalled = self._emulator.faults.take("stalled_update", "UpdateEndpoint")
        if stalled is not None:
            self.stop.wait(stalled.seconds)
            self._settle("InService", "The update took longer than its maximum execution time and was rolled back.")
            return
        if self._emulator.faults.take("silent_roll_back", "UpdateEndpoint"):
            self._settle("InService")
            return
        try:
            if self._emulator.faults.take("capacity_error", "UpdateEndpoint"):
                raise Sick("Unable to provision requested ML compute capacity. Please retry using a different ML instance"
                           " type.")  # fmt: skip
            green = self._fleet(config)
        except Sick as sick:
            self._settle("InService", f"{sick} The endpoint was rolled back to its previous configuration.")
            return
        blue = self.variants
        alarm = self._bake(green)
        if alarm:
            self.variants = blue
            self.status = "RollingBack"
            _end(green, self._emulator.grace, but=blue)
            self._settle("InService", f"One or more configured alarm(s) went into ALARM: {alarm}; rolled back.")
            return
        self.variants, self.config = green, config
        _end(blue, self._emulator.grace, but=green)
        self._settle("InService")

    def _bake(self, green: list[Variant]) -> str:
        """Lets the green fleet take the canary's share and looks at the alarms; the name of one that went off, or ''."""
        policy = self.deployment.get("BlueGreenUpdatePolicy", {})
        alarms = [one["AlarmName"] for one in self.deployment.get("AutoRollbackConfiguration", {}).get("Alarms", ())]
        routing = policy.get("TrafficRoutingConfiguration", {})
        self.errors.clear()
        if routing:
            share = routing["CanarySize"]["Value"] / 100 if routing["Type"] == "CANARY" else 1.0
            mixed = [*self.variants, *green]
            total = sum(one.weight for one in self.variants) or 1.0
            kept = {id(one): one.weight for one in mixed}
            for one in self.variants:
                one.weight *= 1 - share
            for one in green:
                one.weight *= share * total / (sum(kept[id(g)] for g in green) or 1.0)
            self.variants = mixed
            self.stop.wait(min(routing["WaitIntervalInSeconds"], max(self._emulator.pace * 20, 0.2)))
            for one in mixed:
                one.weight = kept[id(one)]
        if not alarms:
            return ""
        self._evaluate(alarms)
        found = self._emulator.client("cloudwatch").describe_alarms(AlarmNames=alarms)["MetricAlarms"]
        return next((one["AlarmName"] for one in found if one["StateValue"] == "ALARM"), "")

    def _evaluate(self, alarms: list[str]) -> None:
        """Sets off the alarms on failed answers of this endpoint, which moto does not look at."""
        cloudwatch = self._emulator.client("cloudwatch")
        for alarm in cloudwatch.describe_alarms(AlarmNames=alarms)["MetricAlarms"]:
            about = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
            if alarm["MetricName"] != "Invocation5XXErrors" or about.get("EndpointName") != self.name:
                continue
            if self.errors[about.get("VariantName", "")] >= alarm["Threshold"]:
                cloudwatch.set_alarm_state(
                    AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason="Threshold Crossed"
                )

    def _reweigh(self, wanted: list[dict[str, Any]]) -> None:
        self._pause("UpdateEndpointWeightsAndCapacities")
        rolled_back = self._emulator.faults.take("silent_roll_back", "UpdateEndpointWeightsAndCapacities")
        known = {one.name: one for one in self.variants}
        for one in wanted if not rolled_back else ():
            variant = known[one["VariantName"]]
            variant.weight = one.get("DesiredWeight", variant.weight)
            variant.count = one.get("DesiredInstanceCount", variant.count)
        self._settle("InService")

    def _fleet(self, config: str) -> list[Variant]:
        """Started and healthy, or Sick and nothing left.

        AWS starts every variant of the new fleet anew; here one whose model is the same keeps its process.
        """
        fleet: list[Variant] = []
        standing = {id(one.model): one.server for one in self.variants}
        try:
            for told in self._all.configuration(config)["ProductionVariants"]:
                model = self._all.model(told["ModelName"])
                server = standing.get(id(model)) or Server(self._emulator, model)
                container = model.get("PrimaryContainer") or model["Containers"][0]
                weight, count = told.get("InitialVariantWeight", 1.0), told.get("InitialInstanceCount", 1)
                fleet.append(Variant(told["VariantName"], model, container["Image"], server, weight, count))
            for one in fleet:
                try:
                    one.server.wait(self.stop)
                except Sick as sick:
                    self._tell_log(one)
                    named = f"primary container for production variant {one.name}"
                    raise Sick(str(sick).replace("primary container", named)) from sick
        except BaseException:
            _end(fleet, 0.2, but=self.variants)
            raise
        return fleet

    def _tell_log(self, variant: Variant) -> None:
        tell_log(
            self._emulator, f"{LOG_GROUP}{self.name}", f"{variant.name}/i-{variant.server.container.pid:017x}",
            variant.server.container.printed(),
        )  # fmt: skip

    def _settle(self, status: str, reason: str = "") -> None:
        with self.lock:
            if self.status != "Deleting":
                self.status, self.reason, self.modified = status, reason[:1024], datetime.now(UTC)

    def describe(self) -> dict[str, Any]:
        with self.lock:
            told: dict[str, Any] = {
                "EndpointName": self.name, "EndpointArn": self.arn, "EndpointConfigName": self.config,
                "EndpointStatus": self.status, "CreationTime": self.created, "LastModifiedTime": self.modified,
            }  # fmt: skip
            if self.variants:
                told["ProductionVariants"] = [
                    {
                        "VariantName": one.name, "CurrentWeight": one.weight, "DesiredWeight": one.weight,
                        "CurrentInstanceCount": one.count, "DesiredInstanceCount": one.count,
                        "DeployedImages": [{"SpecifiedImage": one.image, "ResolvedImage": one.image}],
                    }
                    for one in self.variants
                ]  # fmt: skip
            if self.reason:
                told["FailureReason"] = self.reason
            if self.deployment:
                told["LastDeploymentConfig"] = self.deployment
            capture = self._all.configurations.get(self.config, {}).get("DataCaptureConfig")
            if capture:
                told["DataCaptureConfig"] = {
                    "EnableCapture": capture.get("EnableCapture", True), "CaptureStatus": "Started",
                    "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
                    "DestinationS3Uri": capture["DestinationS3Uri"], "KmsKeyId": capture.get("KmsKeyId", ""),
                }  # fmt: skip
            return told


class Endpoints:
    """All models, configurations and endpoints of the account."""

    def __init__(self, emulator: AwsEmulator) -> None:
        self.emulator = emulator
        self.models: dict[str, dict[str, Any]] = {}
        self.configurations: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self._lock = threading.Lock()
        self._random = random.Random(0)
        self._gone = 0.0  # instance seconds of deleted endpoints

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "CreateModel": self._create_model, "DescribeModel": self._describe_model, "ListModels": self._list_models,
            "DeleteModel": self._delete_model,
            "CreateEndpointConfig": self._create_config, "DescribeEndpointConfig": self._describe_config,
            "ListEndpointConfigs": self._list_configs, "DeleteEndpointConfig": self._delete_config,
            "CreateEndpoint": self._create, "DescribeEndpoint": self._describe, "ListEndpoints": self._list,
            "UpdateEndpoint": self._update, "UpdateEndpointWeightsAndCapacities": self._reweigh,
            "DeleteEndpoint": self._delete,
        }  # fmt: skip

    def standing(self) -> dict[str, list[str]]:
        return {
            "model": sorted(self.models),
            "endpoint configuration": sorted(self.configurations),
            "endpoint": sorted(self.endpoints),
        }

    def billed(self) -> int:
        """Instance seconds of the endpoints that stand and of those that are gone, at the number of instances they have."""
        return math.ceil(self._gone + sum(one.seconds() for one in self.endpoints.values()))

    def running(self) -> list[int]:
        servers = [one.server.container for endpoint in self.endpoints.values() for one in endpoint.variants]
        return [container.pid for container in servers if container.ended() is None]

    def close(self) -> None:
        for endpoint in list(self.endpoints.values()):
            endpoint.end()
        self.endpoints.clear()

    def model(self, name: str) -> dict[str, Any]:
        if name not in self.models:
            raise not_found("model", self.emulator.arn("model", name))
        return self.models[name]

    def configuration(self, name: str) -> dict[str, Any]:
        if name not in self.configurations:
            raise not_found("endpoint configuration", self.emulator.arn("endpoint-config", name))
        return self.configurations[name]

    def endpoint(self, name: str) -> Endpoint:
        found = self.endpoints.get(name)
        if found is None or is_unseen(found):
            raise not_found("endpoint", self.emulator.arn("endpoint", name))
        return found

    def registered(self, resource: str) -> None:
        """What follows when a resource became a target of autoscaling."""
        found = _VARIANT.fullmatch(resource)
        if found and found[1] in self.endpoints:
            self.endpoints[found[1]].keep_within(found[2])

    def _create_model(self, request: dict[str, Any]) -> dict[str, Any]:
        name, arn = request["ModelName"], self.emulator.arn("model", request["ModelName"])
        if "PrimaryContainer" not in request and "Containers" not in request:
            raise invalid("Neither PrimaryContainer nor Containers is given")
        if "ExecutionRoleArn" not in request:
            raise invalid("ExecutionRoleArn is required")
        container = request.get("PrimaryContainer") or request["Containers"][0]
        data = container.get("ModelDataUrl")
        if data:
            where = urlsplit(data)
            try:
                self.emulator.client("s3").head_object(Bucket=where.netloc, Key=where.path.lstrip("/"))
            except ClientError as error:
                raise invalid(f"Could not access model data at {data}.") from error
        with self._lock:
            if name in self.models:
                raise invalid(f'Cannot create already existing model "{arn}".')
            self.models[name] = {**request, "ModelArn": arn, "CreationTime": datetime.now(UTC)}
        return {"ModelArn": arn}

    def _describe_model(self, request: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in self.model(request["ModelName"]).items() if name != "Tags"}

    def _list_models(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [one for name, one in self.models.items() if request.get("NameContains", "") in name]
        rows, more = page(wanted, request)
        return {"Models": [{k: row[k] for k in ("ModelName", "ModelArn", "CreationTime")} for row in rows], **more}

    def _delete_model(self, request: dict[str, Any]) -> dict[str, Any]:
        self.model(request["ModelName"])
        del self.models[request["ModelName"]]
        return {}

    def _create_config(self, request: dict[str, Any]) -> dict[str, Any]:
        name, arn = request["EndpointConfigName"], self.emulator.arn("endpoint-config", request["EndpointConfigName"])
        variants = request["ProductionVariants"]
        names = [one["VariantName"] for one in variants]
        if len(set(names)) != len(names):
            raise invalid("Production variant names must be unique")
        for one in variants:
            self.model(one["ModelName"])
            if "InstanceType" not in one and "ServerlessConfig" not in one:
                raise invalid(f"InstanceType is required for production variant {one['VariantName']}")
        if sum(one.get("InitialVariantWeight", 1.0) for one in variants) <= 0:
            raise invalid("At least one variant must have a weight above 0")
        with self._lock:
            if name in self.configurations:
                raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
            self.configurations[name] = {**request, "EndpointConfigArn": arn, "CreationTime": datetime.now(UTC)}
        return {"EndpointConfigArn": arn}

    def _describe_config(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self.configuration(request["EndpointConfigName"])
        return {name: value for name, value in found.items() if name != "Tags"}

    def _list_configs(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [one for name, one in self.configurations.items() if request.get("NameContains", "") in name]
        rows, more = page(wanted, request)
        shown = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        return {"EndpointConfigs": [{k: row[k] for k in shown} for row in rows], **more}

    def _delete_config(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self.configuration(request["EndpointConfigName"])["EndpointConfigName"]
        if any(one.config == name and one.status != "InService" for one in self.endpoints.values()):
            raise invalid(f"Endpoint configuration {name} is used by an endpoint that is being created or updated")
        del self.configurations[name]
        return {}

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        self.configuration(request["EndpointConfigName"])
        name = request["EndpointName"]
        if not _NAME.fullmatch(name):
            raise invalid(f"{name} is no name of an endpoint")
        with self._lock:
            if name in self.endpoints:
                raise invalid(f'Cannot create already existing endpoint "{self.endpoints[name].arn}".')
            self.endpoints[name] = endpoint = Endpoint(self, request)
        return {"EndpointArn": endpoint.arn}

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.endpoint(request["EndpointName"]).describe()

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            one
            for name, one in self.endpoints.items()
            if request.get("NameContains", "") in name and one.hidden is None
        ]
        rows, more = page(wanted, request)
        told = [
            {
                "EndpointName": one.name, "EndpointArn": one.arn, "CreationTime": one.created,
                "LastModifiedTime": one.modified, "EndpointStatus": one.status,
            }
            for one in rows
        ]  # fmt: skip
        return {"Endpoints": told, **more}

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self.endpoint(request["EndpointName"])
        endpoint.update(request)
        return {"EndpointArn": endpoint.arn}

    def _reweigh(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self.endpoint(request["EndpointName"])
        endpoint.reweigh(request["DesiredWeightsAndCapacities"])
        return {"EndpointArn": endpoint.arn}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self.endpoint(request["EndpointName"])
        with endpoint.lock:
            if endpoint.status == "Deleting":
                raise invalid(f'Cannot delete endpoint "{endpoint.arn}" that is being deleted.')
            if endpoint.status not in _SETTLED:
                raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
            endpoint.status = "Deleting"

        def go() -> None:
            self._gone += endpoint.seconds()
            endpoint.end()
            self.endpoints.pop(endpoint.name, None)

        threading.Thread(target=go, daemon=True).start()
        return {}

    def invoke(self, name: str, environ: dict[str, Any], body: bytes) -> Answered:
        """Asks the pinned variant, or one drawn by the weights. Raises Refused."""
        endpoint = self.endpoints.get(name)
        if endpoint is None or (endpoint.status == "Creating" and not endpoint.variants):
            raise Refused("ValidationError", f"Endpoint {name} of account {self.emulator.account} not found.")
        variants = list(endpoint.variants)
        pinned = environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT")
        if pinned:
            variants = [one for one in variants if one.name == pinned]
            if not variants:
                raise Refused("ValidationError", f"Variant {pinned} not found for request.")
        weights = [1.0] if pinned else [one.weight for one in variants]
        chosen = self._random.choices(variants, weights)[0]
        headers = {"Content-Type": environ.get("CONTENT_TYPE") or "application/json"}
        for variable, header in (
            ("HTTP_ACCEPT", "Accept"),
            ("HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES", "X-Amzn-SageMaker-Custom-Attributes"),
        ):
            if variable in environ:
                headers[header] = environ[variable]
        try:
            status, content, kind = chosen.server.ask("POST", "/invocations", body, headers)
        except OSError as error:
            endpoint.errors[chosen.name] += 1
            raise Refused("ModelError", f"Container for {chosen.name} did not answer: {error}", 424,
                          OriginalStatusCode=500, OriginalMessage=str(error)) from error  # fmt: skip
        if status != 200:
            told = content.decode(errors="replace")[:1000]
            endpoint.errors[chosen.name] += status >= 500
            raise Refused(
                "ModelError", f'Received client error ({status}) from primary with message "{told}".', 424,
                OriginalStatusCode=status, OriginalMessage=told,
            )  # fmt: skip
        self._capture(endpoint, chosen, headers["Content-Type"], body, kind, content, environ)
        return Answered(content, kind, chosen.name)

    def _capture(
        self, endpoint: Endpoint, variant: Variant, sent: str, body: bytes, received: str, content: bytes,
        environ: dict[str, Any],
    ) -> None:  # fmt: skip
        """One line in JSON of what went in and out, as SageMaker's data capture writes it."""
        capture = self.configurations.get(endpoint.config, {}).get("DataCaptureConfig")
        if not capture or not capture.get("EnableCapture", True):
            return
        if self._random.random() * 100 >= capture["InitialSamplingPercentage"]:
            return
        at = datetime.now(UTC)
        modes = {one["CaptureMode"] for one in capture["CaptureOptions"]}
        line: dict[str, Any] = {"captureData": {}, "eventVersion": "0"}
        for mode, name, kind, data in (
            ("Input", "endpointInput", sent, body), ("Output", "endpointOutput", received, content),
        ):  # fmt: skip
            if modes & {mode, "InputAndOutput"}:
                is_json = kind.startswith("application/json")
                line["captureData"][name] = {
                    "observedContentType": kind, "mode": mode.upper(), "encoding": "JSON" if is_json else "BASE64",
                    "data": data.decode() if is_json else base64.b64encode(data).decode(),
                }  # fmt: skip
        about: dict[str, Any] = {"eventId": str(uuid.uuid4()), "inferenceTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if "HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES" in environ:
            about["customAttributes"] = [environ["HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES"]]
        line["eventMetadata"] = about
        target = urlsplit(capture["DestinationS3Uri"])
        key = f"{target.path.strip('/')}/{endpoint.name}/{variant.name}/{at:%Y/%m/%d/%H}/{at:%M-%S-%f}.jsonl"
        self.emulator.client("s3").put_object(
            Bucket=target.netloc, Key=key.lstrip("/"), Body=json.dumps(line).encode() + b"\n"
        )


def _end(variants: list[Variant], grace: float, but: Sequence[Variant] = ()) -> None:
    """Ends the processes of variants, except those that others go on with."""
    kept = {id(one.server) for one in but}
    for one in variants:
        if id(one.server) not in kept:
            one.server.container.end(grace)


def _download_model(emulator: AwsEmulator, uri: str, folder: Path) -> None:
    where = urlsplit(uri)
    try:
        content = emulator.client("s3").get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (ClientError, tarfile.TarError, OSError, EOFError) as error:
        raise Sick(f"Failed to download model data from {uri}: {error}") from error


def tell_log(emulator: AwsEmulator, group: str, stream: str, printed: str) -> None:
    """Writes what a container printed to CloudWatch Logs."""
    logs = emulator.client("logs")
    for call, arguments in (
        (logs.create_log_group, {"logGroupName": group}),
        (logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
    ):
        try:
            call(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise
    at = int(time.time() * 1000)
    events = [{"timestamp": at, "message": line} for line in printed.splitlines() if line]
    if events:
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
