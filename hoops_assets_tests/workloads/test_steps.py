"""A learner that is watched while it learns is the learner that was not, and stops only where it is asked to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hoops_assets.basketball.estimators import LEARNERS, boosting
from hoops_assets.basketball.features import FEATURES
from hoops_assets.errors import ModelError
from hoops_assets.judging.scoring import log_loss
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads import train
from hoops_assets.workloads.steps import STEP, fit_in_steps, learns_in_steps
from hoops_assets.workloads.telling import Lines, Listener, current, listening
from hoops_assets_tests.workloads.frames import job_folder, training_frame

Games = tuple[np.ndarray, np.ndarray]


def games(n: int, seed: int, strength: float = 0.01) -> Games:
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 1, (n, len(FEATURES)))
    x[:, 0] *= 100
    return x, (draw.random(n) < 1 / (1 + np.exp(-strength * x[:, 0]))).astype("int64")


@pytest.fixture(scope="module")
def given() -> tuple[Games, Games]:
    return games(1200, 1), games(400, 2)


class Heard(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.figures: list[dict[str, float]] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def metrics(self, values: Mapping[str, float]) -> None:
        self.figures.append(dict(values))


def test_watching_changes_no_bit_of_the_model(given: tuple[Games, Games]) -> None:
    (x, y), later = given
    watched, history = fit_in_steps(boosting(max_iter=47), (x, y), later, Listener())
    plain = boosting(max_iter=47).fit(x, y)
    np.testing.assert_array_equal(watched.predict_proba(later[0]), plain.predict_proba(later[0]))
    assert len(history.train) == len(history.validation) == 47 and not history.stopped
    assert watched[-1].get_params() == plain[-1].get_params()


def test_the_losses_are_those_of_the_model_with_so_many_trees(given: tuple[Games, Games]) -> None:
    (x, y), (x_later, y_later) = given
    _, history = fit_in_steps(boosting(max_iter=25), (x, y), (x_later, y_later), Listener())
    for trees in (1, 10, 11, 25):
        model = boosting(max_iter=trees).fit(x, y)
        assert history.train[trees - 1] == pytest.approx(log_loss(model.predict_proba(x)[:, 1], y))
        assert history.validation[trees - 1] == pytest.approx(log_loss(model.predict_proba(x_later)[:, 1], y_later))


def test_the_loss_is_told_while_it_learns(given: tuple[Games, Games]) -> None:
    heard = Heard()
    _, history = fit_in_steps(boosting(max_iter=35), *given, heard)
    looks = [10, 20, 30, 35]
    assert [line.split(":")[0] for line in heard.lines] == [f"{trees} of 35 trees" for trees in looks]
    assert [one["validation_log_loss"] for one in heard.figures] == [history.validation[trees - 1] for trees in looks]


def test_it_stops_where_later_games_gain_no_more_and_keeps_the_best_number_of_trees() -> None:
    noise, later = games(600, 3, strength=0.0), games(400, 4, strength=0.0)
    model, history = fit_in_steps(boosting(max_iter=400, learning_rate=0.3), noise, later, Listener(), patience=20)
    assert history.stopped and len(history.validation) < 400
    assert history.best == int(np.argmin(history.validation)) + 1
    assert len(history.validation) - history.best >= 20 > len(history.validation) - history.best - STEP
    best = boosting(max_iter=history.best, learning_rate=0.3).fit(*noise)
    np.testing.assert_array_equal(model.predict_proba(later[0]), best.predict_proba(later[0]))
    whole, unstopped = fit_in_steps(boosting(max_iter=60, learning_rate=0.3), noise, later, Listener())
    assert not unstopped.stopped and whole[-1].get_params()["max_iter"] == 60


def test_only_boosting_learns_in_steps() -> None:
    assert [name for name, make in LEARNERS.items() if learns_in_steps(make())] == ["boosting"]


def test_a_job_leaves_its_losses_and_the_same_job_leaves_the_same(tmp_path: Path) -> None:
    rows = training_frame()
    left = []
    for name in ("a", "b"):
        folder = job_folder(tmp_path / name, rows, "boosting")
        outcome = train.run(folder)
        left.append((outcome.digest, (folder / "model" / layout.HISTORY).read_bytes()))
        assert layout.HISTORY in outcome.files
    assert left[0] == left[1]
    history, metrics = json.loads(left[0][1]), json.loads((folder / "model" / layout.METRICS).read_text())
    assert (history["unit"], len(history["validation_log_loss"])) == ("tree", 150)
    assert history["validation_log_loss"][-1] == pytest.approx(metrics["validation_log_loss"])


def test_a_job_with_patience_is_fitted_again_with_the_best_number_of_trees(tmp_path: Path) -> None:
    rows = training_frame()
    eager = {"max_iter": 600, "learning_rate": 0.5, "patience": 10}
    folder = job_folder(tmp_path / "eager", rows, "boosting", parameters=eager)
    train.run(folder)
    history = json.loads((folder / "model" / layout.HISTORY).read_text())
    assert history["stopped"] and history["best"] < 600
    plain = job_folder(
        tmp_path / "plain", rows, "boosting", parameters={"max_iter": history["best"], "learning_rate": 0.5}
    )
    train.run(plain)
    assert (folder / "model" / layout.ONNX).read_bytes() == (plain / "model" / layout.ONNX).read_bytes()


def test_a_patience_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job", training_frame(), "boosting", parameters={"patience": -1})
    with pytest.raises(ModelError, match="patience is a number of trees, not -1"):
        train.run(folder)


def test_whoever_listens_in_this_process_hears_every_learner(tmp_path: Path) -> None:
    lines: list[str] = []
    with listening(Lines(lines.append)):
        train.run(job_folder(tmp_path / "job", training_frame(), "elo"))
    assert any(line.startswith("elo: log loss 0.") for line in lines)
    assert type(current()) is Listener
