"""The server as a process: what it loads, what it survives, and a change of version under load."""

from __future__ import annotations

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
from pathlib import Path
from typing import Any

import pytest

from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.bundle import MODEL, SERVER, bundle_folder, endpoint_folder, serving_root
from hoops_assets.workloads.serve.client import OPERATOR_KEY, running_server
from hoops_assets.workloads.serve.drain import TABLE
from hoops_assets.workloads.serve.keys import add_key, revoke
from hoops_assets_tests.workloads.serve.served import (
    FIRST,
    LEAGUE,
    Served,
    bundle,
    deploy,
    onnx,
    question,
    serving,
)  # fmt: skip

CONNECTIONS = 8


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    deploy(folder, {1: 100})
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Any:
    with serving(home) as running:
        yield running


def rows_of(home: Path) -> list[dict[str, Any]]:
    return Record(f"sqlite:///{home / 'record.db'}").rows(TABLE)


def test_the_process_loads_nothing_heavy() -> None:
    code = (
        "import sys, hoops_assets.workloads.serve.__main__, hoops_assets.workloads.serve.run\n"
        "heavy = ('pandas', 'deltalake', 'dagster', 'sklearn', 'pyarrow', 'sqlalchemy', 'mlflow', 'scipy', 'skl2onnx')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_the_running_process_has_not_loaded_them_either(server: Served) -> None:
    """After an answer of every kind: what is mapped into its memory."""
    for path, body in (
        ("/predict", question()),
        (f"/leagues/{LEAGUE}/games/{FIRST}", None),
        ("/", None),
        ("/docs", None),
    ):
        assert server.ask(path, body).status == 200
    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in mapped
    assert not re.search(r"/(pandas|pyarrow|deltalake|sklearn|scipy|sqlalchemy)/", mapped)


def test_answers_reach_the_record(server: Served, home: Path) -> None:
    told = server.ask("/predict", question(3)).json()
    deadline = time.monotonic() + 15
    while told["request_id"] not in [row["request_id"] for row in rows_of(home)] and time.monotonic() < deadline:
        time.sleep(0.2)
    row = next(row for row in rows_of(home) if row["request_id"] == told["request_id"])
    assert row["customer"] == "local" and row["version"] == 1 and json.loads(row["traffic"]) == {"1": 100}
    assert row["home_win_probability"] == told["predictions"][0]["home_win_probability"]


def test_others_find_the_server_and_ask_with_its_own_key(server: Served, home: Path) -> None:
    found = running_server(home)
    assert found is not None and found.pid == server.process.pid and found.address == server.address
    described = found.endpoint(LEAGUE)
    assert described is not None and described["variants"][0]["digest"] == bundle(1).digest
    assert found.endpoint("nobody") is None
    assert found.predict(question(), version=1)["predictions"][0]["version"] == 1
    mode = (serving_root(home) / "operator.key").stat().st_mode & 0o777
    assert mode == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_end_clears_its_place(tmp_path: Path, number: signal.Signals) -> None:
    deploy(tmp_path, {1: 100})
    root = serving_root(tmp_path)
    with serving(tmp_path) as server:
        told = server.ask("/predict", question()).json()
        assert (root / SERVER).exists() and (root / OPERATOR_KEY).exists()
        assert server.end(number) == 0
        assert not (root / SERVER).exists() and not (root / OPERATOR_KEY).exists()
        assert running_server(tmp_path) is None
        assert "Traceback" not in server.errors.read_text()
    assert [row["request_id"] for row in rows_of(tmp_path)] == [told["request_id"]]  # and the log is in the record


def test_a_second_server_of_the_same_home_is_refused(server: Served, home: Path) -> None:
    command = [sys.executable, "-m", "hoops_assets.workloads.serve", "--host", "127.0.0.1", "--port", "0"]
    environment = {**os.environ, "HOOPS_HOME": str(home)}
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1 and "a server runs already" in second.stderr
    assert server.ask("/healthz").status == 200 and (serving_root(home) / SERVER).exists()


def test_a_large_body_is_refused_over_the_wire(server: Served) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 52428800\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + b" " * 1000)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    assert server.ask("/predict", question()).status == 200


def test_the_two_parts_of_a_response_come_whole(server: Served) -> None:
    """Head and body are joined: also where there is no body, or several requests come at once."""
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        seen = b""
        while seen.count(b"ready") < 3:
            seen += connection.recv(10_000)
    assert seen.count(b"HTTP/1.1 ") == 4


def test_open_to_others_without_keys_is_refused(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    command = [sys.executable, "-m", "hoops_assets.workloads.serve", "--host", "0.0.0.0", "--port", "0"]
    environment = {**os.environ, "HOOPS_HOME": str(tmp_path)}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "hoops keys add" in refused.stderr and "Traceback" not in refused.stderr


def test_keys_are_known_and_refused_while_it_runs(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    file = serving_root(tmp_path) / "keys.json"
    with serving(tmp_path) as server:
        assert server.ask("/predict", question()).status == 200
        first, _ = add_key(file, "acme")
        deadline = time.monotonic() + 10
        while server.ask("/predict", question()).status != 401:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.ask("/predict", question(), authorization=f"Bearer {first}").status == 200
        second, _ = add_key(file, "other")
        revoke(file, "acme")
        deadline = time.monotonic() + 10
        while server.ask("/predict", question(), authorization=f"Bearer {second}").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.ask("/predict", question(), authorization=f"Bearer {first}").status == 401
        found = running_server(tmp_path)
        assert found is not None and found.endpoint(LEAGUE) is not None
    assert {row["customer"] for row in rows_of(tmp_path)} == {"local", "acme", "other"}


def test_a_killed_server_loses_nothing_that_was_answered_as_logged(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    answered: list[str] = []

    def ask(server: Served) -> None:
        while True:
            try:
                told = server.ask("/predict", question(len(answered) % 10)).json()
            except (OSError, ValueError):
                return
            assert told["logged"]
            answered.append(told["request_id"])

    with serving(tmp_path) as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        server.end(signal.SIGKILL)
        for thread in threads:
            thread.join(20)
    assert len(answered) > 50
    with serving(tmp_path) as again:  # the next start finds what the last left, its place included
        assert again.ask("/predict", question()).status == 200
    kept = [row["request_id"] for row in rows_of(tmp_path)]
    assert set(answered) <= set(kept) and len(kept) == len(set(kept))


def test_a_container_serves_its_bundle_behind_a_platform(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    from hoops_assets_tests.workloads.serve.served import fixtures, write_bundle, write_fixtures

    write_bundle(folder, bundle(4), onnx())
    write_fixtures(folder, fixtures())
    environment = {
        "HOOPS_BUNDLE": str(folder), "HOOPS_AUTHENTICATED_BY": "vertex", "AIP_PREDICT_ROUTE": "/v1/p",
        "AIP_HEALTH_ROUTE": "/v1/h",
    }  # fmt: skip
    with serving(tmp_path / "home", "serve", **environment) as server:
        assert server.ask("/v1/h").status == server.ask("/ping").status == 200
        told = server.ask("/v1/p", {"instances": [{k: question()[k] for k in ("home", "away", "date")}]}).json()
        assert told["predictions"][0]["version"] == 4 and told["predictions"][0]["degraded"] is None


def test_it_speaks_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    place = ["-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=hoops"]
    subprocess.run([*command, *place], check=True, capture_output=True)
    deploy(tmp_path, {1: 100})
    serve = [sys.executable, "-m", "hoops_assets.cli", "serve", "--port", "0"]
    tls = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    process = subprocess.Popen([*serve, *tls], env={**os.environ, "HOOPS_HOME": str(tmp_path)}, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        found = None
        while found is None and time.monotonic() < deadline:
            found = running_server(tmp_path)
            time.sleep(0.1)
        assert found is not None and found.address.startswith("https://")
        assert found.predict(question())["predictions"][0]["version"] == 1
        with pytest.raises(OSError):
            urllib.request.urlopen(found.address.replace("https", "http") + "/healthz", timeout=5)
    finally:
        process.terminate()
        process.wait(30)


# -- a change of version under load -----------------------------------------------------------------------------------


class Load:
    """Connections that ask without a pause and keep what they hear."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._place = host, int(port)
        self.heard: list[tuple[int, int, float]] = []
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CONNECTIONS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        body = json.dumps(question()).encode()
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        try:
            with socket.create_connection(self._place, timeout=20) as connection:
                while not self._ended.is_set():
                    connection.sendall(request)
                    self._keep(connection)
                    time.sleep(0.001)
        except (OSError, ValueError, KeyError) as error:
            self.failures.append(repr(error))

    def _keep(self, connection: socket.socket) -> None:
        content = b""
        while b"\r\n\r\n" not in content:
            part = connection.recv(65536)
            if not part:
                raise OSError("closed")
            content += part
        head, _, body = content.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        while len(body) < length:
            body += connection.recv(65536)
        told = json.loads(body)
        one = told["predictions"][0]
        if not head.startswith(b"HTTP/1.1 200") or one["degraded"]:
            self.failures.append(body.decode())
        self.heard.append((told["revision"], one["version"], one["home_win_probability"]))

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)


def change_under_load(home: Path, swaps: int) -> None:
    """Swaps to and fro between two versions, among them states that cannot be loaded, and compares every answer."""
    for version in (1, 2, 3):
        deploy(home, {version: 100})
    (bundle_folder(home, bundle(3)) / MODEL).write_bytes(onnx("logistic", 3)[:200])
    deploy(home, {1: 100})
    with serving(home) as server:
        expected = {}
        for version in (1, 2):
            deploy(home, {1: 50, 2: 50}, revision=version)
            server.until(f"/endpoints/{LEAGUE}", lambda told, version=version: told["revision"] == version)
            told = server.ask("/predict", question(), x_hoops_variant=str(version)).json()["predictions"][0]
            expected[version] = told["home_win_probability"]
        assert expected[1] != expected[2]
        load = Load(server.address)
        try:
            for number in range(swaps):
                revision, version = number + 3, number % 2 + 1
                deploy(home, {version: 100}, revision=revision)
                told = server.until(
                    f"/endpoints/{LEAGUE}", lambda told, revision=revision: told["revision"] == revision
                )
                assert told["revision"] == revision
                if number % 10 == 5:  # a model cut in half is never put in place
                    deploy(home, {3: 100}, revision=revision)
                    told = server.until(f"/endpoints/{LEAGUE}", lambda told: told["refused"])
                    assert told["refused"]["revision"] == revision and told["variants"][0]["version"] == version
        finally:
            load.end()
        found = server.ask(f"/endpoints/{LEAGUE}").json()
    assert load.failures == []
    assert found["revision"] == swaps + 2
    assert len(load.heard) > 10 * swaps
    for _, version, probability in load.heard:
        assert probability == expected[version]
    assert {version for _, version, _ in load.heard} >= {1, 2}
    logged = {row["request_id"] for row in rows_of(home)}
    assert len(logged) >= len(load.heard)


def test_a_change_of_version_under_load_fails_nobody(tmp_path: Path) -> None:
    change_under_load(tmp_path, 20)


@pytest.mark.slow
def test_a_hundred_changes_of_version_under_load_fail_nobody(tmp_path: Path) -> None:
    change_under_load(tmp_path, 100)


def test_the_server_serves_when_the_log_cannot_be_written(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    serving_root(tmp_path).joinpath("log").write_text("no folder")
    with serving(tmp_path) as server:
        told = server.ask("/predict", question()).json()
        assert told["logged"] is False and told["predictions"][0]["degraded"] is None
        metrics = server.ask("/metrics").body.decode()
        assert "hoops_log_shed_total 1" in metrics and "hoops_log_trouble 1" in metrics


def test_a_league_folder_that_appears_later_is_served_without_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.ask("/readyz").status == 503
        deploy(tmp_path, {1: 100})
        server.until(f"/endpoints/{LEAGUE}", lambda told: told.get("serving"))
        assert server.ask("/predict", question()).status == 200
        (endpoint_folder(tmp_path, LEAGUE) / "endpoint.json").unlink()
        server.until(f"/endpoints/{LEAGUE}", lambda told: "error" in told)
        assert server.ask("/predict", question()).status == 503
