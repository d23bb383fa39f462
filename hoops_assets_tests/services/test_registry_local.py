"""What is the local registry's own: files, damage, kills, two at once, and hundreds of versions."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.training.contract import TrainedModel
from hoops_assets.workloads import export
from hoops_assets_tests.workloads.kills import die_at

Trained = dict[str, TrainedModel]


@pytest.fixture
def local(tmp_path: Path) -> LocalRegistry:
    return LocalRegistry(tmp_path / "registry")


@pytest.mark.parametrize(
    ("name", "content", "call"),
    [
        ("model.onnx", b"half", "artefacts"),
        ("model.skops", None, "artefacts"),
        ("manifest.json", b"{}", "manifest"),
        ("version.json", b'{"league": ', "get"),
        ("version.json", None, "list"),
        ("version.json", b"{}", "list"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(
    local: LocalRegistry, trained: Trained, name: str, content: bytes | None, call: str
) -> None:
    local.register(trained["elo"])
    path = local.root / "sim" / "000001" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ServiceError, match=rf"000001/{name} is damaged: .* rename its folder to 000001\.damaged"
    ) as damaged:
        getattr(local, call)("sim", *([] if call == "list" else [1]))
    assert damaged.value.kind == "failed"


def test_following_the_advice_on_damage_works_and_gives_no_number_twice(local: LocalRegistry, trained: Trained) -> None:
    local.register(trained["elo"])
    folder = local.root / "sim" / "000001"
    (folder / "version.json").write_text("{")
    folder.rename(folder.with_name("000001.damaged"))
    assert local.list("sim") == []
    assert local.register(trained["elo"]).version == 2


def test_a_record_put_in_another_versions_place_is_found_out(local: LocalRegistry, trained: Trained) -> None:
    local.register(trained["elo"])
    shutil.copytree(local.root / "sim" / "000001", local.root / "sim" / "000004")
    with pytest.raises(ServiceError, match=r"000004/version\.json is damaged: it describes sim/1"):
        local.get("sim", 4)


def test_damaged_challenger_events_are_named(local: LocalRegistry, trained: Trained) -> None:
    local.register(trained["elo"])
    local.name_challenger("sim", 1, {})
    (local.root / "sim" / "challengers.json").write_text("[{}]")
    with pytest.raises(ServiceError, match=r"challengers\.json is damaged"):
        local.challenger("sim")


# `register` imports it when it is first called; imported here, forked children have it already.
assert export.PARITY == 1e-5


def register_in(folder: Path) -> None:
    for trained in pickle.loads((folder / "trained.pkl").read_bytes()):
        LocalRegistry(folder / "registry").register(trained)


@pytest.mark.slow
def test_a_kill_leaves_whole_versions_only_and_the_next_registration_goes_on(tmp_path: Path, trained: Trained) -> None:
    versions = {
        "file.before_rename": 0,
        "registry.before_register": 0,
        "folder.before_rename": 0,
        "folder.after_rename": 1,
        "registry.after_register": 1,
        "registry.before_register:2": 1,
        "folder.after_rename:2": 2,
    }
    folders = {point: tmp_path / point for point in versions}
    for folder in folders.values():
        folder.mkdir()
        (folder / "trained.pkl").write_bytes(pickle.dumps([trained["elo"], trained["logistic"]]))
    died = die_at("hoops_assets_tests.services.test_registry_local:register_in", folders)
    assert died == dict.fromkeys(versions, signal.SIGKILL)
    for point, folder in folders.items():
        registry = LocalRegistry(folder / "registry")
        assert len(registry.list("sim")) == versions[point], point
        register_in(folder)
        assert [(v.version, v.learner) for v in registry.list("sim")] == [(1, "elo"), (2, "logistic")], point
        for number in (1, 2):
            registry.artefacts("sim", number)
            registry.manifest("sim", number)


def test_what_a_kill_left_half_built_is_swept_away_later(local: LocalRegistry, trained: Trained) -> None:
    old, young = local.root / "sim" / ".building-old", local.root / "sim" / ".building-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    local.register(trained["elo"])
    assert (old.exists(), young.exists()) == (False, True)


def register_when_told(root: Path, trained: TrainedModel, barrier: multiprocessing.Barrier) -> None:  # pyright: ignore
    barrier.wait(60)
    LocalRegistry(root).register(trained)


def test_processes_registering_at_once_get_numbers_of_their_own_and_one_for_the_same_model(
    local: LocalRegistry, trained: Trained
) -> None:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    models = [trained["elo"], trained["logistic"], trained["elo"]]
    barrier = server.Barrier(len(models))
    processes = [server.Process(target=register_when_told, args=(local.root, model, barrier)) for model in models]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    versions = local.list("sim")
    assert [version.version for version in versions] == [1, 2]
    assert {version.learner for version in versions} == {"elo", "logistic"}


def test_five_hundred_versions_with_ten_thousand_games_each_are_listed_quickly(
    local: LocalRegistry, trained: Trained
) -> None:
    first = local.register(trained["elo"])
    home = local.root / "sim"
    told = json.loads((home / "000001" / "version.json").read_text())
    manifest = json.loads((home / "000001" / "manifest.json").read_text())
    manifest["games"]["train"] = [f"2015-10-01.HOM.{n:05d}" for n in range(10_000)]
    content = json.dumps(manifest)
    for number in range(2, 501):
        folder = home / f"{number:06d}"
        folder.mkdir()
        (folder / "version.json").write_text(json.dumps({**told, "version": number, "digest": f"{number:064d}"}))
        (folder / "manifest.json").write_text(content)
    took = []
    for _ in range(3):
        started = time.process_time()
        versions = local.list("sim")
        took.append(time.process_time() - started)
    assert len(versions) == 500
    assert versions[0] == first
    assert min(took) < 0.2, took


def test_a_folder_moved_elsewhere_still_knows_its_files(local: LocalRegistry, trained: Trained, tmp_path: Path) -> None:
    local.register(trained["elo"])
    local.root.rename(tmp_path / "moved")
    moved = LocalRegistry(tmp_path / "moved")
    assert moved.get("sim", 1).uri == (tmp_path / "moved" / "sim" / "000001").as_uri()
    assert moved.artefacts("sim", 1).is_dir()
