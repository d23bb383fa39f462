"""What is the SageMaker registry's own: a mirror that follows the record, and never stops it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.registry.sagemaker import SageMakerMirror, SageMakerRegistry, group_of
from hoops_assets.services.registry.sheet import import_sheet
from hoops_assets.services.training.contract import TrainedModel

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Trained = dict[str, TrainedModel]


@pytest.fixture
def own(aws: Aws, emulator: AwsEmulator, tmp_path: Path) -> SageMakerRegistry:
    return SageMakerRegistry(tmp_path / "registry", aws)


def packages(aws: Aws) -> list[dict]:
    listed = aws.sagemaker.list_model_packages(ModelPackageGroupName=group_of("sim"))["ModelPackageSummaryList"]
    return [aws.sagemaker.describe_model_package(ModelPackageName=one["ModelPackageArn"]) for one in listed]


def test_every_version_is_a_package_with_its_facts_and_files(
    own: SageMakerRegistry, aws: Aws, trained: Trained
) -> None:
    versions = [own.register(trained[learner]) for learner in ("elo", "logistic", "base_rate")]
    own.register(trained["elo"])
    found = packages(aws)
    assert [one["ModelPackageVersion"] for one in found] == [1, 2, 3]
    for one, version in zip(found, versions, strict=True):
        told = one["CustomerMetadataProperties"]
        assert (told["hoops.digest"], told["hoops.commit"]) == (version.digest, version.commit)
        assert one["MetadataProperties"]["CommitId"] == version.commit
        assert told["hoops.manifest_digest"] == version.manifest_digest
        statistics = one["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
        assert json.loads(aws.get(statistics)) == version.metrics
        place = statistics.rpartition("/")[0]
        assert aws.get(f"{place}/model.skops") == (own.artefacts("sim", version.version) / "model.skops").read_bytes()


def test_a_challenger_is_approved_and_stays_so(own: SageMakerRegistry, aws: Aws, trained: Trained) -> None:
    own.register(trained["elo"])
    own.register(trained["logistic"])
    own.name_challenger("sim", 2, {})
    assert [one["ModelApprovalStatus"] for one in packages(aws)] == ["PendingManualApproval", "Approved"]
    own.name_challenger("sim", 1, {})
    assert [one["ModelApprovalStatus"] for one in packages(aws)] == ["Approved", "Approved"]


@pytest.mark.parametrize("action", ["CreateModelPackage", "PutObject", "DescribeModelPackageGroup"])
def test_what_fails_is_reported_and_repaired_the_next_time(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained, action: str, tmp_path: Path
) -> None:
    emulator.fault("access_denied", action, times=100)
    version = own.register(trained["elo"])
    assert own.get("sim", 1) == version
    report = SageMakerMirror(aws, tmp_path).repair(own, "sim")
    assert "not authorized" in (report.problem or "")
    emulator.faults.clear()
    report = SageMakerMirror(aws, tmp_path).repair(own, "sim")
    assert (report.added, report.present, report.problem) == ([1], 0, None)
    assert SageMakerMirror(aws, tmp_path).repair(own, "sim").present == 1


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """A spreadsheet of models as people write them."""
    (tmp_path / "old.pkl").write_bytes(b"pickled")
    path = tmp_path / "models.csv"
    rows = "name,date,file,learner,author", "Best (2026)!,2026-02-01,old.pkl,Random Forest (tuned),Ann <ann@x.org>"
    path.write_text("\n".join(rows))
    return path


def test_free_text_of_an_imported_version_is_told_in_the_letters_that_are_allowed(
    own: SageMakerRegistry, aws: Aws, trained: Trained, sheet: Path
) -> None:
    assert not import_sheet(own, "sim", sheet, ZoneInfo("UTC"), NOW).rejected
    own.register(trained["elo"])
    own.name_challenger("sim", 2, {})
    imported, challenger = packages(aws)
    told = imported["CustomerMetadataProperties"]
    assert (told["hoops.learner"], told["hoops.training_job"]) == ("Random Forest _tuned_", "Best _2026__")
    assert told["hoops.created_by"] == "Ann _ann@x.org_"
    assert challenger["ModelApprovalStatus"] == "Approved"


def test_a_version_that_is_refused_stops_none_after_it_and_is_told(
    own: SageMakerRegistry, aws: Aws, trained: Trained, sheet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_sheet(own, "sim", sheet, ZoneInfo("UTC"), NOW)
    monkeypatch.setattr("hoops_assets.services.registry.sagemaker._plain", str)
    own.register(trained["elo"])
    assert [one["CustomerMetadataProperties"]["hoops.version"] for one in packages(aws)] == ["2"]
    report = SageMakerMirror(aws, tmp_path).repair(own, "sim")
    assert (report.added, report.present) == ([], 1)
    assert "mirroring sim/1: " in (report.problem or "") and "Random Forest (tuned)" in (report.problem or "")
    monkeypatch.undo()
    assert SageMakerMirror(aws, tmp_path).repair(own, "sim").added == [1]


def test_a_mirror_that_was_thrown_away_is_built_again(
    own: SageMakerRegistry, aws: Aws, trained: Trained, tmp_path: Path
) -> None:
    for learner in ("elo", "logistic"):
        own.register(trained[learner])
    for one in packages(aws):
        aws.sagemaker.delete_model_package(ModelPackageName=one["ModelPackageArn"])
    aws.sagemaker.delete_model_package_group(ModelPackageGroupName=group_of("sim"))
    assert SageMakerMirror(aws, tmp_path).repair(own, "sim").added == [1, 2]
    assert [one["CustomerMetadataProperties"]["hoops.version"] for one in packages(aws)] == ["1", "2"]
