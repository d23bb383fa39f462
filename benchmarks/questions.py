"""What the four questions cost, with 500 model versions, 10,000 games per training set and 100,000 served predictions.

A home is made in a temporary folder from the files and rows that the platform writes. `query` is the wall time of the
question in a process that has loaded its code, the median of interleaved runs; `first` is the first run of all, for
`best` with nothing kept from before; `command` is the whole of `hoops ask ...` in a process of its own, wall and CPU.
The status is 1 if a median is over its bound: `query` 0.2 s, `command` 1 s of wall time.

    python -m benchmarks.questions [--runs 7] [--versions 500] [--games 10000] [--answers 100000] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoops_assets.services.lineage.best import ask_best
from hoops_assets.services.lineage.questions import Places, ask_code, ask_data, ask_served
from hoops_assets_tests.services.lineage.home import CUSTOMER, LEAGUE, SERVED_ON, make_home

QUERY_SECONDS, COMMAND_SECONDS = 0.2, 1.0
"""What every question must stay under, at the sizes of the defaults."""


def commands(version: int) -> dict[str, list[str]]:
    return {
        "data": ["data", "--model", f"{LEAGUE}/{version}", "--games", "stage=quarter-final season=2026"],
        "best": ["best", LEAGUE],
        "code": ["code", "--model", f"{LEAGUE}/{version}"],
        "served": ["served", "--customer", CUSTOMER, "--on", str(SERVED_ON)],
    }


def queries(places: Places, version: int) -> dict[str, Callable[[], Any]]:
    model = f"{LEAGUE}/{version}"
    return {
        "data": lambda: ask_data(places, model, "stage=quarter-final season=2026"),
        "best": lambda: ask_best(places, LEAGUE),
        "code": lambda: ask_code(places, model),
        "served": lambda: ask_served(places, CUSTOMER, SERVED_ON),
    }


def command_seconds(arguments: list[str], home: Path) -> tuple[float, float]:
    """Wall and CPU seconds of `hoops ask ARGUMENTS`."""
    names = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hoops_assets.cli", "ask", *arguments, "--json"],
        env={**names, "HOOPS_HOME": str(home)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"hoops ask {' '.join(arguments)} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def measure(home: Path, runs: int, versions: int, games: int, answers: int) -> list[dict[str, Any]]:
    made = make_home(
        home, games=games, versions=versions, answers=answers, test=min(1200, games // 3), settings=versions
    )
    asked, told = queries(made.places, versions), commands(versions)
    first: dict[str, float] = {}
    query: dict[str, list[float]] = {name: [] for name in asked}
    command: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for run in range(runs + 1):
        for name, ask in asked.items():
            started = time.perf_counter()
            ask()
            seconds = time.perf_counter() - started
            if run:
                query[name].append(seconds)
                command[name].append(command_seconds(told[name], home))
            else:
                first[name] = seconds
    return [
        {
            "question": name,
            "query": statistics.median(query[name]),
            "first": first[name],
            "command_wall": statistics.median(wall for wall, _ in command[name]),
            "command_cpu": statistics.median(cpu for _, cpu in command[name]),
        }
        for name in asked
    ]


def too_slow(rows: list[dict[str, Any]], command: str = "command_wall") -> list[str]:
    """The questions over a bound, each with its figures; `command` names the figure that the second one is held against."""
    return [
        f"{row['question']} (query {row['query']:.3f} s, command {row[command]:.2f} s)"
        for row in rows
        if row["query"] > QUERY_SECONDS or row[command] > COMMAND_SECONDS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--games", type=int, default=10_000)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder) / "home", given.runs, given.versions, given.games, given.answers)
    slow = too_slow(rows)
    if given.json:
        print(json.dumps(rows, indent=2))
        raise SystemExit(1 if slow else 0)
    print(f"{given.versions} versions, {given.games} games per training set, {given.answers} answers; seconds")
    print(f"{'question':<10}{'query':>10}{'first':>10}{'command wall':>14}{'command CPU':>13}")
    for row in rows:
        figures = f"{row['query']:>10.3f}{row['first']:>10.3f}{row['command_wall']:>14.2f}{row['command_cpu']:>13.2f}"
        print(f"{row['question']:<10}{figures}")
    print(f"over the bounds of {QUERY_SECONDS} and {COMMAND_SECONDS}: {', '.join(slow) or 'none'}")
    raise SystemExit(1 if slow else 0)


if __name__ == "__main__":
    main()
