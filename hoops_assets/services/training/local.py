"""Training on this machine.

What belongs here: the local provider of the training contract. A job is a folder ROOT/NAME (see `workloads.spec`); its
state is read from what stands in the folder, so a kill at any moment leaves nothing that lies.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from hoops_assets.errors import HoopsError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import NOTHING, JobState, TrainedModel, TrainingJob, check_frame
from hoops_assets.store import atomic, processes
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads.spec import FileDigest, TrainingOutcome

_JOB = "job.json"
_PROCESS = "process.json"
_CANCELLED = "cancelled"
_LOG = "output/log.txt"
_TIMED_OUT = "stopped after its time limit"
_GRACE_SECONDS = 5.0


class LocalTraining:
    """Trains in this process, or with `subprocess` in a child process that `cancel` and the time limit can end.

    In this process `submit` returns when the job has finished, and the time limit is not enforced.
    """

    provider = "local"

    def __init__(self, root: Path, subprocess: bool = False) -> None:
        self.root = Path(root)
        self.subprocess = subprocess

    def submit(self, job: TrainingJob, frame: pd.DataFrame, environment: Mapping[str, str] = NOTHING) -> str:
        """See the contract."""
        table = check_frame(job, frame)
        folder = self.root / job.name
        # Whoever asks for the same job meanwhile waits here, and then finds it done or running.
        with atomic.locked(self.root / ".locks" / job.name):
            if folder.exists():
                state = self._state(folder)
                if state is JobState.RUNNING or (state is JobState.SUCCEEDED and not _damaged(folder / "model")):
                    return job.name
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            atomic.write_json(folder / _JOB, job.model_dump(mode="json"))
            atomic.write_json(folder / "input" / layout.SPEC, job.spec.model_dump(mode="json"))
            pq.write_table(table, folder / "input" / layout.TRAINING_SET)
            if self.subprocess:
                self._start(folder, environment)
            else:
                self._run_here(folder)
        return job.name

    def poll(self, name: str) -> JobState:
        """See the contract."""
        folder = self._folder(name)
        state = self._state(folder)
        process = _process(folder)
        if (
            state is JobState.RUNNING
            and process["child"]
            and time.time() - process["started_at"] > self._job(folder).time_limit
        ):
            _kill(process)
            atomic.write_text(folder / "output" / layout.FAILURE, f"{_TIMED_OUT} of {self._job(folder).time_limit} s\n")
            return self._state(folder)
        return state

    def result(self, name: str) -> TrainedModel:
        """See the contract."""
        folder = self._folder(name)
        state = self.poll(name)
        if state is JobState.FAILED:
            reason = _failure(folder)
            raise ServiceError(
                "timed_out" if reason.startswith(_TIMED_OUT) else "failed", f"training job {name} failed: {reason}"
            )
        if state is not JobState.SUCCEEDED:
            raise ServiceError("conflict", f"training job {name} is {state.value}; only a succeeded job has a model")
        model = folder / "model"
        outcome = TrainingOutcome.model_validate_json((model / layout.RESULT).read_bytes())
        return TrainedModel(
            name=name,
            job=self._job(folder),
            provider=self.provider,
            artefacts=model.absolute().as_uri(),
            metrics=json.loads((model / layout.METRICS).read_bytes()),
            outcome=outcome,
            seconds=outcome.seconds,
            billed_seconds=0.0,
        )

    def cancel(self, name: str) -> None:
        """See the contract. A job inside a living process is refused as `conflict`: end that run instead."""
        folder = self._folder(name)
        if self._state(folder).finished:
            return
        process = _process(folder)
        if not process["child"]:
            raise ServiceError("conflict", f"training job {name} runs inside process {process['pid']}; end that run")
        _kill(process)
        if not (folder / "model").exists():
            atomic.write_text(folder / _CANCELLED, datetime.now(UTC).isoformat() + "\n")

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        if not (folder / _JOB).is_file() or not (folder / _PROCESS).is_file():
            raise ServiceError("not_found", f"no training job {name} in {self.root}; submit it first")
        return folder

    def _job(self, folder: Path) -> TrainingJob:
        return TrainingJob.model_validate_json((folder / _JOB).read_bytes())

    def _state(self, folder: Path) -> JobState:
        if (folder / "model").exists():
            return JobState.SUCCEEDED
        if (folder / _CANCELLED).exists():
            return JobState.CANCELLED
        if (folder / "output" / layout.FAILURE).exists():
            return JobState.FAILED
        process = _process(folder)
        if process["pid"] is not None and _alive(process):
            return JobState.RUNNING
        # It may have finished between the look at its folder and the look at its process.
        return JobState.SUCCEEDED if (folder / "model").exists() else JobState.FAILED

    def _run_here(self, folder: Path) -> None:
        from hoops_assets.workloads import train

        _note_process(folder, os.getpid(), child=False)
        (folder / "output").mkdir(exist_ok=True)
        try:
            # A job's own output goes to its log, as a child's does; this process's belongs to whoever runs it.
            with (folder / _LOG).open("w") as log, contextlib.redirect_stdout(log):
                train.run(folder)
        except HoopsError as error:
            atomic.write_text(folder / "output" / layout.FAILURE, f"{error}\n")
        except BaseException as error:
            atomic.write_text(folder / "output" / layout.FAILURE, f"{type(error).__name__}: {error}\n")
            if not isinstance(error, Exception):
                raise

    def _start(self, folder: Path, environment: Mapping[str, str]) -> None:
        (folder / "output").mkdir()
        with (folder / _LOG).open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "hoops_assets.workloads.train", str(folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **environment},
            )  # fmt: skip
        _note_process(folder, child.pid, child=True)
        _children[child.pid] = child


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this process, so that a finished one is reaped when it is asked about."""


def _note_process(folder: Path, pid: int, *, child: bool) -> None:
    started_at = time.time()
    atomic.write_json(
        folder / _PROCESS, {"pid": pid, "born": processes.born(pid), "child": child, "started_at": started_at}
    )


def _process(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / _PROCESS).read_bytes())
    except FileNotFoundError:
        return {"pid": None, "born": None, "child": False, "started_at": 0.0}


def _alive(process: dict[str, Any]) -> bool:
    child = _children.get(process["pid"])
    if child is not None and child.poll() is not None:
        _children.pop(process["pid"], None)
    return process["born"] is not None and processes.born(process["pid"]) == process["born"]


def _kill(process: dict[str, Any]) -> None:
    """Ends a job's process and waits until it is gone."""
    for number, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _GRACE_SECONDS)):
        deadline = time.monotonic() + patience
        if _alive(process):
            try:
                os.killpg(process["pid"], number)
            except ProcessLookupError:
                return
        while _alive(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not _alive(process):
            return
    raise ServiceError("timed_out", f"process {process['pid']} does not end; it is still running")


def _failure(folder: Path) -> str:
    try:
        return (folder / "output" / layout.FAILURE).read_text().strip()
    except FileNotFoundError:
        pass
    try:
        told = (folder / _LOG).read_text(errors="replace").strip().splitlines()[-1:]
    except FileNotFoundError:
        told = []
    return "its process ended without a result (killed, or out of memory)" + "".join(
        f"; its last words: {line}" for line in told
    )


def _damaged(model: Path) -> bool:
    """Whether a finished job's files are no longer what it wrote."""
    try:
        outcome = TrainingOutcome.model_validate_json((model / layout.RESULT).read_bytes())
        return any(FileDigest.of(model / name) != digest for name, digest in outcome.files.items())
    except (OSError, ValueError):
        return True
