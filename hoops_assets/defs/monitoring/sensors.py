"""What an alarm starts by itself: one training for a red edge, when its time has come.

What belongs here: when a training is asked for. The rule is in `services.monitoring.reaction`; whether a newly trained
version ever serves is decided by the gate and the verdict.
"""

from datetime import date

import dagster as dg

from hoops_assets.defs import story
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.resources import RecordResource, RegistryResource, SourcesResource
from hoops_assets.defs.training.jobs import settled_since_training, training_job_name, training_request
from hoops_assets.services.monitoring.reaction import Ask, Asked, decide, standing
from hoops_assets.store.io_manager import TablesResource

EDGES, ASKED_ON = "hoops/edges", "hoops/asked_on"
"""Tags of a training that alarms asked for: row ids of their edges, and the day in league time."""

REMEMBERED = 200
"""Runs of the training job that are looked through for those that alarms asked for."""


def sensors(lane: Lane) -> list[dg.SensorDefinition]:
    return [_drift(lane)]


def _drift(lane: Lane) -> dg.SensorDefinition:
    """The cursor is the row id up to which all edges are settled: answered, turned green, or given up."""
    league = lane.league

    @dg.sensor(
        name=f"{league.name}_drift",
        job_name=training_job_name(lane),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Trains once for every alarm of drift that a training may answer, and says what it waits for.",
    )
    def drift(
        context: dg.SensorEvaluationContext,
        tables: TablesResource,
        registry: RegistryResource,
        record: RecordResource,
        sources: SourcesResource,
    ) -> dg.SensorResult:
        from hoops_assets.store.alarms import history

        through = int(context.cursor or 0)
        asked = _asked(context.instance, lane)
        found = standing(history(record.open(), league.name), asked, lane.reaction, through)
        told = "; ".join(found.settled)
        if not found.pending:
            return dg.SensorResult(skip_reason=told or "no alarm asks for a training", cursor=str(found.through))
        today = sources.clock().astimezone(league.zone).date()
        games = settled_since_training(tables.store, registry.service(), league.name)
        due = decide(found.pending, asked, games, today, lane.reaction)
        if not isinstance(due, Ask):
            reason = f"{due}; {told}" if told else due
            return dg.SensorResult(skip_reason=reason, cursor=str(found.through))
        if told:
            context.log.info(told)
        request = training_request(lane, _run_key(lane, due), _tags(lane, due, today))
        return dg.SensorResult([request], cursor=str(found.through))

    return drift


def _run_key(lane: Lane, due: Ask) -> str:
    return f"{lane.league.name}:drift:{due.first.id}:{due.attempt}"


def _tags(lane: Lane, due: Ask, today: date) -> dict[str, str]:
    began = due.first.at
    assert began is not None
    day = began.astimezone(lane.league.zone).date()
    return {
        **story.tags(story.named(lane.league.name, due.first.alarm, day)),
        EDGES: ",".join(str(edge.id) for edge in due.edges),
        ASKED_ON: today.isoformat(),
    }


def _asked(instance: dg.DagsterInstance, lane: Lane) -> list[Asked]:
    """The trainings that alarms asked for, as their runs say."""
    runs = instance.get_runs(dg.RunsFilter(job_name=training_job_name(lane)), limit=REMEMBERED)
    return [
        Asked(
            frozenset(int(edge) for edge in run.tags[EDGES].split(",")),
            date.fromisoformat(run.tags[ASKED_ON]),
            "succeeded" if run.is_success else "failed" if run.is_finished else "under way",
        )
        for run in runs
        if EDGES in run.tags
    ]
