"""SageMaker's graph, read back, says what our record says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.sagemaker import SageMakerLineage
from hoops_assets.services.registry.sagemaker import SageMakerRegistry
from hoops_assets.services.training.contract import TrainedModel


def test_the_graph_tells_training_set_commit_and_endpoint_of_every_version(
    aws: Aws, emulator: AwsEmulator, trained: dict[str, TrainedModel], tmp_path: Path
) -> None:
    registry, lineage = SageMakerRegistry(tmp_path / "registry", aws), SageMakerLineage(aws)
    for learner in ("elo", "logistic"):
        registry.register(trained[learner])
    second = registry.get("sim", 2)
    for _ in range(2):
        lineage.note_serving("sim", 2, second.digest)
    for version in registry.list("sim"):
        used = registry.manifest("sim", version.version).training_set
        found = lineage.ancestry("sim", version.version, version.digest)
        assert found.training_set == {
            "table": used.table, "table_version": str(used.table_version), "filter": used.filter,
            "digest": used.digest,
        }  # fmt: skip
        assert (found.commit, found.parameters) == (version.commit, version.parameters)
        assert found.endpoints == (("sim",) if version.version == 2 else ())
    standing = emulator.standing()
    # Both models come from one training set.
    assert (len(standing["artifact"]), len(standing["action"]), len(standing["context"])) == (3, 2, 1)


def test_a_version_that_it_does_not_know_is_not_found(aws: Aws, emulator: AwsEmulator) -> None:
    with pytest.raises(ServiceError, match="knows no version 7") as missing:
        SageMakerLineage(aws).ancestry("sim", 7, "d" * 64)
    assert missing.value.kind == "not_found"
