"""Model cards and experiments: parts of the registry's mirror that follow the packages, and stop nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.registry.contract import IMPORTED, search
from hoops_assets.services.registry.sagemaker import SageMakerMirror, SageMakerRegistry, group_of
from hoops_assets.services.registry.sagemaker_cards import content
from hoops_assets.services.registry.sagemaker_experiments import component, trial_of
from hoops_assets.services.registry.sagemaker_names import entity_of
from hoops_assets.services.registry.sheet import import_sheet
from hoops_assets.services.training.contract import TrainedModel

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KINDS = ("model card", "experiment", "trial", "trial component")
WRITING = ("CreateModelCard", "UpdateModelCard", "CreateTrialComponent", "BatchPutMetrics", "CreateExperiment", "CreateTrial",
           "AssociateTrialComponent")  # fmt: skip
QUICK = ("BatchPutMetrics",)
Trained = dict[str, TrainedModel]


@pytest.fixture
def own(aws: Aws, emulator: AwsEmulator, tmp_path: Path) -> SageMakerRegistry:
    return SageMakerRegistry(tmp_path / "registry", aws)


def import_old(own: SageMakerRegistry, folder: Path) -> None:
    """A version that somebody else made, with free text in every field."""
    (folder / "old.pkl").write_bytes(b"pickled")
    path = folder / "models.csv"
    rows = (
        "name,date,file,learner,author,log_loss",
        "Best (2026)!,2026-02-01,old.pkl,Random Förest (tuned),Ann <a@x.org>,0.6",
    )
    path.write_text("\n".join(rows))
    assert not import_sheet(own, "sim", path, ZoneInfo("UTC"), NOW).rejected


def card(aws: Aws, own: SageMakerRegistry, number: int) -> dict[str, Any]:
    return aws.sagemaker.describe_model_card(ModelCardName=entity_of(own.get("sim", number)))


def standing(emulator: AwsEmulator) -> dict[str, int]:
    found = emulator.standing()
    return {kind: len(found[kind]) for kind in KINDS}


def writes(emulator: AwsEmulator) -> int:
    return sum(emulator.seen[f"sagemaker:{action}"] for action in WRITING)


def test_a_card_tells_training_set_parameters_and_metrics(own: SageMakerRegistry, aws: Aws, trained: Trained) -> None:
    version = own.register(trained["logistic"])
    manifest = own.manifest("sim", 1)
    found = card(aws, own, 1)
    told = json.loads(found["Content"])
    assert (found["ModelCardStatus"], found["ModelCardVersion"]) == ("Draft", 1)
    overview, job = told["model_overview"], told["training_details"]["training_job_details"]
    assert (overview["model_name"], overview["model_version"], overview["model_id"]) == ("sim/1", 1, version.digest)
    # The very address that the lineage has.
    (artifact,) = aws.sagemaker.list_artifacts(SourceUri=job["training_datasets"][0])["ArtifactSummaries"]
    assert artifact["ArtifactType"] == "DataSet"
    parameters = {one["name"]: json.loads(one["value"]) for one in job["user_provided_hyper_parameters"]}
    assert parameters == {**version.parameters, "seed": manifest.seed}
    metrics = {
        f"{group['name']}_{one['name']}": one["value"]
        for evaluation in told["evaluation_details"]
        for group in evaluation["metric_groups"]
        for one in group["metric_data"]
    }
    assert metrics == version.metrics
    details = told["additional_information"]["custom_details"]
    assert details["training_set_digest"] == manifest.training_set.digest
    assert (details["manifest_digest"], details["commit"]) == (version.manifest_digest, version.commit)
    (place,) = overview["model_artifact"]
    assert aws.get(f"{place}/model.onnx") == (own.artefacts("sim", 1) / "model.onnx").read_bytes()


def test_every_version_is_a_component_of_its_training_run_with_figures_to_compare(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained
) -> None:
    versions = [own.register(trained[learner]) for learner in ("elo", "logistic")]
    assert standing(emulator) == {"model card": 2, "experiment": 1, "trial": 1, "trial component": 2}
    listed = aws.sagemaker.list_trial_components(ExperimentName=group_of("sim"))["TrialComponentSummaries"]
    assert {one["TrialComponentName"] for one in listed} == {entity_of(one) for one in versions}
    for version in versions:
        found = aws.sagemaker.describe_trial_component(TrialComponentName=entity_of(version))
        assert {one["MetricName"]: one["Last"] for one in found["Metrics"]} == version.metrics
        assert {one["Count"] for one in found["Metrics"]} == {1}
        assert all(abs((one["TimeStamp"] - version.created_at).total_seconds()) < 1 for one in found["Metrics"])
        assert found["Parameters"]["learner"] == {"StringValue": version.learner}
        assert found["Parameters"]["seed"] == {"NumberValue": 0}
        assert found["MetadataProperties"]["CommitId"] == version.commit
        assert found["InputArtifacts"]["manifest_digest"]["Value"] == version.manifest_digest
        content = aws.get(found["OutputArtifacts"]["model.onnx"]["Value"])
        assert content == (own.artefacts("sim", version.version) / "model.onnx").read_bytes()


@pytest.mark.slow
def test_a_search_finds_the_best_version_of_a_league(own: SageMakerRegistry, aws: Aws, trained: Trained) -> None:
    versions = [own.register(trained[learner]) for learner in ("elo", "logistic", "base_rate")]
    own.register(trained["elo"].model_copy(update={"job": trained["elo"].job.model_copy(update={"league": "sim_two"})}))
    mine = {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": group_of("sim")}
    found = aws.sagemaker.search(
        Resource="ExperimentTrialComponent", SearchExpression={"Filters": [mine]},
        SortBy="Metrics.test_log_loss.Last", SortOrder="Ascending",
    )["Results"]  # fmt: skip
    names = [one["TrialComponent"]["TrialComponentName"] for one in found]
    assert names == [entity_of(one) for one in search(versions, "test_log_loss")]
    assert {one["TrialComponent"]["Parents"][0]["TrialName"] for one in found} == {trial_of(own.manifest("sim", 1))}


@pytest.mark.slow
def test_the_second_version_of_a_training_run_makes_neither_trial_nor_experiment(
    own: SageMakerRegistry, emulator: AwsEmulator, trained: Trained
) -> None:
    own.register(trained["elo"])
    own.register(trained["logistic"])
    seen = {action: emulator.seen[f"sagemaker:{action}"] for action in WRITING if "Card" not in action}
    assert (seen["CreateExperiment"], seen["CreateTrial"], seen["CreateTrialComponent"]) == (1, 1, 2)
    assert seen["AssociateTrialComponent"] == 3  # the first shows that there is no trial yet


@pytest.mark.slow
def test_another_training_set_or_other_code_is_another_trial(own: SageMakerRegistry, trained: Trained) -> None:
    own.register(trained["elo"])
    manifest = own.manifest("sim", 1)
    newer = manifest.model_copy(update={"training_set": manifest.training_set.model_copy(update={"table_version": 8})})
    other = manifest.model_copy(update={"code": manifest.code.model_copy(update={"digest": "0" * 64})})
    learner = manifest.model_copy(update={"learner": "logistic", "parameters": {"c": 1}, "training_job": "another"})
    assert trial_of(learner) == trial_of(manifest)
    assert len({trial_of(one) for one in (manifest, newer, other)}) == 3


def test_a_card_is_approved_with_its_package_and_what_a_person_says_stays(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained, tmp_path: Path
) -> None:
    for learner in ("elo", "logistic", "base_rate"):
        own.register(trained[learner])
    first = own.get("sim", 1)
    aws.sagemaker.update_model_card(ModelCardName=entity_of(first), ModelCardStatus="Archived")
    listed = aws.sagemaker.list_model_packages(ModelPackageGroupName=group_of("sim"))["ModelPackageSummaryList"]
    package = next(one["ModelPackageArn"] for one in listed if one["ModelPackageVersion"] == 3)
    aws.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    for number in (2, 1, 3):
        own.name_challenger("sim", number, {})
    assert [card(aws, own, number)["ModelCardStatus"] for number in (1, 2, 3)] == ["Archived", "Approved", "Draft"]
    # A new status is no new version; and thrown away, an approved one is written as approved.
    assert card(aws, own, 2)["ModelCardVersion"] == 1
    aws.sagemaker.delete_model_card(ModelCardName=entity_of(own.get("sim", 2)))
    assert SageMakerMirror(aws, tmp_path).repair(own, "sim").problem is None
    assert card(aws, own, 2)["ModelCardStatus"] == "Approved"


@pytest.mark.slow
def test_an_imported_version_has_a_card_and_no_training_run(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained, tmp_path: Path
) -> None:
    import_old(own, tmp_path)
    own.register(trained["elo"])
    assert own.get("sim", 1).provider == IMPORTED
    told = json.loads(card(aws, own, 1)["Content"])
    assert "training_details" not in told
    assert told["model_overview"]["algorithm_type"] == "Random Förest (tuned)"
    (evaluation,) = told["evaluation_details"]
    assert evaluation["metric_groups"][0]["metric_data"][0]["value"] == 0.6
    assert standing(emulator) == {"model card": 2, "experiment": 1, "trial": 1, "trial component": 1}


@pytest.mark.slow
def test_what_is_too_long_or_no_number_is_told_as_far_as_it_may_be(
    own: SageMakerRegistry, aws: Aws, trained: Trained
) -> None:
    own.register(trained["elo"])
    long = {f"p{number}": "x" * 400 for number in range(150)}
    version = own.get("sim", 1).model_copy(
        update={"version": 999999, "learner": "l" * 3000, "created_by": "who" * 1000, "parameters": long,
                "metrics": {"validation_log_loss": float("nan"), "test_brier": 0.2, "m" * 300: 1.0}}
    )  # fmt: skip
    manifest = own.manifest("sim", 1).model_copy(update={"parameters": long})
    name = entity_of(version.model_copy(update={"league": "a" * 40}))
    assert len(name) == 62
    told = content(version, manifest, aws.uri("place"))
    aws.sagemaker.create_model_card(ModelCardName=name, Content=json.dumps(told), ModelCardStatus="Draft")
    assert "NaN" not in json.dumps(told)
    made = component(version, manifest, aws.uri("place"))
    aws.sagemaker.create_trial_component(TrialComponentName=name, **made)


@pytest.mark.parametrize(
    "action", [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in WRITING]
)
def test_what_is_not_permitted_leaves_the_packages_whole_and_is_made_up_for(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained, tmp_path: Path, action: str
) -> None:
    emulator.fault("access_denied", action, times=100)
    version = own.register(trained["elo"])
    own.name_challenger("sim", 1, {})
    assert own.get("sim", 1).digest == version.digest
    (package,) = aws.sagemaker.list_model_packages(ModelPackageGroupName=group_of("sim"))["ModelPackageSummaryList"]
    assert package["ModelApprovalStatus"] == "Approved"
    # One part's refusal does not stop the other.
    made = standing(emulator)
    assert made["trial component" if "Card" in action else "model card"] == 1
    report = SageMakerMirror(aws, tmp_path).repair(own, "sim")
    assert "not authorized" in (report.problem or "")
    assert "sim" in (report.problem or "")
    emulator.faults.clear()
    assert SageMakerMirror(aws, tmp_path).repair(own, "sim").problem is None
    assert standing(emulator) == dict.fromkeys(KINDS, 1)
    assert card(aws, own, 1)["ModelCardStatus"] == "Approved"
    found = aws.sagemaker.describe_trial_component(TrialComponentName=entity_of(version))
    assert {one["MetricName"]: one["Last"] for one in found["Metrics"]} == version.metrics


def test_repeating_writes_nothing(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained, tmp_path: Path
) -> None:
    import_old(own, tmp_path)
    own.register(trained["elo"])
    own.name_challenger("sim", 2, {})
    before = writes(emulator)
    assert before == len(WRITING) + 2  # two cards; the first look for the trial
    assert SageMakerMirror(aws, tmp_path).repair(own, "sim").problem is None
    assert writes(emulator) == before


def test_a_version_whose_package_is_refused_leaves_neither_card_nor_experiment(
    own: SageMakerRegistry, emulator: AwsEmulator, trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("hoops_assets.services.registry.sagemaker._plain", lambda text: f"({text})")
    own.register(trained["elo"])
    assert emulator.seen["sagemaker:CreateModelPackage"] == 1
    assert standing(emulator) == dict.fromkeys(KINDS, 0)


@pytest.mark.slow
def test_a_metric_that_is_refused_within_an_answer_is_told_and_the_component_has_no_trial(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    refusal = {"Errors": [{"Code": "METRIC_LIMIT_EXCEEDED", "MetricIndex": 1}]}
    monkeypatch.setattr(emulator.experiments, "put_metrics", lambda request: refusal)
    version = own.register(trained["elo"])
    assert standing(emulator) == {"model card": 1, "experiment": 0, "trial": 0, "trial component": 1}
    report = SageMakerMirror(aws, tmp_path).repair(own, "sim")
    assert f"SageMaker did not take {sorted(version.metrics)[1]} of sim/1" in (report.problem or "")
    monkeypatch.undo()
    assert SageMakerMirror(aws, tmp_path).repair(own, "sim").problem is None
    assert standing(emulator) == dict.fromkeys(KINDS, 1)


@pytest.mark.slow
def test_a_league_whose_name_contains_this_ones_is_left_alone(
    own: SageMakerRegistry, aws: Aws, emulator: AwsEmulator, trained: Trained
) -> None:
    theirs = trained["elo"].job.model_copy(update={"league": "sim_two"})
    other = own.register(trained["elo"].model_copy(update={"job": theirs}))
    own.register(trained["elo"])
    own.name_challenger("sim", 1, {})
    assert standing(emulator) == dict.fromkeys(KINDS, 2)
    assert card(aws, own, 1)["ModelCardStatus"] == "Approved"
    assert aws.sagemaker.describe_model_card(ModelCardName=entity_of(other))["ModelCardStatus"] == "Draft"
    listed = aws.sagemaker.list_trial_components(ExperimentName=group_of("sim_two"))["TrialComponentSummaries"]
    assert [one["TrialComponentName"] for one in listed] == [entity_of(other)]


@pytest.mark.slow
def test_a_card_is_encrypted_with_the_key_of_the_settings(
    aws: Aws, emulator: AwsEmulator, trained: Trained, tmp_path: Path
) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/0b1c"
    own = SageMakerRegistry(tmp_path / "registry", Aws(aws.settings.model_copy(update={"kms_key": key})))
    own.register(trained["elo"])
    assert card(aws, own, 1)["SecurityConfig"] == {"KmsKeyId": key}
