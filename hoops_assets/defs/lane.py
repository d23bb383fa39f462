"""What every asset of a league's lane has in common: its key, group, tags and owner.

What belongs here: the one place that names stages and applies policy. A new league is a new YAML file, never new code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import dagster as dg

from hoops_assets.basketball.calendar import Calendar
from hoops_assets.basketball.league import League
from hoops_assets.errors import HoopsError
from hoops_assets.settings import PipelineProvider, Reaction, Step, StepName
from hoops_assets.store.schemas import TABLES

OWNERS = {
    "ingest": "team:data",
    "features": "team:data",
    "training": "team:models",
    "deployment": "team:models",
    "prediction": "team:models",
    "monitoring": "team:models",
    "quality": "team:data",
}
"""Who answers for the assets of a stage; the keys are the stages of the lane in order."""

POOLS = {"training": "training", "deployment": "endpoint"}
"""Stage -> the pool of its assets; an asset that asks a source is in the pool of that source."""

WHOLE = frozenset({"history", "training_set", "box_scores", "closing_odds", "model_performance"})
"""Tables that a run always makes as a whole."""

BY_DAY = tuple(name for name in TABLES if name not in WHOLE)
"""Tables with a partition per game day."""

SETTLING = timedelta(days=14)
"""How far back the daily run goes, for results that are corrected and games that are added late."""

FRESH_BY_TEN = ("fixtures", "results", "fan_posts", "predictions")
"""Assets that a league which is playing must have materialised by ten every morning, league time."""

SOURCES, TABLE_IO, VALUE_IO = "sources", "table_io", "io_manager"

Decorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


@dataclass(frozen=True)
class Made:
    """One of several assets that a step makes. `needs`: names of the assets that it comes from."""

    description: str
    kinds: Sequence[str]
    needs: Sequence[str]


@dataclass(frozen=True)
class Lane:
    """One league and its partitions; hands out the options that all its assets share.

    Attributes:
        playing: whether the calendar reaches the present, so that fresh data are to be expected.
        waits_for_training: whether the run that submits a training job waits for its end.
        pipelines: who runs the steps of training: each an asset of its own, or a pipeline that makes them all.
        built_in: learners that the provider of training has of its own and that are trained as well.
    """

    league: League
    calendar: Calendar | None
    days: dg.DailyPartitionsDefinition
    steps: Mapping[StepName, Step] = field(default_factory=dict)
    playing: bool = True
    reaction: Reaction = field(default_factory=Reaction)
    waits_for_training: bool = True
    pipelines: PipelineProvider = "dagster"
    built_in: tuple[str, ...] = ()

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.league.name, name])

    @property
    def fresh_by_ten(self) -> dg.FreshnessPolicy | None:
        """Materialised since midnight, by ten in the morning, league time; the daily run starts at nine."""
        if not self.playing:
            return None
        return dg.FreshnessPolicy.cron(
            deadline_cron="0 10 * * *", lower_bound_delta=timedelta(hours=10), timezone=self.league.time_zone
        )

    def game_days_since_start(self) -> list[date]:
        """The calendar's game days from the first one with a partition on."""
        start = self.days.start.date()
        return [day for day in self.calendar.days if day >= start] if self.calendar else []

    def asset(
        self, stage: str, name: str, description: str, *, kinds: set[str], code_version: str = "1", **options: Any
    ) -> Decorator:
        """Decorates the body of an unpartitioned asset; `options` are those of `dg.asset`."""
        decorate = dg.asset(
            name=name,
            key_prefix=[self.league.name],
            group_name=f"{self.league.name}_{stage}",
            kinds=kinds,
            owners=[OWNERS[stage]],
            tags={"hoops/league": self.league.name, "hoops/step": stage},
            description=description,
            code_version=code_version,
            pool=self._pool(stage, name),
            retry_policy=self._retry_policy(stage),
            **options,
        )
        return lambda body: decorate(_tried_again_only_if_that_may_help(body))

    def together(
        self, stage: str, name: str, made: Mapping[str, Made], **options: Any
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Decorates a body that makes several unpartitioned assets in one step; it returns a tuple of results.

        Args:
            made: by the assets' names, in order.
        """
        decorate = dg.multi_asset(
            name=f"{self.league.name}__{name}",
            outs={
                asset: dg.AssetOut(
                    key=self.key(asset), description=one.description, kinds=set(one.kinds), owners=[OWNERS[stage]],
                    tags={"hoops/league": self.league.name, "hoops/step": stage}, code_version="1",
                    group_name=f"{self.league.name}_{stage}",
                )
                for asset, one in made.items()
            },
            internal_asset_deps={asset: {self.key(need) for need in one.needs} for asset, one in made.items()},
            pool=self._pool(stage, name),
            retry_policy=self._retry_policy(stage),
            **options,
        )  # fmt: skip
        return lambda body: decorate(_tried_again_only_if_that_may_help(body))

    def step(self, stage: str) -> Step:
        """How a stage meets trouble."""
        return self.steps.get(stage, Step())  # type: ignore[call-overload]

    def max_runtime(self, *stages: str) -> dict[str, str]:
        """The tag by which the daemon ends a run over some stages that takes longer than they may."""
        return {"dagster/max_runtime": str(max(self.step(stage).max_runtime_seconds for stage in stages))}

    def _retry_policy(self, stage: str) -> dg.RetryPolicy:
        step = self.step(stage)
        return dg.RetryPolicy(
            max_retries=step.retries,
            delay=step.delay_seconds,
            backoff=dg.Backoff.EXPONENTIAL,
            jitter=dg.Jitter.PLUS_MINUS,
        )

    def table(
        self, stage: str, name: str, *, kinds: Sequence[str] = ("deltalake", "pandas"), **options: Any
    ) -> Decorator:
        """Decorates the body of an asset that is the declared Delta table `name`, with a partition per game day."""
        return self.asset(
            stage,
            name,
            TABLES[name].description,
            kinds=set(kinds),
            partitions_def=self.days,
            backfill_policy=dg.BackfillPolicy.single_run(),
            io_manager_key=TABLE_IO,
            freshness_policy=self.fresh_by_ten if name in FRESH_BY_TEN else None,
            **options,
        )

    def _pool(self, stage: str, name: str) -> str | None:
        """The pool whose limit says how many runs may do this at once; `hoops limits` sets the limits."""
        sources = self.league.sources
        games = dict.fromkeys(("history", "fixtures", "results"), sources.games)
        source = {
            **games,
            "fan_posts": sources.posts,
            "box_scores": sources.box_scores,
            "closing_odds": sources.odds,
            "reconciliation": sources.compare,
        }.get(name)
        if source:
            return f"source_{source.kind}"
        # It is part of the daily run, which would hold the pool for all leagues from its beginning to its end; what an
        # endpoint is given is changed by one at a time anyway, see the service's own lock.
        return None if name == "endpoint_fixtures" else POOLS.get(stage)

    def input(self, name: str, **options: Any) -> dg.AssetIn:
        return dg.AssetIn(key=self.key(name), **options)


def _tried_again_only_if_that_may_help(body: Callable[..., Any]) -> Callable[..., Any]:
    """An asset's body that Dagster retries after a transient error and after no other: bad data stay bad."""

    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return body(*args, **kwargs)
        except (ConnectionError, TimeoutError):
            raise
        except HoopsError as error:
            if error.transient:
                raise
            raise dg.Failure(str(error), allow_retries=False) from error
        except dg.DagsterError:
            raise
        except Exception as error:
            raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error

    return run
