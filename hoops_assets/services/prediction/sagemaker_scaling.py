"""How many instances an endpoint's variants have on SageMaker: by what is asked of them, and planned for game nights.

What belongs here: Application Auto Scaling, and the numbers that it is to keep. They stand in our own bucket, because the
numbers of a night overwrite those of the target there. That a number of instances is set by hand is the endpoint's own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from hoops_assets.clouds.aws import Aws
from hoops_assets.services.aws import asked
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import Night
from hoops_assets.services.prediction.sagemaker_names import endpoint_name, stem
from hoops_assets.workloads.spec import Strict

_TARGET_PER_INSTANCE = 1000.0
"""Invocations a minute and instance that autoscaling aims at."""

MOST_ACTIONS = 200
"""Scheduled actions of one target; AWS gives no more (Quotas for Application Auto Scaling, read 2026-11-23)."""


class Capacity(Strict):
    """Instances of each variant of an endpoint.

    Attributes:
        least, most: outside the nights.
        nights: ascending, none overlaps another.
    """

    least: int
    most: int
    nights: tuple[Night, ...] = ()

    def at(self, moment: datetime) -> tuple[int, int]:
        """(least, most) at that moment."""
        valid = next((night for night in self.nights if night.begin <= moment < night.end), self)
        return valid.least, valid.most

    def changes(self, after: datetime) -> dict[datetime, tuple[int, int]]:
        """Later moment -> (least, most) from then on, of so many next nights as AWS takes actions for."""
        coming = [night for night in self.nights if night.end > after][: MOST_ACTIONS // 2]
        moments = sorted({moment for night in coming for moment in (night.begin, night.end)})
        return {moment: self.at(moment) for moment in moments if moment > after}


class Scaling:
    """The autoscaling of the variants of endpoints; an endpoint is named by its league."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def kept(self, endpoint: str) -> Capacity | None:
        """What was last kept; None if nobody ever set a number or planned a night."""
        try:
            with asked(f"reading the capacity of {endpoint}"):
                content = self._aws.get(self._aws.uri(self._key(endpoint)))
        except ServiceError as error:
            if error.kind != "not_found":
                raise
            return None
        return Capacity.model_validate_json(content)

    def keep(self, endpoint: str, capacity: Capacity) -> None:
        """Whatever variants come later shall have that capacity, too."""
        with asked(f"keeping the capacity of {endpoint}"):
            self._aws.put(self._key(endpoint), capacity.model_dump_json().encode())

    def apply(self, endpoint: str, versions: Iterable[int], capacity: Capacity) -> tuple[int, int]:
        """Lets variants scale between the numbers of now by target tracking, and from the moments to come between theirs;
        without autoscaling if there is but one number for all time. Returns (least, most) of now."""
        now = datetime.now(UTC)
        changes = capacity.changes(now)
        if capacity.least == capacity.most and not changes:
            self.end(endpoint, versions)
        else:
            with asked(f"scaling {endpoint}"):
                for version in versions:
                    self._track(endpoint, version, *capacity.at(now))
                    self._plan(endpoint, version, changes)
        return capacity.at(now)

    def end(self, endpoint: str, versions: Iterable[int]) -> None:
        """Ends the autoscaling of variants, their policies included."""
        scaling = self._client()
        targets = {version: _target(endpoint, version) for version in versions}
        with asked(f"ending the autoscaling of {endpoint}"):
            known = scaling.describe_scalable_targets(
                ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"] for target in targets.values()]
            )["ScalableTargets"]
            for target in targets.values():
                if any(one["ResourceId"] == target["ResourceId"] for one in known):
                    for name in self._planned(target):
                        scaling.delete_scheduled_action(**target, ScheduledActionName=name)
                    scaling.deregister_scalable_target(**target)

    def _track(self, endpoint: str, version: int, least: int, most: int) -> None:
        """Lets a variant scale between two numbers by its invocations; AWS brings it between them at once."""
        scaling, target = self._client(), _target(endpoint, version)
        scaling.register_scalable_target(**target, MinCapacity=least, MaxCapacity=most)
        scaling.put_scaling_policy(
            **target, PolicyName=f"{stem(endpoint)}-{version}", PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": _TARGET_PER_INSTANCE,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
            },
        )  # fmt: skip

    def _plan(self, endpoint: str, version: int, changes: Mapping[datetime, tuple[int, int]]) -> None:
        """Replaces the scheduled actions of a variant."""
        scaling, target = self._client(), _target(endpoint, version)
        wanted = {f"{stem(endpoint)}-{version}-{at:%Y%m%dT%H%M%S}": (at, *numbers) for at, numbers in changes.items()}
        for name in self._planned(target) - set(wanted):
            scaling.delete_scheduled_action(**target, ScheduledActionName=name)
        for name, (at, least, most) in wanted.items():
            scaling.put_scheduled_action(
                **target, ScheduledActionName=name, Schedule=f"at({at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})", Timezone="UTC",
                ScalableTargetAction={"MinCapacity": least, "MaxCapacity": most},
            )  # fmt: skip

    def _planned(self, target: Mapping[str, str]) -> set[str]:
        """Names of a variant's scheduled actions."""
        pages = self._client().get_paginator("describe_scheduled_actions").paginate(**target)
        return {one["ScheduledActionName"] for page in pages for one in page["ScheduledActions"]}

    def _client(self) -> Any:
        return self._aws.client("application-autoscaling")

    def _key(self, endpoint: str) -> str:
        return self._aws.key(endpoint, "endpoint", "capacity.json")


def _target(endpoint: str, version: int) -> dict[str, str]:
    """A variant as Application Auto Scaling knows it."""
    return {
        "ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{endpoint_name(endpoint)}/variant/{version}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }  # fmt: skip
