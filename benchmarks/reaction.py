"""What automation is worth: leagues lived through with and without it, on many seeds. About nine CPU seconds a world and seed.

    python -m benchmarks.reaction [--seeds 10] [--lives FILE] [--write]

Every life is two simulated seasons (`hoops_assets_tests.simulated_seasons`): in the first something may happen, the second
follows. The last three worlds take half of the seeds. --lives keeps finished lives in a file, so that a run that was stopped
goes on. --write puts the tables into docs/reaction.md. Stops with status 1 if automation does not pay where the home advantage
moved by 6 points (sign test over leagues), or if more unshocked seasons alarm than is stated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy.stats import binom
from scipy.stats import t as student_t

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.settings import Reaction, RetrainSignal
from hoops_assets_tests.simulated_seasons import (
    FOLLOWING,
    MID_SEASON,
    SHOCKED,
    Life,
    World,
    features_of,
    foreseen_alarm,
    live,
    true_shift,
)

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "reaction.md"

WORLDS = (
    World("nothing moves"),
    World("home advantage 3 -> -3 points, from the first day", home_advantage=-3.0),
    World("3 -> -3 points in the middle of the season", home_advantage=-3.0, since=MID_SEASON),
    World("3 -> 0 points, from the first day", home_advantage=0.0),
    World("two teams join, 8 points better than average", newcomers=8.0),
    World("two teams join, 14 points worse than average", newcomers=-14.0),
)
ALL = "all five learners"
MODELS = {
    ALL: tuple(LEARNERS),
    "simple ones (base rate, Elo, logistic)": ("base_rate", "elo", "logistic"),
}

SHIFTS = ("residuals", "home_advantage", "target")
STATED = 0.05
"""Of each signal over a season."""

Row = dict[str, Any]


def told(life: Life, models: str) -> Row:
    """One life as JSON."""
    first = life.games.loc[life.games["day"] >= life.world.since, "day"].min()
    seasons = {season: set(life.games.loc[life.games["season"] == season, "day"]) for season in (SHOCKED, FOLLOWING)}
    asks = [(day, signal) for day, signal in life.edges if signal in Reaction().signals]
    in_first = [(day, signal) for day, signal in asks if day in seasons[SHOCKED] and day >= first]
    alarms = {signal: life.since_shock(day) for day, signal in reversed(in_first)}
    return {
        "world": life.world.name,
        "models": models,
        "seed": life.seed,
        "learner": life.learner,
        "before": int((life.games["day"] < first).sum()),
        "after": int(((life.games["day"] >= first) & (life.games["season"] == SHOCKED)).sum()),
        "noticed": min(alarms.values(), default=None),
        "residuals": alarms.get("residuals"),
        "edges": {str(season): sorted({s for day, s in life.edges if day in days}) for season, days in seasons.items()},
        "trained": [life.since_shock(day) for day in life.trained],
        "trained_in": [SHOCKED if day in seasons[SHOCKED] else FOLLOWING for day in life.trained],
        "refused": life.refused,
        "trials": [
            {"choice": one.choice, "games": one.games, "foreseen": one.foreseen, "learner": one.canary.learner}
            for one in life.trials
        ],
        "swapped": [life.since_shock(day) for day in life.swapped],
        "swapped_in_time": sum(day in seasons[SHOCKED] for day in life.swapped),
        "gain": {str(season): life.gain(season) for season in seasons},
    }  # fmt: skip


def lives(seeds: int, file: Path | None) -> list[Row]:
    rows: list[Row] = [json.loads(line) for line in file.read_text().splitlines()] if file and file.exists() else []
    done = {(row["world"], row["models"], row["seed"]) for row in rows}
    for seed in range(1, seeds + 1):
        for world in WORLDS if seed <= seeds // 2 else WORLDS[:3]:
            left = [name for name in MODELS if (world.name, name, seed) not in done]
            left = [name for name in left if name == ALL or world.home_advantage is not None]
            features = features_of(world, seed) if left else None
            for name in left:
                rows.append(told(live(world, seed, learners=MODELS[name], rows=features), name))
                if file:
                    with file.open("a") as out:
                        out.write(json.dumps(rows[-1]) + "\n")
    worlds, names = [world.name for world in WORLDS], list(MODELS)
    rows = [row for row in rows if row["seed"] <= seeds]
    return sorted(rows, key=lambda row: (names.index(row["models"]), worlds.index(row["world"]), row["seed"]))


def mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval (Student's t) over independent leagues."""
    x = np.asarray(values, dtype=np.float64)
    half = float(student_t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else np.inf
    return float(x.mean()), float(x.mean()) - half, float(x.mean()) + half


def median(values: Iterable[float | None], of: int | None = None) -> str:
    """Median of `of` values of which the missing are beyond every other; a dash if it is among those."""
    x = [np.inf if value is None else float(value) for value in values]
    x += [np.inf] * ((of or len(x)) - len(x))
    found = float(np.median(x)) if x else np.inf
    return f"{found:.0f}" if np.isfinite(found) else "-"


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    columns = head.split(" | ")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def by_world(rows: list[Row]) -> Iterable[tuple[str, World, list[Row]]]:
    for models in MODELS:
        for world in WORLDS:
            own = [row for row in rows if (row["models"], row["world"]) == (models, world.name)]
            if own:
                yield models, world, own


def worth(rows: list[Row]) -> str:
    def lines() -> Iterable[Sequence[str]]:
        for models, world, own in by_world(rows):
            gains = []
            for season in (SHOCKED, FOLLOWING):
                found, low, high = mean([row["gain"][str(season)] for row in own])
                gains.append(f"{found:+.4f} ({low:+.4f} to {high:+.4f})")
            worse = sum(row["gain"][str(FOLLOWING)] < 0 for row in own)
            trained = f"{np.mean([len(row['trained']) for row in own]):.1f}"
            swaps = f"{np.mean([len(row['swapped']) for row in own]):.1f}"
            yield models, world.name, str(len(own)), trained, swaps, *gains, str(worse)

    return table(
        "learners | what happens | leagues | trainings | swaps | log loss saved in that season"
        " | in the following season | leagues worse off there",
        lines(),
    )


def worth_by_learner(rows: list[Row]) -> str:
    """What is saved in the following season where the home advantage moved by 6 points, by the learner that served at first."""

    def lines() -> Iterable[Sequence[str]]:
        moved = [row for _, world, own in by_world(rows) if world.home_advantage == -3.0 for row in own]
        for learner in sorted({row["learner"] for row in moved}):
            gains = [row["gain"][str(FOLLOWING)] for row in moved if row["learner"] == learner]
            found, low, high = mean(gains)
            yield learner, str(len(gains)), f"{found:+.4f} ({low:+.4f} to {high:+.4f})"

    return table("learner that serves at first | lives | log loss saved in the following season", lines())


def times(rows: list[Row]) -> str:
    def lines() -> Iterable[Sequence[str]]:
        for models, world, own in by_world(rows):
            if world.home_advantage is None:
                continue
            n = len(own)
            foreseen = foreseen_alarm(true_shift(world), past=2480, before=own[0]["before"], after=own[0]["after"])
            power, seen = np.isfinite(foreseen).mean(), np.mean([row["residuals"] is not None for row in own])
            trials = [one for row in own for one in row["trials"]]
            ended = [one for one in trials if one["choice"] != "wait"]
            yield (
                models, world.name,
                f"{seen:.0%} ({power:.0%})",
                f"{median(row['residuals'] for row in own)} ({median(foreseen)})",
                median(row["noticed"] for row in own),
                median((row["trained"][0] if row["trained"] else None) for row in own),
                f"{median([one['games'] for one in ended])} ({median([one['foreseen'] for one in ended])})",
                median((row["swapped"][0] if row["swapped"] else None) for row in own),
                f"{sum(row['swapped_in_time'] > 0 for row in own)} of {n}",
            )  # fmt: skip

    return table(
        "learners | what happens | residuals alarm that season (foreseen) | games until then (foreseen)"
        " | games until any alarm | until the first training | games of a trial (foreseen) | until the first swap"
        " | swapped in the same season",
        lines(),
    )


def trials(rows: list[Row]) -> str:
    def lines() -> Iterable[Sequence[str]]:
        for models, world, own in by_world(rows):
            ends = [one["choice"] for row in own for one in row["trials"]]
            counts = [str(ends.count(choice)) for choice in ("roll_out", "roll_back", "keep_champion", "wait")]
            first = sorted({row["learner"] for row in own})
            yield models, world.name, ", ".join(first), str(sum(row["refused"] for row in own)), *counts

    return table(
        "learners | what happens | learner that serves at first | refused by the gate | rolled out | rolled back | champion kept"
        " | under way at the end",
        lines(),
    )


def false_alarms(rows: list[Row]) -> tuple[str, bool]:
    """By signal: shares of unshocked seasons with a red edge; whether more than chance allows are above what is stated."""
    own = [row for row in rows if (row["world"], row["models"]) == (WORLDS[0].name, ALL)]
    seasons = [set(row["edges"][str(season)]) for row in own for season in (SHOCKED, FOLLOWING)]
    n, lines, worst = len(seasons), [], False
    asks = set(Reaction().signals)
    for signal in [one for one in get_args(RetrainSignal) if one != "unseen"]:
        count = sum(signal in red for red in seasons)
        too_many = bool(count > binom.ppf(0.99, n, STATED))
        worst |= too_many and signal in asks
        says = f"{STATED:.0%}" + (", exceeded" if too_many else "")
        lines.append((signal, "yes" if signal in asks else "no", f"{count} of {n}", f"{count / n:.1%}", says))
    any_red = sum(bool(red & asks) for red in seasons)
    lines.append(("any that asks", "", f"{any_red} of {n}", f"{any_red / n:.1%}", ""))
    trained = sum(season in row["trained_in"] for row in own for season in (SHOCKED, FOLLOWING))
    lines.append(("a training", "", f"{trained} of {n}", f"{trained / n:.1%}", ""))
    return table("signal | asks for a training | unshocked seasons with an alarm | share | stated", lines), worst


def pays(rows: list[Row]) -> bool:
    """Whether surely more leagues are better off than not (sign test, p < .01) wherever the home advantage moved by 6 points."""
    for _, world, own in by_world(rows):
        if world.home_advantage == -3.0:
            gains = [row["gain"][str(FOLLOWING)] for row in own]
            better = sum(gain > 0 for gain in gains)
            if np.mean(gains) <= 0 or binom.sf(better - 1, len(gains), 0.5) >= 0.01:
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--lives", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = lives(arguments.seeds, arguments.lives)
    alarms, too_many = false_alarms(rows)
    parts = {
        "worth": worth(rows),
        "worth_by_learner": worth_by_learner(rows),
        "times": times(rows),
        "trials": trials(rows),
        "false_alarms": alarms,
    }
    sys.stdout.write("\n\n".join(parts.values()) + "\n")
    if arguments.write:
        page = PAGE.with_suffix(".template.md").read_text()
        for name, text in parts.items():
            page = page.replace("{{" + name + "}}", text)
        PAGE.write_text(page)
    if too_many or not pays(rows):
        sys.exit("more false alarms than stated" if too_many else "automation does not pay where it should")


if __name__ == "__main__":
    main()
