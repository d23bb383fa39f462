"""`hoops up` as a person starts and ends it, on a home small enough for a test."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from datetime import date, datetime
from pathlib import Path

import psutil
import yaml

from hoops_assets.definitions import build_lane
from hoops_assets.launch.servers import end_tree
from hoops_assets.settings import Settings
from hoops_assets.sources.leagues import EMBEDDED, get_league

NOW = "2024-04-20T17:00:00+00:00"
"""What the clock of the small home says. Atlantic has games on the days around it."""

LEAGUES = ("atlantic", "pacific")
STAGES = ("ingest", "features", "training", "deployment", "prediction", "monitoring", "quality")
READY_SECONDS = 280.0
HOOPS = Path(sys.executable).with_name("hoops")


def make_home(home: Path) -> Path:
    """A home with the embedded leagues cut down to a few weeks: a league in HOOPS_HOME wins over one of its name."""
    (home / "leagues").mkdir(parents=True)
    for name in LEAGUES:
        league = yaml.safe_load((EMBEDDED / f"{name}.yaml").read_text())
        league["first_season"] = 2024
        league["teams"] = dict(list(league["teams"].items())[:8])
        league["sources"]["games"].update(game_days=14, meetings=2, simulated_from=2023, direct_qualifiers=8)
        league["sources"]["posts"]["posts_per_game"] = 1
        if name == "pacific":  # its year begins early enough to have something to show on NOW
            league["sources"]["games"].update(regular_from="01-10", regular_to="06-20")
        (home / "leagues" / f"{name}.yaml").write_text(yaml.safe_dump(league, sort_keys=False, allow_unicode=True))
    return home


def small_environment(home: Path) -> dict[str, str]:
    """The environment of a process that works on the small home."""
    foreign = ("HOOPS_", "DAGSTER_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "HOOPS_HOME": str(home), "HOOPS_NOW": NOW, "HOOPS_MLFLOW_TRACKING_URI": ""}


def partitions(home: Path, league: str) -> list[date]:
    """The days of a league that have a partition, as the code location of the small home knows them."""
    settings = Settings(home=home, now=datetime.fromisoformat(NOW))
    return [date.fromisoformat(key) for key in build_lane(get_league(home, league), settings).days.get_partition_keys()]


class Up:
    """`hoops up` in a process of its own.

    Attributes:
        address: where the UI is, from what the command printed.
        seconds: from the start until the address was printed.
    """

    def __init__(self, home: Path, environment: dict[str, str], port: int) -> None:
        self.home, self.log = home, home.with_suffix(".up.log")
        started = time.monotonic()
        with self.log.open("wb") as sink:
            self._process = subprocess.Popen(
                [str(HOOPS), "up", "--port", str(port)], env=environment, cwd=home.parent, stdin=subprocess.DEVNULL,
                stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.address = self._wait(started + READY_SECONDS)
        self.seconds = time.monotonic() - started

    def _wait(self, deadline: float) -> str:
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"Dagster UI: (http://127\.0\.0\.1:\d+)/", self.said()):
                return found[1]
            time.sleep(0.3)
        self.kill()
        raise AssertionError(f"hoops up did not come up (exit status {self._process.returncode}):\n{self.said()}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def interrupt(self, patience: float) -> tuple[float, int | None]:
        """Ctrl-C. Returns the seconds until the command had ended, and its exit status, None if it still runs."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        return time.monotonic() - started, self._process.returncode

    def processes(self) -> list[psutil.Process]:
        """Every living process that has this home in its environment, whoever its parent is now."""
        return [one for one in psutil.process_iter() if _home_of(one) == str(self.home)]

    def kill(self) -> None:
        for process in self.processes():
            end_tree(process.pid, patience=3)


def _home_of(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get("HOOPS_HOME")
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
