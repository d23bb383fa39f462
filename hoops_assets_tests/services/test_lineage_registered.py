"""The questions about versions that were really trained and registered, not only about files that look like them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.judging.scoring import scores
from hoops_assets.services.lineage.best import ask_best
from hoops_assets.services.lineage.questions import Places, ask_code, ask_data
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.training.contract import TrainedModel
from hoops_assets_tests.workloads.frames import CODE


@pytest.fixture
def places(tmp_path: Path, trained: dict[str, TrainedModel]) -> Places:
    """Versions 1 to 3: elo, logistic, base_rate."""
    registry = LocalRegistry(tmp_path / "registry")
    for model in trained.values():
        registry.register(model)
    registry.name_challenger("sim", 2, {})
    return Places(tmp_path, str(tmp_path / "tables"), f"sqlite:///{tmp_path / 'record.db'}")


def test_the_code_is_that_of_the_job(places: Places) -> None:
    answer = ask_code(places, "sim/challenger")
    assert (answer.model, answer.commit, answer.dirty, answer.exact) == ("sim/2", CODE.commit, False, True)
    assert (answer.code_digest, answer.lock_digest) == (CODE.digest, CODE.lock_digest)
    assert "scikit-learn" in answer.packages


def test_the_games_are_those_of_the_training_set(places: Places, frame: pd.DataFrame) -> None:
    of = {split: rows["game_id"].iloc[0] for split, rows in frame.groupby("split")}
    answer = ask_data(places, "sim/1", " ".join(of.values()))
    assert (answer.answer, answer.games) == ("partly", 3)
    assert answer.splits == {split: (of[split],) for split in ("train", "validation", "test")}
    assert set(answer.trained_on) == {of["train"], of["validation"]}


def test_the_loss_is_that_of_the_training_job(places: Places, trained: dict[str, TrainedModel]) -> None:
    answer = ask_best(places, "sim")
    assert answer.games == 120
    for one in answer.ranking:
        assert one.loss == pytest.approx(trained[one.learner].metrics["test_log_loss"], abs=1e-9)
        held_out = pd.read_parquet(places.registry / "sim" / f"{one.version:06d}" / "held_out.parquet")
        assert one.loss == pytest.approx(
            scores(held_out["probability"], held_out["home_win"].astype(float))["log_loss"]
        )
    assert [one.loss for one in answer.ranking] == sorted(one.loss for one in answer.ranking)
    assert answer.ranking[0].verdict == "best" and answer.ranking[0].learner != "base_rate"


def test_registering_keeps_the_forecasts_ready(places: Places) -> None:
    assert (places.registry / "sim" / "forecasts.npz").exists()
    for path in (places.registry / "sim").glob("0*/held_out.parquet"):
        path.unlink()
    assert len(ask_best(places, "sim").ranking) == 3


def test_another_versions_damage_does_not_stop_a_registration(tmp_path: Path, trained: dict[str, TrainedModel]) -> None:
    registry = LocalRegistry(tmp_path)
    registry.register(trained["elo"])
    (tmp_path / "sim" / "forecasts.npz").unlink()
    (tmp_path / "sim" / "000001" / "held_out.parquet").write_bytes(b"half")
    assert registry.register(trained["logistic"]).version == 2
