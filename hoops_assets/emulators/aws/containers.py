"""Containers as local processes: an image is a command, /opt/ml a temporary folder.

What belongs here: starting, watching and ending them. The folder is told to the program by SAGEMAKER_BASE_DIR (the
variable by which AWS's own training toolkit moves /opt/ml); everything else is as in the container.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

PYTHON = ("python", "python3")
OUR_IMAGE = ("python", "-m", "hoops_assets.workloads.container")
"""Entry point of the one image of this platform."""

_PASSED_ON = ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Process(Protocol):
    pid: int

    def poll(self) -> int | None: ...


class Container:
    """One running process with its own group."""

    def __init__(self, process: _Process, folder: Path, log: Path) -> None:
        self._process, self.folder, self._log = process, folder, log

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> int | None:
        """Exit status, or None while it runs."""
        return self._process.poll()

    def end(self, grace: float) -> None:
        """SIGTERM to the group, and SIGKILL after `grace` seconds."""
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            deadline, told = time.monotonic() + patience, False
            while self.ended() is None and time.monotonic() < deadline:
                # A process that has just been forked has no group of its own yet.
                told = told or self._signal(number)
                time.sleep(0.01)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def printed(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Containers:
    """Starts containers; this platform's own image by forking from a process that has imported it."""

    def __init__(self) -> None:
        self._nursery: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._told = threading.Condition()
        self._ids = itertools.count(1)
        self._pids: dict[int, int] = {}
        self._exits: dict[int, int] = {}

    def start(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Container:
        """Starts a command in a folder.

        Args:
            command: its first word may be "python", which is this interpreter.
            folder: stands for /opt/ml.
            environment: added to the little that is passed on from this process.
        """
        given = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        given |= {**environment, "SAGEMAKER_BASE_DIR": str(folder), **_THREADS}
        log = folder.parent / f"{folder.name}.log"
        if tuple(command[:3]) == OUR_IMAGE:
            return Container(self._fork(command[3:], folder, given, log), folder, log)
        program = sys.executable if command[0] in PYTHON else command[0]
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [program, *command[1:]], cwd=folder, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                env=given, start_new_session=True,
            )  # fmt: skip
        return Container(process, folder, log)

    def close(self) -> None:
        """Ends the nursery; its children must have been ended."""
        if self._nursery is not None and self._nursery.stdin is not None:
            self._nursery.stdin.close()
            self._nursery.wait(10)
            self._nursery = None

    def _fork(self, arguments: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> _Forked:
        with self._lock:
            nursery = self._nursery
            if nursery is None or nursery.poll() is not None:
                nursery = self._nursery = subprocess.Popen(
                    [sys.executable, "-m", "hoops_assets.emulators.aws.nursery"], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, env={**os.environ, **_THREADS}, start_new_session=True,
                )  # fmt: skip
                threading.Thread(target=self._listen, args=(nursery,), daemon=True).start()
            number = next(self._ids)
            told = {
                "id": number, "arguments": list(arguments), "folder": str(folder), "environment": environment,
                "log": str(log),
            }  # fmt: skip
            assert nursery.stdin is not None
            nursery.stdin.write(json.dumps(told).encode() + b"\n")
            nursery.stdin.flush()
        with self._told:
            self._told.wait_for(lambda: number in self._pids or nursery.poll() is not None, timeout=120)
        if number not in self._pids:
            raise RuntimeError("the process that starts containers ended; its message stands above")
        return _Forked(self._pids[number], self._exits)

    def _listen(self, nursery: subprocess.Popen[bytes]) -> None:
        assert nursery.stdout is not None
        for line in nursery.stdout:
            told: dict[str, Any] = json.loads(line)
            with self._told:
                if "id" in told:
                    self._pids[told["id"]] = told["pid"]
                    self._exits.pop(told["pid"], None)  # the number of an earlier one
                elif "exit" in told:
                    self._exits[told["pid"]] = told["exit"]
                self._told.notify_all()
        with self._told:
            self._told.notify_all()


class _Forked:
    def __init__(self, pid: int, exits: Mapping[int, int]) -> None:
        self.pid, self._exits = pid, exits
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._exits.get(self.pid)
        return self._status
