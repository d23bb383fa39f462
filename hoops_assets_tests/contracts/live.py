"""The contract suites against a real account: HOOPS_LIVE=aws.

What belongs here: the guard that nothing is made by accident, and the sweep that leaves nothing behind but the history of
finished jobs, which AWS does not delete. Nobody has run this against a real account yet; the sweep itself is proven on the
emulator.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hoops_assets.clouds.aws import Aws
from hoops_assets.services.aws import connect, unset_of
from hoops_assets.settings import load_settings

LIVE, BUCKET = "HOOPS_LIVE", "HOOPS_LIVE_BUCKET"
STEM = "hoops-"
_GONE_WITHIN = 900.0

_KINDS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "pipeline": ("list_pipelines", "PipelineSummaries", "PipelineName", {}),
    "endpoint": ("list_endpoints", "Endpoints", "EndpointName", {}),
    "endpoint configuration": ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName", {}),
    "model": ("list_models", "Models", "ModelName", {}),
    "model package group": (
        "list_model_package_groups", "ModelPackageGroupSummaryList", "ModelPackageGroupName", {},
    ),
    "model card": ("list_model_cards", "ModelCardSummaries", "ModelCardName", {}),
    "trial component": ("list_trial_components", "TrialComponentSummaries", "TrialComponentName", {}),
    "trial": ("list_trials", "TrialSummaries", "TrialName", {}),
    "experiment": ("list_experiments", "ExperimentSummaries", "ExperimentName", {}),
    "artifact": ("list_artifacts", "ArtifactSummaries", "ArtifactArn", {}),
    "action": ("list_actions", "ActionSummaries", "ActionName", {}),
    "context": ("list_contexts", "ContextSummaries", "ContextName", {}),
    "training job": ("list_training_jobs", "TrainingJobSummaries", "TrainingJobName", {"StatusEquals": "InProgress"}),
    "processing job": (
        "list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName", {"StatusEquals": "InProgress"},
    ),
    "transform job": (
        "list_transform_jobs", "TransformJobSummaries", "TransformJobName", {"StatusEquals": "InProgress"},
    ),
}  # fmt: skip


def wanted() -> bool:
    """Whether the suites are to run against a real account."""
    return os.environ.get(LIVE) == "aws"


def account() -> Aws:
    """Clients of the account of the settings, with a prefix of their own; ends the session unless it is confirmed."""
    settings = load_settings().aws
    missing = unset_of(settings)
    if missing:
        pytest.exit(f"{LIVE}=aws needs the settings aws.{', aws.'.join(missing)}", returncode=2)
    if os.environ.get(BUCKET) != settings.bucket:
        pytest.exit(
            f"{LIVE}=aws makes endpoints and jobs that are billed; confirm with {BUCKET}={settings.bucket}",
            returncode=2,
        )
    return connect(settings.model_copy(update={"prefix": f"{settings.prefix}-contract-{secrets.token_hex(4)}"}))


class Sweep:
    """What the account holds that is named by us; what was not there at the beginning is deleted at the end."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._before = self.standing()

    def standing(self) -> dict[str, set[str]]:
        return {kind: self._names(kind) for kind in _KINDS}

    def left(self) -> dict[str, set[str]]:
        """What is there now and was not before."""
        now = self.standing()
        return {kind: names for kind in now if (names := now[kind] - self._before[kind])}

    def run(self) -> None:
        """Deletes it, jobs in progress are stopped; and every object under the prefix."""
        sagemaker = self._aws.sagemaker
        delete: dict[str, Callable[[str], Any]] = {
            "pipeline": self._pipeline,
            "endpoint": lambda name: sagemaker.delete_endpoint(EndpointName=name),
            "endpoint configuration": lambda name: sagemaker.delete_endpoint_config(EndpointConfigName=name),
            "model": lambda name: sagemaker.delete_model(ModelName=name),
            "model package group": self._packages,
            "model card": lambda name: sagemaker.delete_model_card(ModelCardName=name),
            "trial component": self._component,
            "trial": lambda name: sagemaker.delete_trial(TrialName=name),
            "experiment": lambda name: sagemaker.delete_experiment(ExperimentName=name),
            "artifact": lambda arn: self._lineage(arn, lambda: sagemaker.delete_artifact(ArtifactArn=arn)),
            "action": lambda name: self._lineage(
                sagemaker.describe_action(ActionName=name)["ActionArn"],
                lambda: sagemaker.delete_action(ActionName=name),
            ),
            "context": lambda name: self._lineage(
                sagemaker.describe_context(ContextName=name)["ContextArn"],
                lambda: sagemaker.delete_context(ContextName=name),
            ),
            "training job": lambda name: sagemaker.stop_training_job(TrainingJobName=name),
            "processing job": lambda name: sagemaker.stop_processing_job(ProcessingJobName=name),
            "transform job": lambda name: sagemaker.stop_transform_job(TransformJobName=name),
        }
        problems = []
        for kind, names in self.left().items():
            for name in sorted(names):
                try:
                    delete[kind](name)
                except ClientError as error:
                    problems.append(f"{kind} {name}: {error}")
            if kind == "endpoint":
                self._wait_until_gone(names)
        self._aws.delete_under(self._aws.uri(f"{self._aws.settings.prefix}/"))
        assert not problems, "left behind, delete them by hand: " + "; ".join(problems)

    def _wait_until_gone(self, endpoints: set[str]) -> None:
        """An endpoint's configuration cannot go before it."""
        deadline = time.monotonic() + _GONE_WITHIN
        while self._names("endpoint") & endpoints and time.monotonic() < deadline:
            time.sleep(0.2 if self._aws.endpoint_url or "AWS_ENDPOINT_URL" in os.environ else 10)

    def _names(self, kind: str) -> set[str]:
        listing, rows, name, more = _KINDS[kind]
        pages = self._aws.sagemaker.get_paginator(listing).paginate(**more)
        found = [one for page in pages for one in page[rows]]
        return {one[name] for one in found if _ours(one)}

    def _pipeline(self, name: str) -> None:
        self._aws.sagemaker.delete_pipeline(PipelineName=name, ClientRequestToken=secrets.token_hex(16))

    def _packages(self, group: str) -> None:
        pages = self._aws.sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        for arn in [one["ModelPackageArn"] for page in pages for one in page["ModelPackageSummaryList"]]:
            self._aws.sagemaker.delete_model_package(ModelPackageName=arn)
        self._aws.sagemaker.delete_model_package_group(ModelPackageGroupName=group)

    def _component(self, name: str) -> None:
        pages = self._aws.sagemaker.get_paginator("list_trials").paginate(TrialComponentName=name)
        for trial in [one["TrialName"] for page in pages for one in page["TrialSummaries"]]:
            self._aws.sagemaker.disassociate_trial_component(TrialComponentName=name, TrialName=trial)
        self._aws.sagemaker.delete_trial_component(TrialComponentName=name)

    def _lineage(self, arn: str, delete: Callable[[], Any]) -> None:
        """A node goes when no association names it."""
        sagemaker = self._aws.sagemaker
        for side in ("SourceArn", "DestinationArn"):
            pages = sagemaker.get_paginator("list_associations").paginate(**{side: arn})
            for one in [one for page in pages for one in page["AssociationSummaries"]]:
                sagemaker.delete_association(SourceArn=one["SourceArn"], DestinationArn=one["DestinationArn"])
        delete()


def _ours(row: dict[str, Any]) -> bool:
    """Whether a name or source begins as ours do; a trial component that SageMaker itself made of a job is its history."""
    if "TrialComponentSource" in row:
        return False
    source = row.get("Source", {}).get("SourceUri", "")
    return source.startswith("hoops://") or any(
        value.startswith(STEM) for key, value in row.items() if key.endswith("Name") and isinstance(value, str)
    )
