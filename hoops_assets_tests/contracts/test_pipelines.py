"""What every provider of pipelines keeps."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pandas as pd
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.pipelines.contract import Pipeline, PipelineService, Progress, StepState, run
from hoops_assets.services.training.contract import JobState
from hoops_assets_tests.contracts.providers import Provider
from hoops_assets_tests.workloads.frames import CODE, job, training_frame

LEARNERS = ("base_rate", "elo")


@pytest.fixture(scope="module")
def service(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> PipelineService:
    return provider.pipelines(tmp_path_factory.mktemp("pipelines"))


def pipeline(frame: pd.DataFrame, learners: Sequence[str] = LEARNERS, seed: int = 0, **changes: object) -> Pipeline:
    jobs = tuple(job(frame, learner, seed=seed, **changes) for learner in learners)
    return Pipeline(league="sim", jobs=jobs, parallelism=2)


def settled(service: PipelineService, name: str) -> Progress:
    while not (progress := service.follow(name)).state.finished:
        time.sleep(0.05)
    return progress


@pytest.mark.slow_on("local")
def test_a_pipeline_trains_evaluates_judges_and_registers_and_asking_again_reuses_it(
    service: PipelineService, frame: pd.DataFrame
) -> None:
    asked, told = pipeline(frame), []
    result, progress = run(service, asked, frame, every=0.05, tell=told.append)
    assert progress.state is JobState.SUCCEEDED
    assert [step.name for step in progress.steps] == [step.name for step in asked.steps]
    assert {step.name for step in progress.steps if step.state is not StepState.SUCCEEDED} == {"refused"}
    assert progress.step("refused").state is StepState.SKIPPED
    ended = {step.name: step.ended for step in progress.steps}
    for step in asked.steps:
        for need in step.needs if step.name != "refused" else ():
            assert ended[need] <= ended[step.name]
    assert all(step.attempts == 1 and step.began and step.seconds is not None for step in progress.steps[:-1])
    assert {(step.name, step.state) for step in told} >= {("elo", StepState.SUCCEEDED), ("honest", StepState.SUCCEEDED)}

    assert (result.provider, set(result.models)) == (service.provider, set(LEARNERS))
    assert all(result.models[one.learner].job == one for one in asked.jobs)
    best = min(LEARNERS, key=lambda learner: result.models[learner].metrics["validation_log_loss"])
    assert result.challenger == best
    assert result.evidence["chosen_by"] == "validation_log_loss"
    assert set(result.evaluations["elo"].game_ids) <= set(frame["game_id"])
    assert result.evaluations["elo"].metrics == result.models["elo"].metrics

    name = service.start(asked, frame.sample(frac=1, random_state=1))
    assert name == result.name
    service.stop(name)
    assert service.follow(name).state is JobState.SUCCEEDED
    assert service.result(name) == result


@pytest.mark.slow
def test_a_failed_step_fails_the_pipeline_with_its_reason_and_it_may_be_started_again(
    service: PipelineService, frame: pd.DataFrame
) -> None:
    jobs = (job(frame, "base_rate"), job(frame, "logistic", parameters={"C": -1}))
    asked = Pipeline(league="sim", jobs=jobs, parallelism=2)
    name = service.start(asked, frame)
    progress = settled(service, name)
    assert progress.state is JobState.FAILED
    assert progress.step("logistic").state is StepState.FAILED
    assert progress.step("logistic").attempts == 1
    for never in ("logistic_evaluation", "judgement", "honest", "challenger"):
        assert (progress.step(never).state, progress.step(never).attempts) == (StepState.SKIPPED, 0)
    with pytest.raises(ServiceError, match=r"pipeline hoops-sim-training-.* failed: .*parameter") as failed:
        service.result(name)
    assert failed.value.kind == "failed"
    again = service.start(asked, frame)
    assert again.startswith(asked.name)
    service.stop(again)
    assert service.follow(again).state.finished


@pytest.mark.slow
def test_a_stopped_pipeline_registers_nothing_and_may_be_started_again(
    service: PipelineService, frame: pd.DataFrame
) -> None:
    asked = pipeline(frame, seed=1)
    name = service.start(asked, frame)
    with pytest.raises(ServiceError, match="only a succeeded one") as early:
        service.result(name)
    assert early.value.kind == "conflict"
    assert service.start(asked, frame) == name
    service.stop(name)
    progress = service.follow(name)
    assert progress.state is JobState.CANCELLED
    assert {step.state for step in progress.steps} <= {StepState.CANCELLED, StepState.SUCCEEDED}
    assert progress.step("challenger").state is StepState.CANCELLED
    service.stop(name)
    with pytest.raises(ServiceError) as stopped:
        service.result(name)
    assert stopped.value.kind == "conflict"
    result, _ = run(service, asked, frame, every=0.05)
    assert result.challenger in LEARNERS


@pytest.mark.slow
def test_forecasts_too_good_to_be_true_register_nobody(service: PipelineService) -> None:
    seen = training_frame(2800).assign(rest_difference=lambda rows: rows["home_win"] * 10.0)
    name = service.start(pipeline(seen, ("elo", "logistic")), seen)
    progress = settled(service, name)
    assert progress.state is JobState.FAILED
    assert progress.step("challenger").state is StepState.SKIPPED
    assert progress.step("refused").state is StepState.FAILED
    with pytest.raises(ServiceError, match="no honest forecast") as failed:
        service.result(name)
    assert failed.value.kind == "failed"


def test_other_rows_than_the_jobs_name_are_refused(service: PipelineService, frame: pd.DataFrame) -> None:
    with pytest.raises(ServiceError, match="the rows have digest") as refused:
        service.start(pipeline(frame), frame.assign(home_win=~frame["home_win"]))
    assert refused.value.kind == "invalid"


@pytest.mark.parametrize("call", ["follow", "result", "stop"])
@pytest.mark.parametrize("name", ["hoops-sim-training-0123456789abcdef", "nothing"])
def test_an_unknown_name_is_not_found(service: PipelineService, call: str, name: str) -> None:
    with pytest.raises(ServiceError, match=f"no pipeline {name}") as missing:
        getattr(service, call)(name)
    assert missing.value.kind == "not_found"


def test_a_name_is_of_the_jobs_and_fits_every_provider(frame: pd.DataFrame) -> None:
    base = pipeline(frame)
    assert base.name == pipeline(frame, LEARNERS[::-1]).name
    others = [pipeline(frame, seed=2), pipeline(frame, ("elo",)), pipeline(frame.head(590))]
    others.append(pipeline(frame, code=CODE.model_copy(update={"digest": "f" * 64})))
    assert len({base.name, *(one.name for one in others)}) == 1 + len(others)
    league = "l" + "_x" * 19 + "y"
    long = Pipeline(league=league, jobs=(job(frame, league=league),))
    for one in (base, long, *others):
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,81}", f"{one.name}-99"), one.name
    with pytest.raises(ValueError, match="one training job a candidate"):
        pipeline(frame, ("elo", "elo"))
