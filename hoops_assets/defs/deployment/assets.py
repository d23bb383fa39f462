"""Deployment: the canary behind its gate, the verdict over it, the version that serves, and the fixtures they answer on."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field

from hoops_assets.defs import story
from hoops_assets.defs.deployment.checks import DATA_CHECKS, GATE, ROLL_OUT, gate_spec, last_passed, roll_out_spec
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import launched_from, picture, table
from hoops_assets.defs.resources import PredictionResource, RecordResource, RegistryResource, SourcesResource
from hoops_assets.errors import HoopsError
from hoops_assets.store.io_manager import TablesResource

STAGE = "deployment"
SHOWN_DAYS = 20
"""Settled game days in the table of a verdict; the plot shows them all."""


class Canary(dg.Config):
    """How a version is tried."""

    version: int | None = Field(None, description="The version to try; by default the challenger.")
    share: int = Field(10, ge=1, le=99, description="Percent of the traffic that it gets beside a champion.")


class Live(dg.Config):
    """Which version serves."""

    version: int | None = Field(
        None, description="Serves from now on whatever the verdict says; a version that served before is gone back to."
    )
    withdraw: bool = Field(
        False, description="Takes back the last step: the canary if there is one, else the champion."
    )
    canary: int | None = Field(
        None, description="Takes this version back if it is still the one on trial; else nothing is changed."
    )
    reason: str = Field("", description="Why, for the record.")
    evidence: dict[str, str] = Field({}, description="What it was decided on, for the record.")


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    return [_canary_endpoint(lane), _canary_verdict(lane), _live_endpoint(lane), _endpoint_fixtures(lane)]


def _canary_endpoint(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league

    @lane.asset(
        STAGE,
        "canary_endpoint",
        "A version on trial behind the league's endpoint, with a small share of the traffic; let in by the gate.",
        kinds={"onnx"},
        deps=[lane.key("challenger")],
        check_specs=[gate_spec(lane)],
    )
    def canary_endpoint(
        context: dg.AssetExecutionContext,
        config: Canary,
        tables: TablesResource,
        registry: RegistryResource,
        record: RecordResource,
        prediction: PredictionResource,
        sources: SourcesResource,
    ) -> dg.MaterializeResult:
        from hoops_assets.services.prediction.enter import Entrance
        from hoops_assets.services.prediction.rollout import Decision

        models, log, now = registry.service(), record.open(), sources.clock()
        challenger = models.challenger(league.name) if config.version is None else None
        tried = challenger.version if challenger else config.version
        began = story.carry(context, story.of_version(context.instance, log, league.name, tried))
        entrance = Entrance(
            league, models, tables.store, log, prediction.service(models),
            prediction.rollout(league, models, tables.store, log, now), now,
        )  # fmt: skip
        entered = entrance.enter(
            version=config.version,
            share=config.share,
            data_checks={name: last_passed(context.instance, lane.key(name)) for name in DATA_CHECKS},
            decision=Decision(
                f"{league.name}/canary_endpoint",
                "",
                launched_from=launched_from(context),
                run_id=context.run_id,
                evidence=story.evidence(began),
            ),
        )
        told = {
            "version": entered.version,
            "gate": table(entered.gate.table()),
            "outlook": entered.outlook,
            "reason": entered.reason,
        }
        if entered.endpoint is None:
            return _refused(entered.reason, told)  # pyright: ignore[reportReturnType]  # Dagster takes its events
        context.log.info(entered.reason)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{entered.version}:{entered.endpoint.traffic.get(entered.version, 0)}"),
            metadata={
                **told,
                "learner": entered.learner,
                "traffic": {str(version): percent for version, percent in entered.endpoint.traffic.items()},
                "endpoint": entered.endpoint.status,
                "revision": entered.endpoint.revision,
            },
            check_results=[
                dg.AssetCheckResult(check_name=GATE, passed=True, description=entered.reason, metadata=told)
            ],
            tags={"hoops/model_version": str(entered.version)},
        )

    return canary_endpoint


def _refused(reason: str, told: dict[str, Any]) -> Iterator[dg.AssetCheckResult]:
    """A red check with the evidence, and then the failure of the step: no materialisation says that a version came."""
    yield dg.AssetCheckResult(
        check_name=GATE, passed=False, severity=dg.AssetCheckSeverity.ERROR, description=reason, metadata=told
    )
    raise dg.Failure(f"not deployed: {reason}", metadata=told, allow_retries=False) from HoopsError(
        f"not deployed: {reason}"
    )


def _canary_verdict(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league

    @lane.asset(
        STAGE,
        "canary_verdict",
        "What the canary's forecasts have shown beside the champion's: roll out, roll back, or wait.",
        kinds={"numpy"},
        deps=[
            lane.key("canary_endpoint"),
            dg.AssetDep(lane.key("scored_predictions"), partition_mapping=dg.AllPartitionMapping()),
        ],
        check_specs=[roll_out_spec(lane)],
    )
    def canary_verdict(
        context: dg.AssetExecutionContext, tables: TablesResource, record: RecordResource
    ) -> dg.MaterializeResult:
        from hoops_assets.judging.plots import confidence_sequence_plot
        from hoops_assets.judging.sequential import DEFAULT, confidence_sequence
        from hoops_assets.services.prediction import trial as trials

        log = record.open()
        judged = trials.trial(tables.store, log, league)
        if judged is None:
            serves = trials.serving(log, league.name).champion
            if serves is None:
                raise dg.Failure(
                    f"nothing serves {league.name}: materialise canary_endpoint first", allow_retries=False
                )
            reason = f"version {serves} serves alone; no canary is on trial"
            context.log.info(reason)
            return dg.MaterializeResult(
                metadata={"choice": "none", "champion": serves, "reason": reason},
                check_results=[dg.AssetCheckResult(check_name=ROLL_OUT, passed=True, description=reason)],
            )
        story.carry(context, story.of_deployed(log, league.name, judged.serving.canary))
        verdict, pairs = judged.verdict, judged.pairs
        seen = pairs.head(verdict.games)
        looks = trials.looks(seen)
        sequence = confidence_sequence(seen["gain"], looks, DEFAULT) if len(seen) else np.empty((0, 3))
        days = sorted(seen["day"].unique())
        by_day = pd.DataFrame(sequence, columns=["mean", "low", "high"]).assign(
            day=[str(day) for day in days], games=looks
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{judged.serving.canary}:{verdict.choice}:{verdict.games}"),
            metadata={
                **{name: value for name, value in judged.evidence().items() if value is not None},
                "rule": dg.MetadataValue.json(asdict(DEFAULT)),
                "confidence_sequence": picture(confidence_sequence_plot(days, sequence, DEFAULT.margin)),
                "settled_game_days": table(by_day[["day", "games", "mean", "low", "high"]].tail(SHOWN_DAYS)),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=ROLL_OUT,
                    passed=verdict.choice == "roll_out",
                    severity=dg.AssetCheckSeverity.WARN,
                    description=verdict.reason,
                )
            ],
            tags={"hoops/model_version": str(judged.serving.canary)},
        )

    return canary_verdict


def _live_endpoint(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league

    @lane.asset(
        STAGE,
        "live_endpoint",
        "The version that gets all traffic: the canary once its verdict is to roll out, or the one that is pinned.",
        kinds={"onnx"},
        deps=[lane.key("canary_verdict")],
        automation_condition=dg.AutomationCondition.eager()
        & dg.AutomationCondition.all_deps_match(
            dg.AutomationCondition.all_checks_match(dg.AutomationCondition.check_passed())
        ).with_label("the verdict is to roll out"),
    )
    def live_endpoint(
        context: dg.AssetExecutionContext,
        config: Live,
        tables: TablesResource,
        registry: RegistryResource,
        record: RecordResource,
        prediction: PredictionResource,
        sources: SourcesResource,
    ) -> dg.MaterializeResult:
        from hoops_assets.services.prediction import decide
        from hoops_assets.services.prediction.rollout import Decision
        from hoops_assets.services.prediction.trial import serving

        models, log = registry.service(), record.open()
        canary = serving(log, league.name).canary
        began = story.carry(context, story.of_deployed(log, league.name, canary))
        rollout = prediction.rollout(league, models, tables.store, log, sources.clock())
        decision = Decision(
            f"{league.name}/live_endpoint", config.reason or "pinned by its configuration",
            launched_from=launched_from(context), evidence={**config.evidence, **story.evidence(began)},
            run_id=context.run_id,
        )  # fmt: skip
        if config.version is not None:
            endpoint = decide.pin(rollout, log, league.name, config.version, decision)
        elif config.canary is not None:
            endpoint = decide.withdraw_canary(rollout, log, league.name, config.canary, decision)
            if endpoint is None:
                reason = f"version {config.canary} is no longer on trial; nothing is changed"
                context.log.info(reason)
                return dg.MaterializeResult(metadata={"last_change": "none", "reason": reason})
        elif config.withdraw:
            endpoint = decide.withdraw(rollout, log, league.name, decision)[1]
        else:
            endpoint = decide.promote(rollout, tables.store, log, league, decision)
        ((serves, _),) = [endpoint.traffic.popitem()] if len(endpoint.traffic) == 1 else [(None, None)]
        last = decide.last_change(log, league.name)
        learner = models.get(league.name, serves).learner if serves is not None else ""
        context.log.info(f"{league.name} is served by {endpoint.traffic}: {last.reason}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(",".join(f"{v}:{p}" for v, p in sorted(endpoint.traffic.items()))),
            metadata={
                "version": serves or 0,
                "learner": learner,
                "traffic": {str(version): percent for version, percent in endpoint.traffic.items()},
                "endpoint": endpoint.status,
                "revision": endpoint.revision,
                "last_change": last.action,
                "decided_by": last.decided_by,
                "reason": last.reason,
                "evidence": dg.MetadataValue.json(dict(last.evidence)),
            },
            tags={"hoops/model_version": str(serves)},
        )

    return live_endpoint


def _endpoint_fixtures(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league

    @lane.asset(
        STAGE,
        "endpoint_fixtures",
        "The coming games and their features, from which the endpoint answers for a game by its teams and day.",
        kinds={"deltalake"},
        deps=[dg.AssetDep(lane.key("game_features"), partition_mapping=dg.AllPartitionMapping())],
    )
    def endpoint_fixtures(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        registry: RegistryResource,
        prediction: PredictionResource,
        sources: SourcesResource,
    ) -> dg.MaterializeResult:
        endpoint = prediction.renew_fixtures(league, registry.service(), tables.store, sources.clock())
        if endpoint is None:
            context.log.info(f"nothing serves {league.name} yet; its first deployment brings the coming games along")
            return dg.MaterializeResult(metadata={"endpoint": "none"})
        made_at = endpoint.fixtures_made_at
        return dg.MaterializeResult(
            metadata={"endpoint": endpoint.status, "made_at": made_at.isoformat(timespec="seconds") if made_at else ""}
        )

    return endpoint_fixtures
