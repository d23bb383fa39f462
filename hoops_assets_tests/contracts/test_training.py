"""What every training provider keeps."""

from __future__ import annotations

import re
from datetime import date

import pandas as pd
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import (
    JobState,
    TrainingService,
    TrainingSet,
    artefact_folder,
    train,
    training_set_digest,
)
from hoops_assets.services.training.local import LocalTraining
from hoops_assets_tests.contracts.conftest import RUN_AGAINST
from hoops_assets_tests.contracts.providers import PROVIDERS
from hoops_assets_tests.workloads.frames import CODE, job

SUBPROCESS = "local-subprocess"


@pytest.fixture(scope="module", params=[*RUN_AGAINST, SUBPROCESS])
def training(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainingService:
    folder = tmp_path_factory.mktemp("jobs")
    if request.param == SUBPROCESS:
        return LocalTraining(folder, subprocess=True)
    return PROVIDERS[request.param](request).training(folder)


def test_a_job_ends_with_a_model_and_asking_again_reuses_it(training: TrainingService, frame: pd.DataFrame) -> None:
    asked = job(frame)
    model = train(training, asked, frame, every=0.05)
    assert model.name.startswith(asked.name)
    assert training.poll(model.name) is JobState.SUCCEEDED
    assert (model.job, model.provider, model.state) == (asked, training.provider, JobState.SUCCEEDED)
    assert {"validation_log_loss", "test_brier", "test_accuracy", "test_calibration_error", "test_n"} <= set(
        model.metrics
    )
    assert model.seconds > 0
    assert model.billed_seconds >= 0
    files = {path.name for path in artefact_folder(model.artefacts).iterdir()}
    assert {"model.skops", "model.onnx", "metrics.json", "held_out.parquet", "games.json"} <= files
    shuffled = frame.sample(frac=1, random_state=1)[frame.columns[::-1]]
    assert training.submit(asked, shuffled) == model.name
    assert training.result(model.name) == model
    training.cancel(model.name)
    assert training.poll(model.name) is JobState.SUCCEEDED


def test_a_job_that_fails_says_why_and_may_be_asked_again(training: TrainingService, frame: pd.DataFrame) -> None:
    asked = job(frame, "logistic", parameters={"C": -1})
    with pytest.raises(ServiceError, match=r"training job hoops-sim-logistic-.* failed: .*'C' parameter") as failed:
        train(training, asked, frame, every=0.05)
    assert failed.value.kind == "failed"
    name = training.submit(asked, frame)
    assert training.poll(name) in (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)
    training.cancel(name)
    assert training.poll(name).finished


def test_other_rows_than_the_job_names_are_refused(training: TrainingService, frame: pd.DataFrame) -> None:
    with pytest.raises(ServiceError, match="the rows have digest") as refused:
        training.submit(job(frame), frame.assign(home_win=~frame["home_win"]))
    assert refused.value.kind == "invalid"


@pytest.mark.parametrize("call", ["poll", "result", "cancel"])
def test_an_unknown_name_is_not_found(training: TrainingService, call: str) -> None:
    with pytest.raises(ServiceError, match="no training job hoops-nothing") as missing:
        getattr(training, call)("hoops-nothing")
    assert missing.value.kind == "not_found"


def test_a_name_is_of_what_goes_in_and_fits_every_provider(frame: pd.DataFrame) -> None:
    base = job(frame)
    assert base.name == job(frame.sample(frac=1, random_state=2)).name
    others = [
        job(frame, "logistic"),
        job(frame, seed=1),
        job(frame, parameters={"a": 1}),
        job(frame, league="nba"),
        job(frame, fit_on=("train",)),
        job(frame.assign(home_win=~frame["home_win"])),
        job(frame, code=CODE.model_copy(update={"digest": "f" * 64})),
        job(frame, code=CODE.model_copy(update={"lock_digest": "f" * 64})),
    ]
    assert len({base.name, *(other.name for other in others)}) == 1 + len(others)
    assert job(frame, code=CODE.model_copy(update={"commit": "0" * 40, "dirty": True})).name == base.name
    long = job(frame, league="l" + "_x" * 19 + "y", learner="boosting")
    for one in (base, long, *others):
        # SageMaker's pattern and length of a training job's name, with room for "-2".
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", one.name + "-99"), one.name


def test_a_reference_names_the_rows_whatever_their_order(frame: pd.DataFrame) -> None:
    reference = job(frame).training_set
    assert reference.games == 600
    assert reference.trained_through == frame.loc[frame["split"] != "test", "day"].max()
    features = job(frame).features
    only_train = TrainingSet.of(frame, features, table="t", table_version=1, fit_on=("train",))
    assert only_train.trained_through == frame.loc[frame["split"] == "train", "day"].max() < date(2016, 1, 1)
    assert training_set_digest(frame.iloc[::-1].assign(more=1), features) == reference.digest
    assert (
        training_set_digest(frame.assign(elo_difference=frame["elo_difference"] + 1e-9), features) != reference.digest
    )
