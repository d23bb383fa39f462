"""The training program: what it writes, that it repeats, what it refuses, and that a kill leaves nothing half."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES
from hoops_assets.errors import ModelError
from hoops_assets.judging import scoring
from hoops_assets.workloads import export, train
from hoops_assets_tests.workloads.frames import job_folder, training_frame
from hoops_assets_tests.workloads.kills import die_at

FRAME = training_frame()
REPEATED = ("model.onnx", "model.skops", "metrics.json", "held_out.parquet", "games.json", "spec.json")


def train_in(folder: Path, frame: pd.DataFrame = FRAME, learner: str = "elo", **changes: Any) -> Path:
    train.run(job_folder(folder, frame, learner, **changes))
    return folder / "model"


@pytest.mark.parametrize("learner", LEARNERS)
def test_same_inputs_give_the_same_bytes(tmp_path: Path, learner: str) -> None:
    first, second = train_in(tmp_path / "a", learner=learner), train_in(tmp_path / "b", learner=learner)
    for name in REPEATED:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert (
        json.loads((first / "result.json").read_text())["digest"]
        == json.loads((second / "result.json").read_text())["digest"]
    )


def test_another_process_gives_the_same_bytes_and_prints_its_metrics(tmp_path: Path) -> None:
    here = train_in(tmp_path / "here", learner="boosting")
    there = job_folder(tmp_path / "there", FRAME, "boosting")
    done = subprocess.run(
        [sys.executable, "-m", "hoops_assets.workloads.train", str(there)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for name in REPEATED:
        assert (here / name).read_bytes() == (there / "model" / name).read_bytes(), name
    metrics = json.loads((here / "metrics.json").read_text())
    printed = dict(re.findall(r"^metric (\w+)=(\S+)$", done.stdout, re.MULTILINE))
    assert set(printed) == set(metrics)
    assert all(float(printed[name]) == pytest.approx(value, rel=1e-9) for name, value in metrics.items())


@pytest.mark.parametrize("learner", LEARNERS)
def test_both_files_answer_as_recorded_on_games_never_fitted(tmp_path: Path, learner: str) -> None:
    model = train_in(tmp_path, learner=learner)
    held_out = pd.read_parquet(model / "held_out.parquet")
    values = export.model_input(held_out, FEATURES)
    assert list(held_out["game_id"]) == list(FRAME.loc[FRAME["split"] == "test", "game_id"])
    skops = export.from_skops((model / "model.skops").read_bytes())
    np.testing.assert_allclose(export.home_win_probability(skops, values), held_out["probability"], atol=1e-12)
    onnx = export.OnnxModel((model / "model.onnx").read_bytes())
    np.testing.assert_allclose(onnx.home_win_probability(values), held_out["probability"], atol=1e-5)


@pytest.mark.parametrize("learner", ["logistic", "boosting", "base_rate"])
def test_outcomes_of_test_games_change_no_model_but_those_of_validation_games_do(tmp_path: Path, learner: str) -> None:
    def flipped(split: str) -> pd.DataFrame:
        return FRAME.assign(home_win=FRAME["home_win"] ^ (FRAME["split"] == split))

    model = (train_in(tmp_path / "as_it_is", learner=learner) / "model.onnx").read_bytes()
    assert (train_in(tmp_path / "test", flipped("test"), learner) / "model.onnx").read_bytes() == model
    assert (train_in(tmp_path / "validation", flipped("validation"), learner) / "model.onnx").read_bytes() != model


def test_validation_metrics_are_of_a_model_that_saw_the_train_split_only(tmp_path: Path) -> None:
    by_split = dict(tuple(FRAME.groupby("split")))

    def fitted(*splits: str) -> Any:
        rows = pd.concat([by_split[split] for split in splits])
        return LEARNERS["logistic"]().fit(rows[list(FEATURES)].to_numpy(), rows["home_win"].to_numpy(dtype="int64"))  # pyright: ignore

    def loss(model: Any, split: str) -> float:
        rows = by_split[split]
        return scoring.log_loss(model.predict_proba(rows[list(FEATURES)].to_numpy())[:, 1], rows["home_win"])

    metrics = json.loads((train_in(tmp_path / "both", learner="logistic") / "metrics.json").read_text())
    assert metrics["validation_log_loss"] == pytest.approx(loss(fitted("train"), "validation"), abs=1e-9)
    assert metrics["test_log_loss"] == pytest.approx(loss(fitted("train", "validation"), "test"), abs=1e-9)
    assert (metrics["validation_n"], metrics["test_n"]) == (120, 120)
    only_train = json.loads(
        (train_in(tmp_path / "train", learner="logistic", fit_on=("train",)) / "metrics.json").read_text()
    )
    assert only_train["test_log_loss"] == pytest.approx(loss(fitted("train"), "test"), abs=1e-9)


def test_a_finished_folder_is_not_trained_again_and_not_for_another_spec(tmp_path: Path) -> None:
    model = train_in(tmp_path)
    before = (model / "result.json").read_bytes()
    train.run(tmp_path)
    assert (model / "result.json").read_bytes() == before
    job_folder(tmp_path, FRAME, "logistic")
    with pytest.raises(ModelError, match="another spec"):
        train.run(tmp_path)


def _with(**columns: Any) -> pd.DataFrame:
    return FRAME.assign(**columns)


def _one_nan() -> pd.DataFrame:
    frame = FRAME.copy()
    frame.loc[3, "rest_difference"] = np.nan
    return frame


_BACKWARDS = pd.to_timedelta(30 * (FRAME["split"] == "test"), unit="D")
BAD_FRAMES = {
    "no games in the validation split": _with(split=FRAME["split"].replace("validation", "train")),
    "not after": _with(day=(pd.to_datetime(FRAME["day"]) - _BACKWARDS).dt.date),
    "stands twice": _with(game_id=["same", *FRAME["game_id"][:-1].iloc[1:], "same"]),
    "same outcome": _with(home_win=FRAME["home_win"] | (FRAME["split"] == "train")),
    "'holdout' is none of": _with(split=FRAME["split"].replace("test", "holdout")),
    "rest_difference of 2015-10-01.H3.A is not a finite number": _one_nan(),
}


@pytest.mark.parametrize("message", BAD_FRAMES)
def test_a_training_set_that_cannot_be_learnt_from_is_refused(tmp_path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        train_in(tmp_path, BAD_FRAMES[message])
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learner": "oracle"}, "'oracle' is none of base_rate, elo"),
        ({"learner": "logistic", "parameters": {"depth": 3}}, "depth"),
        ({"learner": "logistic", "parameters": {"C": -1}}, "C"),
        ({"features": FEATURES[::-1]}, "field features"),
        ({"fit_on": ()}, "field fit_on"),
        ({"training_set_digest": "0" * 64}, "the rows changed on the way"),
    ],
)
def test_a_spec_that_cannot_be_followed_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        train_in(tmp_path, **changes)


def test_damaged_inputs_are_refused_by_name(tmp_path: Path) -> None:
    folder = job_folder(tmp_path, FRAME)
    table = folder / "input" / "training_set.parquet"
    table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"training_set\.parquet is not a readable Parquet file"):
        train.run(folder)
    (folder / "input" / "spec.json").write_text('{"league": "sim", "lerner": 1}')
    with pytest.raises(ModelError, match=r"spec\.json, field learner"):
        train.run(folder)
    (folder / "input" / "spec.json").unlink()
    with pytest.raises(ModelError, match=r"spec\.json is missing"):
        train.run(folder)


def test_the_program_leaves_its_reason_where_a_provider_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = job_folder(tmp_path, FRAME, "oracle")
    assert train.main([str(folder)]) == 1
    assert "'oracle' is none of" in (folder / "output" / "failure").read_text()
    assert "'oracle' is none of" in capsys.readouterr().err
    assert train.main([]) == 2


def test_a_kill_leaves_no_model_or_a_whole_one_and_the_next_run_ends_the_same(tmp_path: Path) -> None:
    undisturbed = train_in(tmp_path / "undisturbed", learner="logistic")
    whole = {
        "training.before_fit": False,
        "training.after_fit": False,
        "file.before_rename:3": False,
        "folder.before_rename": False,
        "folder.after_rename": True,
    }
    folders = {point: job_folder(tmp_path / point, FRAME, "logistic") for point in whole}
    assert die_at("hoops_assets.workloads.train:run", folders) == dict.fromkeys(whole, signal.SIGKILL)
    for point, folder in folders.items():
        assert (folder / "model").exists() == whole[point], point
        train.run(folder)
        for name in REPEATED:
            assert (folder / "model" / name).read_bytes() == (undisturbed / name).read_bytes(), (point, name)
