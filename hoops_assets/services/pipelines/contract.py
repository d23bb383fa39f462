"""What every provider of pipelines keeps: the training steps of a league as one graph that it runs by itself.

A pipeline is named by its training jobs, so by data, learners, parameters, code and packages: the same always has the same
name. Its steps are those of `steps.training_steps`. States go queued -> running -> succeeded | failed | cancelled and never
back; a step is waiting -> running -> succeeded | failed | cancelled, or skipped: the condition went the other way, or a step
that it needs did not succeed.

- `start` returns the name to ask for later, as soon as the provider has the pipeline. A succeeded one of that name is
  reused, a running one is joined, a failed or cancelled one is started again; where names cannot be used twice, the name
  returned is the pipeline's with `-2`, `-3`, ... behind it.
- Steps whose needs are met run side by side, at most `parallelism` at once. A step that fails for a reason that may go
  away (no capacity, throttling, the provider's own fault) is tried again `retries` times; any other failure is final. After
  a failure no step begins; those that run go on to their end; then the pipeline is failed.
- The condition: the candidates' forecasts must be such as an honest model can make. If not, nobody is registered and the
  pipeline is failed, with the judgement's reason.
- `stop` of a finished pipeline changes nothing; of a running one it returns when every step has stopped; nothing is
  registered. Steps that had succeeded stay visible.
- A step over its job's `time_limit` is stopped and fails; `result` then raises kind `timed_out`.
- What a provider registers is for those who look there. Numbers and the challenger are given by the registry's record, to
  which the caller takes the result.
- Errors are `ServiceError` with one of its kinds; an unknown name is `not_found`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import pandas as pd
from pydantic import model_validator

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.pipelines.steps import Kind, Step, training_steps
from hoops_assets.services.training.contract import JobState, TrainedModel, TrainingJob, check_frame
from hoops_assets.workloads.evaluation import Evaluation
from hoops_assets.workloads.spec import Strict


class Pipeline(Strict):
    """What is to be run.

    Attributes:
        jobs: one a candidate, all on the same training set.
        parallelism: steps that may run at once.
        retries: how often a step is tried again after trouble that may go away.
    """

    league: str
    jobs: tuple[TrainingJob, ...]
    parallelism: int = 3
    retries: int = 2

    @model_validator(mode="after")
    def _one_of_each(self) -> Pipeline:
        learners = [job.learner for job in self.jobs]
        if not learners or len(set(learners)) != len(learners) or {job.league for job in self.jobs} != {self.league}:
            raise ValueError(f"a pipeline of {self.league} has one training job a candidate, all of that league")
        if self.parallelism < 1 or self.retries < 0:
            raise ValueError("parallelism is at least 1, retries at least 0")
        return self

    @property
    def name(self) -> str:
        """hoops-LEAGUE-training-DIGEST."""
        digest = hashlib.sha256("\n".join(sorted(job.name for job in self.jobs)).encode()).hexdigest()[:16]
        return f"hoops-{self.league.replace('_', '-')}-training-{digest}"

    @property
    def steps(self) -> tuple[Step, ...]:
        return training_steps(job.learner for job in self.jobs)

    def job(self, learner: str) -> TrainingJob:
        return {job.learner: job for job in self.jobs}[learner]


class StepState(StrEnum):
    """Where a step is."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class StepProgress(Strict):
    """One step as the provider tells it.

    Attributes:
        attempts: 0 before it began.
        job: the provider's name of what runs it, or what it made; "" without any.
        reason: why it failed.
    """

    name: str
    kind: Kind
    state: StepState = StepState.WAITING
    attempts: int = 0
    began: datetime | None = None
    ended: datetime | None = None
    job: str = ""
    reason: str = ""

    @property
    def seconds(self) -> float | None:
        """From its begin to its end; None before it ended."""
        return (self.ended - self.began).total_seconds() if self.began and self.ended else None


class Progress(Strict):
    """A pipeline as the provider tells it, its steps in the order of the list."""

    name: str
    state: JobState
    steps: tuple[StepProgress, ...]
    reason: str = ""

    def step(self, name: str) -> StepProgress:
        """Raises KeyError for a step that is none."""
        return {one.name: one for one in self.steps}[name]


class PipelineResult(Strict):
    """A succeeded pipeline.

    Attributes:
        models, evaluations: by learner; an evaluation's version is 0 until the model has one.
        challenger: the learner that should challenge. evidence: why, for the record.
        registered: the provider's own name of the package it registered; "" where it has no registry.
    """

    name: str
    provider: str
    models: dict[str, TrainedModel]
    evaluations: dict[str, Evaluation]
    challenger: str
    evidence: dict[str, Any]
    registered: str = ""


class PipelineService(Protocol):
    """Somebody who runs pipelines. See the module's docstring for what each call means."""

    provider: str

    def start(self, pipeline: Pipeline, frame: pd.DataFrame) -> str:
        """Starts a pipeline on the rows of `frame`, whose digest its jobs must name; returns the name to ask for.

        Raises:
            ServiceError: invalid (the frame is not the one the jobs name), quota, throttled, permission.
        """
        ...

    def follow(self, name: str) -> Progress:
        """Where it and each of its steps are now. Raises ServiceError not_found."""
        ...

    def result(self, name: str) -> PipelineResult:
        """What a succeeded pipeline made.

        Raises:
            ServiceError: not_found; conflict (not finished, or stopped); failed, timed_out, quota or throttled with the
                reason of the step that failed.
        """
        ...

    def stop(self, name: str) -> None:
        """Stops a pipeline. Raises ServiceError not_found."""
        ...


def run(
    service: PipelineService, pipeline: Pipeline, frame: pd.DataFrame, *, every: float = 1.0,
    tell: Callable[[StepProgress], None] = lambda step: None,
) -> tuple[PipelineResult, Progress]:  # fmt: skip
    """Starts, follows to the end, and returns the result and the last progress; raises as `start` and `result` do.

    An interruption (Ctrl-C, a run that Dagster ends) stops the pipeline; a killed process leaves it to whoever asks next.

    Args:
        every: seconds between looks. tell: called with a step whenever its state or number of attempts has changed.
    """
    name = service.start(pipeline, frame)
    known: dict[str, tuple[StepState, int]] = {}
    try:
        while True:
            progress = service.follow(name)
            for step in progress.steps:
                now = (step.state, step.attempts)
                if now != known.get(step.name, (StepState.WAITING, 0)):
                    tell(step)
                known[step.name] = now
            if progress.state.finished:
                return service.result(name), progress
            time.sleep(every)
    except BaseException as interruption:
        if not isinstance(interruption, Exception):
            service.stop(name)
        raise


def check_frames(pipeline: Pipeline, frame: pd.DataFrame) -> None:
    """Raises ServiceError invalid if the rows are not those that every job names."""
    for job in pipeline.jobs:
        check_frame(job, frame)


def no_pipeline(name: str) -> ServiceError:
    return ServiceError("not_found", f"no pipeline {name}; start it first")


def unfinished(name: str, state: JobState) -> ServiceError:
    return ServiceError("conflict", f"pipeline {name} is {state.value}; only a succeeded one has a result")
