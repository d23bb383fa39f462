"""Prediction providers with their serving side in a test's hands: a new provider is one more entry of STAGES."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from hoops_assets.launch.servers import end_tree
from hoops_assets.services.prediction import local
from hoops_assets.services.prediction.contract import PredictionService
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.registry.contract import Registry
from hoops_assets.workloads.serve import bundle as files
from hoops_assets.workloads.serve.bundle import Variant
from hoops_assets.workloads.serve.client import ServerError, running_server

READY_SECONDS = 60.0


class Stage(Protocol):
    """A provider, and what a test may do to its serving side."""

    service: PredictionService

    def spoil(self, version: int) -> AbstractContextManager[None]:
        """While it lasts, the model file of that version is cut in half after it was accepted, before it is loaded."""
        ...

    def silence(self) -> AbstractContextManager[PredictionService]:
        """While it lasts, the serving side answers nothing; gives the provider with a patience fit for a test."""
        ...

    def close(self) -> None: ...


class LocalStage:
    """The real server in a process of its own, on the loopback."""

    def __init__(self, home: Path, registry: Registry) -> None:
        self.home, self._registry = home, registry
        self.service = LocalPrediction(registry, home)
        self.process = start_server(home)

    @contextmanager
    def spoil(self, version: int) -> Iterator[None]:
        real = local.prove

        def prove_and_cut(folder: Path, variant: Variant) -> None:
            real(folder, variant)
            if variant.version == version:
                model = folder / files.MODEL
                model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(local, "prove", prove_and_cut)
            yield

    @contextmanager
    def silence(self) -> Iterator[PredictionService]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield LocalPrediction(self._registry, self.home, patience=0.6)
        finally:
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        end_tree(self.process.pid, patience=5)
        self.process.wait(5)


def start_server(home: Path) -> subprocess.Popen[bytes]:
    """`hoops serve` on a free port of the loopback, once it answers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
    home.mkdir(parents=True, exist_ok=True)
    log = home.with_suffix(".server.log")
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "hoops_assets.workloads.serve", "--host", "127.0.0.1", "--port", "0"], stdout=sink, stderr=sink,
            stdin=subprocess.DEVNULL, env={**kept, "HOOPS_HOME": str(home)}, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(home):
        if process.poll() is not None or time.monotonic() > deadline:
            end_tree(process.pid, patience=1)
            raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
    return process


def _answers(home: Path) -> bool:
    server = running_server(home)
    try:
        return server is not None and server.endpoint("nobody") is None
    except ServerError:
        return False


STAGES: dict[str, Callable[[Path, Registry], Stage]] = {"local": LocalStage}
