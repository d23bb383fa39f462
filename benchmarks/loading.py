"""What loading the code location costs, against `import dagster, pandas`, and which heavy libraries it loads.

CPU seconds (user and system) of child processes, which run in turn so that a busy machine disturbs all alike; the median
of each. The location has the two embedded leagues, once in a home where nothing was ever ingested and once in one with
their calendars.

    python benchmarks/loading.py [--runs 7] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
FLOOR = "import dagster, pandas"
LOCATION = "import hoops_assets.definitions"
NAMES = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def environment(home: Path) -> dict[str, str]:
    """Of a child: what it imports is compiled by the first run, which is not counted."""
    names = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**names, "HOOPS_HOME": str(home)}


def cpu_seconds(code: str, home: Path) -> float:
    process = subprocess.Popen([sys.executable, "-c", code], env=environment(home))
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{code} failed")
    return usage.ru_utime + usage.ru_stime


def loaded(code: str, home: Path) -> set[str]:
    """Top-level names of all modules that are loaded after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {NAMES}"], env=environment(home), check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def heavy_libraries() -> set[str]:
    """The libraries that ruff keeps out of modules which the location reaches."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return set(settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"])


def write_calendars(home: Path) -> None:
    from hoops_assets.defs.resources import SourcesResource
    from hoops_assets.sources.leagues import load_leagues

    for league in load_leagues(home).values():
        SourcesResource(home=str(home)).games(league)


def measure(runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hoops-loading-") as folder:
        new, ingested = Path(folder) / "new", Path(folder) / "ingested"
        write_calendars(ingested)
        cases = {"floor": (FLOOR, new), "new home": (LOCATION, new), "with calendars": (LOCATION, ingested)}
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(runs + 1):
            for name, (code, home) in cases.items():
                seconds[name].append(cpu_seconds(code, home))
        medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first compiles
        heavy = (loaded(LOCATION, ingested) - loaded(FLOOR, ingested)) & heavy_libraries()
    return {
        "runs": runs,
        "cpu_seconds": {name: round(value, 3) for name, value in medians.items()},
        "ratios": {name: round(value / medians["floor"], 3) for name, value in medians.items() if name != "floor"},
        "heavy": sorted(heavy),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.runs)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"CPU seconds, median of {result['runs']} runs in turn")
    for name, seconds in result["cpu_seconds"].items():
        ratio = result["ratios"].get(name)
        print(f"  {name:15} {seconds:6.2f} s" + (f"   {ratio:.2f} of the floor" if ratio else f"   {FLOOR}"))
    print(f"  heavy libraries loaded: {', '.join(result['heavy']) or 'none'}")


if __name__ == "__main__":
    main()
