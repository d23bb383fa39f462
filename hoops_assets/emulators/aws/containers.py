"""Containers as local processes: an image is a command, /opt/ml a temporary folder.

What belongs here: starting, watching and ending them. The folder is told to the program by SAGEMAKER_BASE_DIR (the
variable by which AWS's own training toolkit moves /opt/ml); everything else is as in the container.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PYTHON = ("python", "python3")
OUR_IMAGE = ("python", "-m", "hoops_assets.workloads.container")
"""Entry point of the one image of this platform."""

_PASSED_ON = ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


class Container:
    """One running process with its own group.

    Args:
        command: its first word may be "python", which is this interpreter.
        folder: stands for /opt/ml.
        environment: added to the little that is passed on from this process.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder.parent / f"{folder.name}.log"
        program = sys.executable if command[0] in PYTHON else command[0]
        given = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program, *command[1:]], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**given, **environment, "SAGEMAKER_BASE_DIR": str(folder), "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self) -> int | None:
        """Exit status, or None while it runs."""
        return self.process.poll()

    def end(self, grace: float) -> None:
        """SIGTERM to the group, and SIGKILL after `grace` seconds."""
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            if self.process.poll() is not None:
                return
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + patience
            while self.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)

    def printed(self) -> str:
        return self.log.read_text(errors="replace")
