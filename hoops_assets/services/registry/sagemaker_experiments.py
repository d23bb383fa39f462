"""Experiments: the versions of a league side by side in SageMaker's Studio and Search.

What belongs here: the experiment a league, a trial (run group) a training run, a trial component (run) a version, as a
part of the registry's mirror. A component is written once; it belongs to its trial as soon as it is whole, so that one
without a trial is what a repair that was cut short left, and is finished by the next.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from hoops_assets.clouds.aws import Aws, dashed, kind_of, tags
from hoops_assets.services.aws import asked, one_by_one
from hoops_assets.services.errors import ErrorKind, ServiceError
from hoops_assets.services.lineage.sagemaker import data_uri
from hoops_assets.services.registry.contract import IMPORTED, Manifest, ModelVersion, Registry
from hoops_assets.services.registry.sagemaker_names import entity_of, group_of, place_of

AT_ONCE = 10
"""Metrics in one call."""

_REFUSALS: dict[str, ErrorKind] = {"METRIC_LIMIT_EXCEEDED": "quota", "VALIDATION_ERROR": "invalid"}
"""What a single metric was refused for; anything else is SageMaker's own trouble."""


class SageMakerExperiments:
    """Experiments of one account."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def repair(self, registry: Registry, league: str, versions: Sequence[ModelVersion]) -> list[str]:
        """Adds the versions that are missing; returns what was refused. An imported version belongs to no training run.

        Raises:
            ServiceError: what would befall every other version too.
        """
        with asked(f"listing the experiment of {league}"):
            known = self._known(league)
        missing = [one for one in versions if one.provider != IMPORTED and entity_of(one) not in known]
        return one_by_one(missing, "noting in the experiment", lambda version: self._add(registry, version))

    def _known(self, league: str) -> set[str]:
        """Names of the components that belong to a trial of the league."""
        pages = self._aws.sagemaker.get_paginator("list_trial_components").paginate(
            ExperimentName=group_of(league), PaginationConfig={"PageSize": 100}
        )
        try:
            return {one["TrialComponentName"] for page in pages for one in page["TrialComponentSummaries"]}
        except Exception as error:
            if kind_of(error) != "not_found":
                raise
            return set()

    def _add(self, registry: Registry, version: ModelVersion) -> None:
        """The component first: one that is refused leaves neither trial nor experiment."""
        manifest, sagemaker = registry.manifest(version.league, version.version), self._aws.sagemaker
        name, marks = entity_of(version), tags(version.league, "registry")
        told = component(version, manifest, self._aws.uri(place_of(self._aws, version)))
        _unless_there(lambda: sagemaker.create_trial_component(TrialComponentName=name, Tags=marks, **told))
        self._measure(name, version)
        pair = {"TrialComponentName": name, "TrialName": trial_of(manifest)}
        try:
            sagemaker.associate_trial_component(**pair)
        except Exception as error:
            if kind_of(error) != "not_found":
                raise
            self._make_trial(manifest)
            sagemaker.associate_trial_component(**pair)

    def _make_trial(self, manifest: Manifest) -> None:
        """The trial of a training run, and its experiment."""
        sagemaker, experiment, marks = self._aws.sagemaker, group_of(manifest.league), tags(manifest.league, "registry")
        about = f"Models of league {manifest.league}"
        _unless_there(lambda: sagemaker.create_experiment(ExperimentName=experiment, Description=about, Tags=marks))
        made_by = {"CommitId": manifest.code.commit}
        _unless_there(
            lambda: sagemaker.create_trial(
                TrialName=trial_of(manifest), ExperimentName=experiment, MetadataProperties=made_by, Tags=marks
            )
        )

    def _measure(self, name: str, version: ModelVersion) -> None:
        """Its metrics, at the time of its registration: putting them again changes nothing."""
        told = [
            {"MetricName": metric, "Timestamp": version.created_at, "Step": 0, "Value": value}
            for metric, value in sorted(version.metrics.items()) if math.isfinite(value)
        ]  # fmt: skip
        client = self._aws.client("sagemaker-metrics")
        for start in range(0, len(told), AT_ONCE):
            part = told[start : start + AT_ONCE]
            # The call itself succeeds (200): which metric was not taken it tells one by one.
            for error in client.batch_put_metrics(TrialComponentName=name, MetricData=part).get("Errors", ()):
                code, metric = error["Code"], part[error["MetricIndex"]]["MetricName"]
                raise ServiceError(
                    _REFUSALS.get(code, "timed_out"), f"SageMaker did not take {metric} of {version.name}: {code}"
                )


def _unless_there(create: Callable[[], Any]) -> None:
    try:
        create()
    except Exception as error:
        if kind_of(error) != "conflict":
            raise


def trial_of(manifest: Manifest) -> str:
    """hoops-LEAGUE-DAY-DIGEST of a training run: what was trained by the same code on the same training set."""
    used = manifest.training_set
    told = f"{used.table}@{used.table_version} {used.filter} {used.digest} {manifest.code.digest} {manifest.code.lock_digest}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return f"hoops-{dashed(manifest.league)}-{used.trained_through}-{digest}"


def component(version: ModelVersion, manifest: Manifest, place: str) -> dict[str, Any]:
    """A trial component but for its name and metrics. Args: place: URI of the version's artefacts."""
    parameters = {"learner": version.learner, "seed": manifest.seed, **version.parameters}
    told = {"trained_through": str(version.trained_through), "provider": version.provider, "digest": version.digest}
    return {
        "DisplayName": f"{version.version}-{dashed(version.learner)}"[:120].rstrip("-"),
        "Status": {"PrimaryStatus": "Completed"},
        "Parameters": {name[:320]: _value(value) for name, value in {**told, **parameters}.items()},
        "InputArtifacts": {
            "training_set": {"Value": data_uri(manifest.training_set)},
            "training_set_digest": {"Value": manifest.training_set.digest},
            "manifest_digest": {"Value": version.manifest_digest},
        },
        "OutputArtifacts": {name: {"Value": f"{place}/{name}"} for name in version.artefacts},
        "MetadataProperties": {"CommitId": version.commit, "GeneratedBy": version.training_job},
    }  # fmt: skip


def _value(value: Any) -> dict[str, Any]:
    """Numbers as such, so that they can be compared there."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return {"NumberValue": value}
    return {"StringValue": (value if isinstance(value, str) else json.dumps(value))[:2500]}
