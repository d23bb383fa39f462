"""Model cards: what each version is and how good, for those who read it in SageMaker.

What belongs here: a card's content, and the cards as a part of the registry's mirror. A card is written once, from the
manifest; it is approved when the version's package is. What a person changes there stays.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hoops_assets.clouds.aws import Aws, dashed, tags
from hoops_assets.services.aws import asked, one_by_one
from hoops_assets.services.lineage.sagemaker import data_uri
from hoops_assets.services.registry.contract import IMPORTED, Manifest, ModelVersion, Registry
from hoops_assets.services.registry.sagemaker_names import entity_of, place_of

DRAFT, APPROVED = "Draft", "Approved"
SPLITS = {
    "test": "Games after all that the model was fitted on.",
    "validation": "Games that the candidates were chosen by.",
}
_MOST_PARAMETERS = 100


class SageMakerCards:
    """Cards of one account."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def repair(
        self, registry: Registry, league: str, versions: Sequence[ModelVersion], approved: set[int]
    ) -> list[str]:
        """Adds the cards that are missing and approves those of approved packages; returns what was refused.

        Args:
            approved: numbers of the versions whose package is approved.

        Raises:
            ServiceError: what would befall every other card too.
        """
        with asked(f"listing the model cards of {league}"):
            known = self._known(league)
        return one_by_one(
            versions, "writing the card of",
            lambda version: self._card(registry, version, known.get(entity_of(version)), version.version in approved),
        )  # fmt: skip

    def _card(self, registry: Registry, version: ModelVersion, status: str | None, approved: bool) -> None:
        """One card. Args: status: None if there is none yet."""
        if status is None:
            manifest = None if version.provider == IMPORTED else registry.manifest(version.league, version.version)
            told = content(version, manifest, self._aws.uri(place_of(self._aws, version)))
            key = self._aws.settings.kms_key
            self._aws.sagemaker.create_model_card(
                ModelCardName=entity_of(version), Content=json.dumps(told),
                ModelCardStatus=APPROVED if approved else DRAFT, Tags=tags(version.league, "registry"),
                **({"SecurityConfig": {"KmsKeyId": key}} if key else {}),
            )  # fmt: skip
        elif approved and status == DRAFT:
            self._aws.sagemaker.update_model_card(ModelCardName=entity_of(version), ModelCardStatus=APPROVED)

    def _known(self, league: str) -> dict[str, str]:
        """Status by name; those of leagues whose names contain this one's are among them."""
        pages = self._aws.sagemaker.get_paginator("list_model_cards").paginate(
            NameContains=f"hoops-{dashed(league)}".rstrip("-"), PaginationConfig={"PageSize": 100}
        )
        return {one["ModelCardName"]: one["ModelCardStatus"] for page in pages for one in page["ModelCardSummaries"]}


def content(version: ModelVersion, manifest: Manifest | None, place: str) -> dict[str, Any]:
    """A card as SageMaker's model card JSON schema has it, within its lengths.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-cards.html#model-cards-json-schema

    Args:
        manifest: None for an imported version; its card then says nothing of training.
        place: URI of the version's artefacts.
    """
    return {
        "model_overview": {
            "model_id": version.digest, "model_name": version.name, "model_version": version.version,
            "model_description": f"Probability that the home team wins a game of league {version.league}.",
            "problem_type": "Binary Classification", "algorithm_type": version.learner[:1024],
            "model_creator": version.created_by[:1024], "model_artifact": [place],
        },
        "intended_uses": {
            "purpose_of_model": "To forecast who wins a game of basketball, before it is played.",
            "intended_uses": f"Games of league {version.league}. Not meant for other leagues or for games under way.",
            "factors_affecting_model_efficiency":
                f"It was fitted on games through {version.trained_through}; what changed later is unknown to it.",
            "risk_rating": "Unknown",
        },
        **({} if manifest is None else {"training_details": _training(manifest)}),
        "evaluation_details": _evaluations(version.metrics, manifest),
        "additional_information": {"custom_details": _details(version, manifest)},
    }  # fmt: skip


def _training(manifest: Manifest) -> dict[str, Any]:
    games = ", ".join(f"{len(ids)} {split}" for split, ids in manifest.games.items())
    values = {**manifest.parameters, "seed": manifest.seed}
    return {
        "training_observations": f"Games: {games}. Fitted on: {', '.join(manifest.fit_on)}.",
        "training_job_details": {
            "training_datasets": [data_uri(manifest.training_set)],
            "user_provided_hyper_parameters": [
                {"name": name[:255], "value": json.dumps(value)[:255]} for name, value in values.items()
            ][:_MOST_PARAMETERS],
        },
    }  # fmt: skip


def _evaluations(metrics: Mapping[str, float], manifest: Manifest | None) -> list[dict[str, Any]]:
    """One for each split that was judged on; whatever else an imported version tells of itself is `reported`."""
    groups: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        split, _, metric = name.partition("_")
        group, called = (split, metric) if split in SPLITS and metric else ("reported", name)
        if math.isfinite(value):
            groups.setdefault(group, {})[called] = value
    return [
        {
            "name": group, "evaluation_observation": SPLITS.get(group, "As the version was imported with it."),
            "datasets": [] if manifest is None else [data_uri(manifest.training_set)],
            "metric_groups": [{
                "name": group,
                "metric_data": [
                    {"name": name[:255], "type": "number", "value": value} for name, value in sorted(found.items())
                ],
            }],
        }
        for group, found in sorted(groups.items())
    ]  # fmt: skip


def _details(version: ModelVersion, manifest: Manifest | None) -> dict[str, str]:
    told: dict[str, Any] = {
        "league": version.league, "manifest_digest": version.manifest_digest, "commit": version.commit,
        "dirty": version.dirty, "lock_digest": version.lock_digest, "training_job": version.training_job,
        "provider": version.provider, "trained_through": version.trained_through, "created_at": version.created_at,
        "parity": version.parity, "features": " ".join(version.features),
    }  # fmt: skip
    if manifest is not None:
        told |= {"training_set_digest": manifest.training_set.digest, "code_digest": manifest.code.digest}
    return {name: str(value)[:1024] for name, value in told.items() if value not in (None, "")}
