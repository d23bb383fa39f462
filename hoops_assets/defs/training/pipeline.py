"""The candidates, their evaluations and the challenger made by one pipeline, its steps visible in the run's log.

What belongs here: the one step that follows a pipeline to its end and takes what it made to the registry, the ledger and the
assets, which are the same as where each is made by itself.
"""

from collections.abc import Callable

import dagster as dg
import pandas as pd

from hoops_assets.basketball.features import FEATURES
from hoops_assets.defs.lane import Lane, Made
from hoops_assets.defs.metadata import table
from hoops_assets.defs.resources import PipelinesResource, RecordResource, RegistryResource, Training
from hoops_assets.defs.training import assets as single
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.pipelines.contract import Pipeline, Progress, StepProgress, StepState, run
from hoops_assets.services.pipelines.steps import CANDIDATES, CHALLENGER, Step, evaluation_of, training_steps
from hoops_assets.services.training.code import code
from hoops_assets.services.training.contract import TrainedModel, TrainingJob, TrainingSet
from hoops_assets.store.io_manager import TablesResource

NAME = "training_pipeline"
TRAINING_SET = "training_set"


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    return [single.training_set_asset(lane), training_pipeline(lane)]


def made_of(learners: dict[str, str]) -> dict[str, Made]:
    """The assets of a pipeline's steps: what they come from is in the list of steps."""
    steps = {step.name: step for step in training_steps(learners)}
    made = {
        step.name: Made(_about(step, learners), ("onnx",), (TRAINING_SET, *step.needs))
        for step in steps.values()
        if step.kind in ("train", "evaluate")
    }
    challenger = Made("The candidate that the pipeline found best, and the evidence.", ("onnx",), tuple(made))
    return {**made, CHALLENGER: challenger}


def _about(step: Step, learners: dict[str, str]) -> str:
    return learners[step.learner] if step.kind == "train" else f"How {step.learner} does on seasons it has not seen."


def training_pipeline(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league.name

    @lane.together(
        single.STAGE,
        NAME,
        made_of(CANDIDATES),
        ins={"training_set": lane.input(TRAINING_SET)},
        check_specs=[single.parity_spec(lane, learner) for learner in CANDIDATES],
    )
    def pipeline(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        pipelines: PipelinesResource,
        registry: RegistryResource,
        record: RecordResource,
        training_set: TrainingSet,
    ):
        frame = tables.store.read(league, TRAINING_SET, version=training_set.table_version)
        jobs = tuple(
            TrainingJob(league=league, learner=learner, features=FEATURES, training_set=training_set, code=code())
            for learner in CANDIDATES
        )
        asked = Pipeline(league=league, jobs=jobs, parallelism=pipelines.parallelism, retries=pipelines.retries)

        def tell(step: StepProgress) -> None:
            (context.log.warning if step.state is StepState.FAILED else context.log.info)(_told(step))

        made, progress = run(pipelines.service(), asked, frame, tell=tell)
        results = [
            single.registered(
                context, job, _trained(made.models[job.learner]), made.models[job.learner].provider, registry, record
            )
            for job in jobs
        ]
        versions = [result.value for result in results]
        evaluations = [
            made.evaluations[version.learner].model_copy(update={"version": version.version}) for version in versions
        ]
        challenger = single.challenged(registry.service(), versions, evaluations)
        registry.mirror(league)
        if challenger.value.learner != made.challenger:
            raise ServiceError(
                "failed",
                f"pipeline {made.name} chose {made.challenger}, this code {challenger.value.learner}: its image has other"
                " code, build it again",
            )
        challenger.metadata.update(pipeline=made.name, steps=steps_table(progress))  # type: ignore[union-attr]
        return (
            *(_of(lane, version.learner, result) for version, result in zip(versions, results, strict=True)),
            *(_of(lane, evaluation_of(one.learner), single.evaluated(one)) for one in evaluations),
            _of(lane, CHALLENGER, challenger),
        )

    return pipeline


def steps_table(progress: Progress) -> dg.MarkdownMetadataValue:
    """The steps of a pipeline for people."""
    rows = [
        {
            "step": step.name, "kind": step.kind, "state": step.state.value, "attempts": step.attempts,
            "seconds": "-" if step.seconds is None else round(step.seconds, 1), "job": step.job or "-",
        }
        for step in progress.steps
    ]  # fmt: skip
    return table(pd.DataFrame(rows))


def _trained(model: TrainedModel) -> "Callable[[], Training]":
    return lambda: Training(model, {}, ())


def _of(lane: Lane, name: str, result: dg.MaterializeResult) -> dg.MaterializeResult:
    """A result as one of several assets of a step."""
    key = lane.key(name)
    checks = [check._replace(asset_key=key) for check in result.check_results or ()]
    return result._replace(asset_key=key, check_results=checks)


def _told(step: StepProgress) -> str:
    told = f"{step.name} ({step.kind}) is {step.state.value}"
    told += f", attempt {step.attempts}" if step.attempts > 1 else ""
    told += f", as {step.job}" if step.job else ""
    return f"{told}: {step.reason}" if step.reason else told
