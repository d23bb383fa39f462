"""The MLflow mirror: complete after a repair, never doubled, and never in the way."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.registry.mlflow_mirror import MlflowMirror
from hoops_assets.services.training.contract import TrainedModel
from hoops_assets_tests.workloads.kills import die_at

Trained = dict[str, TrainedModel]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without anything: making one takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def folder(tmp_path: Path, empty: Path, trained: Trained) -> Path:
    """A home with two registered versions and an empty mirror."""
    (tmp_path / "mlflow.db").write_bytes(empty.read_bytes())
    registry = LocalRegistry(tmp_path / "registry")
    registry.register(trained["logistic"])
    registry.register(trained["elo"])
    registry.name_challenger("sim", 1, {"why": "lowest loss"})
    return tmp_path


def mirror_of(folder: Path) -> MlflowMirror:
    return MlflowMirror(f"sqlite:///{folder / 'mlflow.db'}", folder / "mlflow")


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}", f"sqlite:///{folder / 'mlflow.db'}")


def mirror_in(folder: Path) -> None:
    mirror_of(folder).repair(LocalRegistry(folder / "registry"), "sim")


def assert_complete(folder: Path) -> None:
    client = client_of(folder)
    versions = client.search_model_versions("name = 'sim'")
    assert sorted(version.tags["hoops.version"] for version in versions) == ["1", "2"]
    experiment = client.get_experiment_by_name("sim")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_id for run in runs} == {version.run_id for version in versions}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_repair_adds_what_is_missing_and_nothing_twice(folder: Path, trained: Trained) -> None:
    registry = LocalRegistry(folder / "registry")
    first = mirror_of(folder).repair(registry, "sim")
    assert (first.added, first.present, first.problem) == ([1, 2], 0, None)
    again = mirror_of(folder).repair(registry, "sim")
    assert (again.added, again.present, again.problem) == ([], 2, None)
    assert_complete(folder)
    registry.register(trained["base_rate"])
    assert mirror_of(folder).repair(registry, "sim").added == [3]
    assert mirror_of(folder).repair(registry, "wnba").added == []


def test_the_mirror_shows_what_the_registry_knows(folder: Path) -> None:
    mirror_in(folder)
    client, registry = client_of(folder), LocalRegistry(folder / "registry")
    mirrored = client.get_model_version_by_alias("sim", "challenger")
    version = registry.get("sim", 1)
    assert mirrored.tags["hoops.version"] == "1"
    assert mirrored.tags["mlflow.source.git.commit"] == version.commit
    assert mirrored.tags["hoops.manifest_digest"] == version.manifest_digest
    assert mirrored.source == version.uri
    run = client.get_run(str(mirrored.run_id))
    assert run.data.metrics == pytest.approx(version.metrics)
    assert run.data.params["learner"] == "logistic"
    registry.name_challenger("sim", 2, {"why": "lower loss"})
    mirror_in(folder)
    assert client.get_model_version_by_alias("sim", "challenger").tags["hoops.version"] == "2"


@pytest.mark.filterwarnings("ignore::UserWarning")  # mlflow.pyfunc warns of its own type hints when imported
def test_the_mirrored_model_loads_in_mlflow_and_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror_in(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/sim@challenger")
    held_out = pd.read_parquet(folder / "registry" / "sim" / "000001" / "held_out.parquet")
    answer = model.predict(held_out[list(LocalRegistry(folder / "registry").get("sim", 1).features)])
    np.testing.assert_allclose(np.ravel(answer["home_win_probability"]), held_out["probability"], atol=1e-5)


def test_a_mirror_that_does_not_answer_is_reported_and_stops_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = LocalRegistry(folder / "registry")
    with caplog.at_level(logging.WARNING):
        report = MlflowMirror("http://127.0.0.1:9", folder / "mlflow").repair(registry, "sim")
    assert report.added == []
    assert report.problem is not None
    assert "127.0.0.1:9 lacks versions of league sim" in caplog.text
    assert mirror_of(folder).repair(registry, "sim").added == [1, 2]


@pytest.mark.slow
def test_a_killed_repair_is_completed_by_the_next(tmp_path: Path, empty: Path, trained: Trained) -> None:
    folders = {point: tmp_path / point for point in ("mirror.before_version", "mirror.after_version")}
    for folder in folders.values():
        registry = LocalRegistry(folder / "registry")
        registry.register(trained["logistic"])
        registry.register(trained["elo"])
        (folder / "mlflow.db").write_bytes(empty.read_bytes())
    died = die_at("hoops_assets_tests.services.test_mlflow_mirror:mirror_in", folders)
    assert died == dict.fromkeys(folders, signal.SIGKILL)
    for folder in folders.values():
        mirror_in(folder)
        assert_complete(folder)


@pytest.mark.slow
def test_a_tracking_server_gets_a_copy_of_the_files(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    where = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "copies"),
    ]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([*command, *where], stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        mirror = MlflowMirror(f"http://127.0.0.1:{port}", folder / "mlflow")
        report = mirror.repair(LocalRegistry(folder / "registry"), "sim")
        deadline = time.monotonic() + 90
        while report.problem and time.monotonic() < deadline:
            time.sleep(1)
            report = mirror.repair(LocalRegistry(folder / "registry"), "sim")
        assert report.problem is None, (folder / "server.log").read_text()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    assert_complete(folder)
    for number in (1, 2):
        registered = folder / "registry" / "sim" / f"{number:06d}" / "model.onnx"
        assert registered.read_bytes() in [path.read_bytes() for path in (folder / "copies").rglob("model.onnx")]
