"""The job that trains a league's candidates side by side, and how it is asked for without a hand.

What belongs here: the job, the weekly schedule, and what any request for the job has in common.
"""

from typing import TYPE_CHECKING

import dagster as dg

from hoops_assets.defs import story
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.resources import RegistryResource, SourcesResource
from hoops_assets.defs.training.assets import CANDIDATES
from hoops_assets.services.registry.contract import IMPORTED, Registry
from hoops_assets.store.io_manager import TablesResource

if TYPE_CHECKING:
    from hoops_assets.store.delta import DeltaStore

STAGE = "training"


def training_job_name(lane: Lane) -> str:
    return f"{lane.league.name}_{STAGE}"


def training_job(lane: Lane) -> "dg.UnresolvedAssetJobDefinition":
    name = lane.league.name
    whole = dg.AssetSelection.groups(f"{name}_{STAGE}")
    submitting = [
        lane.key("training_set"),
        *(lane.key(f"{learner}_submission") for learner in (*CANDIDATES, *lane.built_in)),
    ]
    return dg.define_asset_job(
        training_job_name(lane),
        selection=whole if lane.waits_for_training else dg.AssetSelection.assets(*submitting),
        executor_def=dg.multiprocess_executor.configured({"max_concurrent": 2}),
        tags={"hoops/league": name, "hoops/step": STAGE, **lane.max_runtime(STAGE)},
        description=f"Trains and evaluates the candidates of {name} side by side and names the challenger.",
    )


def training_request(lane: Lane, run_key: str, tags: dict[str, str]) -> dg.RunRequest:
    """A training in the middle of a season: it holds out the latest games, not the latest seasons, and so learns from the
    season that has begun."""
    ops = {f"{lane.league.name}__training_set": {"config": {"held_out": "games"}}}
    return dg.RunRequest(run_key=run_key, tags=tags, run_config={"ops": ops})


def settled_since_training(store: "DeltaStore", registry: Registry, league: str) -> int:
    """Games whose result is stored and which no training set knew from which a version was registered."""
    settled = len(store.read(league, "results", columns=["game_id"]))
    for version in reversed(registry.list(league)):
        if version.provider != IMPORTED:
            return max(0, settled - registry.manifest(league, version.version).training_set.games)
    return settled


def weekly_schedule(lane: Lane) -> dg.ScheduleDefinition:
    """Every Monday morning, league time, before the daily run; stopped unless the settings say otherwise."""
    wanted = lane.reaction.retrain == "weekly"

    @dg.schedule(
        name=f"{lane.league.name}_weekly",
        job_name=training_job_name(lane),
        cron_schedule="0 7 * * 1",
        execution_timezone=lane.league.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING if wanted else dg.DefaultScheduleStatus.STOPPED,
        description="Trains anew on Monday at seven in the morning, league time, if games were settled since.",
    )
    def weekly(
        context: dg.ScheduleEvaluationContext,
        sources: SourcesResource,
        tables: TablesResource,
        registry: RegistryResource,
    ) -> dg.RunRequest | dg.SkipReason:
        name = lane.league.name
        if not settled_since_training(tables.store, registry.service(), name):
            return dg.SkipReason("no game was settled since the last training")
        began = story.named(name, "weekly", sources.clock().astimezone(lane.league.zone).date())
        return training_request(lane, began, story.tags(began))

    return weekly
