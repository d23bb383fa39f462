"""What serving costs on this machine: on demand against batch, measured live.

What belongs here: the measurement behind `hoops bench serve`. It works on a home of its own under a temporary folder, so
that nothing of it enters the record or the log of served predictions; the server is the real one, keys and log on.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from hoops_assets.basketball.league import League
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.launch.servers import prediction_server
from hoops_assets.services.prediction.batches import LocalBatches
from hoops_assets.services.prediction.bundle import pack
from hoops_assets.services.prediction.local import LocalPrediction, questions
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.settings import Settings
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.client import RunningServer
from hoops_assets.workloads.spec import HELD_OUT

CONNECTIONS = 8
WARM_UP = 100
REPEATS = 5
BATCH_ROWS = 100_000

_JOB = """
import sys, pathlib, pandas
from hoops_assets.workloads.transform import forecast
rows = pandas.read_parquet(sys.argv[2])
answers = forecast(pathlib.Path(sys.argv[1]), rows, list(rows.columns))
pandas.DataFrame({"home_win_probability": answers}).to_parquet(sys.argv[3])
"""
"""A batch as a job of its own: a new process, rows in and answers out as files."""


@dataclass(frozen=True)
class OnDemand:
    """One row a request, connections kept open.

    Attributes:
        p50_ms, p99_ms: of one connection asking one after the other.
        seconds_per_query: their mean.
        requests_per_second: of `connections` at once, as a client in Python sees it.
    """

    requests: int
    p50_ms: float
    p99_ms: float
    seconds_per_query: float
    connections: int
    requests_per_second: float


@dataclass(frozen=True)
class Batch:
    """Many rows at once: seconds(n) = start_seconds + n * seconds_per_row; medians of REPEATS.

    Attributes:
        start_seconds: of a batch of one row, less that row.
        rows_per_second: of a batch of `rows`, start included.
    """

    rows: int
    start_seconds: float
    seconds_per_row: float
    rows_per_second: float


@dataclass(frozen=True)
class Report:
    """Figures of one run.

    Attributes:
        batch: in a process that has loaded its libraries, as the asset `predictions` makes its own.
        job: in a process of its own, as a container pays for it.
        break_even: queries from which on the batch is done before as many requests one after the other; None if never.
        break_even_job: the same of the job.
    """

    league: str
    version: int
    learner: str
    measured_at: str
    machine: dict[str, str | int]
    on_demand: OnDemand
    batch: Batch
    job: Batch
    break_even: int | None
    break_even_job: int | None

    def json(self) -> dict[str, object]:
        return asdict(self)


def bench_serving(
    settings: Settings, league: League, requests: int = 2000, tell: Callable[[str], None] = lambda text: None
) -> Report:
    """Measures the league's model: the version with the most traffic, else the challenger.

    Args:
        requests: on demand, one after the other, and as many again side by side.

    Raises:
        HoopsError: the league has no model, or the server does not start.
    """
    if requests < 1:
        raise HoopsError(f"--requests {requests}: measure at least one")
    registry, store = LocalRegistry(settings.home / "registry"), DeltaStore(settings.tables_root, settings.aws)
    model = _model(settings, registry, league.name)
    folder = registry.artefacts(league.name, model.version)
    rows = pd.read_parquet(folder / HELD_OUT)[list(model.features)]
    with tempfile.TemporaryDirectory(prefix="hoops-bench-") as name:
        home = Path(name) / "home"
        service = LocalPrediction(registry, home)
        tell("starting a server")
        with prediction_server(home) as server:
            packed = pack(registry, store, league, model.version, settings.clock(), settings.upcoming_days)
            service.deploy(league.name, packed, {model.version: 100})
            tell("on demand")
            on_demand = _on_demand(server, league.name, rows, requests)
        tell("in batch")
        batch = _batch(registry, model, rows, Path(name) / "batches")
        tell("in batch, as a job of its own")
        job = _job(folder, rows, Path(name))
    return Report(
        league=league.name, version=model.version, learner=model.learner,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"), machine=_machine(),
        on_demand=on_demand, batch=batch, job=job,
        break_even=break_even(on_demand.seconds_per_query, batch),
        break_even_job=break_even(on_demand.seconds_per_query, job),
    )  # fmt: skip


def break_even(seconds_per_query: float, batch: Batch) -> int | None:
    """The least n with start + n * seconds_per_row <= n * seconds_per_query; None if there is none."""
    gain = seconds_per_query - batch.seconds_per_row
    if gain <= 0:
        return None
    return max(1, int(np.ceil(batch.start_seconds / gain)))


def _model(settings: Settings, registry: LocalRegistry, league: str) -> ModelVersion:
    serves = deployments.current(Record(settings.record), league)
    if serves:
        return registry.get(league, max(serves, key=lambda version: serves[version]))
    challenger = registry.challenger(league)
    if challenger is None:
        raise ModelError(f"{league} has no model yet; train one: hoops train {league}")
    return challenger


def _on_demand(server: RunningServer, league: str, rows: pd.DataFrame, requests: int) -> OnDemand:
    bodies = [
        json.dumps(next(iter(questions(league, rows.iloc[[number % len(rows)]])))).encode()
        for number in range(min(requests, 500))
    ]
    _ask(server, bodies, WARM_UP)
    taken = _ask(server, bodies, requests)
    share = -(-requests // CONNECTIONS)
    started = time.perf_counter()
    _together([lambda: _ask(server, bodies, share)] * CONNECTIONS)
    seconds = time.perf_counter() - started
    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
    return OnDemand(
        requests=requests, p50_ms=float(p50), p99_ms=float(p99), seconds_per_query=float(np.mean(taken)),
        connections=CONNECTIONS, requests_per_second=share * CONNECTIONS / seconds,
    )  # fmt: skip


def _ask(server: RunningServer, bodies: Sequence[bytes], requests: int) -> list[float]:
    """Seconds that each of the requests took, one after the other on one connection."""
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=30)
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    taken = []
    try:
        for number in range(requests):
            started = time.perf_counter()
            connection.request("POST", "/predict", bodies[number % len(bodies)], headers)
            answer = connection.getresponse()
            content = answer.read()
            taken.append(time.perf_counter() - started)
            if answer.status != 200:
                raise HoopsError(f"the server answered {answer.status}: {content[:300].decode(errors='replace')}")
    finally:
        connection.close()
    return taken


def _together(tasks: Sequence[Callable[[], object]]) -> None:
    """Runs all at once; raises the first error of any."""
    errors: list[BaseException] = []

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as error:  # told to the caller below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _batch(registry: LocalRegistry, model: ModelVersion, rows: pd.DataFrame, folder: Path) -> Batch:
    many = _many(rows)

    def seconds(asked: pd.DataFrame, number: int) -> float:
        # A folder of its own: the same batch again would only be read.
        batches = LocalBatches(registry, folder / f"{len(asked)}-{number}")
        started = time.perf_counter()
        batches.results(batches.submit(model, asked))
        return time.perf_counter() - started

    seconds(many, -1)
    return _fitted(seconds, rows.head(1), many)


def _job(model: Path, rows: pd.DataFrame, folder: Path) -> Batch:
    def seconds(asked: pd.DataFrame, number: int) -> float:
        given, made = folder / "rows.parquet", folder / "answers.parquet"
        asked.to_parquet(given)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _JOB, str(model), str(given), str(made)], capture_output=True, text=True
        )
        if done.returncode:
            raise HoopsError(f"the batch job failed: {done.stderr.strip()[-500:]}")
        return time.perf_counter() - started

    return _fitted(seconds, rows.head(1), _many(rows))


def _many(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[np.resize(np.arange(len(rows)), BATCH_ROWS)].reset_index(drop=True)


def _fitted(seconds: Callable[[pd.DataFrame, int], float], one: pd.DataFrame, many: pd.DataFrame) -> Batch:
    # Interleaved, so that a slow moment of the machine meets both.
    taken = [(seconds(one, number), seconds(many, number)) for number in range(REPEATS)]
    short, long = np.median(taken, axis=0)
    per_row = max(float(long - short), 0.0) / (len(many) - 1)
    return Batch(
        rows=len(many), start_seconds=float(short) - per_row, seconds_per_row=per_row,
        rows_per_second=len(many) / float(long),
    )  # fmt: skip


def _machine() -> dict[str, str | int]:
    return {
        "cpus": os.cpu_count() or 0,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "onnxruntime": package_version("onnxruntime"),
    }
