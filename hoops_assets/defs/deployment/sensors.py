"""Sensors that move a trial on: a challenger is tried, judged once per settled game day, and withdrawn if it is ill.

What belongs here: when an asset of the stage is asked for, and asked for again after a run that failed. Whether traffic
moves is decided by the asset itself. Live deployment needs no sensor here: the automation condition of `live_endpoint`
waits for the verdict.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import dagster as dg

from hoops_assets.defs import story
from hoops_assets.defs.deployment.checks import ROLL_OUT, refused_by_gate
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.resources import PredictionResource, RecordResource, RegistryResource
from hoops_assets.store.io_manager import TablesResource

ASKED_FOR = "hoops/asked_for"
"""Tag of a run: what a sensor wanted of it, the same for every attempt."""

FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
FINISHED = (*FAILED, dg.DagsterRunStatus.SUCCESS)

FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
"""After the first attempt that failed, and at most; it doubles from attempt to attempt."""


def sensors(lane: Lane) -> list[dg.SensorDefinition]:
    return [_challenger(lane), _verdict(lane), _health(lane), _automation(lane)]


def _automation(lane: Lane) -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        f"{lane.league.name}_live",
        target=dg.AssetSelection.assets(lane.key("live_endpoint")),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description=f"Gives a canary all traffic once the check {ROLL_OUT} of its verdict has passed.",
    )


def _challenger(lane: Lane) -> dg.SensorDefinition:
    """Once per challenger and champion: a version that the gate refused is not tried again by itself."""
    league = lane.league

    @dg.sensor(
        name=f"{league.name}_challenger",
        target=[lane.key("canary_endpoint")],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tries a new challenger as soon as no other version is on trial.",
    )
    def challenger(
        context: dg.SensorEvaluationContext, registry: RegistryResource, record: RecordResource
    ) -> dg.RunRequest | dg.SkipReason:
        from hoops_assets.services.prediction.trial import serving
        from hoops_assets.store.deployments import rolled_back

        named, log = registry.service().challenger(league.name), record.open()
        if named is None:
            return dg.SkipReason(f"{league.name} has no challenger yet")
        found = serving(log, league.name)
        if named.version in found.versions:
            return dg.SkipReason(f"the challenger, version {named.version}, serves")
        if found.canary is not None:
            return dg.SkipReason(f"version {found.canary} is on trial; version {named.version} waits")
        if named.version in rolled_back(log, league.name):
            return dg.SkipReason(f"the challenger, version {named.version}, was rolled back")
        wanted = f"{league.name}:canary:{named.version}:{found.champion}"
        before = {one.dagster_run.run_id for one in _attempts(context.instance, wanted, FAILED)}
        if before & refused_by_gate(context.instance, lane.key("canary_endpoint")):
            return dg.SkipReason(f"the gate refused the challenger, version {named.version}")
        began = story.of_version(context.instance, log, league.name, named.version)
        return _ask(context.instance, wanted, [lane.key("canary_endpoint")], began)

    return challenger


def _verdict(lane: Lane) -> dg.SensorDefinition:
    """Judges after each settled game day until the verdict is out, and takes back a canary that the verdict is against.

    If rolling out fails, the canary is judged again: a new verdict is what `live_endpoint` waits for.
    """
    league = lane.league

    @dg.sensor(
        name=f"{league.name}_verdict",
        target=[lane.key("canary_verdict"), lane.key("live_endpoint")],
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Judges the canary once per settled game day; takes it back if it is worse or stays undecided.",
    )
    def verdict(
        context: dg.SensorEvaluationContext, tables: TablesResource, record: RecordResource
    ) -> dg.RunRequest | dg.SkipReason:
        from hoops_assets.services.prediction.trial import trial

        log = record.open()
        judged = trial(tables.store, log, league)
        if judged is None:
            return dg.SkipReason("no canary is on trial")
        began = story.of_deployed(log, league.name, judged.serving.canary)
        canary, since = judged.serving.canary, judged.serving.since
        through = str(judged.days[-1]) if len(judged.days) else ""
        of_trial = f"{league.name}:{canary}:{since}"
        last = _last_verdict(context.instance, lane.key("canary_verdict"))
        same_trial = last.get("canary") == canary and last.get("since") == (since.isoformat() if since else None)
        choice = last.get("choice") if same_trial else None
        if choice in ("roll_back", "keep_champion"):
            reason = f"version {canary} is withdrawn: {last['reason']}"
            return _withdraw(context.instance, lane, f"{of_trial}:{choice}", canary, reason, judged.evidence(), began)
        of_verdict = [lane.key("canary_verdict")]
        if choice == "roll_out":
            if not _failed_since(context.instance, lane.key("live_endpoint"), lane.key("canary_verdict")):
                return dg.SkipReason(f"version {canary} is to be rolled out; live_endpoint waits for nothing else")
            return _ask(context.instance, f"{of_trial}:roll_out", of_verdict, began, after=FINISHED)
        if not through:
            return dg.SkipReason(f"no game day of the trial of version {canary} is settled yet")
        return _ask(context.instance, f"{of_trial}:verdict:{through}", of_verdict, began)

    return verdict


def _health(lane: Lane) -> dg.SensorDefinition:
    """The cursor remembers the looks that are needed, so that each trial is judged by its own answers and by the last."""
    league = lane.league

    @dg.sensor(
        name=f"{league.name}_canary_health",
        target=[lane.key("live_endpoint")],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes the canary back at once if its answers fail, are not its model's own, or come late.",
    )
    def canary_health(
        context: dg.SensorEvaluationContext, record: RecordResource, prediction: PredictionResource
    ) -> dg.SensorResult | dg.SkipReason:
        from hoops_assets.judging.health import Watch, ailments
        from hoops_assets.services.prediction.trial import serving

        log = record.open()
        found = serving(log, league.name)
        if found.canary is None or found.champion is None:
            return dg.SkipReason("no canary is on trial")
        told = prediction.look(league.name, found.canary, found.champion)
        if told is None:
            return dg.SkipReason("nobody answers at the moment")
        # With other shares of the traffic the two would no longer have met the same moments.
        of_trial = f"{found.canary}:{found.since}:{found.share}"
        before = Watch.read(context.cursor)
        if before is None or before.trial != of_trial:
            cursor = Watch.begun(of_trial, *told).text()
            return dg.SensorResult(
                skip_reason=f"counting the answers of version {found.canary} from now on", cursor=cursor
            )
        seen = before.after(*told)
        look = next((one for one in (seen.last, seen.whole) if ailments(one)), seen.whole)
        ill = ailments(look)
        if not ill:
            reason = f"{look.canary.answers} answers of version {found.canary}, nothing wrong"
            return dg.SensorResult(skip_reason=reason, cursor=seen.text())
        reason = f"version {found.canary} is withdrawn: {'; '.join(ill)}"
        began = story.of_deployed(log, league.name, found.canary)
        wanted = f"{league.name}:{of_trial}:health"
        asked = _withdraw(context.instance, lane, wanted, found.canary, reason, asdict(look), began)
        if isinstance(asked, dg.SkipReason):
            return dg.SensorResult(skip_reason=asked, cursor=seen.text())
        return dg.SensorResult([asked], cursor=seen.text())

    return canary_health


def _withdraw(
    instance: dg.DagsterInstance, lane: Lane, wanted: str, canary: int | None, reason: str,
    evidence: dict[str, object], began: str | None,
) -> dg.RunRequest | dg.SkipReason:  # fmt: skip
    """Asks `live_endpoint` to take the canary back, if it still is the canary when the run begins."""
    config = {"canary": canary, "reason": reason, "evidence": {k: str(v) for k, v in evidence.items()}}
    ops = {f"{lane.league.name}__live_endpoint": {"config": config}}
    return _ask(instance, wanted, [lane.key("live_endpoint")], began, config={"ops": ops})


def _ask(
    instance: dg.DagsterInstance, wanted: str, assets: Sequence[dg.AssetKey], began: str | None, *,
    config: dict[str, Any] | None = None, after: Sequence[dg.DagsterRunStatus] = FAILED,
) -> dg.RunRequest | dg.SkipReason:  # fmt: skip
    """Asks for something once, and again, each time later, after attempts that ended so.

    Dagster launches a run key once, whatever became of its run; so every attempt has a key of its own.
    """
    ended = _attempts(instance, wanted, after)
    if ended:
        pause = min(FIRST_PAUSE * 2 ** min(len(ended) - 1, 10), LONGEST_PAUSE)
        left = max(map(_ended_at, ended)) + pause.total_seconds() - time.time()
        if left > 0:
            return dg.SkipReason(f"{wanted}: {len(ended)} attempts ended; the next one in {left:.0f} s")
    return dg.RunRequest(
        run_key=f"{wanted}:{len(ended)}" if ended else wanted, asset_selection=list(assets), run_config=config or {},
        tags={**story.tags(began), ASKED_FOR: wanted},
    )  # fmt: skip


def _attempts(
    instance: dg.DagsterInstance, wanted: str, ended: Sequence[dg.DagsterRunStatus]
) -> Sequence[dg.RunRecord]:
    return instance.get_run_records(dg.RunsFilter(tags={ASKED_FOR: wanted}, statuses=list(ended)))


def _ended_at(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _failed_since(instance: dg.DagsterInstance, asset: dg.AssetKey, other: dg.AssetKey) -> bool:
    """Whether the last run over an asset failed, after another one's last materialisation."""
    planned = instance.event_log_storage.get_latest_planned_materialization_info(asset)
    record = instance.get_run_record_by_id(planned.run_id) if planned else None
    made = instance.get_latest_materialization_event(other)
    if record is None or made is None:
        return False
    return record.dagster_run.status in FAILED and _ended_at(record) > made.timestamp


def _last_verdict(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, object]:
    event = instance.get_latest_materialization_event(key)
    found = event.asset_materialization.metadata if event and event.asset_materialization else {}
    return {name: value.value for name, value in found.items()}
