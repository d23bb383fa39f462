"""What an answer of the prediction server costs, beside a bare uvicorn and `mlflow models serve`, in one run.

- hello: the smallest ASGI application that uvicorn can run. `cpu_ratio_to_hello` is the server CPU of one of its requests
  over that of one of ours, from /proc/PID/stat; requests per second are not stable enough here to compare by.
- ours: `python -m hoops_assets.workloads.serve` as it is: a key is asked for and limited in rate, every answer is
  logged before it is given and drained into the record by the server's own drain process, whose CPU stands beside
  (`drain_us`). A request is POST /predict of one game by team names and day.
- mlflow: the same ONNX file behind `mlflow models serve` with the sixteen features in the request; no key, no log,
  nothing looked up. `ratio_to_mlflow` is of requests per second.

Models: StandardScaler and CalibratedClassifierCV(sigmoid, 5 folds) of a logistic regression with ensemble=False (one
calibrated model fitted out of fold) as `logistic`, of five averaged models (ensemble=True) as `logistic_5`, and of
boosting with 100 trees as `boosting`, each a league of the one server.

Slices of a second are taken in turn, and the medians are told. The client is another process: 8 connections, each with
one request under way. As in the measurements that the wanted figures come from, CPU per request is read with every
process where the system puts it, rates and latencies with the servers on one processor and the client on another (the
same requests again, named `... pinned`): a rate without pinning says more of the scheduler than of the server.
`batch` is one connection with 1,000 rows of features a request, `one by one` one connection with one game a request.

    python benchmarks/serving.py [--rounds 5] [--seconds 1] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
CONNECTIONS = 8
BATCH = 1000
GAMES = 60
LEARNERS = ("logistic", "logistic_5", "boosting")
HELLO = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""
SERVE_HELLO = """
import sys, uvicorn
uvicorn.run("hello:app", port=int(sys.argv[1]), access_log=False, log_level="warning", lifespan="off")
"""


# -- the client -------------------------------------------------------------------------------------------------------


def client() -> None:
    """Reads slices from standard input, one JSON object a line; answers each with what was seen."""
    for line in sys.stdin:
        told = json.loads(line)
        requests = [part.encode("latin-1") for part in told["requests"]]
        print(json.dumps(_slice(told["port"], requests, told["connections"], told["seconds"])), flush=True)


def _slice(port: int, requests: list[bytes], connections: int, seconds: float) -> dict[str, Any]:
    """Every connection always has one request under way."""
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    poll = select.epoll()
    held: dict[int, list[Any]] = {}
    for one in opened:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(one.fileno(), select.EPOLLIN)
        held[one.fileno()] = [one, b"", 0.0]
    latencies: list[float] = []
    failures = number = 0
    clock = time.perf_counter
    started = clock()
    for entry in held.values():
        entry[0].sendall(requests[number % len(requests)])
        entry[2] = clock()
        number += 1
    end = started + seconds
    while clock() < end:
        for handle, _ in poll.poll(5):
            entry = held[handle]
            part = entry[0].recv(1 << 20)
            content = entry[1] + part if entry[1] else part
            head = content.find(b"\r\n\r\n")
            if head < 0 or not part:
                if not part:
                    raise ConnectionError("the server closed a connection")
                entry[1] = content
                continue
            at = content.find(b"content-length: ", 0, head)
            length = int(content[at + 16 : content.find(b"\r", at)])
            if len(content) < head + 4 + length:
                entry[1] = content
                continue
            latencies.append(clock() - entry[2])
            failures += content[9:12] != b"200"
            entry[1] = b""
            entry[0].sendall(requests[number % len(requests)])
            entry[2] = clock()
            number += 1
    taken = clock() - started
    for one in opened:
        one.close()
    latencies.sort()
    return {
        "requests": len(latencies),
        "seconds": taken,
        "failures": failures,
        "p50_ms": 1000 * latencies[len(latencies) // 2] if latencies else 0.0,
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)] if latencies else 0.0,
    }


class Client:
    """The client process."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--client"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def slice(self, port: int, requests: list[bytes], connections: int, seconds: float) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        told = {
            "port": port, "requests": [one.decode("latin-1") for one in requests], "connections": connections,
            "seconds": seconds,
        }  # fmt: skip
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


def request(path: str, body: Any = None, key: str | None = None) -> bytes:
    """An HTTP request as bytes."""
    if body is None:
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    content = json.dumps(body).encode()
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


# -- the servers ------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """User and system time of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of one process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def pin(pid: int, processors: set[int]) -> None:
    """Keeps a process, all its threads and all below it, on some processors."""
    for one in tree(pid):
        for thread in Path(f"/proc/{one}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), processors)


def children(pid: int) -> list[int]:
    """Its direct child processes."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def process(command: list[str], port: int, folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server, once it accepts connections."""
    log = folder / f"{port}.log"
    with log.open("wb") as file:
        started = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=file,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if started.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not come up:\n{log.read_text()}")
            time.sleep(0.1)
        yield started
    finally:
        ours = tree(started.pid) if started.poll() is None else []
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 15)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(15)
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        started.wait()


# -- what is served ---------------------------------------------------------------------------------------------------


def train(learner: str) -> Any:
    """A fitted pipeline on simulated games of FEATURES."""
    import numpy as np
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from hoops_assets.basketball.features import FEATURES

    random = np.random.default_rng(0)
    x = random.normal(size=(2000, len(FEATURES))).astype("float32")
    y = random.random(2000) < 1 / (1 + np.exp(-x[:, 0] - 0.5 * x[:, 1]))
    model: Any = (
        HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=3, early_stopping=False)
        if learner == "boosting"
        else LogisticRegression()
    )
    calibrated = CalibratedClassifierCV(model, method="sigmoid", cv=5, ensemble=learner == "logistic_5")
    return make_pipeline(StandardScaler(), calibrated).fit(x, y)


def deploy(home: Path) -> tuple[dict[str, list[bytes]], list[bytes], bytes]:
    """Writes a league per learner; returns the requests for each, those of a batch, and the logistic's ONNX."""
    import numpy as np

    from hoops_assets.basketball.features import FEATURES
    from hoops_assets.workloads.export import to_onnx_bytes
    from hoops_assets.workloads.serve import bundle as files
    from hoops_assets.workloads.serve.keys import add_key

    key, _ = add_key(files.serving_root(home) / "keys.json", "benchmark", rate=1e9)
    random, now, first = np.random.default_rng(1), datetime.now(UTC), date(2026, 11, 24)
    teams = [f"T{n:02}" for n in range(30)]
    names = {f"Team number {code}": code for code in teams} | {code: code for code in teams}
    asked, onnx = {}, b""
    for learner in LEARNERS:
        content = to_onnx_bytes(train(learner), FEATURES)
        onnx = onnx or content
        folder = files.endpoint_folder(home, learner)
        made = files.Bundle(
            league=learner, version=1, learner=learner, digest="a" * 64, features=FEATURES, time_zone="UTC",
            teams=names, base_rate=0.6, ratings=dict.fromkeys(teams, 1500.0), home_advantage=100.0, made_at=now,
        )  # fmt: skip
        files.write_bundle(files.bundle_folder(home, made), made, content)
        games = [
            files.Fixture(
                game_id=f"{learner}-{n}", day=first + timedelta(days=n // 10), home=teams[n % 30],
                away=teams[(n + 7) % 30], stage="regular", season=2027,
                features=dict(zip(FEATURES, map(float, random.normal(size=len(FEATURES))), strict=True)),
            )
            for n in range(GAMES)
        ]  # fmt: skip
        last = games[-1].day
        files.write_fixtures(
            folder,
            files.Fixtures(league=learner, made_at=now, first_day=first, last_day=last, fixtures=tuple(games)),
        )
        variant = files.Variant(version=1, bundle=str(files.bundle_folder(home, made)), traffic=100)
        state = files.EndpointState(endpoint=learner, league=learner, revision=1, variants=(variant,), changed_at=now)
        files.write_endpoint(folder, state)
        asked[learner] = [
            request(
                "/predict",
                {"league": learner, "home": f"Team number {one.home}", "away": one.away, "date": str(one.day)},
                key,
            )
            for one in games
        ]
    rows = random.normal(size=(BATCH, len(FEATURES))).round(6).tolist()
    return asked, [request("/predict", {"league": LEARNERS[0], "instances": rows}, key)], onnx


@contextlib.contextmanager
def mlflow_server(folder: Path, onnx: bytes) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`mlflow models serve` of the same ONNX file, in this environment."""
    import mlflow.onnx
    import onnx as onnx_library

    model = folder / "model"
    requirements = ["onnxruntime", "onnx"]
    mlflow.onnx.save_model(onnx_library.load_from_string(onnx), str(model), pip_requirements=requirements)
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "-p", str(port), "-h", "127.0.0.1",
        "--env-manager", "local",
    ]  # fmt: skip
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls uvicorn by name
    with process(command, port, folder, PATH=scripts) as started:
        yield port, started


# -- measuring --------------------------------------------------------------------------------------------------------


def measure(rounds: int, seconds: float, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    home = folder / "home"
    home.mkdir()
    tell("models")
    asked, batch, onnx = deploy(home)
    (folder / "hello.py").write_text(HELLO)
    hello_port, port = free_port(), free_port()
    serve = [sys.executable, "-m", "hoops_assets.workloads.serve", "--host", "127.0.0.1", "--port", str(port)]
    with (
        process([sys.executable, "-c", SERVE_HELLO, str(hello_port)], hello_port, folder) as hello,
        process(serve, port, folder, HOOPS_HOME=str(home)) as ours,
        mlflow_server(folder, onnx) as (mlflow_port, mlflow),
    ):
        tell("servers are up")
        features = json.loads(batch[0].partition(b"\r\n\r\n")[2])["instances"][:1]
        one_row = [request("/invocations", {"inputs": {"features": features}})]
        servers = (hello.pid, ours.pid, mlflow.pid)
        costs = {
            "hello": (hello.pid, hello_port, [request("/")], CONNECTIONS),
            **{name: (ours.pid, port, asked[name], CONNECTIONS) for name in LEARNERS},
        }
        rates = {
            "hello pinned": costs["hello"],
            "logistic pinned": costs["logistic"],
            "mlflow pinned": (mlflow.pid, mlflow_port, one_row, CONNECTIONS),
            "one by one pinned": (ours.pid, port, asked[LEARNERS[0]], 1),
            "batch pinned": (ours.pid, port, batch, 1),
        }
        client_process = Client()
        processors = os.sched_getaffinity(0)
        try:
            tell("CPU")
            found = _slices(client_process, costs, rounds, seconds, ours.pid)
            tell("rates")
            for pid in servers:
                pin(pid, {min(processors)})
            pin(client_process.pid, {max(processors)})
            found |= _slices(client_process, rates, rounds, seconds, ours.pid)
        finally:
            client_process.end()
        memory = {"ours": rss_mb(ours.pid), "mlflow": max(map(rss_mb, tree(mlflow.pid))), "hello": rss_mb(hello.pid)}
        counted = _logged(home)
    return _summary(found, memory, counted)


Asked = tuple[int, int, list[bytes], int]
"""A server's process and port, the requests, and the number of connections."""


def _slices(
    client_process: Client, whole: dict[str, Asked], rounds: int, seconds: float, ours: int
) -> dict[str, list[dict[str, Any]]]:
    """Asks one after the other, `rounds` times; `ours` is the server whose drain is counted beside."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in whole}
    for _, port, requests, connections in whole.values():
        client_process.slice(port, requests, connections, 0.3)
    for _ in range(rounds):
        for name, (pid, port, requests, connections) in whole.items():
            drains = children(ours)
            asked = [one for one in tree(pid) if one not in drains]
            before, drained = sum(map(cpu_seconds, asked)), sum(map(cpu_seconds, drains))
            told = client_process.slice(port, requests, connections, seconds)
            told["cpu"] = sum(map(cpu_seconds, asked)) - before
            told["drain"] = sum(map(cpu_seconds, drains)) - drained
            found[name].append(told)
    return found


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(below for child in children(pid) for below in tree(child))]


def _logged(home: Path) -> dict[str, float]:
    """Rows in the record, and bytes that still wait in the log."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(home / "record.db")) as record:
        rows = record.execute("SELECT count(*) FROM served_predictions").fetchone()[0]
    waiting = sum(file.stat().st_size for file in (home / "serving" / "log").glob("*.log"))
    return {"rows_in_record": rows, "bytes_waiting": waiting}


def _summary(
    found: dict[str, list[dict[str, Any]]], memory: dict[str, float], counted: dict[str, float]
) -> dict[str, Any]:
    servers: dict[str, dict[str, float]] = {}
    for name, slices in found.items():
        answered = sum(one["requests"] for one in slices)
        servers[name] = {
            "requests_per_second": _median(slices, lambda one: one["requests"] / one["seconds"]),
            "cpu_us": _median(slices, lambda one: 1e6 * one["cpu"] / max(one["requests"], 1)),
            "p50_ms": _median(slices, lambda one: one["p50_ms"]),
            "p99_ms": _median(slices, lambda one: one["p99_ms"]),
            "worst_p99_ms": round(max(one["p99_ms"] for one in slices), 2),
            "failures": sum(one["failures"] for one in slices),
            "requests": answered,
        }
    drained = [one for name in LEARNERS for one in found[name]]
    rows = BATCH * servers["batch pinned"]["requests_per_second"]
    ratios = {
        name: round(
            statistics.median(
                (hello["cpu"] / hello["requests"]) / (one["cpu"] / one["requests"])
                for hello, one in zip(found["hello"], found[name], strict=True)
            ),
            3,
        )
        for name in LEARNERS
    }
    return {
        "cpu_ratio_to_hello": ratios["logistic"],
        "cpu_ratio_to_hello_by_learner": ratios,
        "ratio_to_mlflow": round(
            statistics.median(
                (one["requests"] / one["seconds"]) / (other["requests"] / other["seconds"])
                for one, other in zip(found["logistic pinned"], found["mlflow pinned"], strict=True)
            ),
            1,
        ),
        "p99_ms": servers["logistic pinned"]["p99_ms"],
        "batch_rows_per_second": round(rows),
        "batch_ratio": round(rows / servers["one by one pinned"]["requests_per_second"], 1),
        "rss_mb": round(memory["ours"], 1),
        "rss_mb_others": {name: round(memory[name], 1) for name in ("hello", "mlflow")},
        "failures": sum(int(servers[name]["failures"]) for name in servers),
        "drain_us": round(1e6 * sum(o["drain"] for o in drained) / sum(o["requests"] for o in drained), 1),
        **counted,
        "servers": servers,
    }


def _median(slices: list[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> float:
    return round(statistics.median(of(one) for one in slices), 2)


REQUIRED: dict[str, tuple[Callable[[Any, Any], bool], float]] = {
    "cpu_ratio_to_hello": (lambda found, limit: found >= limit, 0.30),
    "ratio_to_mlflow": (lambda found, limit: found >= limit, 6),
    "p99_ms": (lambda found, limit: found < limit, 10),
    "batch_ratio": (lambda found, limit: found >= limit, 20),
    "rss_mb": (lambda found, limit: found < limit, 150),
    "failures": (lambda found, limit: found <= limit, 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        client()
        return
    tell = functools.partial(print, file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="hoops-serving-"))
    try:
        result = measure(arguments.rounds, arguments.seconds, folder, tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result["holds"] = {name: holds(result[name], limit) for name, (holds, limit) in REQUIRED.items()}
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    for name, (_, limit) in REQUIRED.items():
        print(f"{name:20} {result[name]:>10} (wanted {limit}) {'ok' if result['holds'][name] else 'MISSED'}")
    for name, row in result["servers"].items():
        print(f"{name:18}", "  ".join(f"{key} {value:g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
