"""What is the local training provider's own: processes, damage, and two who ask at once."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import JobState, artefact_folder, train
from hoops_assets.services.training.local import LocalTraining
from hoops_assets.store import atomic
from hoops_assets.workloads import train as workload
from hoops_assets_tests.workloads.frames import job
from hoops_assets_tests.workloads.kills import die_at


def process_of(service: LocalTraining, name: str) -> psutil.Process:
    return psutil.Process(json.loads((service.root / name / "process.json").read_text())["pid"])


def test_cancel_ends_the_child_and_the_job_can_be_asked_again(tmp_path: Path, frame: pd.DataFrame) -> None:
    service = LocalTraining(tmp_path, subprocess=True)
    asked = job(frame)
    name = service.submit(asked, frame)
    child = process_of(service, name)
    assert service.poll(name) is JobState.RUNNING
    assert service.submit(asked, frame) == name
    assert process_of(service, name) == child
    with pytest.raises(ServiceError, match="is running") as early:
        service.result(name)
    assert early.value.kind == "conflict"
    service.cancel(name)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert service.poll(name) is JobState.CANCELLED
    service.cancel(name)
    with pytest.raises(ServiceError, match="is cancelled") as cancelled:
        service.result(name)
    assert cancelled.value.kind == "conflict"
    assert LocalTraining(tmp_path).submit(asked, frame) == name
    assert service.poll(name) is JobState.SUCCEEDED


def test_a_job_over_its_time_limit_is_stopped_and_timed_out(tmp_path: Path, frame: pd.DataFrame) -> None:
    service = LocalTraining(tmp_path, subprocess=True)
    name = service.submit(job(frame, time_limit=0), frame)
    child = process_of(service, name)
    time.sleep(0.01)
    assert service.poll(name) is JobState.FAILED
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    with pytest.raises(ServiceError, match="time limit of 0 s") as late:
        service.result(name)
    assert late.value.kind == "timed_out"


def test_a_killed_child_is_a_failed_job_for_every_process(tmp_path: Path, frame: pd.DataFrame) -> None:
    service = LocalTraining(tmp_path, subprocess=True)
    name = service.submit(job(frame), frame)
    process_of(service, name).send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not service.poll(name).finished and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(ServiceError, match="its process ended without a result"):
        LocalTraining(tmp_path).result(name)


def test_a_job_of_a_living_process_is_not_cancelled_from_outside(
    tmp_path: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = LocalTraining(tmp_path)
    started, go_on = threading.Event(), threading.Event()
    run = workload.run

    def slow(folder: Path) -> object:
        started.set()
        go_on.wait(30)
        return run(folder)

    monkeypatch.setattr(workload, "run", slow)
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(service.submit(job(frame), frame))) for _ in range(2)]
    for thread in threads:
        thread.start()
    started.wait(30)
    try:
        assert service.poll(job(frame).name) is JobState.RUNNING
        with pytest.raises(ServiceError, match="runs inside process") as refused:
            service.cancel(job(frame).name)
        assert refused.value.kind == "conflict"
    finally:
        go_on.set()
        for thread in threads:
            thread.join(30)
    # The second waited for the first and found its model.
    assert names == [job(frame).name] * 2
    assert service.poll(names[0]) is JobState.SUCCEEDED


def test_a_damaged_model_is_trained_again(tmp_path: Path, frame: pd.DataFrame) -> None:
    service = LocalTraining(tmp_path)
    model = train(service, job(frame), frame)
    onnx = artefact_folder(model.artefacts) / "model.onnx"
    whole = onnx.read_bytes()
    onnx.write_bytes(whole[: len(whole) // 2])
    again = train(service, job(frame), frame)
    assert onnx.read_bytes() == whole
    assert again.digest == model.digest


def test_an_interruption_is_written_down_and_goes_on(
    tmp_path: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(workload, "run", interrupted)
    service = LocalTraining(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        service.submit(job(frame), frame)
    assert service.poll(job(frame).name) is JobState.FAILED


def submit_in(folder: Path) -> None:
    frame = pd.read_pickle(folder / "frame.pkl")
    LocalTraining(folder / "jobs").submit(job(frame), frame)


def test_a_kill_at_any_moment_leaves_a_job_that_can_be_asked_again(tmp_path: Path, frame: pd.DataFrame) -> None:
    points = [
        "file.after_rename",
        "file.after_rename:2",
        "file.before_rename:3",
        "training.after_fit",
        "folder.after_rename",
    ]
    folders = {point: tmp_path / point for point in points}
    for folder in folders.values():
        folder.mkdir()
        frame.to_pickle(folder / "frame.pkl")
    died = die_at("hoops_assets_tests.services.test_training_local:submit_in", folders)
    assert died == dict.fromkeys(points, signal.SIGKILL)
    digests = set()
    for folder in folders.values():
        model = train(LocalTraining(folder / "jobs"), job(frame), frame)
        digests.add(model.digest)
        left = {path.name for path in (folder / "jobs" / model.name).iterdir()}
        assert left <= {"input", "model", "output", "job.json", "process.json"}
    assert len(digests) == 1


def test_a_pid_given_to_another_process_is_not_the_job(tmp_path: Path, frame: pd.DataFrame) -> None:
    service = LocalTraining(tmp_path, subprocess=True)
    name = service.submit(job(frame), frame)
    service.cancel(name)
    (tmp_path / name / "cancelled").unlink()
    # As if this very process had got the number of the job's.
    stolen = {"pid": psutil.Process().pid, "born": 1.0, "child": True, "started_at": time.time()}
    atomic.write_json(tmp_path / name / "process.json", stolen)
    assert service.poll(name) is JobState.FAILED
    service.cancel(name)
