"""Sensors that move a trial on: a challenger is tried, judged once per settled game day, and withdrawn if it is ill.

What belongs here: when an asset of the stage is asked for. Whether traffic moves is decided by the asset itself. Live
deployment needs no sensor here: the automation condition of `live_endpoint` waits for the verdict.
"""

import json
from dataclasses import asdict

import dagster as dg

from hoops_assets.defs import story
from hoops_assets.defs.deployment.checks import ROLL_OUT
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.resources import PredictionResource, RecordResource, RegistryResource
from hoops_assets.store.io_manager import TablesResource


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
    """Once per challenger and champion: a version that was refused is not tried again by itself."""
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
        began = story.of_version(context.instance, log, league.name, named.version)
        return dg.RunRequest(run_key=f"{league.name}:canary:{named.version}:{found.champion}", tags=story.tags(began))

    return challenger


def _verdict(lane: Lane) -> dg.SensorDefinition:
    """Judges after each settled game day until the verdict is out, and takes back a canary that the verdict is against."""
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
            key = f"{of_trial}:{choice}"
            return withdrawal(lane, key, reason, judged.evidence(), judged.serving.champion, began)
        if choice == "roll_out":
            return dg.SkipReason(f"version {canary} is to be rolled out; live_endpoint waits for nothing else")
        if not through:
            return dg.SkipReason(f"no game day of the trial of version {canary} is settled yet")
        key = f"{of_trial}:verdict:{through}"
        return dg.RunRequest(run_key=key, asset_selection=[lane.key("canary_verdict")], tags=story.tags(began))

    return verdict


def _health(lane: Lane) -> dg.SensorDefinition:
    """Counts are compared with those seen when the canary came, so that each trial is judged by its own answers."""
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
        from hoops_assets.judging.health import Counts, ailments
        from hoops_assets.services.prediction.trial import serving

        log = record.open()
        found = serving(log, league.name)
        if found.canary is None:
            return dg.SkipReason("no canary is on trial")
        counted = prediction.counts(league.name, found.canary)
        if counted is None:
            return dg.SkipReason("nobody answers at the moment")
        of_trial = f"{found.canary}:{found.since}"
        seen = json.loads(context.cursor or "{}")
        if seen.get("trial") != of_trial:
            cursor = json.dumps({"trial": of_trial, "counts": asdict(counted)})
            return dg.SensorResult(
                skip_reason=f"counting the answers of version {found.canary} from now on", cursor=cursor
            )
        own = counted.since(Counts(**seen["counts"]))
        ill = ailments(own)
        if not ill:
            return dg.SensorResult(skip_reason=f"{own.answers} answers of version {found.canary}, nothing wrong")
        reason = f"version {found.canary} is withdrawn: {'; '.join(ill)}"
        began = story.of_deployed(log, league.name, found.canary)
        key = f"{league.name}:{of_trial}:health"
        return dg.SensorResult([withdrawal(lane, key, reason, asdict(own), found.champion, began)])

    return canary_health


def withdrawal(
    lane: Lane, run_key: str, reason: str, evidence: dict[str, object], champion: int | None, began: str | None = None
) -> dg.RunRequest:
    """Asks `live_endpoint` to give the champion all traffic again."""
    config = {"version": champion, "reason": reason, "evidence": {k: str(v) for k, v in evidence.items()}}
    name = f"{lane.league.name}__live_endpoint"
    return dg.RunRequest(
        run_key=run_key, asset_selection=[lane.key("live_endpoint")], run_config={"ops": {name: {"config": config}}},
        tags=story.tags(began),
    )  # fmt: skip


def _last_verdict(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, object]:
    event = instance.get_latest_materialization_event(key)
    found = event.asset_materialization.metadata if event and event.asset_materialization else {}
    return {name: value.value for name, value in found.items()}
