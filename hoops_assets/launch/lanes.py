"""Launching one league's lane: backfill season by season, train, and the daily run.

What belongs here: which assets run over which days, in which order, and what is skipped because it is done. Each launch
is one Dagster run in this process; no daemon is needed. A kill costs at most the run in hand: the same call again
finishes the job.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property

import dagster as dg
import pandas as pd
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from hoops_assets.basketball.calendar import calendar_of, days_by_season
from hoops_assets.basketball.league import League
from hoops_assets.definitions import build_defs, build_lane
from hoops_assets.defs.resources import SourcesResource, resources
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.launch.instance import fail_dead_runs, open_instance, own_process_tags, told_plainly
from hoops_assets.services.training.code import code
from hoops_assets.settings import Settings
from hoops_assets.sources.leagues import get_league
from hoops_assets.store.record import LaunchedFrom, Record

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
SPAN_TAG, INPUTS_TAG = "hoops/span", "hoops/inputs"
WATCH = ("endpoint_fixtures", "model_performance", "drift_report")
"""What is made anew, as a whole, after days have changed."""
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


@dataclass(frozen=True)
class CheckState:
    """Where a check stands since it last ran; `severity` is that of a failure, ERROR or WARN."""

    asset: str
    check: str
    passed: bool
    severity: str
    told: str


@dataclass(frozen=True)
class Deployed:
    """What serves after a deployment.

    Attributes:
        refused: why the gate refused the version, or None.
        traffic: {version: percent}.
        reason: one sentence for people.
    """

    refused: str | None
    traffic: dict[int, int]
    reason: str


class Lanes:
    """Launches runs of one league's lane in this process."""

    def __init__(self, settings: Settings, league: str, launched_from: LaunchedFrom = "cli") -> None:
        os.environ.update({name: os.environ.get(name, value) for name, value in _CHEAP_EVENTS.items()})
        self.settings = settings
        self.league: League = get_league(settings.home, league)
        with told_plainly(settings.dagster_home):
            self.instance = open_instance(settings)
            self.dead_runs = fail_dead_runs(self.instance)
        self.launched_from: LaunchedFrom = launched_from
        self.record = Record(settings.record)
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
        report = BackfillReport(self.league.name, rejected=len(self.read.rejected), dead_runs=self.dead_runs)
        days = self.days(start, end)
        if not days:
            known = self.days()
            there = f"there are {known[0]} to {known[-1]}" if known else f"the first is {self.lane.days.start.date()}"
            raise HoopsError(f"{self.league.name} has no game day from {start} to {end}; {there}")
        if "features" in stages:
            self._history(force)
        spans = self._spans(days)
        for number, span in enumerate(spans, start=1):
            tags = self._tags(span, stages)
            if not force and self._is_done(tags):
                report.spans.append(replace(span, state="done"))
                tell(report.spans[-1], number, len(spans))
                continue
            tell(span, number, len(spans))
            report.spans.append(self._span(span, stages, tags))
            tell(report.spans[-1], number, len(spans))
            if report.failed:
                break
        watch = self._watch_tags(spans, stages)
        if "monitoring" in stages and not report.failed and (force or not self._is_done(watch)):
            self.monitor(watch)
        return report

    def train(self) -> None:
        """Materialises the training stage in one run. Raises ModelError with the reason if it fails."""
        graph = self.definitions.resolve_asset_graph()
        keys = [
            key
            for key in graph.get_all_asset_keys()
            if graph.get(key).tags["hoops/step"] == "training" and graph.get(key).is_materializable
        ]
        error = self._run(keys, {})
        if error:
            raise ModelError(f"training {self.league.name} failed: {error}")

    def deploy(self, version: int | None = None, share: int | None = None) -> Deployed:
        """Takes a version through its gate, judges the one on trial, and does what the verdict says.

        Args:
            version: by default the challenger. share: percent of the traffic while on trial.

        Raises:
            HoopsError: a change of what serves failed.
        """
        from hoops_assets.services.prediction import decide
        from hoops_assets.services.prediction.trial import serving, trial
        from hoops_assets.store.delta import DeltaStore

        def go(name: str, **config: object) -> str | None:
            given = {key: value for key, value in config.items() if value is not None}
            return self._run([self.lane.key(name)], {}, {name: given} if given else None)

        def must(name: str, **config: object) -> None:
            error = go(name, **config)
            if error:
                raise HoopsError(f"{name} of {self.league.name} failed: {error}")

        refused = go("canary_endpoint", version=version, share=share)
        if serving(self.record, self.league.name).champion is None:
            raise HoopsError(f"nothing serves {self.league.name}: {refused}")
        must("endpoint_fixtures")
        must("canary_verdict")
        judged = trial(DeltaStore(self.settings.tables_root, self.settings.aws), self.record, self.league)
        if judged is None or judged.verdict.choice == "roll_out":
            must("live_endpoint")
        elif judged.verdict.decided:
            must("live_endpoint", version=judged.serving.champion, reason=judged.verdict.reason)
        last = decide.last_change(self.record, self.league.name)
        return Deployed(refused, dict(last.traffic), judged.verdict.reason if judged else last.reason)

    def quality(self) -> list[CheckState]:
        """Looks over the league's data in one run; returns where every check of the lane stands, failing ones first.

        Raises:
            HoopsError: the run failed.
        """
        graph = self.definitions.resolve_asset_graph()
        error = self._run(
            [key for key in graph.get_all_asset_keys() if graph.get(key).tags["hoops/step"] == "quality"], {}
        )
        if error:
            raise HoopsError(f"looking over the data of {self.league.name} failed: {error}")
        latest = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(sorted(graph.asset_check_keys))
        states = [
            CheckState(key.asset_key.path[-1], key.name, data.passed, data.severity.value, data.description or "")
            for key, record in latest.items()
            if record.event and record.event.dagster_event and (data := record.event.dagster_event.event_specific_data)
            if isinstance(data, AssetCheckEvaluation)
        ]
        return sorted(states, key=lambda state: (state.passed, state.asset, state.check))

    def monitor(self, tags: Mapping[str, str] | None = None) -> None:
        """Scores what is settled, looks for drift and raises its alarms, in one run; the endpoint's fixtures come first.

        Args:
            tags: of the run.

        Raises:
            HoopsError: the run failed.
        """
        error = self._run([self.lane.key(name) for name in WATCH], dict(tags or {}))
        if error:
            raise HoopsError(f"watching {self.league.name} failed: {error}")

    def daily(self, through: date | None = None) -> BackfillReport:
        """The daily run: settles the last fortnight and forecasts the days ahead, at least up to `through`."""
        today = self.settings.clock().astimezone(self.league.zone).date()
        return self.backfill(today - timedelta(days=14), through if through and through > today else None)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _spans(self, days: list[date]) -> list[Span]:
        by_season = days_by_season(calendar_of(self.read.games), days)
        return [Span(season, own[0], own[-1], len(own)) for season, own in by_season]

    def _watch_tags(self, spans: Sequence[Span], stages: Sequence[str]) -> dict[str, str]:
        """The watch is due once a day, and whenever a span has changed."""
        today = self.settings.clock().astimezone(self.league.zone).date()
        inputs = [today, *(self._tags(span, stages)[INPUTS_TAG] for span in spans)]
        return {SPAN_TAG: "watch", INPUTS_TAG: hashlib.sha256(repr(inputs).encode()).hexdigest()}

    def _span(self, span: Span, stages: Sequence[str], tags: dict[str, str]) -> Span:
        started = pd.Timestamp.now()
        tags = {**tags, RANGE_START: span.first.isoformat(), RANGE_END: span.last.isoformat()}
        what = f"{span.first} to {span.last}: {', '.join(stages)}"
        try:
            with self.record.launch(self.league.name, what, launched_from=self.launched_from):
                error = self._run(self.keys(stages), tags)
                if error:
                    raise HoopsError(error)
        except HoopsError as failed:
            error = str(failed)
        seconds = (pd.Timestamp.now() - started).total_seconds()
        return replace(span, state="failed" if error else "materialised", seconds=seconds, error=error or "")

    def _history(self, force: bool) -> None:
        tags = self._tags(Span(self.league.first_season - 1, date.min, date.min, 0), ("history",))
        if not force and self._is_done(tags):
            return
        error = self._run([self.lane.key("history")], tags)
        if error:
            raise HoopsError(f"the history of {self.league.name} cannot be stored: {error}")

    def _run(
        self, keys: list[dg.AssetKey], tags: dict[str, str], config: Mapping[str, Mapping[str, object]] | None = None
    ) -> str | None:
        """One run over assets; `config` by an asset's name. Returns why it failed, or None.

        Raises:
            StoreError: Dagster's instance cannot be written.
        """
        job = self.definitions.resolve_implicit_global_asset_job_def()
        try:
            with told_plainly(self.settings.dagster_home):
                result = job.execute_in_process(
                    instance=self.instance,
                    asset_selection=keys,
                    tags={
                        **tags,
                        **own_process_tags(),
                        "hoops/league": self.league.name,
                        "hoops/launched_from": self.launched_from,
                    },
                    run_config={
                        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                        "ops": {
                            f"{self.league.name}__{name}": {"config": given} for name, given in (config or {}).items()
                        },
                    },
                    raise_on_error=False,
                )
        except dg.DagsterError as error:
            return str(error)
        return None if result.success else _reason(result)

    def _is_done(self, tags: dict[str, str]) -> bool:
        """Whether the latest run over a span succeeded and saw the same inputs: an earlier one may be overwritten."""
        span = {SPAN_TAG: tags[SPAN_TAG], "hoops/league": self.league.name}
        with told_plainly(self.settings.dagster_home):
            latest = self.instance.get_runs(dg.RunsFilter(tags=span), limit=1)
        return bool(latest) and latest[0].is_success and latest[0].tags[INPUTS_TAG] == tags[INPUTS_TAG]

    @cached_property
    def _game_digests(self) -> pd.Series:
        """A digest of each game, uint64 [n]."""
        return pd.util.hash_pandas_object(self.read.games.astype(str), index=False)

    def _tags(self, span: Span, stages: Sequence[str]) -> dict[str, str]:
        """Which span a run is about, and a digest of its inputs: the games up to its end, the code, the league, the model."""
        games = self.read.games
        upto = games["season"] <= span.season if span.days == 0 else games["day"] <= span.last
        models: list[str] = []
        if "prediction" in stages:
            from hoops_assets.services.prediction.trial import to_forecast

            registry = resources(self.settings)["registry"].service()  # type: ignore[attr-defined]
            versions = to_forecast(self.record, registry, self.league.name)
            models = [registry.get(self.league.name, version).digest for version in versions]
        parts = (
            self.league.model_dump_json(), code().digest,
            models, self._game_digests[upto].sum(),
        )  # fmt: skip
        return {
            SPAN_TAG: f"{span.first}..{span.last} {'+'.join(sorted(stages))}",
            INPUTS_TAG: hashlib.sha256(repr(parts).encode()).hexdigest()[:24],
        }


def _told(failure: dg.DagsterEvent) -> str:
    """The words of the first error in a failure's chain that is one of ours, else the first line of its root."""
    error = failure.step_failure_data.error
    while error and error.cause and not error.message.startswith("hoops_assets."):
        error = error.cause
    if error is None:
        return "failed"
    kind, _, words = error.message.strip().partition(": ")
    return words if kind.startswith("hoops_assets.") else error.message.strip().splitlines()[0]


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The first step that failed and why."""
    for event in result.all_events:
        if event.is_step_failure:
            return f"{(event.step_key or 'run').replace('__', '/')}: {_told(event)}"
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.blocking:
                return f"check {evaluation.check_name} of {evaluation.asset_key.to_user_string()}: {evaluation.description}"
    return "the run failed; look at it in the UI"
