"""Prediction providers with their serving side in a test's hands."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from hoops_assets.launch.servers import prediction_server
from hoops_assets.services.prediction import local
from hoops_assets.services.prediction.contract import PredictionService
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.registry.contract import Registry
from hoops_assets.workloads.serve import bundle as files
from hoops_assets.workloads.serve.bundle import Variant

if TYPE_CHECKING:
    from hoops_assets.clouds.aws import Aws


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
        self._running = ExitStack()
        self.server = self._running.enter_context(prediction_server(home))

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
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield LocalPrediction(self._registry, self.home, patience=0.6)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)

    def close(self) -> None:
        self._running.close()


class SageMakerStage:
    """SageMaker on the loopback, with the platform's own containers as processes."""

    def __init__(self, home: Path, registry: Registry) -> None:
        from hoops_assets.services.prediction.sagemaker import SageMakerPrediction
        from hoops_assets_tests.emulators.accounts import EmulatorProcess, account

        self._registry = registry
        self.emulator = EmulatorProcess()
        self._aws = account(self.emulator.environment, capture_percent=0)
        self.service = SageMakerPrediction(self._aws, registry, patience=60, every=0.03)

    @contextmanager
    def spoil(self, version: int) -> Iterator[None]:
        # A model's name holds its version; the fault waits for the next container of that model.
        self.emulator.fault(kind="damaged_model", action=f"-m-{version}-")
        yield
        self.emulator.clear()

    @contextmanager
    def silence(self) -> Iterator[PredictionService]:
        from hoops_assets.services.prediction.sagemaker import SageMakerPrediction

        self.emulator.fault(kind="stalled_update", action="UpdateEndpoint", seconds=2.0)
        yield SageMakerPrediction(self._aws, self._registry, patience=0.6, every=0.03)

    def close(self) -> None:
        self.emulator.close()


class LiveSageMakerStage:
    """A real account, which breaks nothing on demand."""

    def __init__(self, aws: Aws, registry: Registry) -> None:
        from hoops_assets.services.prediction.sagemaker import SageMakerPrediction

        self.service = SageMakerPrediction(aws, registry, every=10.0)

    @contextmanager
    def spoil(self, version: int) -> Iterator[None]:
        pytest.skip("a real account spoils no model on demand")
        yield

    @contextmanager
    def silence(self) -> Iterator[PredictionService]:
        pytest.skip("a real account is not silent on demand")
        yield self.service

    def close(self) -> None:
        """The sweep clears away what is left."""
