"""The monitoring page: what moved, since when, how sure, what was done about it, and how good the forecasts are.

What belongs here: choosing words and pictures for people. Everything that it says is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from hoops_assets.judging import plots
from hoops_assets.judging.pages import Colour, Heading, Mark, Part, Picture, Table, Text, page
from hoops_assets.services.monitoring import performance
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.deployments import Deployment
from hoops_assets.store.record import LedgerEntry, Record
from hoops_assets.workloads.drift import DriftReport, Signal

NAMES = {
    "inputs": "What the model sees of the games",
    "target": "How often home sides win",
    "home_advantage": "Home advantage, in points",
    "totals": "Points scored by both sides",
    "residuals": "Home wins the model did not expect",
    "concept": "How wrong the forecasts are",
    "skew": "Serving and training see the same",
    "missing_results": "Results that are missing",
    "missing_posts": "Teams nobody writes about",
    "late_posts": "Fan posts that come late",
    "unseen": "Teams the model has never seen",
}
"""Signal -> what a coach would call it."""

MEANS = {
    "inputs": "look at where these numbers come from; a newly trained version learns them.",
    "target": "home sides are not what they were; the forecasts follow once a newly trained version serves.",
    "home_advantage": "playing at home is not worth what it was; a newly trained version follows.",
    "totals": "the game has another pace; who wins is hardly touched, margins are.",
    "residuals": "the forecasts lean to one side until a newly trained version serves.",
    "concept": "the forecasts have become worse in the middle of the season.",
    "skew": "the endpoint answers from other numbers than training sees; materialise endpoint_fixtures.",
    "missing_results": "the source of games lags behind; run hoops leagues check.",
    "missing_posts": "the source of fan posts has gaps; its features are 0 there.",
    "late_posts": "the source of fan posts lags behind; what comes after tip-off is lost for the forecast.",
    "unseen": "its forecasts rest on what newcomers did before, see the asset new_teams.",
}
"""Signal -> what follows from its alarm."""

COLOURS: Mapping[str, Colour] = {"red": "red", "green": "green", "not enough": "grey"}
BENCHMARK_NAMES = {
    "forecast": "our forecast",
    "elo": "Elo",
    "base_rate": "home side always the same",
    "market": "closing line",
}
KINDS = {
    "forecast": "Forecast before the game",
    "forecast degraded": "Forecast by ratings, the model failed",
    "backfilled": "Computed afterwards (no forecast)",
    "served": "Told to customers",
    "served degraded": "Told to customers, degraded",
}

EDGES_SHOWN, DEPLOYMENTS_SHOWN, SEASONS_SHOWN = 20, 15, 10


@dataclass(frozen=True)
class Training:
    """One training that was launched, and the story that it belongs to, if an alarm or a schedule began it."""

    at: datetime
    what: str
    outcome: str
    version: str
    story: str


@dataclass(frozen=True)
class Seen:
    """All that the page tells.

    Attributes:
        report: None while no game is settled.
        table: `model_performance`. settled: the forecasts that it scores.
        counts: answers by version, see `performance.Answers`.
        trainings: newest first.
    """

    title: str
    zone: ZoneInfo
    report: DriftReport | None
    table: pd.DataFrame
    settled: pd.DataFrame
    counts: pd.DataFrame
    alarms: Sequence[Alarm] = ()
    deployments: Sequence[Deployment] = ()
    trainings: Sequence[Training] = field(default_factory=tuple)


def trainings(record: Record, league: str, story_of: Callable[[str], str | None], shown: int = 10) -> list[Training]:
    """The last trainings, newest first, one per run.

    Args:
        story_of: run id -> the story that its run belongs to, or None.
    """
    by_run: dict[str, list[LedgerEntry]] = {}
    for entry in record.ledger(league=league):
        if entry.what == "training":
            by_run.setdefault(entry.run_id or entry.launch_id, []).append(entry)
    out = []
    for run, entries in list(by_run.items())[-shown:]:
        failed = [one for one in entries if one.status == "failed"]
        state = f"{len(failed)} failed" if failed else ", ".join(sorted({one.status for one in entries}))
        versions = ", ".join(one.model_version.split("/")[-1] for one in entries if one.model_version)
        learners = ", ".join(one.learner for one in entries if one.learner)
        out.append(Training(entries[0].started_at, learners, state, versions, story_of(run) or ""))
    return out[::-1]


def monitoring_page(seen: Seen) -> str:
    """The whole page, HTML. The same things seen give the same page."""
    return page(
        f"{seen.title}: are the forecasts still right?",
        [*_headline(seen), *_signals(seen), *_what_was_done(seen), *_quality(seen), *_served(seen), *_pictures(seen)],
    )


def _headline(seen: Seen) -> list[Part]:
    report = seen.report
    if report is None:
        return [Text("No game is settled yet; there is nothing to watch.", "warn")]
    parts: list[Part] = [
        Text(f"Season {report.season}, {report.games:,} games played through {report.through:%d %B %Y}.", "soft")
    ]
    if not report.red:
        parts.append(Text("Nothing has moved: the league is the one that the model knows.", "good"))
    parts += [Text(f"{NAMES[one.name]}, since {_day(one.since)}: {MEANS[one.name]}", "warn") for one in report.red]
    return parts


def _signals(seen: Seen) -> list[Part]:
    if seen.report is None:
        return []
    rows = [
        [Mark(_state(one), COLOURS[one.state]), NAMES[one.name], _day(one.since), _sure(one), one.told]
        for one in sorted(seen.report.signals, key=lambda one: list(COLOURS).index(one.state))
    ]
    return [
        Heading("What moved, since when, how sure"),
        Table(rows, ["", "Watched", "Since", "By chance alone", "In words"]),
        Text(
            "Intervals hold at 95 % whenever one looks. By chance alone: how likely so much evidence would be at any time"
            " of a season in which nothing moved; an alarm is below 5 %. Inputs, concept and late or missing things are"
            " judged by their own rules, see docs/drift.md.",
            "soft",
        ),
    ]


def _state(signal: Signal) -> str:
    return {"red": "moved", "green": "as before", "not enough": "too early"}[signal.state]


def _sure(signal: Signal) -> str:
    if signal.p_value is None:
        return ""
    return "below 0.1 %" if signal.p_value < 0.001 else f"{100 * signal.p_value:.1f} %"


def _day(day: date | None) -> str:
    return f"{day:%d %b %Y}" if day else ""


def _what_was_done(seen: Seen) -> list[Part]:
    parts: list[Part] = [Heading("What was done")]
    last = list(reversed(seen.alarms))[:EDGES_SHOWN]
    if last:
        rows = [
            [_moment(seen, one.at), Mark("alarm" if one.state == "red" else "quiet again",
             "red" if one.state == "red" else "green"), NAMES.get(one.alarm.split("/")[-1], one.alarm), one.text]
            for one in last
        ]  # fmt: skip
        parts.append(Table(rows, ["When", "", "Alarm", "Said"]))
    else:
        parts.append(Text("No alarm was ever raised."))
    if seen.trainings:
        rows = [[_moment(seen, one.at), one.what, one.outcome, one.version, one.story] for one in seen.trainings]
        parts.append(Table(rows, ["When", "Training", "Outcome", "Version", "Because of"]))
    if seen.deployments:
        rows = [
            [_moment(seen, one.at), one.action.replace("_", " "), one.version, _traffic(one), one.reason,
             str(one.evidence.get("story", ""))]
            for one in list(reversed(seen.deployments))[:DEPLOYMENTS_SHOWN]
        ]  # fmt: skip
        parts.append(Table(rows, ["When", "What", "Version", "Traffic after", "Why", "Because of"]))
    else:
        parts.append(Text("Nothing has been deployed."))
    return parts


def _traffic(row: Deployment) -> str:
    return ", ".join(f"{version}: {percent} %" for version, percent in row.traffic.items()) or "none"


def _moment(seen: Seen, at: datetime | None) -> str:
    return f"{at.astimezone(seen.zone):%d %b %Y %H:%M}" if at else ""


def _quality(seen: Seen) -> list[Part]:
    parts: list[Part] = [Heading("How good the forecasts were")]
    whole = seen.table[seen.table["scope"] == "all"]
    if whole.empty:
        return [*parts, Text("No forecast is settled yet.")]
    parts.append(_scores(whole))
    parts.append(
        Text(
            "Log loss: less is better; a coin toss has 0.693. Against Elo: mean difference on the same games with its 95 %"
            " interval, negative is better than Elo. Only forecasts made before tip-off count as forecasts.",
            "soft",
        )
    )
    kind = performance.shown_kind(seen.settled)
    if kind == "backfilled":
        parts.append(
            Text(
                "Too few games were forecast before tip-off, so the pictures show probabilities that were computed after"
                " the games by models that knew nothing of them.",
                "warn",
            )
        )
    own = seen.table[(seen.table["kind"] == kind) & (seen.table["forecaster"] == performance.LEAGUE)]
    seasons = own[own["scope"] == "season"].sort_values("period").tail(SEASONS_SHOWN)
    if len(seasons):
        parts += [Heading(f"By season: {KINDS[kind].lower()}"), _scores(seasons, "period", "Season")]
    months = own[(own["scope"] == "month") & (own["season"] == own["season"].max())].sort_values("period")
    if len(months):
        parts += [Heading("By month of the last season"), _scores(months, "period", "Month")]
    losses = performance.losses(seen.settled, kind)
    shown = losses[losses["season"] > losses["season"].max() - 3] if len(losses) else losses
    if len(shown) >= plots.ROLLING // 4:
        rolling = plots.rolling_loss_plot(shown, BENCHMARK_NAMES, "How wrong, the last seasons")
        others = {name: BENCHMARK_NAMES[name] for name in ("elo", "base_rate", "market")}
        gain = plots.cumulative_gain_plot(losses, "forecast", others)
        league = seen.settled[(seen.settled["kind"] == kind) & (seen.settled["forecaster"] == performance.LEAGUE)]
        curve = plots.reliability_plot(
            pd.DataFrame({"forecast": league["probability"], "Elo": league["elo"]}), league["home_win"]
        )
        parts += [
            Picture(rolling, "Rolling log loss of forecast and benchmarks over game days"),
            Picture(gain, "Sum of log loss saved against the benchmarks since the first game"),
            Picture(
                curve, "Share of home wins over forecast probability", "On the dashed line what was said came true."
            ),
        ]
    return parts


def _scores(rows: pd.DataFrame, label: str = "", head: str = "") -> Table:
    cells = []
    for row in rows.to_dict("records"):
        first = [row[label]] if label else [KINDS[str(row["kind"])], str(row["forecaster"]), row["learner"]]
        cells.append(
            [*first, int(row["games"]), float(row["log_loss"]), f"{100 * row['accuracy']:.1f} %",
             float(row["calibration_error"]), float(row["elo_log_loss"]), _interval(row, "elo"),
             _interval(row, "base_rate"), _interval(row, "market")]
        )  # fmt: skip
    heads = [head] if label else ["Kind", "Forecaster", "Learner"]
    named = [*heads, "Games", "Log loss", "Right side", "Calibration error", "Elo's log loss", "Against Elo",
             "Against base rate", "Against closing line"]  # fmt: skip
    if all(row[-1] == "" for row in cells):
        cells, named = [row[:-1] for row in cells], named[:-1]
    return Table(cells, named)


def _interval(row: Mapping[Any, Any], name: str) -> str:
    mean, low, high = (float(row[f"{name}_{part}"]) for part in ("difference", "low", "high"))
    if mean != mean:
        return ""
    return f"{mean:+.4f}" if low != low else f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"


def _served(seen: Seen) -> list[Part]:
    parts: list[Part] = [Heading("What customers were told")]
    if seen.counts.empty:
        return [*parts, Text("No customer asked about a game that is settled.")]
    rows = [
        [row["version"], row["degraded"] or "the model's own answer", int(row["answers"]), int(row["games"])]
        for row in seen.counts.to_dict("records")
    ]
    parts.append(Table(rows, ["Version", "How", "Answers", "Games"]))
    parts.append(Text("Their scores stand above under “Told to customers”: of each game the last answer.", "soft"))
    return parts


def _pictures(seen: Seen) -> list[Part]:
    if seen.report is None:
        return []
    drawn = [(one, picture_of(one)) for one in seen.report.signals]
    shown = [Picture(png, f"{one.name}: {one.told}") for one, png in drawn if png]
    return [Heading("Every signal and its line"), *shown] if shown else []


def picture_of(signal: Signal) -> bytes | None:
    """A signal's series with its line, PNG; None without a series."""
    series = signal.series
    if series is None or not series.x:
        return None
    title = NAMES.get(signal.name, signal.name)
    if series.kind == "bar":
        return plots.threshold_bars_plot(series.x, series.y, series.threshold, series.label, title)
    return plots.threshold_plot(series.x, series.y, series.threshold, series.label, title, signal.alarmed)
