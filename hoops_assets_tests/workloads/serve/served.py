"""A league to serve, and servers on the loopback that a test can ask and end.

The league `sim` has four teams and a week of games; its models are real ones, fitted on simulated games.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hoops_assets.basketball.features import FEATURES
from hoops_assets.workloads.export import to_onnx_bytes
from hoops_assets.workloads.serve.bundle import (
    Bundle,
    EndpointState,
    Fixture,
    Fixtures,
    ReliabilityBin,
    Variant,
    bundle_folder,
    endpoint_folder,
    write_bundle,
    write_endpoint,
    write_fixtures,
)  # fmt: skip
from hoops_assets_tests.workloads.frames import training_frame

LEAGUE = "sim"
TEAMS = {"BOS": "Boston Celtics", "LAL": "Los Angeles Lakers", "NYK": "New York Knicks", "ŽAL": "Žalgiris Kaunas"}
FIRST = date(2026, 11, 24)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@functools.cache
def onnx(learner: str = "logistic", seed: int = 0) -> bytes:
    """A calibrated model of FEATURES."""
    frame = training_frame(400, seed)
    estimator = (
        HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=3, early_stopping=False)
        if learner == "boosting"
        else LogisticRegression(C=0.01 * (seed + 1))
    )
    model = make_pipeline(StandardScaler(), CalibratedClassifierCV(estimator, method="sigmoid", cv=5, ensemble=False))
    model.fit(frame[list(FEATURES)].to_numpy("float32"), frame["home_win"])
    return to_onnx_bytes(model, FEATURES)


def bundle(version: int = 1, learner: str = "logistic", **changes: Any) -> Bundle:
    """The bundle of a version; its digest is told from its number."""
    given: dict[str, Any] = {
        "league": LEAGUE,
        "version": version,
        "learner": learner,
        "digest": hashlib.sha256(str(version).encode()).hexdigest(),
        "features": FEATURES,
        "time_zone": "America/New_York",
        "teams": {name: code for code, title in TEAMS.items() for name in (code, title)},
        "base_rate": 0.6,
        "ratings": {"BOS": 1650.0, "LAL": 1500.0, "NYK": 1450.0},
        "home_advantage": 100.0,
        "reliability": tuple(
            ReliabilityBin(n=40, mean_probability=p, share=p + 0.02, low=p - 0.05, high=p + 0.09)
            for p in (0.2, 0.4, 0.6, 0.8)
        ),
        "made_at": NOW,
    }
    return Bundle(**{**given, **changes})


def fixtures(days: int = 7, seed: int = 0) -> Fixtures:
    """Two games a day."""
    random = np.random.default_rng(seed)
    codes, games = list(TEAMS), []
    for number in range(2 * days):
        day = FIRST + timedelta(days=number // 2)
        home, away = codes[number % 4], codes[(number + 1 + number // 4) % 4]
        if home == away:
            away = codes[(number + 2) % 4]
        values = random.normal(size=len(FEATURES)).astype("float32").astype(float)
        features = dict(zip(FEATURES, values.tolist(), strict=True))
        features["elo_difference"] *= 100
        tip_off = datetime(day.year, day.month, day.day, 23, 30, tzinfo=UTC)
        games.append(
            Fixture(
                game_id=f"{day}.{home}.{away}", day=day, tip_off=tip_off, home=home, away=away, stage="regular",
                season=2027, features=features,
            )
        )  # fmt: skip
    last = FIRST + timedelta(days=days - 1)
    return Fixtures(league=LEAGUE, made_at=NOW, first_day=FIRST, last_day=last, fixtures=tuple(games))


def deploy(home: Path, traffic: Mapping[int, int], revision: int = 1, *, learner: str = "logistic") -> None:
    """Writes what should serve, as the deploying side does."""
    folder = endpoint_folder(home, LEAGUE)
    variants = []
    for version, share in traffic.items():
        made = bundle(version, learner)
        place = bundle_folder(home, made)
        if not place.exists():
            write_bundle(place, made, onnx(learner, version % 5))
        variants.append(Variant(version=version, bundle=str(place.relative_to(folder)), traffic=share))
    if not (folder / "fixtures.json").exists():
        write_fixtures(folder, fixtures())
    state = EndpointState(endpoint=LEAGUE, league=LEAGUE, revision=revision, variants=tuple(variants), changed_at=NOW)
    write_endpoint(folder, state)


def question(number: int = 0) -> dict[str, Any]:
    """A question about a game of the fixtures."""
    game = fixtures().fixtures[number]
    return {"league": LEAGUE, "home": TEAMS[game.home], "away": game.away, "date": game.day.isoformat()}


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    address: str
    errors: Path

    def ask(
        self, path: str, question: Any = None, *, method: str | None = None, raw: bytes | None = None, **headers: str
    ) -> Response:
        """One request; header names with _ for -."""
        data = raw if raw is not None else json.dumps(question).encode() if question is not None else None
        sent = {"content-type": "application/json"} if data is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return Response(response.status, dict(response.headers.items()), response.read())
        except urllib.error.HTTPError as error:
            return Response(error.code, dict(error.headers.items()), error.read())

    def until(self, path: str, wanted: Any, seconds: float = 10) -> Any:
        """Asks until `wanted(body)`, returns the last body."""
        deadline = time.monotonic() + seconds
        while not wanted(body := self.ask(path).json()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return body

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends the server and waits."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def serving(home: Path, *arguments: str, **environment: str) -> Iterator[Served]:
    """`python -m hoops_assets.workloads.serve` on a free port of the loopback."""
    errors = home / "server.stderr"
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hoops_assets.workloads.serve", "--host", "127.0.0.1", "--port", "0", *arguments]
    with errors.open("wb") as written:
        process = subprocess.Popen(
            command, stderr=written, env={**os.environ, "HOOPS_HOME": str(home), **environment}
        )  # fmt: skip
    try:
        yield Served(process, _address(process, errors), errors)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], errors: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in errors.read_text().splitlines():
            if line.startswith("serving at "):
                address = line.removeprefix("serving at ")
                with urllib.request.urlopen(f"{address}/healthz", timeout=30):
                    return address
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {errors.read_text()}")
        time.sleep(0.05)
    raise RuntimeError(f"the server did not come up: {errors.read_text()}")
