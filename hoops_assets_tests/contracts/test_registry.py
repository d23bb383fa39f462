"""What every registry keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.registry.contract import Registry, search
from hoops_assets.services.training.contract import TrainedModel, artefact_folder
from hoops_assets.workloads import export
from hoops_assets.workloads.spec import FileDigest, model_digest
from hoops_assets_tests.contracts.providers import Provider
from hoops_assets_tests.workloads.frames import CODE

Trained = dict[str, TrainedModel]


@pytest.fixture
def registry(provider: Provider, tmp_path: Path) -> Registry:
    return provider.registry(tmp_path / "registry")


def copy_of(trained: TrainedModel, folder: Path, files: dict[str, bytes]) -> TrainedModel:
    """The same job as if it had written other files, digests and all."""
    folder.mkdir(parents=True)
    for path in artefact_folder(trained.artefacts).iterdir():
        (folder / path.name).write_bytes(files.get(path.name, path.read_bytes()))
    outcome = trained.outcome.model_copy(
        update={
            "digest": model_digest((folder / "model.onnx").read_bytes(), trained.job.spec),
            "files": {name: FileDigest.of(folder / name) for name in trained.outcome.files},
        }
    )
    return trained.model_copy(update={"artefacts": folder.as_uri(), "outcome": outcome})


def test_a_version_tells_where_it_comes_from(registry: Registry, trained: Trained) -> None:
    model = trained["logistic"]
    before = datetime.now(UTC)
    version = registry.register(model)
    assert (version.league, version.version, version.name) == ("sim", 1, "sim/1")
    assert (version.learner, version.parameters, version.features) == ("logistic", {}, model.job.features)
    assert version.metrics == model.metrics
    assert (version.commit, version.dirty, version.lock_digest) == (CODE.commit, False, CODE.lock_digest)
    assert before <= version.created_at <= datetime.now(UTC)
    assert version.created_at.utcoffset() == before.utcoffset()
    assert version.trained_through == model.job.training_set.trained_through
    assert (version.training_job, version.digest, version.status) == (model.name, model.digest, "registered")
    assert 0 < version.parity <= 1e-5
    assert registry.get("sim", 1) == version
    assert registry.list("sim") == [version]


def test_a_manifest_names_every_game_and_the_rows_exactly(
    registry: Registry, trained: Trained, frame: pd.DataFrame
) -> None:
    registry.register(trained["elo"])
    manifest = registry.manifest("sim", 1)
    for split, rows in frame.groupby("split"):
        assert manifest.games[split] == tuple(rows["game_id"])  # pyright: ignore[reportArgumentType]
    assert manifest.training_set == trained["elo"].job.training_set
    assert (manifest.training_set.table, manifest.training_set.table_version) == ("sim/training_set", 7)
    assert manifest.training_set.filter == "season <= 2016"
    assert manifest.code == CODE
    assert {"python", "scikit-learn", "onnx"} <= set(manifest.packages)


def test_the_artefacts_are_the_models_own_and_answer(registry: Registry, trained: Trained, frame: pd.DataFrame) -> None:
    registry.register(trained["logistic"])
    folder = registry.artefacts("sim", 1)
    for name in ("model.skops", "model.onnx", "held_out.parquet"):
        assert (folder / name).read_bytes() == (artefact_folder(trained["logistic"].artefacts) / name).read_bytes()
    values = export.model_input(frame, trained["logistic"].job.features)
    answered = export.OnnxModel((folder / "model.onnx").read_bytes()).home_win_probability(values)
    asked = export.home_win_probability(export.from_skops((folder / "model.skops").read_bytes()), values)
    np.testing.assert_allclose(answered, asked, atol=1e-5)


def test_the_same_model_is_one_version_and_another_is_the_next(registry: Registry, trained: Trained) -> None:
    first = registry.register(trained["elo"])
    second = registry.register(trained["logistic"])
    assert registry.register(trained["elo"]) == first
    assert [version.version for version in registry.list("sim")] == [1, 2]
    assert registry.get("sim", 2) == second


def test_leagues_count_apart(registry: Registry, trained: Trained) -> None:
    registry.register(trained["elo"])
    other = trained["elo"].model_copy(update={"job": trained["elo"].job.model_copy(update={"league": "nba"})})
    assert registry.register(other).name == "nba/1"
    assert [len(registry.list(league)) for league in ("sim", "nba", "wnba")] == [1, 1, 0]


@pytest.mark.parametrize("call", ["get", "manifest", "artefacts"])
def test_an_unknown_version_is_not_found_and_the_known_ones_are_named(
    registry: Registry, trained: Trained, call: str
) -> None:
    with pytest.raises(ServiceError, match="it has none yet") as missing:
        getattr(registry, call)("sim", 1)
    assert missing.value.kind == "not_found"
    registry.register(trained["elo"])
    with pytest.raises(ServiceError, match="league sim has no model version 9: it has 1 to 1"):
        getattr(registry, call)("sim", 9)
    with pytest.raises(ServiceError, match="no model version 9"):
        registry.name_challenger("sim", 9, {})


def test_an_onnx_that_answers_otherwise_is_refused(registry: Registry, trained: Trained, tmp_path: Path) -> None:
    model = onnx.load(str(artefact_folder(trained["logistic"].artefacts) / "model.onnx"))
    for weights in model.graph.initializer:
        weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 1.001, weights.name))
    tampered = copy_of(trained["logistic"], tmp_path / "tampered", {"model.onnx": model.SerializeToString()})
    with pytest.raises(ServiceError, match=r"model\.onnx and model\.skops disagree: .* \(allowed 1e-05\)") as refused:
        registry.register(tampered)
    assert refused.value.kind == "invalid"
    assert registry.list("sim") == []


def test_files_of_another_model_are_refused_though_they_agree(
    registry: Registry, trained: Trained, tmp_path: Path
) -> None:
    other = artefact_folder(trained["elo"].artefacts)
    files = {name: (other / name).read_bytes() for name in ("model.skops", "model.onnx")}
    with pytest.raises(ServiceError, match="the training job's record disagree"):
        registry.register(copy_of(trained["logistic"], tmp_path / "swapped", files))
    assert registry.list("sim") == []


def test_files_that_changed_since_the_job_are_refused_by_name(
    registry: Registry, trained: Trained, tmp_path: Path
) -> None:
    copied = copy_of(trained["elo"], tmp_path / "copied", {})
    path = tmp_path / "copied" / "held_out.parquet"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ServiceError, match=r"held_out\.parquet is not what training job .* wrote") as refused:
        registry.register(copied)
    assert refused.value.kind == "invalid"
    path.unlink()
    with pytest.raises(ServiceError, match=r"held_out\.parquet is missing"):
        registry.register(copied)


def test_the_challenger_is_the_last_one_named_whatever_came_later(registry: Registry, trained: Trained) -> None:
    assert registry.challenger("sim") is None
    first, second = registry.register(trained["elo"]), registry.register(trained["logistic"])
    registry.name_challenger("sim", second.version, {"validation_log_loss": 0.61})
    event = registry.name_challenger("sim", first.version, {"validation_log_loss": 0.6})
    registry.register(trained["base_rate"])
    challenger = registry.challenger("sim")
    assert challenger is not None
    assert (challenger.version, challenger.status) == (1, "challenger")
    assert [version.status for version in registry.list("sim")] == ["challenger", "registered", "registered"]
    assert registry.name_challenger("sim", 1, {"validation_log_loss": 0.6}) == event
    assert [event.version for event in registry.challengers("sim")] == [2, 1]
    registry.name_challenger("sim", 1, {"validation_log_loss": 0.59})
    assert [event.evidence["validation_log_loss"] for event in registry.challengers("sim")] == [0.61, 0.6, 0.59]
    assert "@" in event.named_by


def test_versions_are_found_by_metric_best_first(registry: Registry, trained: Trained) -> None:
    for learner in ("elo", "logistic", "base_rate"):
        registry.register(trained[learner])
    versions = registry.list("sim")
    losses = [version.metrics["test_log_loss"] for version in search(versions, "test_log_loss")]
    assert losses == sorted(losses)
    assert len(losses) == 3
    hits = [version.metrics["test_accuracy"] for version in search(versions, "test_accuracy")]
    assert hits == sorted(hits, reverse=True)
    assert [version.learner for version in search(versions, "test_brier", learner="elo")] == ["elo"]
    assert len(search(versions, "test_log_loss", at_most=losses[1])) == 2
    assert len(search(versions, "test_accuracy", at_least=hits[0])) == hits.count(hits[0])
    assert search(versions, "test_profit") == []
