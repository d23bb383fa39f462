"""Lineage as our own record and registry tell it: what every mirror is compared with."""

from __future__ import annotations

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.contract import Ancestry, described
from hoops_assets.services.registry.contract import Manifest, ModelVersion, Registry
from hoops_assets.store import deployments
from hoops_assets.store.record import Record


class LocalLineage:
    """See the contract."""

    provider = "local"

    def __init__(self, registry: Registry, record: Record) -> None:
        self._registry, self._record = registry, record

    def note_model(self, version: ModelVersion, manifest: Manifest) -> None:
        """The registry has it already."""

    def note_serving(self, league: str, version: int, digest: str) -> None:
        """The record has it already."""

    def ancestry(self, league: str, version: int, digest: str) -> Ancestry:
        """See the contract."""
        found = self._registry.get(league, version)
        if found.digest[: len(digest)] != digest:
            raise ServiceError("not_found", f"version {version} of {league} has another digest than {digest[:12]}")
        manifest = self._registry.manifest(league, version)
        served = any(version in row.traffic for row in deployments.history(self._record, league))
        return Ancestry(described(manifest), found.commit, dict(found.parameters), (league,) if served else ())
