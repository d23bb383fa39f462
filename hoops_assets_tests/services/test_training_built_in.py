"""SageMaker's built-in XGBoost: no container of ours, and its model enters the registry by the same gate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.errors import ModelError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.training import built_in
from hoops_assets.services.training.contract import TrainingJob, artefact_folder, train
from hoops_assets.services.training.local import LocalTraining
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets.workloads import boosted_trees, export
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import ELO, LEAGUE, Home, make_models
from hoops_assets_tests.workloads.frames import job, training_frame

xgboost = pytest.importorskip("xgboost", reason="the extra emulators is not installed")


@pytest.fixture
def emulator(emulator: AwsEmulator) -> Iterator[AwsEmulator]:
    yield emulator
    assert emulator.running() == []


@pytest.fixture
def service(aws: Aws, emulator: AwsEmulator, tmp_path: Path) -> SageMakerTraining:
    return SageMakerTraining(aws, tmp_path / "jobs", every=0.02)


def asked(frame: pd.DataFrame, **parameters: float) -> TrainingJob:
    return job(frame, "xgboost", fit_on=("train",), parameters={"num_round": 20, **parameters})


def test_a_model_of_the_built_in_algorithm_is_registered_by_the_same_gate(
    service: SageMakerTraining, aws: Aws, frame: pd.DataFrame, tmp_path: Path
) -> None:
    model = train(service, asked(frame), frame, every=0.02)
    told = aws.sagemaker.describe_training_job(TrainingJobName=model.name)
    assert told["AlgorithmSpecification"]["TrainingImage"] == built_in.image("us-east-1")
    assert [channel["ContentType"] for channel in told["InputDataConfig"]] == ["text/csv", "text/csv"]
    assert told["EnableNetworkIsolation"] is True
    said = {one["MetricName"]: one["Value"] for one in told["FinalMetricDataList"]}
    assert model.metrics["validation_log_loss"] == pytest.approx(said["validation:logloss"], abs=1e-5)
    version = LocalRegistry(tmp_path / "registry").register(model)
    assert version.learner == "xgboost"
    assert version.parity is not None
    assert version.parity <= export.PARITY
    assert service.submit(asked(frame), frame) == model.name
    assert service.result(model.name) == model

    given = aws.get(aws.uri(aws.key("sim", "jobs", model.name, "input", "train", "train.csv"))).decode().splitlines()
    assert len(given) == 360
    first = frame[frame["split"] == "train"].sort_values(["day", "game_id"]).iloc[0]
    assert [float(value) for value in given[0].split(",")] == pytest.approx(
        [float(first["home_win"]), *first[list(model.job.features)]]
    )


@pytest.mark.slow
def test_both_files_answer_as_xgboost_itself(
    service: SageMakerTraining, frame: pd.DataFrame, aws: Aws, tmp_path: Path
) -> None:
    model = train(service, asked(frame, max_depth=4), frame, every=0.02)
    uri = aws.sagemaker.describe_training_job(TrainingJobName=model.name)["ModelArtifacts"]["S3ModelArtifacts"]
    from hoops_assets.services.aws import unpack

    unpack(aws, uri, tmp_path / "theirs")
    booster = xgboost.Booster(model_file=tmp_path / "theirs" / built_in.MODEL)
    held_out = pd.read_parquet(artefact_folder(model.artefacts) / "held_out.parquet")
    values = export.model_input(held_out, model.job.features)
    expected = booster.predict(xgboost.DMatrix(values))
    answered = export.OnnxModel((artefact_folder(model.artefacts) / "model.onnx").read_bytes())
    np.testing.assert_allclose(answered.home_win_probability(values), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(held_out["probability"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("written", ["m.ubj", "m.json"])
def test_every_tree_goes_the_way_that_xgboost_goes(written: str, tmp_path: Path) -> None:
    """Values on and beside the thresholds, and missing ones; thresholds are float32 values of the data."""
    random = np.random.default_rng(0)
    x = random.integers(-3, 4, size=(3000, 5)).astype("float32") / 3
    x[random.random(x.shape) < 0.1] = np.nan
    y = random.random(3000) < 1 / (1 + np.exp(-np.nan_to_num(x[:, 0]) * 2 - np.isnan(x[:, 1])))
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 6, "nthread": 1}, xgboost.DMatrix(x, y.astype(int)), 40
    )
    booster.save_model(tmp_path / written)
    pipeline = boosted_trees.pipeline_of((tmp_path / written).read_bytes(), 5)
    nearby = np.concatenate([x, np.nextafter(x, np.float32(9)), np.nextafter(x, np.float32(-9))])
    expected = booster.predict(xgboost.DMatrix(nearby))
    np.testing.assert_allclose(export.home_win_probability(pipeline, nearby), expected, rtol=0, atol=1e-6)
    onnx = export.OnnxModel(export.to_onnx_bytes(pipeline, [str(n) for n in range(5)]))
    np.testing.assert_allclose(onnx.home_win_probability(nearby), expected, rtol=0, atol=1e-6)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a model of XGBoost 2\.1 or later"):
        boosted_trees.pipeline_of(b"binf\x00\x00", 5)
    x = np.arange(20.0).reshape(10, 2)
    booster = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(x, x[:, 0]), 2)
    booster.save_model(tmp_path / "m.json")
    with pytest.raises(ModelError, match="objective reg:squarederror over 2 columns; expected a gbtree"):
        boosted_trees.pipeline_of((tmp_path / "m.json").read_bytes(), 2)


@pytest.mark.slow
def test_a_conversion_that_scores_otherwise_than_the_job_said_is_refused(
    service: SageMakerTraining, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = service.submit(asked(frame), frame)
    while not service.poll(name).finished:
        pass
    real = boosted_trees.pipeline_of

    def shifted(content: bytes, features: int) -> object:
        pipeline = real(content, features)
        pipeline[-1]._baseline_prediction += 0.2
        return pipeline

    monkeypatch.setattr(boosted_trees, "pipeline_of", shifted)
    with pytest.raises(ServiceError, match=r"validation log loss is 0\.\d+, the job said 0\.\d+") as refused:
        service.result(name)
    assert refused.value.kind == "failed"


@pytest.mark.slow
def test_a_hyper_parameter_that_the_algorithm_does_not_know_fails_the_job_with_its_name(
    service: SageMakerTraining, frame: pd.DataFrame
) -> None:
    with pytest.raises(ServiceError, match="Extraneous hyperparameter found: depth") as failed:
        train(service, asked(frame, depth=3), frame, every=0.02)
    assert failed.value.kind == "failed"


def test_a_region_where_nobody_knows_the_image_is_refused_before_anything_is_made(
    aws: Aws, emulator: AwsEmulator, frame: pd.DataFrame, tmp_path: Path
) -> None:
    elsewhere = Aws(aws.settings.model_copy(update={"region": "mars-north-1"}))
    with pytest.raises(ServiceError, match="mars-north-1 is not known here") as refused:
        SageMakerTraining(elsewhere, tmp_path, every=0.02).submit(asked(frame), frame)
    assert refused.value.kind == "invalid"
    assert emulator.standing()["object"] == []
    assert built_in.image("cn-north-1").endswith("cn-north-1.amazonaws.com.cn/sagemaker-xgboost:3.0-5")


def test_it_is_fitted_on_the_train_split_and_offered_by_no_other_provider(
    service: SageMakerTraining, frame: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError, match="is fitted on the train split") as refused:
        service.submit(job(frame, "xgboost"), frame)
    assert refused.value.kind == "invalid"
    with pytest.raises(ServiceError, match="'xgboost' is none of base_rate"):
        train(LocalTraining(tmp_path), asked(frame), frame)


def test_metrics_of_a_built_in_algorithm_are_its_own(aws: Aws, emulator: AwsEmulator) -> None:
    request = json.loads(json.dumps({
        "TrainingJobName": "own", "RoleArn": aws.settings.role,
        "AlgorithmSpecification": {
            "TrainingImage": built_in.image("us-east-1"), "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "a", "Regex": "b"}],
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{aws.settings.bucket}/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }))  # fmt: skip
    with pytest.raises(aws.sagemaker.exceptions.ClientError, match="can't override the metric definitions"):
        aws.sagemaker.create_training_job(**request)


@pytest.mark.slow
def test_its_version_is_compared_with_the_champion_on_held_out_games_that_neither_was_fitted_on(
    service: SageMakerTraining, tmp_path: Path
) -> None:
    """Nobody here can fit it again for a walk-forward."""
    with small.without_flushing():
        home = Home(make_models(tmp_path / "home"))
        assert home.enter(ELO).endpoint
        reference = home.registry.manifest(LEAGUE, ELO).training_set
        frame = training_frame()
        job_of = asked(frame).model_copy(update={"league": LEAGUE, "training_set": reference})
        version = home.registry.register(train(service, job_of, frame, every=0.02))
        entered = home.enter(version.version)
    (compared,) = [one for one in entered.gate.findings if "compared" in str(one)]
    assert "xgboost loses" in str(compared)
    assert "on 120 held-out games" in str(compared)
