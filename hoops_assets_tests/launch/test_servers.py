"""Starting, watching and ending processes of our own; and the location as Dagster's own commands load it."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hoops_assets.errors import HoopsError
from hoops_assets.launch import servers
from hoops_assets.launch.servers import end_tree, free_port, prediction_server, serve
from hoops_assets.settings import Settings
from hoops_assets_tests.conftest import REPOSITORY

SLEEP = "import time; time.sleep(120)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {code!r}]); print(child.pid, flush=True)"
)
BORN_LATE = f"""
import os, signal, subprocess, sys, time
def last_words(*_):
    print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}]).pid, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, last_words)
print(os.getpid(), flush=True)
time.sleep(120)
"""

Start = Callable[[str], "tuple[subprocess.Popen[str], int]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python code that prints a process id, as the leader of a session; returns it and that id."""
    started: list[int] = []

    def begin(code: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout
        started.extend((process.pid, told := int(process.stdout.readline())))
        return process, told

    yield begin
    for pid in started:
        if lives(pid):
            os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(*pids: int) -> bool:
    deadline = time.monotonic() + 5
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(lives, pids))


# -- ending -----------------------------------------------------------------------------------------------------------


def test_a_process_and_its_descendants_that_obey_end_at_once(start: Start) -> None:
    process, child = start(f"{CHILD.format(code=SLEEP)}\n{SLEEP}")
    began = time.monotonic()
    end_tree(process.pid, patience=30)
    assert gone(process.pid, child)
    assert time.monotonic() - began < 15


def test_processes_that_do_not_listen_are_ended_after_the_patience(start: Start) -> None:
    process, child = start(f"{DEAF}\n{CHILD.format(code=f'{DEAF}; {SLEEP}')}\n{SLEEP}")
    time.sleep(0.3)  # until the child is deaf too
    end_tree(process.pid, patience=0.5)
    assert gone(process.pid, child)


def test_a_child_that_outlived_its_parent_is_ended(start: Start) -> None:
    process, child = start(CHILD.format(code=SLEEP))
    process.wait(10)
    assert lives(child)
    end_tree(process.pid, patience=2)
    assert gone(child)


def test_a_child_that_is_born_while_its_parent_ends_is_ended(start: Start) -> None:
    process, _ = start(BORN_LATE)
    end_tree(process.pid, patience=2)
    assert process.stdout
    assert gone(process.pid, int(process.stdout.readline()))


def test_other_processes_are_left_alone(start: Start) -> None:
    one, child = start(f"{CHILD.format(code=SLEEP)}\n{SLEEP}")
    other, its_child = start(f"{CHILD.format(code=SLEEP)}\n{SLEEP}")
    end_tree(one.pid, patience=2)
    assert gone(one.pid, child)
    assert lives(other.pid)
    assert lives(its_child)
    end_tree(other.pid, patience=2)


def test_ending_what_has_ended_is_nothing(start: Start) -> None:
    process, _ = start("import os; print(os.getpid(), flush=True)")
    process.wait(10)
    end_tree(process.pid, patience=1)


# -- ports ------------------------------------------------------------------------------------------------------------


def test_the_wanted_port_is_taken_if_it_is_free_else_the_next() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        wanted = held.getsockname()[1]
        assert wanted < free_port(wanted) < wanted + 100
    assert free_port(wanted) == wanted


def test_without_a_free_port_the_message_names_the_option() -> None:
    with pytest.raises(HoopsError, match="--port"):
        free_port(65536)


# -- serving ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def stand_in(
    monkeypatch: pytest.MonkeyPatch, dagster: str, predictions: str = SLEEP, answers: bool = True
) -> list[int]:
    """Puts Python code in the servers' places; returns the list in which their process ids will stand."""
    pids: list[int] = []

    def begin(command: list[str], folder: Path, log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        code = dagster if "dagster" in command else predictions
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(servers, "_child", begin)
    monkeypatch.setattr(servers, "_answers", lambda address: answers)
    return pids


def test_servers_that_do_not_start_are_an_error_that_names_the_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "raise SystemExit(1)")
    with pytest.raises(HoopsError, match=r"did not start.*servers\.log"):
        serve(settings, 20_000, lambda text: None)


def test_servers_that_end_by_themselves_are_an_error_and_leave_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "child"
    stand_in(monkeypatch, f"{CHILD.format(code=SLEEP)}; open({str(told)!r}, 'w').write(str(child.pid))")
    monkeypatch.setattr(servers, "_loaded", lambda address, log: told.exists())
    with pytest.raises(HoopsError, match=r"servers\.log"):
        serve(settings, 20_000, lambda text: None)
    assert gone(int(told.read_text()))


@pytest.mark.parametrize("loaded", [False, True], ids=["while starting", "while serving"])
def test_a_prediction_server_that_ends_ends_all_and_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    pids = stand_in(monkeypatch, SLEEP, "import time; time.sleep(0.5)", answers=loaded)
    monkeypatch.setattr(servers, "_loaded", lambda address, log: True)
    with pytest.raises(HoopsError, match=r"the prediction server .*predictions\.log"):
        serve(settings, 20_000, lambda text: None)
    assert len(pids) == 2
    assert gone(*pids)


def test_both_servers_want_one_port_and_get_two(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, SLEEP)
    monkeypatch.setattr(servers, "_loaded", lambda address, log: True)
    timer = threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    said: list[str] = []
    serve(settings, 20_000, said.append, 20_000)
    timer.join()
    ports = [int(found[1]) for text in said if (found := re.search(r"http://127\.0\.0\.1:(\d+)", text))]
    assert len(set(ports)) == 2


def test_a_prediction_server_that_runs_already_is_named_and_left_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with prediction_server(settings.home) as running:
        pids = stand_in(monkeypatch, SLEEP)
        monkeypatch.setattr(servers, "_loaded", lambda address, log: True)
        timer = threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        said: list[str] = []
        serve(settings, 20_000, said.append)
        timer.join()
        assert len(pids) == 1
        assert any(running.address in text for text in said)
        assert lives(running.pid)
    assert gone(running.pid)


@pytest.fixture
def with_terminal() -> Iterator[None]:
    """SIGHUP is not ignored, even where the tests themselves were started with nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("with_terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("loaded", [False, True], ids=["while starting", "while serving"])
def test_a_signal_ends_the_servers_and_gives_the_handlers_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, loaded: bool
) -> None:
    pids = stand_in(monkeypatch, SLEEP)
    monkeypatch.setattr(servers, "_loaded", lambda address, log: loaded)
    before = [signal.getsignal(one) for one in servers.ENDING]
    timer = threading.Timer(0.8, os.kill, (os.getpid(), number))
    timer.start()
    said: list[str] = []
    serve(settings, 20_000, said.append)
    timer.join()
    assert gone(*pids)
    assert [signal.getsignal(one) for one in servers.ENDING] == before
    assert any("/asset-groups" in text for text in said) == loaded
    assert any("prediction server" in text for text in said) == loaded


@pytest.fixture
def answering() -> Iterator[Callable[[dict[str, Any]], str]]:
    """Starts a web server that gives one answer to all questions; returns its address."""
    running: list[http.server.ThreadingHTTPServer] = []

    def begin(answer: dict[str, Any]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        running.append(server := http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield begin
    for server in running:
        server.shutdown()
        server.server_close()


def location(status: str, **problem: str) -> dict[str, Any]:
    entry = {"name": "hoops_assets", "loadStatus": status, "locationOrLoadError": problem or None}
    return {"data": {"workspaceOrError": {"locationEntries": [entry]}}}


def test_the_servers_are_ready_when_the_location_is_loaded(answering: Callable[[dict[str, Any]], str]) -> None:
    log = Path("servers.log")
    assert servers._loaded(answering(location("LOADED", __typename="RepositoryLocation")), log)
    assert not servers._loaded(answering(location("LOADING")), log)
    assert not servers._loaded(f"http://127.0.0.1:{free_port(20_500)}", log)


def test_a_location_that_cannot_be_loaded_is_an_error_that_says_why(
    answering: Callable[[dict[str, Any]], str],
) -> None:
    address = answering(location("LOADED", __typename="PythonError", message="no module named x"))
    with pytest.raises(HoopsError, match=r"no module named x.*servers\.log"):
        servers._loaded(address, Path("servers.log"))


# -- Dagster's own commands, from a checkout ----------------------------------------------------------------------------


def checkout_environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
    (folder / "dagster").mkdir()
    return {**kept, "HOOPS_HOME": str(folder / "home"), "DAGSTER_HOME": str(folder / "dagster")}


def test_dagster_validates_the_workspace_of_a_checkout_without_any_state(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    told = subprocess.run(
        command, cwd=REPOSITORY, env=checkout_environment(tmp_path), capture_output=True, text=True, timeout=200
    )
    assert told.returncode == 0, told.stderr
    assert "All code locations passed validation" in told.stderr + told.stdout
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_dagster_dev_serves_the_workspace_of_a_checkout_without_any_state(tmp_path: Path) -> None:
    port = free_port(21_000)
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    log = tmp_path / "servers.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=checkout_environment(tmp_path), stdout=sink, stderr=sink,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 200
        while not servers._loaded(address, log):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        request = urllib.request.Request(
            f"{address}/graphql",
            b'{"query": "{ assetNodes { groupName } }"}',
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            groups = {node["groupName"] for node in json.load(answer)["data"]["assetNodes"]}
        assert {"atlantic_ingest", "pacific_monitoring"} <= groups
    finally:
        end_tree(process.pid)
    assert not lives(process.pid)
