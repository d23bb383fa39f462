"""The servers of `hoops up`: the Dagster webserver and daemon, started together and ended together.

What belongs here: starting processes of our own, waiting until they answer, and ending every one of them.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psutil

from hoops_assets.errors import HoopsError
from hoops_assets.launch.instance import LOCATION, prepare_home
from hoops_assets.settings import Settings

READY_SECONDS = 180.0
PATIENCE = 10.0
"""Seconds between asking a process to end and ending it."""


def serve(settings: Settings, port: int, tell: Callable[[str], None]) -> None:
    """Runs webserver and daemon until Ctrl-C or SIGTERM, then ends all they started.

    Args:
        port: wanted; the next free one is taken if it is not free.

    Raises:
        HoopsError: the servers did not come up, or ended by themselves; the message names the log.
    """
    home = prepare_home(settings)
    port = free_port(port)
    log = home / "servers.log"
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    process = _start(home, port, log)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(process, address, log, lambda: ended)
        if not ended:
            tell(f"\n[bold green]Dagster UI:[/] {address}   (Ctrl-C ends it; log: {log})")
        while not ended:
            if process.poll() is not None:
                raise HoopsError(f"the servers ended by themselves; the reason stands at the end of {log}")
            time.sleep(0.3)
        tell("ending the servers")
    finally:
        end_tree(process.pid)
        for number, handler in previous.items():
            signal.signal(number, handler)


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
    """Asks a process and all its descendants to end, and after `patience` seconds ends those that remain."""
    try:
        root = psutil.Process(pid)
        processes = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=patience)
    # A process that was being started while we looked is a child of one that we know.
    for process in alive:
        alive = [*alive, *_children(process)]
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=patience)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass


def _start(home: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "dagster", "dev", "-w", str(home / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    import os

    environment = {**os.environ, "DAGSTER_HOME": str(home), "HOOPS_HOME": str(home.parent)}
    with log.open("wb") as sink:
        return subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
            cwd=home,
        )  # fmt: skip


def _wait(process: subprocess.Popen[bytes], address: str, log: Path, ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ended():
        if process.poll() is not None:
            raise HoopsError(f"the servers did not start; the reason stands at the end of {log}")
        if time.monotonic() > deadline:
            raise HoopsError(f"the servers did not answer within {READY_SECONDS:.0f} s; look at {log}")
        if _loaded(address):
            return
        time.sleep(0.5)


def _loaded(address: str) -> bool:
    query = {
        "query": "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError { __typename } } } } }"
    }
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps(query).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    except (OSError, ValueError, KeyError):
        return False
    return any(entry["name"] == LOCATION and entry["loadStatus"] == "LOADED" for entry in entries)
