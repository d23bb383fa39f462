"""What a backfill of NBA seasons costs, against the same graph with nothing in it.

Fresh processes, each on a fresh home with a fresh SQLite instance, with the same environment:

- ours: `hoops backfill` of the seasons, all partitioned tables and their checks, no model registered.
- stock: assets of the same keys, partitions, dependencies (the self-dependency of team_form included), IO manager calls
  and blocking checks, whose bodies return at once, whose IO manager neither reads nor writes, whose checks pass, and
  which read no source: what Dagster itself costs, with the event log that it ships.
- empty: the same as stock, but through our event log, which stores the events of a season in batches. What is left of
  Dagster's cost after our changes; that ours is compared with it too shows what our bodies cost.

All three store the same number of Dagster events, type by type, which is checked. The number of rows that every asset of
ours puts on each of its days is not in the empty graphs: the calls that record it are counted as ours, not as
orchestration. Times are those of the whole process, imports included. The layers are timers around functions in the
benchmark's process; time in a layer called by another counts only for the inner one. Modules are compiled beforehand.
The processes run one after the other on a machine that others may use, so CPU seconds stand beside wall seconds.

    python benchmarks/backfill.py [--seasons 10] [--seasons 20] [--only ours --only empty] [--json]

Real games are taken from HOOPS_REAL_DATA (default ../shared/data); without them a simulated league of that length.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
LAST_SEASON = 2019
LEAGUE = "nba"
REPOSITORY = Path(__file__).resolve().parent.parent
GRAPHS = ("ours", "stock", "empty")
WARM = "import deltalake, great_expectations, hoops_assets.launch.lanes, hoops_assets.launch.event_log"


# -- layers -----------------------------------------------------------------------------------------------------------


class Layers:
    """Exclusive wall and CPU seconds per layer: entering one stops the clocks of the one around it."""

    def __init__(self, outermost: str) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self._stack = [outermost]
        self._since = STARTED, 0.0

    def _switch(self) -> None:
        now = time.perf_counter(), time.process_time()
        self.wall[self._stack[-1]] += now[0] - self._since[0]
        self.cpu[self._stack[-1]] += now[1] - self._since[1]
        self._since = now

    @contextlib.contextmanager
    def layer(self, name: str) -> Iterator[None]:
        self._switch()
        self._stack.append(name)
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.layer(name):
                return function(*args, **kwargs)

        return wrapper

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        setattr(owner, attribute, self.timed(name, getattr(owner, attribute)))

    def timed_decorator(self, name: str, decorator: Callable[..., Any]) -> Callable[..., Any]:
        """`dg.asset` and its like, called with options, that time the body they decorate."""
        return lambda **options: lambda body: decorator(**options)(self.timed(name, body))

    def finish(self) -> dict[str, dict[str, float]]:
        self._switch()
        return {name: {"wall": round(self.wall[name], 2), "cpu": round(self.cpu[name], 2)} for name in self.wall}


# -- the two processes ------------------------------------------------------------------------------------------------


def run_ours(layers: Layers, start: date, end: date) -> dict[str, Any]:
    """The product's backfill with timers around its layers; nothing else differs from `hoops backfill`."""
    with layers.layer("imports"):
        import dagster as dg

        dg.asset = layers.timed_decorator("pure computing", dg.asset)
        dg.asset_check = layers.timed_decorator("pure computing", dg.asset_check)
        from hoops_assets.defs import metadata
        from hoops_assets.defs.resources import SourcesResource

        for name in ("games", "posts"):
            layers.wrap(SourcesResource, name, "source reading")
        layers.wrap(metadata, "tell_rows", "per-day metadata")
        from hoops_assets.launch.lanes import Lanes
        from hoops_assets.settings import load_settings
        from hoops_assets.store import delta

        layers.wrap(delta.DeltaStore, "read", "delta read")
        layers.wrap(delta.DeltaStore, "overwrite", "delta write")
        layers.wrap(Lanes, "_tags", "what is done already")
    with layers.layer("great_expectations"):  # the import is what it costs a backfill
        from hoops_assets.store.expectations import validation

        layers.wrap(validation, "validate", "great_expectations")
    report = Lanes(load_settings(), LEAGUE).backfill(start, end)
    return {"days": sum(span.days for span in report.spans), "failed": report.failed}


def run_empty(layers: Layers, start: date, end: date, *, stock: bool) -> dict[str, Any]:
    """The emptied graph, season by season, one run each, as `Lanes.backfill` launches them."""
    with layers.layer("imports"):
        import dagster as dg

        from hoops_assets.definitions import build_defs, build_lane
        from hoops_assets.launch.instance import open_instance, own_process_tags, prepare_home
        from hoops_assets.launch.lanes import RANGE_END, RANGE_START
        from hoops_assets.settings import load_settings
        from hoops_assets.sources.leagues import get_league
    settings = load_settings()
    league = get_league(settings.home, LEAGUE)
    lane = build_lane(league, settings)
    assert lane.calendar
    definitions = emptied(build_defs(settings, leagues=[league]))
    if stock:
        (prepare_home(settings) / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    instance = dg.DagsterInstance.from_config(str(settings.dagster_home)) if stock else open_instance(settings)
    graph = definitions.resolve_asset_graph()
    job = definitions.resolve_implicit_global_asset_job_def()
    partitioned = [key for key in sorted(graph.get_all_asset_keys()) if graph.get(key).partitions_def is not None]
    known = [date.fromisoformat(key) for key in lane.days.get_partition_keys()]

    def run(keys: list[Any], tags: dict[str, str]) -> None:
        job.execute_in_process(
            instance=instance,
            asset_selection=keys,
            tags={**tags, **own_process_tags(), "hoops/league": LEAGUE},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    run([lane.key("history")], {})
    days = 0
    for first, last in sorted(lane.calendar.seasons.values()):
        own = [day for day in known if max(first, start) <= day <= min(last, end)]
        if own:
            run(partitioned, {RANGE_START: own[0].isoformat(), RANGE_END: own[-1].isoformat()})
            days += len(own)
    return {"days": days, "failed": False}


def emptied(definitions: Any) -> Any:
    """The same assets and checks with empty bodies and an IO manager that does nothing."""
    import warnings

    import dagster as dg

    class Nowhere(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None: ...

        def load_input(self, context: dg.InputContext) -> None: ...

    def asset(one: Any) -> Any:
        spec = next(iter(one.specs))
        mappings = {dep.asset_key: dep.partition_mapping for dep in spec.deps}
        loaded = {
            name: dg.AssetIn(key=key, partition_mapping=mappings.get(key))
            for name, key in one.keys_by_input_name.items()
            if not one.op.input_def_named(name).dagster_type.is_nothing
        }
        keys = {one.key for one in loaded.values()}

        @dg.asset(
            key=spec.key, ins=loaded, deps=[dep for dep in spec.deps if dep.asset_key not in keys],
            group_name=spec.group_name, kinds=spec.kinds, owners=list(spec.owners), description=spec.description,
            tags={name: value for name, value in spec.tags.items() if not name.startswith("dagster/")},
            code_version=spec.code_version, partitions_def=spec.partitions_def, backfill_policy=one.backfill_policy,
        )  # fmt: skip
        def empty(context, **inputs): ...  # Dagster resolves annotations, and `dg` is local here

        return empty

    def check(one: Any) -> Any:
        spec = next(iter(one.check_specs))

        @dg.asset_check(
            asset=spec.asset_key, name=spec.name, blocking=spec.blocking, description=spec.description,
            partitions_def=spec.partitions_def, additional_deps=list(spec.additional_deps) or None,
        )  # fmt: skip
        def empty():
            return dg.AssetCheckResult(passed=True)

        return empty

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dg.Definitions(
            assets=[asset(one) for one in definitions.assets],
            asset_checks=[check(one) for one in definitions.asset_checks],
            resources={"io_manager": Nowhere()},
            executor=dg.in_process_executor,
        )


def child(which: str, start: date, end: date) -> None:
    layers = Layers("start and end")
    with layers.layer("orchestration"):
        empty = which != "ours"
        said = run_empty(layers, start, end, stock=which == "stock") if empty else run_ours(layers, start, end)
    print(json.dumps({**said, "layers": layers.finish()}))


# -- the parent -------------------------------------------------------------------------------------------------------


def add_league(home: Path, first_season: int) -> str:
    """Adds the league and its calendar to a home; returns which games it has."""
    from hoops_assets.basketball.calendar import calendar_of
    from hoops_assets.defs.resources import SourcesResource
    from hoops_assets.sources import leagues
    from hoops_assets.store.calendar import write_calendar

    real = Path(os.environ.get("HOOPS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    games = real / "nba" / "nba_elo_1947_2019.csv.gz"
    if games.exists():
        league = leagues.new_league(LEAGUE, "fivethirtyeight", [str(games)], first_season=first_season)[0]
        what = "538's NBA games"
    else:
        data = leagues.get_league(home, "atlantic").model_dump(mode="json")
        options = {"simulated_from": first_season - 3, "game_days": 190, "meetings": 12}
        data |= {"name": LEAGUE, "first_season": first_season}
        data["sources"] = {"games": {**data["sources"]["games"], **options}}
        league = leagues.League.model_validate(data)
        what = "a simulated league"
    leagues.write_league(league, home)
    read = SourcesResource(home=str(home)).games(league)
    write_calendar(home, LEAGUE, calendar_of(read.games))
    return what


def measure(which: str, seasons: int) -> dict[str, Any]:
    """Runs one of the two graphs in a process of its own."""
    from hoops_assets.launch.lanes import _CHEAP_EVENTS

    first = LAST_SEASON - seasons + 1
    with tempfile.TemporaryDirectory(prefix="hoops-backfill-") as folder:
        home = Path(folder)
        what = add_league(home, first)
        environment = {**_CHEAP_EVENTS, **os.environ, "HOOPS_HOME": folder, "PYTHONWARNINGS": "ignore"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles what it imports
        subprocess.run([sys.executable, "-c", WARM], env=environment, check=True)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", which, f"{first - 1}-07-01", f"{LAST_SEASON}-06-30"],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        if status:
            raise SystemExit(f"the {which} graph failed")
        said = json.loads(text.splitlines()[-1])
        if said.pop("failed"):
            raise SystemExit(f"the {which} graph failed")
        instance = home / "dagster"
        return {
            **said,
            "games": what,
            "seasons": seasons,
            "wall_seconds": round(wall, 2),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_rss_mb": round(usage.ru_maxrss / 1024),
            "events": dict(sorted(events(instance).items())),
            "instance_mb": round(sum(file.stat().st_size for file in instance.rglob("*") if file.is_file()) / 1e6),
        }


def events(instance: Path) -> Counter[str]:
    """Stored Dagster events by type, over all runs."""
    counts: Counter[str] = Counter()
    for file in (instance / "history" / "runs").glob("*.db"):
        if file.stem == "index":
            continue
        with contextlib.closing(sqlite3.connect(file)) as database:
            for kind, number in database.execute("SELECT dagster_event_type, count(*) FROM event_logs GROUP BY 1"):
                counts[kind or "log message"] += number
    return counts


def compare(seasons: int, graphs: Sequence[str]) -> dict[str, Any]:
    runs = {which: measure(which, seasons) for which in graphs}
    shapes = {
        which: {kind: number for kind, number in run["events"].items() if kind != "log message"} | {"days": run["days"]}
        for which, run in runs.items()
    }
    ratios = {
        f"ours/{other}": {
            clock: round(runs["ours"][f"{clock}_seconds"] / runs[other][f"{clock}_seconds"], 2)
            for clock in ("wall", "cpu")
        }
        for other in graphs
        if other != "ours" and "ours" in runs
    }
    same = all(shape == shapes[graphs[0]] for shape in shapes.values())
    return {"seasons": seasons, "runs": runs, "ratios": ratios, "same_shape": same}


def show(result: dict[str, Any]) -> None:
    runs = result["runs"]
    one = next(iter(runs.values()))
    print(f"{one['seasons']} seasons, {one['days']} game days, {one['games']}; {sum(one['events'].values())} events")
    for name, run in runs.items():
        print(
            f"  {name:6} {run['wall_seconds']:7.1f} s wall {run['cpu_seconds']:7.1f} s CPU"
            f" {run['peak_rss_mb']:6} MB peak {run['instance_mb']:6} MB Dagster instance"
        )
    if not result["same_shape"]:
        print("  THE GRAPHS DO NOT HAVE THE SAME SHAPE, the ratios say nothing: see the events with --json")
    for name, ratio in result["ratios"].items():
        print(f"  {name}: {ratio['wall']:.2f} wall, {ratio['cpu']:.2f} CPU")
    if "ours" not in runs:
        return
    print("  share of ours by layer:")
    layers = runs["ours"]["layers"]
    for name, used in sorted(layers.items(), key=lambda item: -item[1]["cpu"]):
        shares = {clock: used[clock] / sum(one[clock] for one in layers.values()) for clock in used}
        print(
            f"    {name:22} {used['wall']:7.1f} s wall {shares['wall']:6.1%} {used['cpu']:7.1f} s CPU {shares['cpu']:6.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seasons", type=int, action="append", help="may be given more than once; default 10")
    parser.add_argument("--only", choices=GRAPHS, action="append", help="may be given more than once; default all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        which, start, end = arguments.child
        child(which, date.fromisoformat(start), date.fromisoformat(end))
        return
    results = []
    for seasons in arguments.seasons or [10]:
        results.append(compare(seasons, arguments.only or GRAPHS))
        if not arguments.json:
            show(results[-1])
    if arguments.json:
        print(json.dumps(results, indent=1))
    sys.exit(0 if all(result["same_shape"] for result in results) else 1)


if __name__ == "__main__":
    main()
