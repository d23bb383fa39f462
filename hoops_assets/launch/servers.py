"""The servers of `hoops up`: Dagster's webserver and daemon and the prediction server, started and ended together.

What belongs here: starting processes of our own, waiting until they answer, and ending every one of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

from hoops_assets.errors import HoopsError
from hoops_assets.launch.instance import LOCATION, prepare_home
from hoops_assets.settings import Settings
from hoops_assets.workloads.serve.client import RunningServer, running_server

READY_SECONDS = 180.0
PATIENCE = 10.0
"""Seconds between asking a process to end and ending it."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the servers. Those of the terminal reach only this process: the servers are a session of their own."""

LANES_PAGE = "/asset-groups"
"""Where a newcomer sees something; the UI's own first page shows only scheduled runs."""

_PREDICTIONS = (sys.executable, "-m", "hoops_assets.workloads.serve", "--host", "127.0.0.1", "--port")

_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } }
} } } }"""


@dataclass(frozen=True)
class _Started:
    """A server of ours.

    Attributes:
        name: for people.
        page: what they open.
        ready: whether it answers; raises HoopsError if it never will.
    """

    name: str
    process: subprocess.Popen[bytes]
    page: str
    log: Path
    ready: Callable[[], bool]


def serve(settings: Settings, port: int, tell: Callable[[str], None], predictions: int = 8000) -> None:
    """Runs webserver, daemon and prediction server until Ctrl-C, SIGTERM or the terminal's end, then ends them all.

    Args:
        port: of the Dagster UI, wanted; the next free one is taken if it is not free.
        predictions: of the prediction server, likewise; one that runs already stays as it is.

    Raises:
        HoopsError: a server did not come up, or ended by itself; the message names its log.
    """
    home = prepare_home(settings)
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    # Whoever started us with nohup wants us to outlive the terminal.
    outlive = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    heeded = [number for number in ENDING if not (outlive and number == signal.SIGHUP)]
    previous = {number: signal.signal(number, end) for number in heeded}
    started: list[_Started] = []
    try:
        port = free_port(port)
        started.append(_start(home, port))
        running = running_server(settings.home)
        if running is None:
            other = free_port(predictions)
            started.append(_start_predictions(home, other if other != port else free_port(port + 1)))
        for one in started:
            _wait(one, lambda: ended)
        if not ended:
            for one in started:
                tell(f"[bold green]{one.name}:[/] {one.page}   (log: {one.log})")
            if running is not None:
                tell(f"[bold green]prediction server:[/] {running.address}   (ran before, and runs on)")
            tell("Ctrl-C ends what was started")
        while not ended:
            for one in started:
                if one.process.poll() is not None:
                    raise HoopsError(f"the {one.name} ended by itself; the reason stands at the end of {one.log}")
            time.sleep(0.3)
        tell("ending the servers")
    finally:
        for one in reversed(started):
            end_tree(one.process.pid)
            one.process.poll()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def prediction_server(home: Path) -> Iterator[RunningServer]:
    """A prediction server of a home on a free port of the loopback, with default settings, until the end of the block.

    Raises:
        HoopsError: it did not come up; the message names its log.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home / "predictions.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOOPS_")}
    process = _child([*_PREDICTIONS, "0"], home, log, {**kept, "HOOPS_HOME": str(home)})
    try:
        one = _Started("prediction server", process, "", log, lambda: _found(home) is not None)
        _wait(one, lambda: False, every=0.05)
        found = _found(home)
        assert found is not None
        yield found
    finally:
        end_tree(process.pid)
        process.wait(PATIENCE)


def _found(home: Path) -> RunningServer | None:
    server = running_server(home)
    return server if server is not None and _answers(f"{server.address}/healthz") else None


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that is free on the loopback."""
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise HoopsError(f"no free port from {wanted} to {wanted + 99}; name another with --port")


def end_tree(pid: int, patience: float = PATIENCE) -> None:
    """Asks a process, all its descendants and all of its session to end, and after `patience` seconds ends the rest.

    Args:
        pid: of a process that we started; its session counts if it leads one.
    """
    processes = _family(pid)
    for process in processes:
        _signal(process, signal.SIGTERM)
    alive = _remaining(processes, patience)
    # What was being started while we looked may have lost its parent by now, but not its session.
    alive = list({*alive, *_family(pid), *(child for process in alive for child in _children(process))})
    for process in alive:
        _signal(process, signal.SIGKILL)
    _remaining(alive, patience)


def _remaining(processes: list[psutil.Process], patience: float) -> list[psutil.Process]:
    """Those that live on after `patience` seconds; a zombie has ended, whether or not its parent ever asks."""
    deadline = time.monotonic() + patience
    while (alive := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _family(pid: int) -> list[psutil.Process]:
    found = {process for process in psutil.process_iter() if _session(process.pid) == pid}
    try:
        root = psutil.Process(pid)
        found |= {root, *_children(root)}
    except psutil.NoSuchProcess:
        pass
    return [process for process in found if process.pid != os.getpid()]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _start(home: Path, port: int) -> _Started:
    command = [
        sys.executable, "-m", "dagster", "dev", "-w", str(home / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    log, address = home / "servers.log", f"http://127.0.0.1:{port}"
    process = _child(command, home, log, _environment(home))
    return _Started("Dagster UI", process, f"{address}{LANES_PAGE}", log, lambda: _loaded(address, log))


def _start_predictions(home: Path, port: int) -> _Started:
    log, address = home / "predictions.log", f"http://127.0.0.1:{port}"
    process = _child([*_PREDICTIONS, str(port)], home, log, _environment(home))
    return _Started("prediction server", process, address, log, lambda: _answers(f"{address}/healthz"))


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "DAGSTER_HOME": str(home), "HOOPS_HOME": str(home.parent)}


def _child(command: list[str], folder: Path, log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as sink:
        return subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
            cwd=folder,
        )  # fmt: skip


def _wait(one: _Started, ended: Callable[[], bool], every: float = 0.5) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ended():
        if one.process.poll() is not None:
            raise HoopsError(f"the {one.name} did not start; the reason stands at the end of {one.log}")
        if time.monotonic() > deadline:
            raise HoopsError(f"the {one.name} did not answer within {READY_SECONDS:.0f} s; look at {one.log}")
        if one.ready():
            return
        time.sleep(every)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def _loaded(address: str, log: Path) -> bool:
    """Whether the code location is loaded. Raises HoopsError if it cannot be."""
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps({"query": _LOCATIONS}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    except (OSError, ValueError, KeyError):
        return False
    ours = [entry for entry in entries if entry["name"] == LOCATION and entry["loadStatus"] == "LOADED"]
    for entry in ours:
        problem = entry["locationOrLoadError"]
        if problem["__typename"] == "PythonError":
            raise HoopsError(f"the code location does not load: {problem['message'].strip()}; more stands in {log}")
    return bool(ours)
