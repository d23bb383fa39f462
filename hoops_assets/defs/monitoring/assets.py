"""Monitoring: what was forecast, held against what happened."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from hoops_assets.basketball import predictions as p
from hoops_assets.defs import story
from hoops_assets.defs.lane import TABLE_IO, Lane
from hoops_assets.defs.metadata import picture, tell_reading, tell_rows
from hoops_assets.defs.metadata import table as as_table
from hoops_assets.defs.resources import (
    MonitoringResource,
    PredictionResource,
    RecordResource,
    RegistryResource,
    SourcesResource,
)
from hoops_assets.store.io_manager import TablesResource
from hoops_assets.store.schemas import TABLES

if TYPE_CHECKING:
    from hoops_assets.workloads.drift import DriftReport, Signal

STAGE = "monitoring"

PAGE, REPORT = "monitoring.html", "drift.json"
"""Files of HOME/reports/LEAGUE: the page for people, and what it says for programs."""

SIGNALS = {
    "inputs": "The features of the games are distributed as in the same part of the season before.",
    "target": "Home sides win as often as in the seasons before.",
    "home_advantage": "The home side's margin is that of the seasons before.",
    "totals": "Both sides together score as many points as last season.",
    "residuals": "Home sides win as often as a logistic regression refitted on the seasons before expects.",
    "concept": "The forecasts' Brier score keeps its level within the season.",
    "skew": "Features and answers of the endpoint are those that training sees.",
    "missing_results": "No more results are missing than usual.",
    "missing_posts": "No more teams than usual go without a fan post.",
    "late_posts": "No more fan posts than usual come in late.",
    "unseen": "The serving version was trained on games of every team.",
}
"""Signal of drift -> what its check says when it passes."""

_OF_POSTS = ("missing_posts", "late_posts")


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    @lane.table(
        STAGE,
        "scored_predictions",
        ins={name: lane.input(name) for name in ("predictions", "results")},
    )
    def scored_predictions(
        context: dg.AssetExecutionContext, predictions: pd.DataFrame, results: pd.DataFrame
    ) -> pd.DataFrame:
        from hoops_assets.judging.scoring import brier_scores, log_losses

        settled = p.with_outcomes(predictions, results)
        forecast, outcome = settled["home_win_probability"], settled["home_win"]
        return tell_rows(
            context, settled.assign(log_loss=log_losses(forecast, outcome), brier=brier_scores(forecast, outcome))
        )

    return [scored_predictions, *_closing_odds(lane), _model_performance(lane), _drift_report(lane)]


def _all_days_of(lane: Lane, *names: str) -> list[dg.AssetDep]:
    return [dg.AssetDep(lane.key(name), partition_mapping=dg.AllPartitionMapping()) for name in names]


def _model_performance(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league.name
    odds = [dg.AssetDep(lane.key("closing_odds"))] if lane.league.sources.odds else []

    @lane.asset(
        STAGE,
        "model_performance",
        TABLES["model_performance"].description,
        kinds={"deltalake", "pandas"},
        io_manager_key=TABLE_IO,
        deps=[*_all_days_of(lane, "scored_predictions", "results", "game_features"), *odds],
    )
    def model_performance(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        record: RecordResource,
        prediction: PredictionResource,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        from hoops_assets.services.monitoring import performance as perf

        collected = prediction.collect_answers(league, tables.store, record.open())
        if collected.skipped:
            context.log.warning(
                f"{collected.skipped} captured answers of the endpoint name no version (text/csv, or not ours) and are not"
                " in served_predictions"
            )
        games = perf.benchmarks(tables.store, league)
        settled = perf.forecasts(tables.store, record.open(), league, games)
        told = perf.answers(record.open(), league, games)
        scores = perf.performance(pd.concat([one for one in (settled, told.settled) if len(one)] or [settled]))
        own = settled.loc[settled["forecaster"] != perf.LEAGUE, "kind"].value_counts()
        whole = pd.DataFrame(perf.summary(scores), columns=list(perf.SUMMARY))
        return dg.MaterializeResult(
            value=scores,
            metadata={
                "forecasts": int(own.get("forecast", 0)),
                "backfilled": int(own.get("backfilled", 0)),
                "answers": int(told.counts["answers"].sum()),
                "scores": as_table(whole) if len(whole) else "no forecast is settled yet",
                "answers_by_version": as_table(told.counts)
                if len(told.counts)
                else "nobody asked about a settled game",
                **_pictures_of(settled),
            },
        )

    return model_performance


def _pictures_of(settled: pd.DataFrame) -> dict[str, dg.MetadataValue]:
    from hoops_assets.judging import plots
    from hoops_assets.services.monitoring import page
    from hoops_assets.services.monitoring import performance as perf

    kind = perf.shown_kind(settled)
    losses = perf.losses(settled, kind)
    if losses.empty:
        return {}
    whose = "forecasts" if kind == "forecast" else "backfilled probabilities"
    benchmarks = {name: page.BENCHMARK_NAMES[name] for name in ("elo", "base_rate", "market")}
    return {
        "rolling_plot": picture(plots.rolling_loss_plot(losses, page.BENCHMARK_NAMES, f"Log loss of {whose}")),
        "cumulative_plot": picture(plots.cumulative_gain_plot(losses, "forecast", benchmarks)),
    }


def signals_of(lane: Lane) -> tuple[str, ...]:
    """The signals of drift that are watched in a league."""
    return tuple(name for name in SIGNALS if lane.league.sources.posts or name not in _OF_POSTS)


def _drift_report(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league
    days = ("fixtures", "results", "fan_sentiment", "game_features", "predictions", "scored_predictions")

    @lane.asset(
        STAGE,
        "drift_report",
        "What moved in the league, since when and how sure; it raises the alarms and writes the page for people.",
        kinds={"pandas"},
        # The endpoint's fixtures are compared with the features, so they must have been renewed.
        deps=[
            *_all_days_of(lane, *days),
            *(dg.AssetDep(lane.key(name)) for name in ("model_performance", "endpoint_fixtures")),
        ],
        check_specs=[
            dg.AssetCheckSpec(f"drift_{name}", asset=lane.key("drift_report"), description=SIGNALS[name])
            for name in signals_of(lane)
        ],
    )
    def drift_report(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        record: RecordResource,
        registry: RegistryResource,
        sources: SourcesResource,
        monitoring: MonitoringResource,
    ) -> dg.MaterializeResult:
        from hoops_assets.services.monitoring import performance as perf
        from hoops_assets.services.monitoring import watch
        from hoops_assets.services.monitoring.page import Seen, monitoring_page, picture_of, trainings
        from hoops_assets.store import alarms, deployments
        from hoops_assets.store.atomic import write_json, write_text

        store, log = tables.store, record.open()
        today = sources.clock().astimezone(league.zone).date()
        games = perf.benchmarks(store, league.name)
        settled = perf.forecasts(store, log, league.name, games)
        given = watch.gather(store, log, registry.service(), league, Path(sources.home), settled, today)
        report = monitoring.judge(given) if given else None
        turned = watch.edges(log, report, context.run_id) if report else []
        for alarm, state, told in turned:
            context.log.warning(f"{alarm} turned {state} ({told})")
        folder = Path(sources.home) / "reports" / league.name
        if report:
            write_json(folder / REPORT, report.model_dump(mode="json"))

        def story_of(run_id: str) -> str | None:
            run = context.instance.get_run_by_id(run_id)
            return run.tags.get(story.TAG) if run else None

        seen = Seen(
            title=league.title or league.name,
            zone=league.zone,
            report=report,
            table=store.read(league.name, "model_performance"),
            settled=settled,
            counts=perf.answers(log, league.name, games).counts,
            alarms=alarms.history(log, league.name),
            deployments=deployments.history(log, league.name),
            trainings=trainings(log, league.name, story_of),
        )
        write_text(folder / PAGE, monitoring_page(seen))
        # The event log keeps every picture of every day; those of quiet signals are on the page.
        pictures = {f"{one.name}_plot": png for one in (report.red if report else ()) if (png := picture_of(one))}
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.url((folder / PAGE).resolve().as_uri()),
                "file": dg.MetadataValue.path(str((folder / PAGE).resolve())),
                "through": report.through.isoformat() if report else "no game is settled yet",
                "red": [one.name for one in report.red] if report else [],
                "turned": [f"{alarm}: {state}" for alarm, state, _ in turned],
                "signals": as_table(_signal_rows(report)) if report else "",
                **{name: picture(png) for name, png in pictures.items()},
            },
            check_results=list(_check_results(lane, report)),
        )

    return drift_report


def _signal_rows(report: "DriftReport") -> pd.DataFrame:
    rows = [[one.name, one.state, one.since or "", one.n, one.told] for one in report.signals]
    return pd.DataFrame(rows, columns=["signal", "state", "since", "games_or_days", "in_words"])


def _check_results(lane: Lane, report: "DriftReport | None") -> Iterator[dg.AssetCheckResult]:
    found = {one.name: one for one in (report.signals if report else ())}
    for name in signals_of(lane):
        yield _check_result(name, found.get(name))


def _check_result(name: str, signal: "Signal | None") -> dg.AssetCheckResult:
    """Too little to tell is no failure."""
    return dg.AssetCheckResult(
        check_name=f"drift_{name}",
        passed=signal is None or signal.state != "red",
        severity=dg.AssetCheckSeverity.WARN,
        description=signal.told if signal else "nothing is known of it yet",
        metadata={
            "state": signal.state,
            "since": str(signal.since or ""),
            "n": signal.n,
            **({"statistic": signal.statistic} if signal.statistic is not None else {}),
            **({"threshold": signal.threshold} if signal.threshold is not None else {}),
            **({"p_value": signal.p_value} if signal.p_value is not None else {}),
        }
        if signal
        else {},
    )


def _closing_odds(lane: Lane) -> list[dg.AssetsDefinition]:
    """The market's closing line of a league that has a source of it. Nothing but judging may read it."""
    if lane.league.sources.odds is None:
        return []

    @lane.asset(
        STAGE,
        "closing_odds",
        TABLES["closing_odds"].description,
        kinds={"deltalake", "pandas"},
        io_manager_key=TABLE_IO,
        deps=[dg.AssetDep(lane.key("results"), partition_mapping=dg.AllPartitionMapping())],
    )
    def closing_odds(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        read = sources.odds(lane.league, sources.games(lane.league).games)
        assert read is not None
        tell_reading(context, read.notes, len(read.rejected))
        return read.odds

    return [closing_odds]
