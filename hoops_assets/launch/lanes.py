"""Launching one league's lane: backfill season by season, train, and the daily run.

What belongs here: which assets run over which days, in which order, and what is skipped because it is done. Each launch
is one Dagster run in this process; no daemon is needed. A kill costs at most the run in hand: the same call again
finishes the job.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import dagster as dg
import pandas as pd

from hoops_assets.basketball.calendar import calendar_of, season_spans
from hoops_assets.basketball.league import League
from hoops_assets.definitions import build_defs, build_lane
from hoops_assets.defs.resources import SourcesResource, resources
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.launch.instance import fail_dead_runs, open_instance, own_process_tags
from hoops_assets.services.training.code import code
from hoops_assets.settings import Settings
from hoops_assets.sources.leagues import get_league
from hoops_assets.store.record import LaunchedFrom

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
DONE_TAG = "hoops/span"
PARTITIONED = ("ingest", "features", "prediction", "monitoring")

# Dagster writes one event per partition and asset; these halve what an event costs and plan a range with one event.
# The price: the days of a failed run are not marked as failed, only the run is.
_CHEAP_EVENTS = {"DAGSTER_EVENT_BATCH_SIZE": "500", "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1"}

Told = Callable[[str], None]


@dataclass(frozen=True)
class Span:
    """A span of game days of one season that a backfill materialises in one run."""

    season: int
    first: date
    last: date
    days: int
    state: str = "due"  # due, done (by an earlier call), materialised, failed
    seconds: float = 0.0
    error: str = ""


@dataclass
class BackfillReport:
    """What a backfill did: one span per season, the rows that were refused, and the runs found dead before."""

    league: str
    spans: list[Span] = field(default_factory=list)
    rejected: int = 0
    dead_runs: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(span.state == "failed" for span in self.spans)


class Lanes:
    """Launches runs of one league's lane in this process."""

    def __init__(self, settings: Settings, league: str, launched_from: LaunchedFrom = "cli") -> None:
        os.environ.update({name: os.environ.get(name, value) for name, value in _CHEAP_EVENTS.items()})
        self.settings = settings
        self.league: League = get_league(settings.home, league)
        self.instance = open_instance(settings)
        self.launched_from = launched_from
        sources = resources(settings)["sources"]
        assert isinstance(sources, SourcesResource)
        self.read = sources.games(self.league)
        if self.read.games.empty:
            raise HoopsError(f"league {league} has no games; look at its sources with: hoops leagues check {league}")
        self.lane = build_lane(self.league, settings)
        self.definitions = build_defs(settings, leagues=[self.league])

    # -- what can be launched -------------------------------------------------------------------------------------

    def keys(self, stages: Sequence[str]) -> list[dg.AssetKey]:
        """The assets of some stages that have a partition per game day."""
        graph = self.definitions.resolve_asset_graph()
        return [
            key
            for key in sorted(graph.get_all_asset_keys())
            if graph.get(key).partitions_def is not None and graph.get(key).tags["hoops/step"] in stages
        ]

    def days(self, start: date | None = None, end: date | None = None) -> list[date]:
        """The game days with a partition in [start, end]."""
        keys = [date.fromisoformat(key) for key in self.lane.days.get_partition_keys()]
        return [day for day in keys if (start is None or day >= start) and (end is None or day <= end)]

    # -- launching ------------------------------------------------------------------------------------------------

    def backfill(
        self,
        start: date | None = None,
        end: date | None = None,
        *,
        stages: Sequence[str] = PARTITIONED,
        force: bool = False,
        tell: Callable[[Span, int, int], None] = lambda span, number, total: None,
    ) -> BackfillReport:
        """Materialises the day-partitioned assets over [start, end], one run per season, oldest first.

        A season whose games, code and model are those of an earlier successful run is skipped unless `force`. A failed
        season ends the backfill: the seasons after it build on it.

        Args:
            tell: called before and after each season with (span, its number from 1, how many there are).
        """
        report = BackfillReport(self.league.name, rejected=len(self.read.rejected))
        report.dead_runs = fail_dead_runs(self.instance)
        days = self.days(start, end)
        if not days:
            known = self.days()
            raise HoopsError(
                f"{self.league.name} has no game day from {start} to {end}; there are {known[0]} to {known[-1]}"
            )
        if "features" in stages:
            self._history(force)
        spans = self._spans(days)
        for number, span in enumerate(spans, start=1):
            done = self._done_tag(span, stages)
            if not force and self._succeeded(done):
                report.spans.append(_with(span, state="done"))
                tell(report.spans[-1], number, len(spans))
                continue
            tell(span, number, len(spans))
            report.spans.append(self._span(span, stages, done))
            tell(report.spans[-1], number, len(spans))
            if report.failed:
                break
        return report

    def train(self) -> None:
        """Materialises the training stage in one run. Raises ModelError with the reason if it fails."""
        graph = self.definitions.resolve_asset_graph()
        keys = [key for key in graph.get_all_asset_keys() if graph.get(key).tags["hoops/step"] == "training"]
        error = self._run(keys, {})
        if error:
            raise ModelError(f"training {self.league.name} failed: {error}")

    def daily(self, through: date | None = None) -> BackfillReport:
        """The daily run: settles the last fortnight and forecasts the days ahead, at least up to `through`."""
        today = self.settings.clock().astimezone(self.league.zone).date()
        return self.backfill(today - timedelta(days=14), through if through and through > today else None)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _spans(self, days: list[date]) -> list[Span]:
        spans: list[Span] = []
        known = season_spans(calendar_of(self.read.games), days[0], days[-1])
        for position, (season, first, _) in enumerate(known):
            # Days without games after a season's last fixture belong to it until the next season begins.
            until = known[position + 1][1] if position + 1 < len(known) else date.max
            own = [day for day in days if (day >= first or position == 0) and day < until]
            if own:
                spans.append(Span(season, own[0], own[-1], len(own)))
        return spans

    def _span(self, span: Span, stages: Sequence[str], done: str) -> Span:
        started = pd.Timestamp.now()
        tags = {RANGE_START: span.first.isoformat(), RANGE_END: span.last.isoformat(), DONE_TAG: done}
        error = self._run(self.keys(stages), tags)
        seconds = (pd.Timestamp.now() - started).total_seconds()
        return _with(span, state="failed" if error else "materialised", seconds=seconds, error=error or "")

    def _history(self, force: bool) -> None:
        done = self._done_tag(Span(self.league.first_season - 1, date.min, date.min, 0), ("history",))
        if not force and self._succeeded(done):
            return
        error = self._run([self.lane.key("history")], {DONE_TAG: done})
        if error:
            raise HoopsError(f"the history of {self.league.name} cannot be stored: {error}")

    def _run(self, keys: list[dg.AssetKey], tags: dict[str, str]) -> str | None:
        """One run over assets; returns why it failed, or None."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        try:
            result = job.execute_in_process(
                instance=self.instance,
                asset_selection=keys,
                tags={
                    **tags,
                    **own_process_tags(),
                    "hoops/league": self.league.name,
                    "hoops/launched_from": self.launched_from,
                },
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        except dg.DagsterError as error:
            return str(error)
        return None if result.success else _reason(result)

    def _succeeded(self, done: str) -> bool:
        runs = dg.RunsFilter(tags={DONE_TAG: done}, statuses=[dg.DagsterRunStatus.SUCCESS])
        return bool(self.instance.get_run_ids(runs, limit=1))

    def _done_tag(self, span: Span, stages: Sequence[str]) -> str:
        """A digest of all that a span's tables depend on: the games up to its end, the code, the league, the model."""
        games = self.read.games
        upto = games[games["season"] <= span.season] if span.days == 0 else games[games["day"] <= span.last]
        challenger = None
        if "prediction" in stages:
            registry = resources(self.settings)["registry"].service()  # type: ignore[attr-defined]
            challenger = registry.challenger(self.league.name)
        parts = (
            self.league.model_dump_json(), span.first, span.last, sorted(stages), code().digest,
            challenger.digest if challenger else None, pd.util.hash_pandas_object(upto.astype(str), index=False).sum(),
        )  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _with(span: Span, **changes: object) -> Span:
    from dataclasses import replace

    return replace(span, **changes)  # type: ignore[arg-type]


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The first step that failed, in the words of the error's root."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error and error.cause:
                error = error.cause
            return f"{event.step_key}: {error.message.strip() if error else 'failed'}"
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.blocking:
                return f"check {evaluation.check_name} of {evaluation.asset_key.to_user_string()}: {evaluation.description}"
    return "the run failed; look at it in the UI"
