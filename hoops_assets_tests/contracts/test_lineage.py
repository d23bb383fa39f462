"""What every provider of lineage keeps."""

from __future__ import annotations

import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.contract import Ancestry, Lineage
from hoops_assets.services.lineage.local import LocalLineage
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store import deployments
from hoops_assets.store.deployments import Deployment
from hoops_assets.store.record import Record
from hoops_assets_tests.contracts.providers import Provider
from hoops_assets_tests.workloads.frames import CODE


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Version 2 has served."""
    record = Record(f"sqlite:///{tmp_path_factory.mktemp('record') / 'record.db'}")
    change = Deployment("sim", "deploy", 2, {2: 100}, "a test", "why not", "local", "cli")
    deployments.append(record, change)
    return record


@pytest.fixture(scope="module")
def lineage(provider: Provider, registry: LocalRegistry, record: Record) -> Lineage:
    """Versions 1 and 2 were noted, 2 as serving; everything twice."""
    lineage = provider.lineage(registry, record)
    for _ in range(2):
        for version in (1, 2):
            lineage.note_model(registry.get("sim", version), registry.manifest("sim", version))
        lineage.note_serving("sim", 2, registry.get("sim", 2).digest)
    return lineage


@pytest.mark.parametrize("version", [1, 2])
def test_the_graph_says_what_the_record_says(
    lineage: Lineage, registry: LocalRegistry, record: Record, version: int
) -> None:
    digest = registry.get("sim", version).digest
    found = lineage.ancestry("sim", version, digest)
    assert found == LocalLineage(registry, record).ancestry("sim", version, digest)
    used = registry.manifest("sim", version).training_set
    told = {"table": "sim/training_set", "table_version": "7", "filter": "season <= 2016", "digest": used.digest}
    assert found == Ancestry(told, CODE.commit, {}, ("sim",) if version == 2 else ())


@pytest.mark.parametrize(("version", "digest"), [(9, "d" * 64), (1, "e" * 64)])
def test_a_version_that_nobody_noted_is_not_found(lineage: Lineage, version: int, digest: str) -> None:
    with pytest.raises(ServiceError) as missing:
        lineage.ancestry("sim", version, digest)
    assert missing.value.kind == "not_found"
