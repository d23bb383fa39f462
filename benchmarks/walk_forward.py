"""Seconds of the walk-forward of all learners over a league's whole history, and over the first half of its games.

The steps of `hoops evaluate` in this process: reading, features, then learner by learner, every season forecast by a
model fitted on the fifteen seasons before it. The time should grow with the number of games: `growth` is the seconds per
game of the whole over those of the half, 1 if linear. A half that ends within a season is rounded up to its end.

    python benchmarks/walk_forward.py [--json]

Real games are taken from HOOPS_REAL_DATA (default ../shared/data); without them those of a simulated league.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent


def the_league(home: Path) -> Any:
    from hoops_assets.sources import leagues

    real = Path(os.environ.get("HOOPS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    games = real / "nba" / "nba_elo_1947_2019.csv.gz"
    if games.exists():
        return leagues.new_league("nba", "fivethirtyeight", [str(games)])[0]
    simulated = leagues.get_league(home, "atlantic").model_dump(mode="json")
    simulated["sources"] = {"games": {**simulated["sources"]["games"], "simulated_from": 1990}}
    return leagues.League.model_validate(simulated)


class Clock:
    """Wall and CPU seconds of steps."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    def of(self, name: str, step: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        out = step()
        self.steps[name] = {
            "wall": round(time.perf_counter() - wall, 2), "cpu": round(time.process_time() - cpu, 2)
        }  # fmt: skip
        return out

    def total(self, clock: str) -> float:
        return round(sum(step[clock] for step in self.steps.values()), 2)


def walk(league: Any, games: pd.DataFrame) -> dict[str, Any]:
    from hoops_assets.workloads.evaluate import LEARNERS, evaluate_league, league_features

    clock = Clock()
    features = clock.of("features", lambda: league_features(league, games))
    reports = {name: clock.of(name, lambda name=name: evaluate_league(features, learners=[name])) for name in LEARNERS}
    forecast = next(iter(reports.values()))["learners"][0]["n"]
    return {
        "games": len(games),
        "forecast": forecast,
        "seasons": f"{games['season'].min()}..{games['season'].max()}",
        "steps": clock.steps,
        "wall": clock.total("wall"),
        "cpu": clock.total("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from hoops_assets.basketball.games import apply_home_rules
    from hoops_assets.sources.open import open_games

    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="hoops-walk-") as folder:
        league = the_league(Path(folder))
        read = clock.of("reading", lambda: open_games(league).read(datetime.now(UTC)))
    games = apply_home_rules(read.games, league)
    games = games[games["home_score"].notna()].reset_index(drop=True)
    middle = games["season"].iloc[len(games) // 2]
    walk(league, games[games["season"] <= games["season"].iloc[0] + 3])  # imports what is used
    half, whole = walk(league, games[games["season"] <= middle].reset_index(drop=True)), walk(league, games)
    growth = {
        name: round(whole["steps"][name]["cpu"] / whole["games"] * half["games"] / half["steps"][name]["cpu"], 2)
        for name in whole["steps"]
        if half["steps"][name]["cpu"] >= 0.05
    }
    growth["all"] = round(whole["cpu"] / whole["games"] * half["games"] / half["cpu"], 2)
    result = {"reading": clock.steps["reading"], "half": half, "whole": whole, "growth": growth}
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"reading {clock.steps['reading']['wall']:.1f} s wall, {clock.steps['reading']['cpu']:.1f} s CPU")
    for name, walked in (("half", half), ("whole", whole)):
        print(f"{name}: {walked['games']} games {walked['seasons']}, {walked['forecast']} forecast")
        for step, used in [*walked["steps"].items(), ("all", walked)]:
            print(f"  {step:10} {used['wall']:7.1f} s wall {used['cpu']:7.1f} s CPU")
    print("growth of CPU seconds per game, whole over half:", ", ".join(f"{k} {v:.2f}" for k, v in growth.items()))


if __name__ == "__main__":
    main()
