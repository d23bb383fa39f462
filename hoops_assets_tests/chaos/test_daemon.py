"""The daemon and the webserver die while runs wait, start and run: every run that was asked for happens, once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from hoops_assets.defs.ingest.sensors import GAME_DAYS_TAG, RANGE_END, RANGE_START
from hoops_assets.launch.instance import LOCATION, prepare_home
from hoops_assets.launch.servers import end_tree, free_port
from hoops_assets.store.schemas import TABLES
from hoops_assets_tests.chaos.homes import Homes
from hoops_assets_tests.chaos.tally import Tally
from hoops_assets_tests.conftest import REPOSITORY
from hoops_assets_tests.launch import small_league as small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ASKED = "chaos/asked"
"""Tag of a run: what it was asked for as."""

LAUNCH = """mutation ($asked: ExecutionParams!) { launchRun(executionParams: $asked) {
    __typename ... on PythonError { message } } }"""

PATIENCE = 600.0


class Servers:
    """Dagster's three processes over one home; each may be started and killed by itself."""

    def __init__(self, home: Path) -> None:
        self._folder = prepare_home(small.settings(home))
        content = yaml.safe_load((self._folder / "dagster.yaml").read_text())
        content["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
        # A run whose daemon died while starting it is ended after this time, by default 300 s, and tried again.
        content["run_monitoring"] |= {"start_timeout_seconds": 60, "poll_interval_seconds": 5}
        (self._folder / "dagster.yaml").write_text(yaml.safe_dump(content))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        told = {"HOOPS_HOME": str(home), "HOOPS_NOW": small.NOW, "DAGSTER_HOME": str(self._folder), "PYTHONPATH": path}
        self._environment = {**kept, **told, "HOOPS_MLFLOW_TRACKING_URI": ""}
        self._code, self._web = free_port(24_000), free_port(24_500)
        self._workspace = self._folder / "chaos.yaml"
        server = {"host": "127.0.0.1", "port": self._code, "location_name": LOCATION}
        self._workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        self.instance = small.instance(home)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """The daemon, the webserver, or the code server."""
        workspace = ["-w", str(self._workspace)]
        address = ["-h", "127.0.0.1", "-p"]
        command = {
            "code server": ["dagster", "api", "grpc", "-m", "hoops_assets.definitions", *address, str(self._code),
                            "--location-name", LOCATION],
            "daemon": ["dagster._daemon", "run", *workspace],
            "webserver": ["dagster_webserver", *workspace, *address, str(self._web)],
        }[name]  # fmt: skip
        with (self._folder / f"{name}.log").open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=sink, stderr=sink, stdin=subprocess.DEVNULL,
                env=self._environment, cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        if name == "webserver":
            wait(lambda: self._answers(process), process)
        return process

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        address = f"http://127.0.0.1:{self._web}/graphql"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def launch(self, asked: str) -> None:
        """Asks the webserver for a run over the days of the second season."""
        tags = {ASKED: asked, GAME_DAYS_TAG: small.NAME, RANGE_START: SPAN[0], RANGE_END: SPAN[1]}
        selector = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "jobName": JOB}
        self.ask(
            LAUNCH,
            asked={
                "selector": {**selector, "assetSelection": [{"path": [small.NAME, "fixtures"]}]},
                "runConfigData": "{}",
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )

    def runs(self, asked: str) -> list[dg.DagsterRun]:
        return self.instance.get_runs(dg.RunsFilter(tags={ASKED: asked}))

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
            entries = found["data"]["workspaceOrError"]["locationEntries"]
            return [entry["loadStatus"] for entry in entries] == ["LOADED"]
        return False


SPAN = ("2024-11-12", "2024-11-14")
JOB = f"{small.NAME}_game_days"


def wait(until: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.05)


@pytest.fixture
def servers(homes: Homes, tmp_path: Path) -> Iterator[Servers]:
    home = shutil.copytree(homes.after("second season"), tmp_path / "home")
    with _ended(Servers(home)) as servers:
        servers.start("code server")
        yield servers


@contextmanager
def _ended(servers: Servers) -> Iterator[Servers]:
    try:
        yield servers
    finally:
        for process in servers.processes:
            end_tree(process.pid)
            process.wait(20)


def test_runs_asked_for_while_daemon_and_webserver_die_happen_once(
    servers: Servers, homes: Homes, tally: Tally, tmp_path: Path
) -> None:
    delays = [0.0, 0.03, 0.1, 0.3]
    for number, delay in enumerate(delays):
        web = servers.start("webserver")
        asking = threading.Thread(target=_unanswered, args=(servers, f"asked {number}"))
        asking.start()
        time.sleep(delay)
        web.kill()
        web.wait()
        asking.join()
        tally.strike("webserver killed")
        assert len(servers.runs(f"asked {number}")) <= 1
    web = servers.start("webserver")
    for number in range(len(delays)):
        if not servers.runs(f"asked {number}"):
            servers.launch(f"asked {number}")
        (run,) = servers.runs(f"asked {number}")
        if run.status is dg.DagsterRunStatus.NOT_STARTED:  # as docs/operating.md says: ask for it again
            servers.instance.report_run_canceled(run)
            servers.launch(f"asked {number}")
    end_tree(web.pid)
    asked = [f"asked {number}" for number in range(len(delays))]

    def statuses() -> set[dg.DagsterRunStatus]:
        return {run.status for one in asked for run in servers.runs(one)}

    reached = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS)
    for status in (None, *reached):
        daemon = servers.start("daemon")
        wait(lambda status=status: _beats(servers) if status is None else status in statuses(), daemon)
        daemon.kill()
        daemon.wait()
        tally.strike("daemon killed")
    daemon = servers.start("daemon")
    for rest in (3, 2):
        wait(lambda rest=rest: _unfinished(servers, asked) < rest, daemon)
        daemon.kill()
        daemon.wait()
        tally.strike("daemon killed")
        daemon = servers.start("daemon")
    wait(lambda: _unfinished(servers, asked) == 0, daemon)
    for one in asked:
        ended = [run.status for run in servers.runs(one)]
        assert ended.count(dg.DagsterRunStatus.SUCCESS) == 1, ended
        assert all(run.is_finished for run in servers.runs(one))
    tables = small.tables(tmp_path / "home")
    fixtures = tables["fixtures"]
    asked_for = fixtures[fixtures["day"] <= small.LAST]  # the daemon's own sensors take in the days ahead as well
    assert asked_for.equals(homes.state("second season").tables["fixtures"])
    for name, frame in tables.items():
        assert not frame.duplicated(list(TABLES[name].key)).any(), name
    tally.survived()


def _unanswered(servers: Servers, asked: str) -> None:
    with suppress(OSError, ValueError):
        servers.launch(asked)


def _beats(servers: Servers) -> bool:
    return bool(servers.instance.get_daemon_heartbeats())


def _unfinished(servers: Servers, asked: list[str]) -> int:
    """How much of what was asked for has not happened."""
    return sum(not any(run.is_success for run in servers.runs(one)) for one in asked)
