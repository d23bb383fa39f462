"""How many instances an endpoint's variants have on SageMaker: by what is asked of them, and planned for game nights.

What belongs here: Application Auto Scaling. That a number of instances is set by hand is the endpoint's own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from hoops_assets.clouds.aws import Aws
from hoops_assets.services.aws import asked
from hoops_assets.services.prediction.contract import Night
from hoops_assets.services.prediction.sagemaker_names import endpoint_name, stem

_TARGET_PER_INSTANCE = 1000.0
"""Invocations a minute and instance that autoscaling aims at."""


class Scaling:
    """The autoscaling of the variants of endpoints; an endpoint is named by its league."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def _client(self) -> Any:
        return self._aws.client("application-autoscaling")

    def track(self, endpoint: str, version: int, least: int, most: int) -> None:
        """Lets a variant scale between two numbers by target tracking of its invocations."""
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

    def _plan_alike(self, endpoint: str, other: int, version: int) -> None:
        """Gives a variant the scheduled actions of another."""
        scaling = self._client()
        pages = scaling.get_paginator("describe_scheduled_actions").paginate(**_target(endpoint, other))
        for one in [one for page in pages for one in page["ScheduledActions"]]:
            name = one["ScheduledActionName"].replace(f"{stem(endpoint)}-{other}-", f"{stem(endpoint)}-{version}-")
            scaling.put_scheduled_action(
                **_target(endpoint, version), ScheduledActionName=name, Schedule=one["Schedule"], Timezone="UTC",
                ScalableTargetAction=one["ScalableTargetAction"],
            )  # fmt: skip

    def track_alike(self, endpoint: str, others: Iterable[int], version: int) -> None:
        """Lets a new variant scale between the numbers that the others scale between."""
        targets = [_target(endpoint, one)["ResourceId"] for one in others]
        if not targets:
            return
        with asked(f"scaling version {version} of {endpoint}"):
            known = self._client().describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=targets)[
                "ScalableTargets"
            ]
            if known:
                self.track(endpoint, version, known[0]["MinCapacity"], known[0]["MaxCapacity"])
                self._plan_alike(endpoint, next(iter(others)), version)

    def bounds(self, endpoint: str, versions: Iterable[int]) -> tuple[int, int] | None:
        """Between which numbers the variants scale; None if they do not."""
        known = self._client().describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[_target(endpoint, one)["ResourceId"] for one in versions]
        )["ScalableTargets"]
        return (known[0]["MinCapacity"], known[0]["MaxCapacity"]) if known else None

    def plan(self, endpoint: str, version: int, nights: Sequence[Night], least: int, most: int) -> None:
        """Replaces the scheduled actions of a variant."""
        scaling, target = self._client(), _target(endpoint, version)
        if nights:
            scaling.register_scalable_target(**target, MinCapacity=least, MaxCapacity=most)
        moments = [(night.begin, night.least, night.most) for night in nights]
        moments += [(night.end, least, most) for night in nights if night.end not in {one.begin for one in nights}]
        wanted = {f"{stem(endpoint)}-{version}-{at:%Y%m%dT%H%M%S}": (at, low, high) for at, low, high in moments}
        for name in self._planned(target) - set(wanted):
            scaling.delete_scheduled_action(**target, ScheduledActionName=name)
        for name, (at, low, high) in wanted.items():
            scaling.put_scheduled_action(
                **target, ScheduledActionName=name, Schedule=f"at({at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})", Timezone="UTC",
                ScalableTargetAction={"MinCapacity": low, "MaxCapacity": high},
            )  # fmt: skip

    def _planned(self, target: Mapping[str, str]) -> set[str]:
        """Names of a variant's scheduled actions."""
        pages = self._client().get_paginator("describe_scheduled_actions").paginate(**target)
        return {one["ScheduledActionName"] for page in pages for one in page["ScheduledActions"]}

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


def _target(endpoint: str, version: int) -> dict[str, str]:
    """A variant as Application Auto Scaling knows it."""
    return {
        "ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{endpoint_name(endpoint)}/variant/{version}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }  # fmt: skip
