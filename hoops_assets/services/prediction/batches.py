"""Batch jobs of this machine: a job is one file that appears when it has finished.

What belongs here: the local provider's half of the contract about batches. FOLDER/LEAGUE/NAME.json holds a finished job,
written atomically: a killed job left nothing and is run again by whoever asks.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from hoops_assets.errors import ModelError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import BatchState, batch_name
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.store import atomic
from hoops_assets.workloads.inputs import model_input
from hoops_assets.workloads.spec import Strict
from hoops_assets.workloads.transform import forecast

_NAME = re.compile(r"hoops-([a-z][a-z0-9-]*)-\d+-[0-9a-f]{16}")


class _Job(Strict):
    name: str
    model: str
    made_at: datetime
    home_win_probability: tuple[float, ...] = ()
    failure: str = ""


class LocalBatches:
    """Runs a batch in this process, before `submit` returns."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self._registry = registry
        self._folder = Path(folder)

    def submit(self, version: ModelVersion, rows: pd.DataFrame) -> str:
        """See the contract."""
        try:
            values = model_input(rows, version.features)
        except ModelError as error:
            raise ServiceError("invalid", f"{version.name}: {error}") from error
        name = batch_name(version, values)
        known = self._read(name)
        if known is None or known.failure:
            self._write(self._run(name, version, rows))
        return name

    def poll(self, job: str) -> BatchState:
        """See the contract."""
        return BatchState.FAILED if self._get(job).failure else BatchState.SUCCEEDED

    def results(self, job: str) -> np.ndarray:
        """See the contract."""
        found = self._get(job)
        if found.failure:
            raise ServiceError("failed", f"batch {job}: {found.failure}")
        return np.array(found.home_win_probability, dtype="float64")

    def cancel(self, job: str) -> None:
        """See the contract. A job that stands has finished."""
        self._get(job)

    def _run(self, name: str, version: ModelVersion, rows: pd.DataFrame) -> _Job:
        job = _Job(name=name, model=version.name, made_at=datetime.now(UTC))
        try:
            folder = self._registry.artefacts(version.league, version.version)
            answers = forecast(folder, rows, version.features)
        except ServiceError as error:
            if error.kind == "not_found":
                raise
            return job.model_copy(update={"failure": str(error)})
        except ModelError as error:
            return job.model_copy(update={"failure": str(error)})
        return job.model_copy(update={"home_win_probability": tuple(answers.tolist())})

    def _get(self, name: str) -> _Job:
        found = self._read(name)
        if found is None:
            raise ServiceError("not_found", f"there is no batch {name}; submit its rows again")
        return found

    def _read(self, name: str) -> _Job | None:
        path = self._path(name)
        try:
            return _Job.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise ServiceError("failed", f"{path} is damaged: {error.errors()[0]['msg']}; remove it") from error

    def _write(self, job: _Job) -> None:
        path = self._path(job.name)
        try:
            atomic.write_text(path, json.dumps(job.model_dump(mode="json")) + "\n")
        except OSError as error:
            raise ServiceError("failed", f"{path} cannot be written: {error}") from error

    def _path(self, name: str) -> Path:
        found = _NAME.fullmatch(name)
        if found is None:
            raise ServiceError("not_found", f"{name!r} is no name of a batch; submit gives it")
        return self._folder / found[1] / f"{name}.json"
