"""What every training provider keeps.

A job is named by what goes into it: the same data, learner, parameters and code always give the same name, so asking
twice trains once. States go queued -> running -> succeeded | failed | cancelled and never back.

- `submit` returns the name to ask for later. A succeeded job of that name is reused, a running one is joined, a failed
  or cancelled one is started again; where a provider's names cannot be used twice, the returned name is the job's name
  with `-2`, `-3`, ... behind it. `submit` returns as soon as the provider has the job; the local provider's default is
  to finish it first.
- `cancel` of a finished job changes nothing; of a running one it returns when the job has stopped and left no model.
- A job over its `time_limit` is stopped and is `failed`; `result` then raises kind `timed_out`.
- Errors are `ServiceError` with one of its kinds; an unknown name is `not_found`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, Self
from urllib.parse import unquote, urlsplit

import pandas as pd
import pyarrow as pa
from pydantic import Field, JsonValue

from hoops_assets.errors import ModelError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.code import Code
from hoops_assets.workloads.spec import (
    Strict,
    TrainingOutcome,
    TrainingSpec,
    canonical,
    training_rows,
    training_set_digest,
    training_table,
)

NOTHING: Mapping[str, str] = {}
NAME_LENGTH = 63
"""The shortest limit among the providers (SageMaker's); its alphabet (letters, digits, -) is also the narrowest."""


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class TrainingSet(Strict):
    """A training set by reference: enough to read the very rows again.

    Attributes:
        table: "LEAGUE/training_set" or wherever it stands.
        table_version: Delta version of that table.
        filter: the condition on it, as text; empty means all rows.
        digest: of the rows, see `training_set_digest`.
        trained_through: last day of the splits that a model may be fitted on.
        games: number of rows.
    """

    table: str
    table_version: int
    filter: str = ""
    digest: str
    trained_through: date
    games: int

    @classmethod
    def of(
        cls, frame: pd.DataFrame, features: Sequence[str], *, table: str, table_version: int, filter: str = "",
        fit_on: Sequence[str] = ("train", "validation"),
    ) -> Self:  # fmt: skip
        """The reference of a frame with columns KEYS and features."""
        rows = training_rows(frame, features)
        fitted = rows.loc[rows["split"].isin(list(fit_on)), "day"]
        if fitted.empty:
            raise ModelError(
                f"the training set {table} has no games in the splits {', '.join(fit_on)}; nothing can be fitted"
            )
        return cls(
            table=table, table_version=table_version, filter=filter, digest=training_set_digest(rows, features),
            trained_through=fitted.max(), games=len(rows),
        )  # fmt: skip


class TrainingJob(Strict):
    """One model to be trained.

    Attributes:
        learner: a name of `basketball.estimators.LEARNERS`.
        parameters: keyword arguments of the learner; empty means its defaults.
        features: names and order of the model's inputs.
        fit_on: splits that the exported model is fitted on.
        time_limit: seconds of running after which the provider stops it.
    """

    league: str
    learner: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    features: tuple[str, ...]
    seed: int = 0
    fit_on: tuple[Literal["train", "validation"], ...] = ("train", "validation")
    training_set: TrainingSet
    code: Code
    time_limit: int = 3600

    @property
    def spec(self) -> TrainingSpec:
        """What the workload is told."""
        return TrainingSpec(
            league=self.league, learner=self.learner, parameters=self.parameters, features=self.features,
            seed=self.seed, fit_on=self.fit_on, training_set_digest=self.training_set.digest,
            code_digest=self.code.digest,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """hoops-LEAGUE-LEARNER-DIGEST: the same inputs, packages and code always give the same name."""
        inputs = {**self.spec.model_dump(mode="json"), "lock_digest": self.code.lock_digest}
        digest = hashlib.sha256(canonical(inputs)).hexdigest()[:16]
        head = f"hoops-{self.league}-{self.learner}".replace("_", "-").lower()[: NAME_LENGTH - 4 - 17].rstrip("-")
        return f"{head}-{digest}"


class Submission(Strict):
    """A job that a provider has; `name` is the one to ask for."""

    job: TrainingJob
    name: str


class TrainedModel(Strict):
    """A succeeded job.

    Attributes:
        name: the name that `submit` returned.
        artefacts: URI of the folder that `workloads.spec` describes under `model/`.
        metrics: flat: validation_log_loss, validation_brier, validation_accuracy, validation_calibration_error,
            validation_n, and the same for test.
        seconds: wall time of the job.
        billed_seconds: what the provider bills for; 0 on one's own machine.
    """

    name: str
    job: TrainingJob
    provider: str
    state: Literal[JobState.SUCCEEDED] = JobState.SUCCEEDED
    artefacts: str
    metrics: dict[str, float]
    outcome: TrainingOutcome
    seconds: float
    billed_seconds: float

    @property
    def digest(self) -> str:
        """Of the model: the same inputs give the same digest."""
        return self.outcome.digest


class TrainingService(Protocol):
    """Somebody who trains models. See the module's docstring for what each call means."""

    provider: str

    def submit(self, job: TrainingJob, frame: pd.DataFrame, environment: Mapping[str, str] = NOTHING) -> str:
        """Starts a job on the rows of `frame` (columns KEYS and the job's features), whose digest the job must name.

        Args:
            environment: variables of the job's process, where it is one of its own: whom to tell how it goes. No part of
                the name; a job that is joined keeps those it was started with. A value has 512 characters at most.

        Returns:
            The name to ask for later.

        Raises:
            ServiceError: invalid (the frame is not the one the job names), quota, throttled, permission.
        """
        ...

    def poll(self, name: str) -> JobState:
        """Where the job is now. Raises ServiceError not_found."""
        ...

    def result(self, name: str) -> TrainedModel:
        """The model of a succeeded job.

        Raises:
            ServiceError: not_found; conflict (not finished, or cancelled); failed or timed_out with the reason; quota or
                throttled if the job failed for want of capacity, or by the provider's own fault.
        """
        ...

    def cancel(self, name: str) -> None:
        """Stops a job. Raises ServiceError not_found; conflict (it cannot be stopped from here)."""
        ...


def train(
    service: TrainingService, job: TrainingJob, frame: pd.DataFrame, *, every: float = 1.0,
    environment: Mapping[str, str] = NOTHING, look: Callable[[str, JobState], None] | None = None,
) -> TrainedModel:  # fmt: skip
    """Submits, waits, and returns the model; raises as `submit` and `result` do.

    Args:
        every, look: as `wait` takes them. environment: as `submit` takes it.
    """
    return wait(service, service.submit(job, frame, environment), every=every, look=look)


def wait(
    service: TrainingService, name: str, *, every: float = 1.0, look: Callable[[str, JobState], None] | None = None
) -> TrainedModel:
    """Waits for a submitted job and returns the model; raises as `poll` and `result` do.

    An interruption (Ctrl-C, a run that Dagster ends) cancels the job; a killed process leaves it to whoever asks next.

    Args:
        every: seconds between polls.
        look: told (name, state) at every poll, the last one included.
    """
    try:
        while True:
            state = service.poll(name)
            if look is not None:
                look(name, state)
            if state.finished:
                break
            time.sleep(every)
    except BaseException as interruption:
        if not isinstance(interruption, Exception):
            service.cancel(name)
        raise
    return service.result(name)


def artefact_folder(uri: str) -> Path:
    """Local folder of a `file://` URI. Raises ServiceError invalid for any other."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise ServiceError("invalid", f"{uri} is not on this machine; fetch it to a local folder first")
    return Path(unquote(parts.path))


def check_frame(job: TrainingJob, frame: pd.DataFrame) -> pa.Table:
    """The job's rows as Arrow. Raises ServiceError invalid if they are not the rows that the job names."""
    digest = training_set_digest(frame, job.features)
    if digest != job.training_set.digest:
        raise ServiceError(
            "invalid",
            f"the rows have digest {digest[:12]}, job {job.name} was made for {job.training_set.digest[:12]}"
            f" ({job.training_set.table} version {job.training_set.table_version}); make the job of the frame given",
        )
    return training_table(frame, job.features)
