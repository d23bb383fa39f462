"""Pipelines on this machine.

What belongs here: the local provider of the pipeline contract. A pipeline is a folder ROOT/NAME: pipeline.json (what is to
be run), progress.json (where it is, replaced at every change), given/, evaluations/ and judgement/. Its steps run in
threads of this process; training goes through a training service, whoever provides it. A pipeline whose process has died is
failed, and starting it again reuses the models that were made.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq
from pydantic import Field

from hoops_assets.errors import HoopsError
from hoops_assets.services.errors import ErrorKind, ServiceError
from hoops_assets.services.pipelines.contract import (
    Pipeline,
    PipelineResult,
    Progress,
    StepProgress,
    StepState,
    check_frames,
    no_pipeline,
    unfinished,
)
from hoops_assets.services.pipelines.steps import Step
from hoops_assets.services.training.contract import JobState, TrainedModel, TrainingService, artefact_folder
from hoops_assets.store import atomic, processes
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads.evaluation import Evaluation
from hoops_assets.workloads.spec import Strict, training_table

if TYPE_CHECKING:
    from hoops_assets.workloads.judgement import Judgement

_PIPELINE, _PROGRESS = "pipeline.json", "progress.json"
KEPT = 5
_LOST = "the process that ran it has ended; start it again, what is done is reused"


class _Owner(Strict):
    pid: int
    born: float


class _Noted(Strict):
    owner: _Owner
    progress: Progress
    kinds: dict[str, ErrorKind] = Field(default_factory=dict)


class _Stopped(Exception):  # noqa: N818
    pass


class LocalPipelines:
    """See the contract.

    Args:
        root: of the pipelines' folders, of which the latest KEPT of each league are kept.
        training: who trains, each job in a process of its own: several run at once, and a stop ends them.
        every: seconds between looks at training jobs.
    """

    provider = "local"

    def __init__(self, root: Path, training: TrainingService, *, every: float = 0.1) -> None:
        self.root = Path(root)
        self._training = training
        self._every = every
        self._runs: dict[str, _Run] = {}

    def start(self, pipeline: Pipeline, frame: pd.DataFrame) -> str:
        """See the contract."""
        check_frames(pipeline, frame)
        folder = self.root / pipeline.name
        with atomic.locked(self.root / ".locks" / pipeline.name):
            noted = _read(folder)
            if noted is not None and noted.progress.state in (JobState.RUNNING, JobState.SUCCEEDED):
                return pipeline.name
            shutil.rmtree(folder, ignore_errors=True)
            self._prune(pipeline.name)
            folder.mkdir(parents=True)
            atomic.write_text(folder / _PIPELINE, pipeline.model_dump_json())
            for job in pipeline.jobs:
                given = folder / "given" / job.learner
                given.mkdir(parents=True)
                atomic.write_json(given / layout.SPEC, job.spec.model_dump(mode="json"))
                pq.write_table(training_table(frame, job.features), given / layout.TRAINING_SET)
            run = _Run(folder, pipeline, frame, self._training, self._every)
            self._runs[pipeline.name] = run
            run.start()
        return pipeline.name

    def follow(self, name: str) -> Progress:
        """See the contract."""
        return self._noted(name).progress

    def result(self, name: str) -> PipelineResult:
        """See the contract."""
        from hoops_assets.workloads.judgement import EVALUATION, JUDGEMENT, Judgement

        noted, folder = self._noted(name), self.root / name
        progress = noted.progress
        if progress.state is JobState.FAILED:
            failed = next((step for step in progress.steps if step.state is StepState.FAILED), None)
            kind = noted.kinds.get(failed.name, "failed") if failed else "failed"
            raise ServiceError(kind, f"pipeline {name} failed: {progress.reason}")
        if progress.state is not JobState.SUCCEEDED:
            raise unfinished(name, progress.state)
        pipeline = Pipeline.model_validate_json((folder / _PIPELINE).read_bytes())
        judged = Judgement.model_validate_json((folder / "judgement" / JUDGEMENT).read_bytes())
        learners = [job.learner for job in pipeline.jobs]
        return PipelineResult(
            name=name, provider=self.provider,
            models={learner: self._training.result(progress.step(learner).job) for learner in learners},
            evaluations={
                one: Evaluation.model_validate_json((folder / "evaluations" / one / EVALUATION).read_bytes())
                for one in learners
            },
            challenger=judged.challenger, evidence=judged.evidence,
        )  # fmt: skip

    def stop(self, name: str) -> None:
        """See the contract. A pipeline of another living process is refused as `conflict`: end that run instead."""
        noted = self._noted(name)
        if noted.progress.state.finished:
            return
        run = self._runs.get(name)
        if run is None:
            raise ServiceError("conflict", f"pipeline {name} runs in process {noted.owner.pid}; end that run")
        run.stop()

    def _prune(self, name: str) -> None:
        """Forgets the oldest finished pipelines of the league, so that KEPT are left beside a new one."""
        own = sorted(self.root.glob(f"{name[:-16]}????????????????"), key=lambda one: one.stat().st_mtime)
        for old in own[:-KEPT]:
            noted = _read(old)
            if noted is None or noted.progress.state.finished:
                shutil.rmtree(old, ignore_errors=True)

    def _noted(self, name: str) -> _Noted:
        noted = _read(self.root / name)
        if noted is None:
            raise no_pipeline(name)
        return noted


class _Run:
    """One pipeline while it runs: a thread that begins steps, and threads that do them."""

    def __init__(
        self, folder: Path, pipeline: Pipeline, frame: pd.DataFrame, training: TrainingService, every: float
    ) -> None:
        self._folder, self._pipeline, self._frame = folder, pipeline, frame
        self._training, self._every = training, every
        self._steps = {step.name: step for step in pipeline.steps}
        self._told = {step.name: StepProgress(name=step.name, kind=step.kind) for step in pipeline.steps}
        self._kinds: dict[str, ErrorKind] = {}
        self._models: dict[str, TrainedModel] = {}
        self._outcomes: dict[str, bool] = {}
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._owner = _Owner(pid=os.getpid(), born=processes.born(os.getpid()) or 0.0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._note(JobState.RUNNING)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(self._pipeline.parallelism) as pool:
            while True:
                for step in self._ready()[: self._pipeline.parallelism - len(running)]:
                    self._change(step.name, state=StepState.RUNNING, began=datetime.now(UTC))
                    running[pool.submit(self._step, step)] = step.name
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[future]
        self._settle()

    def _ready(self) -> list[Step]:
        states = {name: told.state for name, told in self._told.items()}
        if self._stopping.is_set() or StepState.FAILED in states.values():
            return []
        return [
            step
            for name, step in self._steps.items()
            if states[name] is StepState.WAITING
            and all(states[need] is StepState.SUCCEEDED for need in step.needs)
            and (step.branch is None or all(self._outcomes[need] == step.branch for need in step.needs))
        ]

    def _step(self, step: Step) -> None:
        state, reason = StepState.FAILED, ""
        try:
            while True:
                self._change(step.name, attempts=self._told[step.name].attempts + 1)
                try:
                    self._attempt(step)
                    break
                except ServiceError as error:
                    passing = error.kind in ("quota", "throttled")
                    if not passing or self._told[step.name].attempts > self._pipeline.retries:
                        raise
                    self._stopping.wait(self._every)
            state = StepState.SUCCEEDED
        except _Stopped:
            state = StepState.CANCELLED
        except ServiceError as error:
            reason, self._kinds[step.name] = str(error), error.kind
        except Exception as error:
            reason = str(error) if isinstance(error, HoopsError) else f"{type(error).__name__}: {error}"
        self._change(step.name, state=state, reason=reason, ended=datetime.now(UTC))

    def _attempt(self, step: Step) -> None:
        from hoops_assets.workloads import judgement as workload

        if self._stopping.is_set():
            raise _Stopped
        folder, learner = self._folder, step.learner
        if step.kind == "train":
            self._train(step)
        elif step.kind == "evaluate":
            model = artefact_folder(self._models[learner].artefacts)
            workload.run_evaluate(folder / "given" / learner, model, folder / "evaluations" / learner)
        elif step.kind == "judge":
            workload.run_judge(folder / "evaluations", folder / "judgement")
        elif step.kind == "condition":
            self._outcomes[step.name] = self._judged().honest
        elif step.kind == "refuse":
            raise ServiceError("failed", self._judged().told)
        # There is no registry here beside the record: the caller takes the challenger there.

    def _judged(self) -> Judgement:
        from hoops_assets.workloads.judgement import JUDGEMENT, Judgement

        return Judgement.model_validate_json((self._folder / "judgement" / JUDGEMENT).read_bytes())

    def _train(self, step: Step) -> None:
        name = self._training.submit(self._pipeline.job(step.learner), self._frame)
        self._change(step.name, job=name)
        while not self._training.poll(name).finished:
            if self._stopping.is_set():
                self._training.cancel(name)
                if self._training.poll(name) is not JobState.SUCCEEDED:
                    raise _Stopped
            time.sleep(self._every)
        self._models[step.learner] = self._training.result(name)

    def _settle(self) -> None:
        states = {told.state for told in self._told.values()}
        failed = next((told for told in self._told.values() if told.state is StepState.FAILED), None)
        left = StepState.CANCELLED if self._stopping.is_set() and failed is None else StepState.SKIPPED
        for name, told in self._told.items():
            if told.state is StepState.WAITING:
                decided = self._steps[name].branch is not None and set(self._steps[name].needs) <= set(self._outcomes)
                self._told[name] = told.model_copy(update={"state": StepState.SKIPPED if decided else left})
        if failed is not None:
            self._note(JobState.FAILED, f"{failed.name}: {failed.reason}")
        elif StepState.CANCELLED in states | {told.state for told in self._told.values()}:
            self._note(JobState.CANCELLED, "it was stopped")
        else:
            self._note(JobState.SUCCEEDED)

    def _change(self, name: str, **changes: object) -> None:
        with self._changing:
            self._told[name] = self._told[name].model_copy(update=changes)
            self._note(JobState.RUNNING)

    def _note(self, state: JobState, reason: str = "") -> None:
        progress = Progress(name=self._folder.name, state=state, steps=tuple(self._told.values()), reason=reason)
        noted = _Noted(owner=self._owner, progress=progress, kinds=self._kinds)
        atomic.write_text(self._folder / _PROGRESS, noted.model_dump_json())


def _read(folder: Path) -> _Noted | None:
    """What is noted of a pipeline; one whose process is gone is failed."""
    try:
        noted = _Noted.model_validate_json((folder / _PROGRESS).read_bytes())
    except FileNotFoundError:
        return None
    if noted.progress.state.finished or _alive(noted.owner):
        return noted
    # It may have finished between the look at its file and the look at its process.
    noted = _Noted.model_validate_json((folder / _PROGRESS).read_bytes())
    if noted.progress.state.finished:
        return noted
    steps = tuple(
        step.model_copy(update={"state": StepState.FAILED, "reason": _LOST})
        if step.state is StepState.RUNNING
        else step
        for step in noted.progress.steps
    )
    lost = noted.progress.model_copy(update={"state": JobState.FAILED, "reason": _LOST, "steps": steps})
    return noted.model_copy(update={"progress": lost})


def _alive(owner: _Owner) -> bool:
    return processes.born(owner.pid) == owner.born
