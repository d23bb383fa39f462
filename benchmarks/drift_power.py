"""How often the drift functions alarm when nothing moved, and how soon when something did; then the whole NBA history.

    python benchmarks/drift_power.py [--seasons 2000] [--write]

The thresholds in judging/drift.py are fixed by the simulation, which is printed first and knows nothing of the real games.
--write puts both into docs/drift.md; it reads HOOPS_REAL_DATA (default ../shared/data). About a minute of CPU and, for the
history, half a minute more. Stops with status 1 if a false-alarm rate is above what is promised, or if the history does not
show what is known of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hoops_assets.judging import drift
from hoops_assets.judging.drift import (
    ALPHA,
    Reference,
    concept_drift,
    excess_evidence,
    input_drift,
    mean_shift,
    shift_evidence,
)

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("HOOPS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
PAGE = REPOSITORY / "docs" / "drift.md"

GAMES, DAYS, WINDOW = 1230, 165, 15
"""Of a season; seasons that a model is fitted on."""

INPUTS = 8

WIDE = 0.05
"""Tolerance of totals, in standard deviations of one game: one point."""

SEASONS = range(1986, 2023)

KNOWN = [
    *((season, "residual") for season in (2009, 2010, 2011, 2014, 2020, 2021)),
    *((season, "total") for season in (2009, 2011, 2019)),
]
"""Seasons and signals shown in detail."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """Share of `seasons` with an alarm, and the median number of games (or days) until it; `null`: nothing moved."""

    question: str
    world: str
    alarms: float
    until: float | None
    null: bool
    seasons: int


def looks_of(games: int = GAMES) -> NDArray[np.intp]:
    """Place of the last game of each day."""
    return np.unique(np.linspace(0, games, DAYS + 1).astype(np.intp)[1:]) - 1


def alarms(total: Floats, variance: Floats, slack: float, start: int) -> tuple[float, float | None]:
    """Share of seasons, [seasons, games] of running sums, that alarm at the end of some day; median games from `start` on."""
    ends = looks_of()
    reached = shift_evidence(total[:, ends], variance[:, ends], slack) >= np.log(1 / ALPHA)
    any_alarm = reached.any(axis=1)
    until = ends[reached[any_alarm].argmax(axis=1)] + 1 - start
    return float(any_alarm.mean()), float(np.median(until)) if any_alarm.any() else None


# -- means ------------------------------------------------------------------------------------------------------------


def fitted(x: Floats, y: Floats) -> Floats:
    """Intercept and slope of a logistic regression, by Newton's method."""
    design = np.column_stack([np.ones_like(x), x])
    beta = np.zeros(2)
    for _ in range(6):
        p = 1 / (1 + np.exp(-design @ beta))
        beta += np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design, design.T @ (y - p))
    return beta


def residual_seasons(
    seasons: int, points: float, start: int, walk: float, draw: np.random.Generator
) -> tuple[float, float | None]:
    """Residuals of a logistic regression fitted on the WINDOW seasons before, with looks on every day.

    Args:
        points: by which the share of home wins moves. start: game from which on.
        walk: sd of what the home advantage moves by from season to season, in the share of home wins.
    """
    total, variance = np.empty((seasons, GAMES)), np.empty((seasons, GAMES))
    unit = 0.2  # p (1 - p) of a typical game: a share moves by this much for one on the logit scale
    for season in range(seasons):
        if season % 4 == 0:  # four seasons after each past, which takes most of the time
            x = draw.normal(0, 0.9, WINDOW * GAMES)
            level = np.cumsum(draw.normal(0, walk / unit, WINDOW + 1)) if walk else np.zeros(WINDOW + 1)
            p = 1 / (1 + np.exp(-(0.45 + np.repeat(level[:-1], GAMES) + x)))
            beta = fitted(x, (draw.random(len(p)) < p).astype(np.float64))
        x = draw.normal(0, 0.9, GAMES)
        logit = 0.45 + level[-1] + x + np.where(np.arange(GAMES) >= start, points / unit, 0.0)
        y = draw.random(GAMES) < 1 / (1 + np.exp(-logit))
        p = 1 / (1 + np.exp(-(beta[0] + beta[1] * x)))
        total[season], variance[season] = np.cumsum(y - p), np.cumsum(p * (1 - p))
    mean_variance = float(variance[:, -1].mean() / GAMES)
    sd = float(np.sqrt(mean_variance))
    slack = 1 / (WINDOW * GAMES) + drift.TOLERANCE**2
    return alarms(total / sd, variance / sd**2, slack, start)


def mean_seasons(
    seasons: int, shift: float, start: int, alike: float, tails: bool, past: int, draw: np.random.Generator
) -> tuple[float, float | None]:
    """Something measured on every game against the seasons before.

    Args:
        shift: in standard deviations. alike: correlation of games of a day. tails: t with 5 degrees of freedom.
        past: 1 (totals, with the tolerance WIDE) or WINDOW (target and home advantage, with drift.TOLERANCE).
    """
    day = np.searchsorted(looks_of(), np.arange(GAMES))

    def played(times: int = 1) -> Floats:
        size = (times, GAMES)
        own = draw.standard_t(5, size) / np.sqrt(5 / 3) if tails else draw.normal(size=size)
        return np.sqrt(1 - alike) * own + np.sqrt(alike) * draw.normal(size=(times, DAYS))[:, day]

    past_days = (day[None, :] + DAYS * np.arange(past)[:, None]).ravel().tolist()
    total = np.empty((seasons, GAMES))
    for season in range(seasons):
        if season % past == 0:  # several seasons after each long past
            reference = Reference.of(played(past).ravel(), past_days)
        now = played()[0] + np.where(np.arange(GAMES) >= start, shift, 0.0)
        total[season] = np.cumsum(reference.standardised(now))
    variance = np.broadcast_to(np.arange(1.0, GAMES + 1), total.shape)
    tolerance = WIDE if past == 1 else drift.TOLERANCE
    return alarms(total, variance, 1 / (past * GAMES) + tolerance**2, start)


def mean_rows(seasons: int, draw: np.random.Generator) -> Iterable[Row]:
    few = max(100, seasons // 4)
    question = "residuals of the refitted logistic"
    for world, count, points, start, walk in (
        ("nothing moved", seasons, 0.0, 0, 0.0),
        ("the home advantage wanders by 0.5 points a season", seasons, 0.0, 0, 0.005),
        ("share of home wins -3 points, all season", few, -0.03, 0, 0.0),
        ("-5 points, all season", few, -0.05, 0, 0.0),
        ("-8 points, all season", few, -0.08, 0, 0.0),
        ("-5 points from the middle on", few, -0.05, GAMES // 2, 0.0),
        ("-8 points from the middle on", few, -0.08, GAMES // 2, 0.0),
    ):
        yield Row(
            question, world, *residual_seasons(count, points, start, walk, draw), points == 0 and walk == 0, count
        )
    for question, past, worlds in (
        ("a mean against the 15 seasons before (target, home advantage)", WINDOW, (
            ("nothing moved", seasons, 0.0, 0, 0.0, False),
            ("nothing moved, games of a day correlate by .1", seasons, 0.0, 0, 0.1, False),
            ("nothing moved, heavy tails (t, 5 degrees)", seasons, 0.0, 0, 0.0, True),
            ("-0.06 sd (3 points in the share of home wins, 0.8 of margin)", few, -0.06, 0, 0.0, False),
            ("-0.1 sd (5 points, 1.3 of margin)", few, -0.1, 0, 0.0, False),
            ("-0.15 sd (7 points, 2 of margin)", few, -0.15, 0, 0.0, False),
            ("-0.15 sd from the middle on", few, -0.15, GAMES // 2, 0.0, False),
        )),
        ("a mean against last season's (totals)", 1, (
            ("nothing moved", seasons, 0.0, 0, 0.0, False),
            ("nothing moved, games of a day correlate by .1", seasons, 0.0, 0, 0.1, False),
            ("nothing moved, heavy tails (t, 5 degrees)", seasons, 0.0, 0, 0.0, True),
            ("+0.1 sd (2 points), all season", few, 0.1, 0, 0.0, False),
            ("+0.2 sd (4 points), all season", few, 0.2, 0, 0.0, False),
            ("+0.3 sd (6 points), all season", few, 0.3, 0, 0.0, False),
            ("+0.5 sd (10 points), all season", few, 0.5, 0, 0.0, False),
            ("+0.5 sd from the middle on", few, 0.5, GAMES // 2, 0.0, False),
        )),
    ):  # fmt: skip
        for world, count, shift, start, alike, tails in worlds:
            found = mean_seasons(count, shift, start, alike, tails, past, draw)
            yield Row(question, world, *found, shift == 0, count)


# -- inputs, concept, arrival -----------------------------------------------------------------------------------------


def input_row(
    world: str, seasons: int, draw: np.random.Generator, *, shift: float = 0.0, kept: float | None = None,
    days: int = DAYS, null: bool = False,
) -> Row:  # fmt: skip
    """A season's inputs (of its first `days`) against the season before.

    Args:
        kept: the inputs are differences of 30 teams' strengths, of which this share is kept from season to season.
    """
    day = np.searchsorted(looks_of(), np.arange(GAMES))
    games = int((day < days).sum())
    found = 0
    for season in range(seasons):
        strengths = draw.normal(size=(INPUTS, 30))
        spans = []
        for _ in ("then", "now"):
            home, away = draw.integers(0, 30, GAMES), draw.integers(0, 30, GAMES)
            values = draw.normal(size=(INPUTS, GAMES)) + 0.3 * draw.normal(size=(INPUTS, DAYS))[:, day]
            if kept is not None:
                values = strengths[:, home] - strengths[:, away] + 0.5 * values
                strengths = kept * strengths + np.sqrt(1 - kept**2) * draw.normal(size=strengths.shape)
            spans.append(values)
        then, now = spans[0], spans[1][:, :games]
        now[0] += shift
        names = [f"x{number}" for number in range(INPUTS)]
        moved = input_drift(
            dict(zip(names, then, strict=True)), dict(zip(names, now, strict=True)), day.tolist(),
            (day[:games] + DAYS).tolist(), permutations=399, seed=season,
        )  # fmt: skip
        found += any(one.moved for one in moved)
    return Row(f"inputs ({INPUTS}, one look)", world, found / seasons, None, null, seasons)


def concept_row(world: str, seasons: int, gain: float, draw: np.random.Generator, null: bool = False) -> Row:
    """Brier scores of calibrated forecasts, which get worse by `gain` from the middle of the season on."""
    day = np.searchsorted(looks_of(), np.arange(GAMES))
    until = []
    for _ in range(seasons):
        p = 1 / (1 + np.exp(-draw.normal(0.45, 0.9, GAMES)))
        loss = (p - (draw.random(GAMES) < p)) ** 2 + np.where(np.arange(GAMES) >= GAMES // 2, gain, 0.0)
        found = concept_drift(np.clip(loss, 0, 1), day.tolist())
        until += [int(np.searchsorted(day, found[0].look)) - GAMES // 2] if found else []
    return Row(f"concept (ADWIN, delta {drift.ADWIN_DELTA})", world, len(until) / seasons,
               float(np.median(until)) if until and not null else None, null, seasons)  # fmt: skip


def excess_row(
    world: str, seasons: int, draw: np.random.Generator, *, whole: float = 0.0, single: float = 0.0, start: int = 0,
    null: bool = False,
) -> Row:  # fmt: skip
    """Shares of missing inputs where 2 % are usual: from a day on, whole days with one probability, single games with another."""
    size = (seasons, DAYS)
    bad = np.where(draw.random(size) < whole, 1.0, draw.binomial(7, single, size) / 7)
    usual = np.where(draw.random(size) < 0.02, 1.0, 0.0)
    shares = np.where(np.arange(DAYS) >= start, bad, usual)
    reached = excess_evidence(shares, 0.02) >= np.log(1 / ALPHA)
    any_alarm = reached.any(axis=1)
    until = reached[any_alarm].argmax(axis=1) + 1 - start
    return Row("missing or late inputs, 2 % usual (until: days)", world, float(any_alarm.mean()),
               float(np.median(until)) if any_alarm.any() and not null else None, null, seasons)  # fmt: skip


def simulation(seasons: int) -> list[Row]:
    draw = np.random.default_rng(20261123)
    tenth = max(40, seasons // 10)
    return [
        *mean_rows(seasons, draw),
        input_row("nothing moved, days differ", tenth, draw, null=True),
        input_row("the same after 8 days of the season", tenth, draw, days=8, null=True),
        input_row("differences of 30 teams that keep .8 of their strength", tenth, draw, kept=0.8),
        input_row("of 30 teams that are all new", tenth, draw, kept=0.0),
        input_row("one input +0.3 sd", tenth, draw, shift=0.3),
        input_row("one input +0.5 sd", tenth, draw, shift=0.5),
        input_row("one input +1 sd after 8 days", tenth, draw, shift=1.0, days=8),
        concept_row("nothing moved", seasons, 0.0, draw, null=True),
        concept_row("Brier +.02 from the middle on", seasons // 4, 0.02, draw),
        concept_row("Brier +.05 from the middle on", seasons // 4, 0.05, draw),
        concept_row("Brier +.10 from the middle on", seasons // 4, 0.10, draw),
        excess_row("2 % of single games", seasons, draw, single=0.02, null=True),
        excess_row("2 % of days whole", seasons, draw, whole=0.02, null=True),
        excess_row("6 % of single games", seasons // 4, draw, single=0.06),
        excess_row("10 % of days whole", seasons // 4, draw, whole=0.10),
        excess_row("the source is gone from day 100 on", seasons // 4, draw, whole=1.0, start=100),
    ]


def simulation_table(rows: list[Row]) -> str:
    lines = ["| question | world | seasons | with an alarm | games until it, median |", "|---|---|---|---|---|"]
    for row in rows:
        until = "" if row.until is None or row.null else f"{row.until:.0f}"
        share = f"**{row.alarms:.1%}**" if row.null else f"{row.alarms:.1%}"
        lines.append(f"| {row.question} | {row.world} | {row.seasons:,} | {share} | {until} |")
    return "\n".join(lines)


# -- history ----------------------------------------------------------------------------------------------------------


def the_nba() -> tuple[pd.DataFrame, list[str]]:
    """Played games with features, the logistic regression's walk-forward forecast `p`, margin and total; names of inputs."""
    from hoops_assets.basketball.estimators import LEARNERS, SIMPLE
    from hoops_assets.basketball.features import FEATURES
    from hoops_assets.judging.walkforward import walk_forward
    from hoops_assets.sources.leagues import new_league
    from hoops_assets.sources.open import open_games
    from hoops_assets.workloads.evaluate import league_features

    snapshots = sorted((DATA / "nba" / "snapshots").glob("*.csv"))
    league, _ = new_league(
        "nba", "fivethirtyeight", [str(DATA / "nba" / "nba_elo_1947_2019.csv.gz"), *map(str, snapshots)]
    )
    games = open_games(league).read(datetime.now(UTC)).games
    table = league_features(league, games)
    learner = {"logistic": LEARNERS["logistic"]}
    first = SEASONS.start - WINDOW - 1
    forecasts = walk_forward(
        table[list(FEATURES)], table["home_win"], table["season"], learner,
        forecast=[season for season in sorted(set(table["season"])) if season >= first], window=WINDOW,
    )  # fmt: skip
    table = table.assign(
        p=forecasts["logistic"],
        margin=(games["home_score"] - games["away_score"]).to_numpy(dtype=np.float64, na_value=np.nan),
        total=(games["home_score"] + games["away_score"]).to_numpy(dtype=np.float64, na_value=np.nan),
    )
    played = table[table["home_win"].notna() & (table["season"] >= first)]
    inputs = [name for name in SIMPLE if "sentiment" not in name and "posts" not in name]
    return played.sort_values(["day", "game_id"]).reset_index(drop=True), inputs


@dataclass(frozen=True)
class Season:
    """What every question said of one season: a day, or None without an alarm."""

    season: int
    games: int
    residual: drift.Shift
    target: drift.Shift
    home_advantage: drift.Shift
    total: drift.Shift
    inputs: list[drift.InputDrift]
    concept: list[drift.ConceptDrift]
    newcomers: list[str]


def judge_season(games: pd.DataFrame, season: int, inputs: list[str]) -> Season:
    now, last = games[games["season"] == season], games[games["season"] == season - 1]
    past = games[games["season"].between(season - WINDOW, season - 1)]
    days = now["day"].tolist()
    p, won = now["p"].to_numpy(dtype=np.float64), now["home_win"].to_numpy(dtype=np.float64)
    variance = p * (1 - p)
    sd = float(np.sqrt(variance.mean()))
    at_home, home_past = now[~now["neutral"]], past[~past["neutral"]]

    def against(reference: pd.DataFrame, rows: pd.DataFrame, name: str, tolerance: float) -> drift.Shift:
        found = Reference.of(reference[name].astype("float64"), reference["day"].tolist())
        z = found.standardised(rows[name].astype("float64"))
        return mean_shift(z, rows["day"].tolist(), reference_variance=found.n, tolerance=tolerance)

    teams = set(now["home"]) | set(now["away"])
    return Season(
        season=season, games=len(now),
        residual=mean_shift((won - p) / sd, days, variances=variance / sd**2, reference_variance=len(past)),
        target=against(home_past, at_home, "home_win", drift.TOLERANCE),
        home_advantage=against(home_past, at_home, "margin", drift.TOLERANCE),
        total=against(last, now, "total", WIDE),
        inputs=[
            one for one in input_drift(
                {name: last[name] for name in inputs}, {name: now[name] for name in inputs},
                last["day"].tolist(), days,
            ) if one.moved
        ],
        concept=concept_drift((p - won) ** 2, days),
        newcomers=drift.unseen(teams, set(past["home"]) | set(past["away"])),
    )  # fmt: skip


def history_table(seasons: list[Season]) -> str:
    lines = [
        "| season | games | residuals | target | home advantage | total points | inputs | concept | new teams |",
        "|---|---|---|---|---|---|---|---|---|",
    ]

    def told(shift: drift.Shift, unit: str = "") -> str:
        size = f"{shift.shift:+.2f}"
        return f"**{shift.alarm}** ({size})" if shift.alarm is not None else f"({size})"

    for one in seasons:
        moved = ", ".join(f"{found.name} {found.psi:.2f}" for found in one.inputs)
        concept = ", ".join(str(found.look) for found in one.concept)
        cells = [one.season, one.games, told(one.residual), told(one.target), told(one.home_advantage), told(one.total),
                 f"**{moved}**" if moved else "", f"**{concept}**" if concept else "", ", ".join(one.newcomers)]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def evidence_table(seasons: list[Season]) -> str:
    """The seasons of which something is known: greatest evidence of any day, and the interval at the end."""
    lines = [
        "| season | signal | greatest evidence of a day | alarm | dates from | shift in sd, 95 % at all looks |",
        "|---|---|---|---|---|---|",
    ]
    for season, signal in KNOWN:
        shift: drift.Shift = getattr(next(one for one in seasons if one.season == season), signal)
        told = f"{shift.shift:+.2f} ({shift.low:+.2f} to {shift.high:+.2f})"
        cells = [season, signal, f"{shift.evidence.max():.2f}", shift.alarm or "", shift.since or "", told]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def known_truth(seasons: list[Season]) -> list[str]:
    """What is known of the NBA and not found; empty if all is."""
    of = {one.season: one for one in seasons}
    wrong = [] if of[2021].residual.alarm else ["empty arenas of 2021 do not move the residuals"]
    wrong += [f"residuals alarm in {season}" for season in (2009, 2010, 2011) if of[season].residual.alarm]
    wrong += [] if of[2019].total.alarm else ["total points of 2019 do not alarm"]
    wrong += [f"total points alarm in {season}" for season in (2009, 2011) if of[season].total.alarm]
    return wrong


def too_many(rows: list[Row]) -> list[str]:
    """Worlds where nothing moved with more alarms than alpha, by three standard errors."""
    return [
        f"{row.question}, {row.world}: {row.alarms:.1%}"
        for row in rows
        if row.null and row.alarms > ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / row.seasons)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seasons", type=int, default=2000, help="simulated seasons in each world where nothing moved")
    parser.add_argument("--write", action="store_true", help="show the NBA history as well and write docs/drift.md")
    given = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    rows = simulation(given.seasons)
    print(simulation_table(rows), flush=True)
    wrong = too_many(rows)
    if given.write:
        games, inputs = the_nba()
        seasons = [judge_season(games, season, inputs) for season in SEASONS]
        print(history_table(seasons))
        wrong += known_truth(seasons)
        template = (REPOSITORY / "docs" / "drift.template.md").read_text()
        text = template.replace("{{simulation}}", simulation_table(rows)).replace("{{history}}", history_table(seasons))
        text = text.replace("{{evidence}}", evidence_table(seasons))
        PAGE.write_text(text)
    for one in wrong:
        print(f"wrong: {one}", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
