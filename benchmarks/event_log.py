"""What the Dagster instance grows by: a daily run, and a season that is backfilled; in SQLite.

Fresh homes with the games of the NBA (HOOPS_REAL_DATA; else a simulated league of that length), no model registered:

- backfill: `hoops backfill` of the last seasons, one after the other; what each adds.
- daily: the job that the daily schedule and the sensors launch, over the last fortnight of the last season, through the
  event log that a home has (`ours`) and through Dagster's own (`stock`); what each run adds. A daily run is one a game day.

Bytes are those of all SQLite files of the instance, rows those of all their tables. With --write the figure in
docs/images is drawn.

    python benchmarks/event_log.py [--seasons 3] [--known 15] [--daily 3] [--json] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.backfill import LAST_SEASON, LEAGUE, REPOSITORY, add_league

FORTNIGHT = 14
FIGURE = REPOSITORY / "docs" / "images" / "event_log.png"


def size(home: Path) -> dict[str, int]:
    """Bytes and rows of the Dagster instance of a home; those of the two largest tables besides."""
    total, rows = 0, 0
    for path in (home / "dagster").rglob("*.db"):
        with closing(sqlite3.connect(path)) as opened:
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows += opened.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        total += path.stat().st_size
    return {"bytes": total, "rows": rows}


def grown(home: Path, before: dict[str, int]) -> dict[str, int]:
    after = size(home)
    return {name: after[name] - before[name] for name in after}


def backfilled(home: Path, seasons: int) -> list[dict[str, Any]]:
    """What each of the last seasons adds."""
    from hoops_assets.launch.lanes import Lanes
    from hoops_assets.settings import Settings

    lanes = Lanes(Settings(home=home, mlflow_tracking_uri=""), LEAGUE)
    lanes._history(force=False)  # stored once, whatever the number of seasons
    found = []
    for season in range(LAST_SEASON - seasons + 1, LAST_SEASON + 1):
        before = size(home)
        report = lanes.backfill(date(season - 1, 7, 1), date(season, 6, 30))
        if report.failed:
            raise SystemExit(f"season {season} failed: {report.spans[-1].error}")
        found.append({"season": season, "days": report.spans[-1].days, **grown(home, before)})
    return found


def daily(home: Path, runs: int, stock: bool) -> list[dict[str, int]]:
    """What each of some daily runs adds."""
    import dagster as dg

    from hoops_assets.definitions import build_defs, build_lane
    from hoops_assets.defs.ingest.sensors import game_days_job_name, range_tags
    from hoops_assets.launch.instance import prepare_home
    from hoops_assets.launch.lanes import _CHEAP_EVENTS
    from hoops_assets.settings import Settings
    from hoops_assets.sources.leagues import get_league

    for name in _CHEAP_EVENTS:  # set by a backfill for its own process; the daemon's runs are without
        os.environ.pop(name, None)
    settings = Settings(home=home, mlflow_tracking_uri="")
    folder = prepare_home(settings)
    if stock:
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    lane = build_lane(get_league(home, LEAGUE), settings)
    days = [date.fromisoformat(key) for key in lane.days.get_partition_keys()][-FORTNIGHT:]
    job = build_defs(settings, leagues=[lane.league]).resolve_job_def(game_days_job_name(lane))
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    found = []
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for number in range(runs + 1):
            before = size(home)
            result = job.execute_in_process(instance=instance, tags=range_tags(days), run_config=quiet)
            if not result.success:
                raise SystemExit("a daily run failed")
            if number:  # the first makes the files
                found.append(grown(home, before))
    return found


def mean(rows: list[dict[str, Any]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def draw(result: dict[str, Any], path: Path) -> None:
    """Two panels: bytes a game day, by who wrote them; bytes a season of a backfill."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    names = ["backfill", "daily run", "daily run,\nDagster's own log"]
    per_day = [result["backfill_bytes_a_day"], result["daily_bytes"], result["stock_daily_bytes"]]
    bars = left.bar(names, [value / 1024 for value in per_day], color=["#4477aa", "#4477aa", "#bbbbbb"])
    left.bar_label(bars, fmt="{:,.0f}")
    left.set(yscale="log", ylabel="KiB a game day", title="Growth of the Dagster instance")
    seasons = result["backfill"]
    bars = right.bar(
        [str(row["season"]) for row in seasons], [row["bytes"] / 2**20 for row in seasons], color="#4477aa"
    )
    right.bar_label(bars, fmt="{:.1f}")
    right.set(ylabel="MiB", title="A season that is backfilled")
    for panel in (left, right):
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seasons", type=int, default=3, help="that are backfilled")
    parser.add_argument("--known", type=int, default=15, help="seasons in the league's calendar")
    parser.add_argument("--daily", type=int, default=3, help="daily runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="draw the figure of docs/operating.md")
    arguments = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "ignore"
    with tempfile.TemporaryDirectory(prefix="hoops-event-log-") as folder:
        homes = [Path(folder) / name for name in ("ours", "stock")]
        for home in homes:
            os.environ["HOOPS_HOME"] = str(home)
            games = add_league(home, LAST_SEASON - arguments.known + 1)
        by_season = backfilled(homes[0], arguments.seasons)
        ours, stock = daily(homes[0], arguments.daily, False), daily(homes[1], arguments.daily, True)
    result = {
        "games": games, "calendar_seasons": arguments.known, "backfill": by_season,
        "backfill_bytes_a_day": sum(row["bytes"] for row in by_season) / sum(row["days"] for row in by_season),
        "backfill_rows_a_day": sum(row["rows"] for row in by_season) / sum(row["days"] for row in by_season),
        "daily_bytes": mean(ours, "bytes"), "daily_rows": mean(ours, "rows"),
        "stock_daily_bytes": mean(stock, "bytes"), "stock_daily_rows": mean(stock, "rows"),
    }  # fmt: skip
    if arguments.write:
        draw(result, FIGURE)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{games}, a calendar of {arguments.known} seasons")
    for row in by_season:
        print(f"  season {row['season']}, {row['days']} game days: {row['bytes'] / 2**20:.1f} MiB, {row['rows']} rows")
    for name, unit in (("backfill", "_a_day"), ("daily", ""), ("stock_daily", "")):
        kib, rows = result[f"{name}_bytes{unit}"] / 1024, result[f"{name}_rows{unit}"]
        print(f"  {name:12} {kib:10,.0f} KiB {rows:8,.0f} rows a game day")
    print(f"  stock over ours, a daily run: {result['stock_daily_bytes'] / result['daily_bytes']:.1f} in bytes")


if __name__ == "__main__":
    main()
