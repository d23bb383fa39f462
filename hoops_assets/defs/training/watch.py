"""Long jobs: the run that submits ends at once, a sensor watches the jobs, and a second run registers what they made.

What belongs here: what the lane has instead of waiting when `training_wait` is false. A learner then has three assets:
LEARNER_submission (the job as it was submitted), LEARNER_job (external: the sensor reports that it has ended) and LEARNER
itself, the registered version. Nothing is kept but the materialisations and the sensor's cursor: whatever process asks
next finds the same jobs by their names.
"""

import dagster as dg
from pydantic import BaseModel, ValidationError

from hoops_assets.basketball.features import FEATURES
from hoops_assets.defs import story
from hoops_assets.defs.lane import OWNERS, Lane
from hoops_assets.defs.metadata import launched_from
from hoops_assets.defs.resources import RecordResource, TrainingResource
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.built_in import BUILT_IN, fit_on
from hoops_assets.services.training.code import code
from hoops_assets.services.training.contract import (
    JobState,
    Submission,
    TrainedModel,
    TrainingJob,
    TrainingService,
    TrainingSet,
)
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.io_manager import TablesResource

STAGE = "training"
PASSING = ("quota", "throttled")
"""Kinds of failure after which the same job is submitted again: the provider's trouble, not the job's."""

JOB, RUN = "training_job", "submitted_by"
"""Metadata: the provider's name of the job, and the run that submitted it."""


def submission_asset(lane: Lane, learner: str) -> dg.AssetsDefinition:
    league = lane.league.name

    @lane.asset(
        STAGE,
        f"{learner}_submission",
        f"The training job of {learner}, submitted; a sensor waits for its end.",
        kinds={"json"},
        ins={"training_set": lane.input("training_set")},
    )
    def submission(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        training: TrainingResource,
        record: RecordResource,
        training_set: TrainingSet,
    ) -> dg.MaterializeResult[Submission]:
        frame = tables.store.read(league, "training_set", version=training_set.table_version)
        job = TrainingJob(
            league=league, learner=learner, features=FEATURES, training_set=training_set, code=code(),
            fit_on=fit_on(learner),
        )  # fmt: skip
        service = training.service()
        with record.open().launch(
            league,
            "submission",
            learner,
            provider=training.provider,
            launched_from=launched_from(context),
            run_id=context.run_id,
        ) as launch:
            launch.job = service.submit(job, frame)
        _end_superseded(context, service, launch.job)
        return dg.MaterializeResult(
            value=Submission(job=job, name=launch.job),
            data_version=dg.DataVersion(launch.job),
            metadata={JOB: launch.job, RUN: context.run_id, story.TAG: context.run.tags.get(story.TAG, "")},
        )

    return submission


def _end_superseded(context: dg.AssetExecutionContext, service: TrainingService, name: str) -> None:
    """Stops the job that was submitted before, if it still runs on what is no longer the training set: nobody waits for it."""
    before = _told(context.instance, context.asset_key).get(JOB)
    if not before or before == name:
        return
    try:
        if not service.poll(before).finished:
            context.log.info(f"training job {before} is superseded and is stopped")
            service.cancel(before)
    except ServiceError as error:
        if error.kind != "not_found":
            context.log.warning(f"training job {before} is superseded and could not be stopped: {error}")


def job_spec(lane: Lane, learner: str) -> dg.AssetSpec:
    league = lane.league.name
    return dg.AssetSpec(
        lane.key(f"{learner}_job"),
        deps=[lane.key(f"{learner}_submission")],
        group_name=f"{league}_{STAGE}",
        owners=[OWNERS[STAGE]],
        tags={"hoops/league": league, "hoops/step": STAGE},
        description=f"The provider's training job of {learner}: reported here when it has ended.",
    )


class Cursor(BaseModel):
    """What the sensor has done.

    Attributes:
        settled: learner -> run whose submission needs nothing more.
        told: learner -> run whose submission's end was reported.
        again: learner -> how often the job was submitted again because its provider had trouble.
    """

    settled: dict[str, str] = {}
    told: dict[str, str] = {}
    again: dict[str, int] = {}

    @classmethod
    def of(cls, text: str | None) -> "Cursor":
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()  # of another version of the platform: what has been registered is seen in the assets


def sensor(lane: Lane, learners: list[str]) -> dg.SensorDefinition:
    """Looks at all submitted jobs; when the last has ended, asks for the run that registers those that succeeded."""
    league = lane.league.name
    made = [key for learner in learners for key in _made_of(lane, learner)]
    submissions = [lane.key(f"{learner}_submission") for learner in learners]

    @dg.sensor(
        name=f"{league}_training_jobs",
        target=[*submissions, *made, lane.key("challenger")],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Watches submitted training jobs; when all have ended, has their models registered and judged.",
    )
    def training_jobs(
        context: dg.SensorEvaluationContext, training: TrainingResource, record: RecordResource
    ) -> dg.SensorResult:
        cursor = Cursor.of(context.cursor)
        submitted = {learner: _told(context.instance, lane.key(f"{learner}_submission")) for learner in learners}
        pending = {
            learner: told
            for learner, told in submitted.items()
            if told and cursor.settled.get(learner) != told[RUN] and not _registered(context, lane, learner, told)
        }
        if not pending:
            return dg.SensorResult(skip_reason="no submitted job waits to be registered")
        service, running, failed, events = training.service(), [], dict[str, ServiceError](), []
        for learner, told in pending.items():
            try:
                ended = _end_of(service, told[JOB])
            except ServiceError as error:
                return dg.SensorResult(
                    skip_reason=f"{training.provider} does not answer: {error}",
                    cursor=cursor.model_dump_json(),
                    asset_events=events,
                )
            if ended is None:
                running.append(learner)
                continue
            if isinstance(ended, ServiceError):
                failed[learner] = ended
            if cursor.told.get(learner) != told[RUN]:
                event = _event(lane, learner, told, ended)
                if event is not None and not _reported(context, lane, learner, told):
                    events.append(event)
                cursor.told[learner] = told[RUN]
        if running:
            return dg.SensorResult(
                skip_reason=f"{len(running)} of {len(pending)} jobs have not ended: {', '.join(running)}",
                cursor=cursor.model_dump_json(),
                asset_events=events,
            )

        limit = lane.step(STAGE).retries
        again = [name for name, error in failed.items() if error.kind in PASSING and cursor.again.get(name, 0) < limit]
        if again:
            for learner in again:
                cursor.again[learner] = cursor.again.get(learner, 0) + 1
            wanted = [lane.key(f"{learner}_submission") for learner in again]
            what = "again"
        else:
            succeeded = [learner for learner in pending if learner not in failed]
            wanted = [key for learner in succeeded for key in _made_of(lane, learner)]
            if not failed and all(one in succeeded or _told(context.instance, lane.key(one)) for one in learners):
                wanted.append(lane.key("challenger"))
            for learner, told in pending.items():
                cursor.settled[learner] = told[RUN]
                cursor.again.pop(learner, None)
                _tell_people(record, league, learner, told, failed.get(learner))
            what = "register"
        stories = {told[story.TAG] for told in pending.values() if told[story.TAG]}
        requests = []
        if wanted:
            # Its run key makes a second request of the same kind for the same submissions the same request.
            runs = ",".join(sorted({told[RUN] for told in pending.values()}))
            requests.append(
                dg.RunRequest(
                    run_key=f"{league}:{what}:{runs}",
                    asset_selection=wanted,
                    tags={"hoops/league": league, "hoops/step": STAGE, **story.tags(max(stories, default=None))},
                )
            )
        return dg.SensorResult(
            run_requests=requests or None,
            skip_reason=None if requests else "every job failed or was stopped; see the alarms",
            cursor=cursor.model_dump_json(),
            asset_events=events,
        )

    return training_jobs


def _made_of(lane: Lane, learner: str) -> list[dg.AssetKey]:
    """What is made of a learner's job; a provider's own learner is not walked forward."""
    names = (learner,) if learner in BUILT_IN else (learner, f"{learner}_evaluation")
    return [lane.key(name) for name in names]


def _end_of(service: TrainingService, name: str) -> TrainedModel | ServiceError | None:
    """The model of a job that has ended, or why it has none; None while it runs.

    Raises:
        ServiceError: the provider could not be asked.
    """
    try:
        state = service.poll(name)
    except ServiceError as error:
        if error.kind != "not_found":
            raise
        return error
    if not state.finished:
        return None
    try:
        return service.result(name)
    except ServiceError as error:
        if state is JobState.SUCCEEDED and error.kind != "failed":
            raise
        return error


def _event(
    lane: Lane, learner: str, told: dict[str, str], ended: TrainedModel | ServiceError
) -> "dg.AssetMaterialization | dg.AssetObservation":
    key, common = lane.key(f"{learner}_job"), {JOB: told[JOB], RUN: told[RUN]}
    if isinstance(ended, ServiceError):
        return dg.AssetObservation(key, metadata={**common, "state": ended.kind, "reason": str(ended)})
    return dg.AssetMaterialization(
        key,
        metadata={
            **common,
            "provider": ended.provider,
            "seconds": round(ended.seconds, 2),
            "billed_seconds": ended.billed_seconds,
            **{name: value for name, value in sorted(ended.metrics.items()) if name.endswith(("log_loss", "brier"))},
        },
    )


def _tell_people(
    record: RecordResource, league: str, learner: str, told: dict[str, str], error: ServiceError | None
) -> None:
    from hoops_assets.services.monitoring.alerts import raise_alarm

    text = str(error) if error else f"training job {told[JOB]} succeeded"
    state, evidence = "red" if error else "green", {JOB: told[JOB]}
    raise_alarm(record.open(), Alarm(league, f"training/{learner}", state, text, evidence, told[RUN]))


def _reported(context: dg.SensorEvaluationContext, lane: Lane, learner: str, told: dict[str, str]) -> bool:
    """Whether a sensor that was killed before it could keep its cursor has reported this end already."""
    return _told(context.instance, lane.key(f"{learner}_job")).get(RUN) == told[RUN]


def _registered(context: dg.SensorEvaluationContext, lane: Lane, learner: str, told: dict[str, str]) -> bool:
    """Whether the job's model is registered: by a person who did not wait for the sensor."""
    return _told(context.instance, lane.key(learner)).get(JOB) == told[JOB]


def _told(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """The text metadata of an asset's last materialisation."""
    event = instance.get_latest_materialization_event(key)
    found = event.asset_materialization if event else None
    values = {name: value.value for name, value in (found.metadata if found else {}).items()}
    return {name: value for name, value in values.items() if isinstance(value, str)}
