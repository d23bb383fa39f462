"""The registry with SageMaker's Model Registry as its mirror.

What belongs here: the provider of the registry contract on AWS. The record stays the files of `local`: numbers, digests
and challengers are decided there. Every change is then mirrored to a model package group a league: a package a version
with its artefacts in S3 (s3://BUCKET/PREFIX/LEAGUE/models/VERSION-DIGEST/), metrics, metadata and approval status; and
for every version that has a package, a model card and a component of the league's experiment. The mirror can be thrown
away and is repaired from the record; what fails there is reported and stops nothing.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from pathlib import Path
from typing import Any

from hoops_assets.clouds.aws import Aws, tags
from hoops_assets.errors import HoopsError
from hoops_assets.services.aws import archive_of, asked, bare_bundle, one_by_one
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.sagemaker import SageMakerLineage
from hoops_assets.services.registry.contract import IMPORTED, ChallengerEvent, MirrorReport, ModelVersion, Registry
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.registry.sagemaker_cards import SageMakerCards
from hoops_assets.services.registry.sagemaker_experiments import SageMakerExperiments
from hoops_assets.services.registry.sagemaker_names import group_of, place_of
from hoops_assets.services.training.contract import TrainedModel
from hoops_assets.store import atomic

_log = logging.getLogger(__name__)


class SageMakerRegistry(LocalRegistry):
    """See the contract.

    Args:
        root: as of LocalRegistry.
    """

    provider = "sagemaker"

    def __init__(self, root: Path, aws: Aws) -> None:
        super().__init__(root)
        self._mirror = SageMakerMirror(aws, root)

    def register(self, trained: TrainedModel) -> ModelVersion:
        """See the contract."""
        version = super().register(trained)
        self._mirror.repair(self, version.league)
        return version

    def name_challenger(self, league: str, version: int, evidence: dict[str, Any]) -> ChallengerEvent:
        """See the contract."""
        event = super().name_challenger(league, version, evidence)
        self._mirror.repair(self, league)
        return event


class SageMakerMirror:
    """Model packages, cards and experiments of one account. Args: folder: for the lock."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        self._aws, self._folder = aws, Path(folder)
        self._lineage = SageMakerLineage(aws)
        self._cards, self._experiments = SageMakerCards(aws), SageMakerExperiments(aws)

    def repair(self, registry: Registry, league: str) -> MirrorReport:
        """Adds what is missing and approves what became challenger. Repeating changes nothing.

        A failure is logged and reported, never raised: a mirror must not stop what it mirrors.
        """
        report = MirrorReport()
        try:
            with atomic.locked(self._folder / f".{league}.sagemaker.lock"), asked(f"mirroring the models of {league}"):
                self._repair(registry, league, report)
        except HoopsError as error:
            report.problem = str(error)
            _log.warning(
                "SageMaker's model registry lacks something of league %s: %s. The registry itself is complete; the next"
                " repair adds it", league, error,
            )  # fmt: skip
        return report

    def _repair(self, registry: Registry, league: str, report: MirrorReport) -> None:
        """Raises ServiceError; what is refused of one version alone it tells when it has been through all others."""
        versions = registry.list(league)
        if not versions:
            return
        group = group_of(league)
        known = self._packages(league, group)
        named = {event.version for event in registry.challengers(league)}
        statuses: dict[int, str] = {}

        def package(version: ModelVersion) -> None:
            found = known.get(version.digest)
            statuses[version.version] = self._mirror(registry, version, found, version.version in named, report)

        refused = one_by_one(versions, "mirroring", package)
        mirrored = [version for version in versions if version.version in statuses]
        approved = {number for number, status in statuses.items() if status == "Approved"}
        for part in (
            lambda: self._cards.repair(registry, league, mirrored, approved),
            lambda: self._experiments.repair(registry, league, mirrored),
        ):
            try:
                refused += part()
            except HoopsError as error:
                refused.append(str(error))
        if refused:
            raise ServiceError("failed", "; ".join(refused))

    def _mirror(
        self, registry: Registry, version: ModelVersion, found: dict[str, Any] | None, named: bool, report: MirrorReport
    ) -> str:
        """One version; returns its package's status. Args: found: its package. named: it became challenger."""
        if found is None:
            if version.provider != IMPORTED:
                self._lineage.note_model(version, registry.manifest(version.league, version.version))
            arn, status = self._add(registry, group_of(version.league), version), "PendingManualApproval"
            report.added.append(version.version)
        else:
            arn, status = found["ModelPackageArn"], found["ModelApprovalStatus"]
            report.present += 1
        # What a person rejected there stays rejected: it decides nothing here.
        if named and status == "PendingManualApproval":
            status = "Approved"
            self._aws.sagemaker.update_model_package(
                ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription="named challenger"
            )
        return status

    def _packages(self, league: str, group: str) -> dict[str, dict[str, Any]]:
        """The packages by digest, from their descriptions; makes the group if it is missing."""
        sagemaker = self._aws.sagemaker
        try:
            with asked(f"making model package group {group}"):
                sagemaker.describe_model_package_group(ModelPackageGroupName=group)
        except ServiceError as error:
            if error.kind != "not_found":
                raise
            sagemaker.create_model_package_group(
                ModelPackageGroupName=group, ModelPackageGroupDescription=f"Models of league {league}",
                Tags=tags(league, "registry"),
            )  # fmt: skip
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        found = [one for page in pages for one in page["ModelPackageSummaryList"]]
        return {one.get("ModelPackageDescription", "").rpartition(" ")[2]: one for one in found}

    def _add(self, registry: Registry, group: str, version: ModelVersion) -> str:
        folder, aws = registry.artefacts(version.league, version.version), self._aws
        place = place_of(aws, version)
        for name in version.artefacts:
            aws.put(f"{place}/{name}", (folder / name).read_bytes())
        metrics = aws.put(f"{place}/statistics.json", json.dumps(version.metrics).encode())
        made: dict[str, Any] = {"SourceUri": aws.uri(place)}
        if version.deployable:
            archive = archive_of(bare_bundle(version), (folder / "model.onnx").read_bytes())
            container = {"Image": aws.settings.image, "ModelDataUrl": aws.put(f"{place}/model.tar.gz", archive)}
            made = {
                "InferenceSpecification": {
                    "Containers": [container], "SupportedContentTypes": ["application/json", "text/csv"],
                    "SupportedResponseMIMETypes": ["application/json", "text/csv"],
                }
            }  # fmt: skip
        return aws.sagemaker.create_model_package(
            ModelPackageGroupName=group, ModelApprovalStatus="PendingManualApproval",
            ModelPackageDescription=f"{version.name} {_plain(version.learner)} {version.digest}",
            ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": metrics}}},
            CustomerMetadataProperties=properties(version), MetadataProperties={"CommitId": version.commit}, **made,
        )["ModelPackageArn"]  # fmt: skip


def properties(version: ModelVersion) -> dict[str, str]:
    """What a package tells of a version, within SageMaker's alphabet and length of a value."""
    told = {
        "version": str(version.version), "league": version.league, "learner": version.learner, "digest": version.digest,
        "manifest_digest": version.manifest_digest, "commit": version.commit, "dirty": str(version.dirty),
        "lock_digest": version.lock_digest, "training_job": version.training_job,
        "trained_through": version.trained_through.isoformat(), "created_by": version.created_by,
    }  # fmt: skip
    return {f"hoops.{name}": _plain(value) for name, value in told.items() if value}


def _plain(text: str) -> str:
    """Free text as CustomerMetadataValue allows it: letters, digits, separators and _.:/=+-@, anything else as _."""
    return "".join(one if unicodedata.category(one)[0] in "LNZ" or one in "_.:/=+-@" else "_" for one in text[:256])
