"""What a version is called on SageMaker.

What belongs here: names and places that the parts of the registry's mirror share.
"""

from __future__ import annotations

from hoops_assets.clouds.aws import Aws, dashed
from hoops_assets.services.registry.contract import ModelVersion


def group_of(league: str) -> str:
    """Name of a league's model package group, and of its experiment."""
    return f"hoops-{dashed(league)}-models"


def entity_of(version: ModelVersion) -> str:
    """hoops-LEAGUE-VERSION-DIGEST: name of a version's card and trial component, within a card's 63 characters."""
    return f"hoops-{dashed(version.league)}-{version.version}-{version.digest[:8]}"


def place_of(aws: Aws, version: ModelVersion) -> str:
    """Key of the folder of a version's artefacts."""
    return aws.key(version.league, "models", f"{version.version}-{version.digest[:12]}")
