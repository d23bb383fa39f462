"""What every provider of lineage keeps: training set -> training job -> model -> endpoint.

Our own record is the source of truth; a cloud's graph is a mirror for those who look there. `hoops ask` needs none of it.

- `note_model` and `note_serving` make sure that the provider knows; repeating them changes nothing, and one that was cut
  short is finished by the next. Where the record is the provider, there is nothing to do.
- `ancestry` is what the provider's own graph says, and equals what the record says once both were noted. A version that
  was never noted, or of which only a part is known, is `not_found`.
- Errors are `ServiceError` of its closed set. A mirror that cannot be written never stops what it mirrors: the caller logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from hoops_assets.services.registry.contract import Manifest, ModelVersion


@dataclass(frozen=True)
class Ancestry:
    """Where a version comes from and where it went.

    Attributes:
        training_set: table, table_version, filter ("all rows" without one), digest, as strings.
        commit: of the code.
        parameters: of the learner.
        endpoints: leagues whose endpoint it has served.
    """

    training_set: dict[str, str]
    commit: str
    parameters: dict[str, Any]
    endpoints: tuple[str, ...]


class Lineage(Protocol):
    """Somebody who keeps a graph. See the module's docstring for what each call means."""

    provider: str

    def note_model(self, version: ModelVersion, manifest: Manifest) -> None:
        """Training set, job and model of a version. Raises ServiceError."""
        ...

    def note_serving(self, league: str, version: int, digest: str) -> None:
        """That a version serves its league. Raises ServiceError."""
        ...

    def ancestry(self, league: str, version: int, digest: str) -> Ancestry:
        """What the graph tells of a version. Raises ServiceError not_found."""
        ...


def described(manifest: Manifest) -> dict[str, str]:
    """A training set as a graph tells it."""
    used = manifest.training_set
    return {
        "table": used.table, "table_version": str(used.table_version), "filter": used.filter or "all rows",
        "digest": used.digest,
    }  # fmt: skip
