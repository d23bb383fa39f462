"""Forecasts on Amazon SageMaker: real-time endpoints with variants.

What belongs here: the provider of the prediction contract for endpoints; its batches are in `sagemaker_batches`. A variant
is named by its version, its model by version and digest, so that SageMaker's own description tells what serves. What it
reads stands under s3://BUCKET/PREFIX/LEAGUE/endpoint/:

    bundles/VERSION-DIGEST/model.tar.gz   the container's bundle
    bundle.json                           of the last version deployed: the names of the teams
    fixtures.json                         the features of the coming games, renewed daily
    capacity.json                         how many instances a variant has, and the nights, once anybody set them

and, kept when the endpoint is removed, what was asked and answered under LEAGUE/capture/.

Games are looked up here and asked as rows, so that renewing the fixtures touches no container. The traffic is the
variants' weights, of sum 100. The revision is the moment of SageMaker's last change in milliseconds. A change that fails
in any of its parts (the endpoint's, the new variant's first answer, the autoscaling) is put back, and leaves nothing:
configurations and models that nothing uses are deleted after every change.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hoops_assets.clouds.aws import Aws, tags
from hoops_assets.services.aws import archive_of, asked, kind_of_reason, refusal_of
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.sagemaker import SageMakerLineage
from hoops_assets.services.prediction.captured import PLATFORM, attributes, fit
from hoops_assets.services.prediction.contract import (
    Answer,
    BatchState,
    Endpoint,
    EndpointStatus,
    Game,
    Night,
    Packed,
    Traffic,
    Variant,
    check_nights,
    check_traffic,
    run_batch,
)
from hoops_assets.services.prediction.sagemaker_batches import SageMakerBatches
from hoops_assets.services.prediction.sagemaker_names import endpoint_name, model_name, renamed, stem
from hoops_assets.services.prediction.sagemaker_scaling import Capacity, Scaling
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.workloads.serve import bundle as files
from hoops_assets.workloads.serve.api import Refused
from hoops_assets.workloads.serve.bundle import Bundle, Fixtures
from hoops_assets.workloads.serve.endpoint import LoadedEndpoint, LoadedVariant, container_state

_log = logging.getLogger(__name__)

PATIENCE = 1800.0
"""Seconds within which SageMaker has made a change."""

ROWS = 5000
"""Rows in one question."""

LOG_GROUP = "/aws/sagemaker/Endpoints/"
_STATUS: dict[str, EndpointStatus] = {
    "Creating": "creating", "Updating": "updating", "SystemUpdating": "updating", "RollingBack": "updating",
    "InService": "in_service", "OutOfService": "stopped", "Failed": "failed", "UpdateRollbackFailed": "in_service",
    "Deleting": "removing",
}  # fmt: skip
_MOVING = ("creating", "updating", "removing")
_VISIBLE_WITHIN = 60.0
"""Seconds in which an endpoint that was just made may still be unknown to whoever asks."""

_BAKING = 300
"""Seconds for which new containers are watched before the old ones go."""

_CANARY_PERCENT = 50
"""Of each variant's instances, in a guarded update; AWS allows no more, and a smaller share of two is the same one."""


@dataclass(frozen=True)
class _Serving:
    """SageMaker's description of an endpoint.

    Attributes:
        models: version -> name of its model.
        weights: version -> weight now.
        counts: version -> instances now.
        instance_type: of the variants, which have the same; None if their configuration is gone.
    """

    status: EndpointStatus
    config: str
    revision: int
    models: dict[int, str]
    weights: dict[int, float]
    counts: dict[int, int]
    reason: str | None
    arn: str
    instance_type: str | None

    @property
    def traffic(self) -> dict[int, int]:
        return percents(self.weights)

    @property
    def instances(self) -> int:
        return sum(self.counts.values())


class SageMakerPrediction:
    """See the contract.

    Args:
        registry: of the models that batches are asked with.
        patience: seconds.
        every: seconds between two looks.
    """

    provider = "sagemaker"

    def __init__(self, aws: Aws, registry: Registry, *, patience: float = PATIENCE, every: float = 5.0) -> None:
        self._aws = aws
        self._patience, self._every = patience, every
        self._batches = SageMakerBatches(aws, registry, every=every)
        self._lineage = SageMakerLineage(aws)
        self._scaling = Scaling(aws)
        self._visible_by: dict[str, float] = {}  # endpoint -> when it must be known, by the monotonic clock

    def deploy(self, endpoint: str, packed: Packed, traffic: Traffic) -> Endpoint:
        """See the contract."""
        bundle = packed.bundle
        if bundle.league != endpoint:
            raise ServiceError("invalid", f"version {bundle.version} is of league {bundle.league}, not of {endpoint}")
        serving = self._settled(endpoint)
        model = model_name(bundle, self._aws.settings.image)
        models = dict(serving.models) if serving else {}
        wanted = check_traffic(traffic, [*models, bundle.version])
        if serving is not None and models.get(bundle.version) == model:
            capacity = self._scaling.kept(endpoint)
            if capacity is not None:
                self._hold(endpoint, capacity)
            if wanted != serving.traffic:
                self._reweigh(endpoint, serving, wanted)
        else:
            try:
                self._make_model(packed, model)
                probed = {bundle.version: bundle.features}
                self._change(endpoint, serving, {**models, bundle.version: model}, wanted, probed)
            except ServiceError:
                self._tidy(endpoint)
                raise
        self._publish(endpoint, packed)
        self._tidy(endpoint)
        self._note(endpoint, bundle)
        return self.describe(endpoint)

    def set_traffic(self, endpoint: str, traffic: Traffic) -> Endpoint:
        """See the contract."""
        serving = self._existing(endpoint)
        wanted = check_traffic(traffic, list(serving.models))
        if wanted != serving.traffic:
            self._reweigh(endpoint, serving, wanted)
        return self.describe(endpoint)

    def describe(self, endpoint: str) -> Endpoint:
        """See the contract."""
        serving = self._look(endpoint)
        if serving is None:
            raise _no_endpoint(endpoint)
        fixtures = self._fixtures(endpoint)
        traffic = serving.traffic
        return Endpoint(
            endpoint=endpoint, status=serving.status, revision=serving.revision,
            variants=tuple(
                Variant(version=version, digest=model.rpartition("-")[2], traffic=traffic[version])
                for version, model in sorted(serving.models.items())
            ),
            workers=serving.instances, address=serving.arn if serving.status != "failed" else None,
            fixtures_made_at=fixtures.made_at if fixtures else None, refused=serving.reason,
        )  # fmt: skip

    def invoke(self, endpoint: str, asked: Sequence[Game] | pd.DataFrame, version: int | None = None) -> list[Answer]:
        """See the contract."""
        if not isinstance(asked, pd.DataFrame):
            return self._invoke_games(endpoint, asked, version)
        rows = asked.to_dict("records")
        return [
            answer
            for first in range(0, len(rows), ROWS)
            for answer in self._invoke(endpoint, rows[first : first + ROWS], version)
        ]

    def _invoke_games(self, endpoint: str, games: Sequence[Game], version: int | None) -> list[Answer]:
        """Asks by rows of features, and tells data capture which games they are."""
        rows, names = self._rows(endpoint, games)
        answers: list[Answer] = []
        while len(answers) < len(rows):
            first = len(answers)
            last = first + fit(names[first:])
            told = attributes(PLATFORM, names[first:last])
            answers += self._invoke(endpoint, rows[first:last], version, told)
        return answers

    def update_fixtures(self, endpoint: str, fixtures: Fixtures) -> Endpoint:
        """See the contract."""
        if fixtures.league != endpoint:
            raise ServiceError("invalid", f"the fixtures are of league {fixtures.league}, not of {endpoint}")
        self._existing(endpoint)
        if self._fixtures(endpoint) != fixtures:
            with asked(f"publishing the fixtures of {endpoint}"):
                self._aws.put(self._key(endpoint, files.FIXTURES), fixtures.model_dump_json().encode())
        return self.describe(endpoint)

    def scale(self, endpoint: str, least: int, most: int) -> Endpoint:
        """A fixed number of instances a variant, or between two numbers by target tracking of the invocations."""
        if not 1 <= least <= most:
            raise ServiceError("invalid", f"{least} to {most} instances: give 1 <= least <= most")
        former = self._capacity(endpoint)
        self._rescale(endpoint, former, former.model_copy(update={"least": least, "most": most}))
        return self.describe(endpoint)

    def plan_nights(self, endpoint: str, nights: Sequence[Night]) -> None:
        """Scheduled actions of every variant: up at a night's begin, at its end back to what `scale` set."""
        planned = check_nights(nights)
        former = self._capacity(endpoint)
        self._rescale(endpoint, former, former.model_copy(update={"nights": tuple(planned)}))

    def renew(self, endpoint: str) -> Endpoint:
        """A blue/green update with a canary, rolled back by alarms on the variants' errors."""
        serving, settings = self._existing(endpoint), self._aws.settings
        wanted = {one: renamed(model, settings.image) for one, model in serving.models.items()}
        if wanted == serving.models and serving.instance_type == settings.serving_instance:
            return self.describe(endpoint)
        changed = {one: model for one, model in serving.models.items() if wanted[one] != model}
        try:
            probed = {version: self._bundle_of(endpoint, version, model).features for version, model in changed.items()}
            for version, model in changed.items():
                self._copy_model(endpoint, version, model, wanted[version])
            with self._alarms(endpoint, serving.models) as alarms:
                self._change(endpoint, serving, wanted, serving.traffic, probed, self._guard(serving, alarms))
        finally:
            self._tidy(endpoint)
        return self.describe(endpoint)

    def remove(self, endpoint: str, version: int | None = None) -> None:
        """See the contract."""
        serving = self._settled(endpoint)
        if version is None:
            if serving is not None:
                self._scaling.end(endpoint, serving.models)
                self._delete(endpoint)
            self._tidy(endpoint)
            with asked(f"deleting the files of {endpoint}"):
                self._aws.delete_under(self._aws.uri(self._key(endpoint, "")))
            return
        if serving is None or version not in serving.models:
            return
        traffic = serving.traffic
        if traffic.pop(version):
            raise ServiceError("conflict", f"version {version} of {endpoint} has traffic; move it first")
        models = {one: model for one, model in serving.models.items() if one != version}
        self._scaling.end(endpoint, [version])
        self._change(endpoint, serving, models, traffic, {})
        self._tidy(endpoint)

    def submit(self, version: ModelVersion, rows: pd.DataFrame) -> str:
        """See the contract."""
        return self._batches.submit(version, rows)

    def poll(self, job: str) -> BatchState:
        """See the contract."""
        return self._batches.poll(job)

    def results(self, job: str) -> np.ndarray:
        """See the contract."""
        return self._batches.results(job)

    def cancel(self, job: str) -> None:
        """See the contract."""
        self._batches.cancel(job)

    def batch(self, version: ModelVersion, rows: pd.DataFrame) -> np.ndarray:
        """See the contract."""
        return run_batch(self, version, rows, every=self._every)

    # -- changes ------------------------------------------------------------------------------------------------------

    def _make_model(self, packed: Packed, name: str) -> None:
        """Proves the bundle here, uploads it and makes SageMaker's model of it; one that nothing uses is replaced."""
        bundle, settings = packed.bundle, self._aws.settings
        key = self._key(bundle.league, "bundles", f"{bundle.version}-{bundle.digest[:12]}", "model.tar.gz")
        archive = archive_of(bundle, packed.onnx)
        with asked(f"making model {name}"):
            uri = self._aws.put(key, archive)
            if self._known(lambda: self._aws.sagemaker.describe_model(ModelName=name)) is not None:
                self._aws.sagemaker.delete_model(ModelName=name)
            self._aws.sagemaker.create_model(
                ModelName=name, ExecutionRoleArn=settings.role, EnableNetworkIsolation=True,
                PrimaryContainer={"Image": settings.image, "ModelDataUrl": uri},
                Tags=tags(bundle.league, "prediction", version=str(bundle.version), digest=bundle.digest),
            )  # fmt: skip

    def _change(
        self, endpoint: str, former: _Serving | None, models: dict[int, str], traffic: Mapping[int, int],
        probed: Mapping[int, Sequence[str]], guard: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Lets the endpoint serve exactly these models; what served before serves on, and scales, if that fails.

        Args:
            probed: version of each new variant -> its features.
            guard: DeploymentConfig of an update whose variants keep their names.
        """
        capacity, instance = self._scaling.kept(endpoint), self._aws.settings.serving_instance
        count = max(former.counts.values(), default=1) if former else 1
        config = self._make_config(endpoint, models, traffic, count, instance)
        with self._or_back(endpoint, lambda: self._put_back(endpoint, former, config, capacity)):
            if former is not None and capacity is not None and former.instance_type != instance:
                # AWS gives no other instance type to a variant that scales.
                self._scaling.end(endpoint, former.models)
            self._switch(endpoint, former, config, models, traffic, guard)
            for version, features in probed.items():
                self._probe(endpoint, version, features)
            if capacity is not None:
                self._hold(endpoint, capacity)

    def _switch(
        self, endpoint: str, former: _Serving | None, config: str, models: dict[int, str], traffic: Mapping[int, int],
        guard: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        """The change itself. Raises ServiceError if something else serves than was asked for."""
        if former is None:
            self._create(endpoint, config)
        else:
            guarded = {"DeploymentConfig": guard} if guard else {}
            with asked(f"changing endpoint {endpoint}"):
                self._aws.sagemaker.update_endpoint(
                    EndpointName=endpoint_name(endpoint), EndpointConfigName=config, **guarded
                )
        serves = self._wait(endpoint)
        if serves is not None and (serves.config, serves.models, serves.traffic) == (config, models, dict(traffic)):
            return
        reason = self._reason(endpoint, serves, set(models) - set(former.models if former else ()))
        if serves is None or serves.status == "failed":
            raise ServiceError(kind_of_reason(reason), f"endpoint {endpoint} was not made: {reason}")
        raise ServiceError(
            kind_of_reason(reason),
            f"endpoint {endpoint} does not serve {_told(traffic)} as asked, it serves {_told(serves.traffic)}: {reason}",
        )

    def _create(self, endpoint: str, config: str) -> None:
        self._visible_by[endpoint] = time.monotonic() + _VISIBLE_WITHIN
        try:
            with asked(f"making endpoint {endpoint}"):
                self._aws.sagemaker.create_endpoint(
                    EndpointName=endpoint_name(endpoint), EndpointConfigName=config, Tags=tags(endpoint, "prediction")
                )
        except ServiceError as error:
            if error.kind not in ("conflict", "timed_out"):  # it stands already, or may stand
                del self._visible_by[endpoint]
            raise

    @contextmanager
    def _or_back(self, endpoint: str, put_back: Callable[[], None]) -> Iterator[None]:
        """Puts back what stood before if what is done inside fails, unless SageMaker still works at it: it goes back by
        itself."""
        try:
            yield
        except ServiceError as error:
            try:
                if self._status(endpoint) not in (None, *_MOVING):
                    put_back()
            except ServiceError as also:
                raise ServiceError(error.kind, f"{error}; nor was all put back that stood before: {also}") from error
            raise

    def _put_back(self, endpoint: str, former: _Serving | None, config: str, capacity: Capacity | None) -> None:
        """What served before a change to a configuration; an endpoint that never served goes. Somebody else's stays."""
        serving = self._look(endpoint)
        if serving is not None and serving.config == config:
            if former is None:
                self._delete(endpoint)
                return
            self._return(endpoint, serving, former, capacity is not None)
        if former is not None and capacity is not None:
            self._hold(endpoint, capacity)

    def _return(self, endpoint: str, serving: _Serving, former: _Serving, scales: bool) -> None:
        retyped = serving.instance_type != former.instance_type
        with suppress(ServiceError):  # the models matter more
            if scales:
                self._scaling.end(endpoint, serving.models if retyped else set(serving.models) - set(former.models))
        instance = former.instance_type or self._aws.settings.serving_instance
        count = max(former.counts.values(), default=1)
        config = self._make_config(endpoint, former.models, former.traffic, count, instance)
        with asked(f"putting back what endpoint {endpoint} served"):
            self._aws.sagemaker.update_endpoint(EndpointName=endpoint_name(endpoint), EndpointConfigName=config)
        self._wait(endpoint)

    def _make_config(
        self, endpoint: str, models: Mapping[int, str], traffic: Mapping[int, int], count: int, instance: str
    ) -> str:
        settings = self._aws.settings
        variants = [
            {
                "VariantName": str(version), "ModelName": model, "InitialInstanceCount": count,
                "InstanceType": instance, "InitialVariantWeight": float(traffic[version]),
            }
            for version, model in sorted(models.items())
        ]  # fmt: skip
        # Made new for every change, so that a change is seen by its name.
        told = json.dumps([variants, time.time_ns()]).encode()
        name = f"{stem(endpoint)}-e-{hashlib.sha256(told).hexdigest()[:12]}"
        key = {"KmsKeyId": settings.kms_key} if settings.kms_key else {}
        capture: dict[str, Any] = {}
        if settings.capture_percent:
            capture["DataCaptureConfig"] = {
                "EnableCapture": True, "InitialSamplingPercentage": settings.capture_percent,
                "DestinationS3Uri": self._aws.uri(self._aws.key(endpoint, "capture")),
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]}, **key,
            }  # fmt: skip
        with asked(f"describing what endpoint {endpoint} is to serve"):
            self._aws.sagemaker.create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=variants,
                Tags=tags(endpoint, "prediction"),
                **capture,
                **key,
            )
        return name

    def _reweigh(self, endpoint: str, serving: _Serving, traffic: Mapping[int, int]) -> None:
        weights = [{"VariantName": str(one), "DesiredWeight": float(traffic[one])} for one in serving.models]
        with asked(f"moving the traffic of {endpoint}"):
            self._aws.sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=endpoint_name(endpoint), DesiredWeightsAndCapacities=weights
            )
        serves = self._wait(endpoint)
        if serves is None or serves.traffic != dict(traffic):
            now = _told(serves.traffic) if serves else "nothing"
            reason = (serves and serves.reason) or "SageMaker gives no reason"
            raise ServiceError("failed", f"endpoint {endpoint} serves {now}, not {_told(traffic)} as asked: {reason}")

    def _probe(self, endpoint: str, version: int, features: Sequence[str]) -> None:
        """Asks a new variant one row: it must answer by its own model and say that it is that version."""
        try:
            answer = self._invoke(endpoint, [dict.fromkeys(features, 0.0)], version)[0]
            problem = answer.degraded or (f"it calls itself {answer.version}" if answer.version != version else "")
        except ServiceError as error:
            problem = str(error)
        if problem:
            raise ServiceError("failed", f"version {version} of {endpoint} does not answer as it should: {problem}")

    def _capacity(self, endpoint: str) -> Capacity:
        """As kept; the present number as long as nobody has set any."""
        present = max(self._existing(endpoint).counts.values())
        return self._scaling.kept(endpoint) or Capacity(least=present, most=present)

    def _rescale(self, endpoint: str, former: Capacity, wanted: Capacity) -> None:
        with self._or_back(endpoint, lambda: self._hold(endpoint, former)):
            self._hold(endpoint, wanted)
            self._scaling.keep(endpoint, wanted)

    def _hold(self, endpoint: str, capacity: Capacity) -> None:
        """Lets every variant have so many instances from now on, and returns when each has.

        Autoscaling brings a variant between its numbers by itself when it is registered, but not one of an endpoint that is
        being changed, nor one that has a fixed number. AWS takes one variant's capacity at a time.
        """
        least, most = self._scaling.apply(endpoint, self._existing(endpoint).models, capacity)
        moved: set[int] = set()
        deadline = time.monotonic() + self._patience
        while outside := {one: n for one, n in self._existing(endpoint).counts.items() if not least <= n <= most}:
            version, count = next(iter(outside.items()))
            if version in moved:
                reason = self._reason(endpoint, self._look(endpoint), set())
                raise ServiceError(
                    kind_of_reason(reason),
                    f"version {version} of {endpoint} has {count} instances, not {least} to {most} as asked: {reason}",
                )
            wanted = {"VariantName": str(version), "DesiredInstanceCount": least if count < least else most}
            try:
                with asked(f"scaling version {version} of {endpoint}"):
                    self._aws.sagemaker.update_endpoint_weights_and_capacities(
                        EndpointName=endpoint_name(endpoint), DesiredWeightsAndCapacities=[wanted]
                    )
                moved.add(version)
            except ServiceError as error:
                if error.kind != "conflict" or time.monotonic() > deadline:
                    raise
                time.sleep(self._every)  # autoscaling was a moment earlier

    def _delete(self, endpoint: str) -> None:
        with asked(f"deleting endpoint {endpoint}"):
            self._aws.sagemaker.delete_endpoint(EndpointName=endpoint_name(endpoint))
        self._visible_by.pop(endpoint, None)
        deadline = time.monotonic() + self._patience
        while self._status(endpoint) is not None:
            if time.monotonic() > deadline:
                raise ServiceError("timed_out", f"endpoint {endpoint} still stands after {self._patience:g} s")
            time.sleep(self._every)

    def _tidy(self, endpoint: str) -> None:
        """Deletes this endpoint's configurations, models and bundles that it does not use; nothing while it changes."""
        if self._status(endpoint) in _MOVING:
            return
        serving = self._look(endpoint)
        used = {serving.config, *serving.models.values()} if serving else set()
        head, sagemaker = re.escape(stem(endpoint)), self._aws.sagemaker
        with asked(f"tidying up behind endpoint {endpoint}"):
            for listed, field, pattern, delete in (
                (
                    "list_endpoint_configs",
                    "EndpointConfig",
                    rf"{head}-e-[0-9a-f]{{12}}",
                    sagemaker.delete_endpoint_config,
                ),
                ("list_models", "Model", rf"{head}-m-\d+-[0-9a-f]{{4}}-[0-9a-f]{{12}}", sagemaker.delete_model),
            ):
                pages = sagemaker.get_paginator(listed).paginate(NameContains=stem(endpoint))
                names = [one[f"{field}Name"] for page in pages for one in page[f"{field}s"]]
                for name in names:
                    if name not in used and re.fullmatch(pattern, name):
                        self._known(lambda delete=delete, field=field, name=name: delete(**{f"{field}Name": name}))
            kept = {
                f"{version}-{model.rpartition('-')[2]}"
                for version, model in (serving.models if serving else {}).items()
            }
            bundles = self._aws.uri(self._key(endpoint, "bundles/"))
            stale = {key.split("/")[-2] for key in self._aws.keys(bundles)} - kept
            for name in stale:
                self._aws.delete_under(f"{bundles}{name}/")

    def _note(self, endpoint: str, bundle: Bundle) -> None:
        """In SageMaker's lineage; a mirror must not stop what it mirrors."""
        try:
            self._lineage.note_serving(endpoint, bundle.version, bundle.digest)
        except ServiceError as error:
            _log.warning(
                "SageMaker's lineage does not say that %s is served by %s: %s", endpoint, bundle.version, error
            )

    def _publish(self, endpoint: str, packed: Packed) -> None:
        """The names of the teams, and the fixtures if they are newer than those that stand."""
        known = self._fixtures(endpoint)
        with asked(f"publishing the fixtures of {endpoint}"):
            self._aws.put(self._key(endpoint, files.BUNDLE), packed.bundle.model_dump_json().encode())
            if known is None or known.made_at < packed.fixtures.made_at:
                self._aws.put(self._key(endpoint, files.FIXTURES), packed.fixtures.model_dump_json().encode())

    def _copy_model(self, endpoint: str, version: int, model: str, name: str) -> None:
        """The same model in the image as set now."""
        settings = self._aws.settings
        with asked(f"making model {name}"):
            told = self._aws.sagemaker.describe_model(ModelName=model)
            uri = told["PrimaryContainer"]["ModelDataUrl"]
            self._known(lambda: self._aws.sagemaker.delete_model(ModelName=name))
            self._aws.sagemaker.create_model(
                ModelName=name, ExecutionRoleArn=settings.role, EnableNetworkIsolation=True,
                PrimaryContainer={"Image": settings.image, "ModelDataUrl": uri},
                Tags=tags(endpoint, "prediction", version=str(version), digest=name.rpartition("-")[2]),
            )  # fmt: skip

    @contextmanager
    def _alarms(self, endpoint: str, versions: Iterable[int]) -> Iterator[list[str]]:
        """While it lasts, one alarm a variant on answers that failed (5xx) in a minute; gives their names."""
        cloudwatch = self._aws.client("cloudwatch")
        names = {version: f"{stem(endpoint)}-{version}-errors" for version in versions}
        try:
            with asked(f"setting the alarms of {endpoint}"):
                for version, name in names.items():
                    cloudwatch.put_metric_alarm(
                        AlarmName=name, Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistic="Sum",
                        Dimensions=[
                            {"Name": "EndpointName", "Value": endpoint_name(endpoint)},
                            {"Name": "VariantName", "Value": str(version)},
                        ],
                        Period=60, EvaluationPeriods=1, Threshold=1.0, TreatMissingData="notBreaching",
                        ComparisonOperator="GreaterThanOrEqualToThreshold",
                        AlarmDescription=f"Version {version} of {endpoint} fails while its containers are renewed",
                    )  # fmt: skip
            yield list(names.values())
        finally:
            with asked(f"clearing the alarms of {endpoint}"):
                cloudwatch.delete_alarms(AlarmNames=list(names.values()))

    def _guard(self, serving: _Serving, alarms: Sequence[str]) -> dict[str, Any]:
        """A canary needs two instances of each variant; fewer are replaced at once, and watched all the same."""
        routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": _BAKING}
        if min(serving.counts.values()) >= 2:
            size = {"Type": "CAPACITY_PERCENT", "Value": _CANARY_PERCENT}
            routing = {"Type": "CANARY", "WaitIntervalInSeconds": _BAKING, "CanarySize": size}
        return {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 60,
                "MaximumExecutionTimeoutInSeconds": max(600, int(self._patience)),
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
        }  # fmt: skip

    # -- looking ------------------------------------------------------------------------------------------------------

    def _look(self, endpoint: str) -> _Serving | None:
        """What SageMaker tells; None without such an endpoint."""
        with asked(f"asking for endpoint {endpoint}"):
            told = self._known(lambda: self._aws.sagemaker.describe_endpoint(EndpointName=endpoint_name(endpoint)))
            if told is None:
                return None
            config = self._known(
                lambda: self._aws.sagemaker.describe_endpoint_config(EndpointConfigName=told["EndpointConfigName"])
            )
        variants = {one["VariantName"]: one for one in told.get("ProductionVariants", ())}
        models = {
            int(one["VariantName"]): one["ModelName"]
            for one in (config or {}).get("ProductionVariants", ())
            if one["VariantName"] in variants
        }
        return _Serving(
            status=_STATUS[told["EndpointStatus"]], config=told["EndpointConfigName"],
            revision=int(told["LastModifiedTime"].timestamp() * 1000), models=models,
            weights={version: variants[str(version)]["CurrentWeight"] for version in models},
            counts={version: variants[str(version)]["CurrentInstanceCount"] for version in models},
            reason=told.get("FailureReason"), arn=told["EndpointArn"],
            instance_type=next(
                (one["InstanceType"] for one in (config or {}).get("ProductionVariants", ()) if "InstanceType" in one), None
            ),
        )  # fmt: skip

    def _existing(self, endpoint: str) -> _Serving:
        serving = self._settled(endpoint)
        if serving is None:
            raise _no_endpoint(endpoint)
        return serving

    def _settled(self, endpoint: str) -> _Serving | None:
        """What serves once no change is under way; an endpoint that never served is cleared away."""
        serving = self._wait(endpoint)
        if serving is not None and serving.status == "failed":
            self._delete(endpoint)
            self._tidy(endpoint)
            return None
        return serving

    def _wait(self, endpoint: str) -> _Serving | None:
        """What serves once no change is under way. Raises ServiceError timed_out after the patience."""
        deadline = time.monotonic() + self._patience
        while (status := self._status(endpoint)) in _MOVING:
            if time.monotonic() > deadline:
                raise ServiceError(
                    "timed_out",
                    f"endpoint {endpoint} is still {status} after {self._patience:g} s; what served before serves"
                    " on until SageMaker has made the change or rolled it back, see: hoops endpoint",
                )
            time.sleep(self._every)
        return None if status is None else self._look(endpoint)

    def _status(self, endpoint: str) -> EndpointStatus | None:
        with asked(f"asking for endpoint {endpoint}"):
            told = self._known(lambda: self._aws.sagemaker.describe_endpoint(EndpointName=endpoint_name(endpoint)))
        if told is not None:
            return _STATUS[told["EndpointStatus"]]
        return "creating" if time.monotonic() < self._visible_by.get(endpoint, 0.0) else None

    def _reason(self, endpoint: str, serving: _Serving | None, versions: set[int]) -> str:
        """SageMaker's reason, and the last words of the containers that did not start."""
        told = (serving.reason if serving else None) or "SageMaker gives no reason (a silent roll-back)"
        words = [word for version in sorted(versions) for word in self._last_words(endpoint, version)]
        return " ".join([told, *words])

    def _last_words(self, endpoint: str, version: int) -> list[str]:
        def read() -> list[str]:
            logs, group = self._aws.client("logs"), f"{LOG_GROUP}{endpoint_name(endpoint)}"
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, logStreamNamePrefix=f"{version}/"
            )
            last = deque((event["message"] for page in pages for event in page["events"]), maxlen=1)
            return [f"version {version} said: {message}" for message in last]

        try:
            return self._known(read) or []
        except Exception:  # a log that cannot be read must not hide the reason itself
            return []

    def _known(self, call: Callable[[], Any]) -> Any:
        """What a call answers; None if it says that there is no such thing."""
        try:
            with asked("asking SageMaker"):
                return call()
        except ServiceError as error:
            if error.kind != "not_found":
                raise
            return None

    # -- asking -------------------------------------------------------------------------------------------------------

    def _invoke(self, endpoint: str, rows: list[Any], version: int | None, about: str = "") -> list[Answer]:
        try:
            body = json.dumps({"instances": rows}, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise ServiceError("invalid", f"the rows are no finite numbers: {error}") from error
        pinned = {"TargetVariant": str(version)} if version is not None else {}
        pinned |= {"CustomAttributes": about} if about else {}
        with asked(f"asking endpoint {endpoint}"), refusal_of(f"asking endpoint {endpoint}"):
            answer = self._aws.runtime.invoke_endpoint(
                EndpointName=endpoint_name(endpoint), Body=body, ContentType="application/json", Accept="application/json",
                **pinned,
            )  # fmt: skip
            told = json.loads(answer["Body"].read())["predictions"]
        return [
            Answer(home_win_probability=one["home_win_probability"], version=one["version"], degraded=one["degraded"])
            for one in told
        ]

    def _rows(self, endpoint: str, games: Sequence[Game]) -> tuple[list[dict[str, float]], list[str]]:
        """(features, ids) of coming games, by the names that the league's teams have."""
        if self._look(endpoint) is None:
            raise _no_endpoint(endpoint)
        bundle, fixtures = self._bundle(endpoint), self._fixtures(endpoint)
        if fixtures is None:
            raise ServiceError("failed", f"the fixtures of {endpoint} cannot be read; publish them again")
        known = LoadedEndpoint(
            container_state(bundle), [LoadedVariant(bundle, None, "only asked for names", fixtures)], fixtures
        )
        rows, ids = [], []
        for game in games:
            try:
                found = known.game(game.home, game.away, game.day)
            except Refused as refused:
                kind = "not_found" if refused.status == 404 else "invalid"
                raise ServiceError(kind, str(refused)) from refused
            fixture = fixtures.fixtures[found.index or 0]
            rows.append({name: fixture.features[name] for name in bundle.features if name in fixture.features})
            ids.append(fixture.game_id)
        return rows, ids

    def _bundle(self, endpoint: str) -> Bundle:
        with asked(f"reading the names of {endpoint}'s teams"):
            return Bundle.model_validate_json(self._aws.get(self._aws.uri(self._key(endpoint, files.BUNDLE))))

    def _bundle_of(self, endpoint: str, version: int, model: str) -> Bundle:
        digest = model.rpartition("-")[2]
        uri = self._aws.uri(self._key(endpoint, "bundles", f"{version}-{digest}", "model.tar.gz"))
        with asked(f"reading the bundle of version {version}"):
            content = self._aws.get(uri)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            member = archive.extractfile(files.BUNDLE)
            return Bundle.model_validate_json(member.read() if member else b"")

    def _fixtures(self, endpoint: str) -> Fixtures | None:
        with asked(f"reading the fixtures of {endpoint}"):
            content = self._known(lambda: self._aws.get(self._aws.uri(self._key(endpoint, files.FIXTURES))))
        return None if content is None else Fixtures.model_validate_json(content)

    def _key(self, endpoint: str, *parts: str) -> str:
        return "/".join([self._aws.key(endpoint, "endpoint"), *parts])


def percents(weights: Mapping[int, float]) -> dict[int, int]:
    """Relative weights of any scale as integers that sum to 100, by largest remainder; all 0 without any weight."""
    total = sum(weights.values())
    if total <= 0:
        return dict.fromkeys(weights, 0)
    exact = {version: 100 * weight / total for version, weight in weights.items()}
    found = {version: int(share) for version, share in exact.items()}
    by_remainder = sorted(exact, key=lambda version: (found[version] - exact[version], version))
    for version in by_remainder[: 100 - sum(found.values())]:
        found[version] += 1
    return found


def _no_endpoint(endpoint: str) -> ServiceError:
    return ServiceError("not_found", f"there is no endpoint {endpoint}; deploy a version of the league first")


def _told(traffic: Mapping[int, int]) -> str:
    return ", ".join(f"version {version} with {percent} %" for version, percent in sorted(traffic.items())) or "nothing"
