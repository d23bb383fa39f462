"""The platform as processes: started as `hoops up` starts it, watched, killed in part, and ended.

What belongs here: what a soak does to the platform from outside, and what it reads off it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hoops_assets.launch.instance import LOCATION
from hoops_assets.launch.servers import end_tree
from hoops_assets_tests.conftest import REPOSITORY

ROLES = {
    "webserver": "dagster_webserver",
    "daemon": "dagster._daemon",
    "prediction server": "hoops_assets.workloads.serve",
    "code server": "code-server start",
}
"""What a process is, by a part of its command."""

RELOAD = f'mutation {{ reloadRepositoryLocation(repositoryLocationName: "{LOCATION}") {{ __typename }} }}'


@dataclass
class Platform:
    """Webserver, daemon, code server and prediction server of a home, and the address of the UI."""

    home: Path
    environment: dict[str, str]
    location: str
    process: subprocess.Popen[bytes] | None = None
    address: str = ""

    @property
    def log(self) -> Path:
        return self.home / "up.log"

    def start(self, patience: float = 180) -> None:
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hoops_assets_tests.soak.up", self.location], stdout=sink, stderr=subprocess.STDOUT,
                env=self.environment, cwd=self.home, start_new_session=True,
            )  # fmt: skip
        wait(lambda: self._told() is not None, patience, self.told)
        self.address = self._told() or ""

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(60)
            finally:
                end_tree(self.process.pid)
            self.process = None

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def restart_if_ended(self) -> bool:
        """What a service manager does; returns whether it was needed."""
        if not self.ended:
            return False
        assert self.process is not None
        end_tree(self.process.pid)
        self.start()
        return True

    def processes(self) -> dict[str, psutil.Process]:
        """The servers by what they are."""
        assert self.process is not None
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                command = " ".join(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            for role, part in ROLES.items():
                if part in command and role not in found:
                    found[role] = process
        return found

    def kill(self, role: str) -> None:
        self.processes()[role].kill()

    def memory(self) -> dict[str, float]:
        """Resident memory of every server in MiB, by what it is."""
        return {role: process.memory_info().rss / 2**20 for role, process in self.processes().items()}

    def reload(self) -> None:
        """Deployment, Reload: the code location reads calendar and clock anew."""
        told = self.ask(RELOAD)["reloadRepositoryLocation"]["__typename"]
        assert told == "WorkspaceLocationEntry", told

    def ask(self, query: str) -> dict[str, Any]:
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            content = json.load(answer)
        assert "errors" not in content, content
        return content["data"]

    def _told(self) -> str | None:
        assert self.process is not None
        text = self.log.read_text()
        assert self.process.poll() is None, text
        found = re.search(r"Dagster UI:\S* *(http://127\.0\.0\.1:\d+)", text)
        return found[1] if found else None

    def told(self) -> str:
        """The end of what `hoops up` has said."""
        return self.log.read_text()[-2000:]


@contextmanager
def platform(home: Path, location: str = "hoops_assets_tests.soak.location") -> Iterator[Platform]:
    """The platform of a home that is ready; ended afterwards, whatever happens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    made = Platform(home, {**kept, "HOOPS_HOME": str(home), "PYTHONPATH": path}, location)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def wait(until: Callable[[], bool], patience: float, why: Callable[[], str], every: float = 0.5) -> None:
    deadline = time.monotonic() + patience
    while not until():
        assert time.monotonic() < deadline, why()
        time.sleep(every)
