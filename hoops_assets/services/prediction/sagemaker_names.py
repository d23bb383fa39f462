"""Names on SageMaker: of a league's endpoint, and of its models.

What belongs here: pure functions from what we know to what SageMaker is told, and nothing that asks it.
"""

from __future__ import annotations

import hashlib
import re

from hoops_assets.clouds.aws import dashed
from hoops_assets.services.errors import ServiceError
from hoops_assets.workloads.serve.bundle import Bundle

_LEAGUE = re.compile(r"[a-z][a-z0-9_]{0,39}")


def stem(league: str) -> str:
    """hoops-LEAGUE within 34 characters; another league has another."""
    name = dashed(league)
    if len(name) > 28:
        name = f"{name[:19].rstrip('-')}-{hashlib.sha256(league.encode()).hexdigest()[:8]}"
    return f"hoops-{name}"


def endpoint_name(league: str) -> str:
    """Of a league's endpoint. Raises ServiceError invalid for what is no league's name."""
    if not _LEAGUE.fullmatch(league):
        raise ServiceError("invalid", f"{league!r} is no name of a league, so of no endpoint")
    return f"{stem(league)}-endpoint"


def model_name(bundle: Bundle, image: str) -> str:
    """hoops-LEAGUE-m-VERSION-IMAGE-DIGEST: SageMaker's own description tells what serves."""
    return f"{stem(bundle.league)}-m-{bundle.version}-{_digest_of_image(image)}-{bundle.digest[:12]}"


def renamed(model: str, image: str) -> str:
    """The name of the same model in another image."""
    head, _, digest = model.rpartition("-")
    return f"{head.rpartition('-')[0]}-{_digest_of_image(image)}-{digest}"


def _digest_of_image(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()[:4]
