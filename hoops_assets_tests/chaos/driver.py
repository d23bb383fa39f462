"""Processes that take a home through a part of its life and may die on the way.

One server imports what is needed and forks a child per request, since the imports cost more than the work. It never
opens a table, a database or a model itself: their threads would not survive the fork.

    python -m hoops_assets_tests.chaos.driver     one request a line, as JSON; one answer a line
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

NOT_KILLED = 0
PASSED, ENDED = "passed.txt", "ended.txt"
"""In a home: the fault points that a traced child passed, one a line; and a sign that another died in a child's place."""


class Driver:
    """The server, as a context manager."""

    def __init__(self, home: Path, environment: dict[str, str] | None = None) -> None:
        self._home, self._environment, self._asked = home, environment or {}, 0

    def __enter__(self) -> Driver:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "hoops_assets_tests.chaos.driver"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**environment, **self._environment, "HOOPS_HOME": str(self._home)},
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def run(
        self, home: Path, what: str, *, fault: str = "", ends: int | str = "", trace: bool = False, **options: Any
    ) -> int:
        """Runs one of the functions below in a child of its own.

        Args:
            fault: the place at which it dies.
            ends: what dies at that place instead, while the child goes on: a process by its number, all other
                connections to the PostgreSQL database of that URL, with "crash URL" a process of the database, or with
                "clock +1d" nobody, but the clock jumps (under libfaketime).
            trace: notes in HOME/PASSED every fault point that it passes.

        Returns:
            NOT_KILLED, the number of the signal that ended the child, or minus its exit status. What it said is in
            HOME/said.txt.
        """
        assert self._process.stdin and self._process.stdout
        self._asked += 1
        request = {
            "asked": self._asked,
            "home": str(home),
            "what": what,
            "fault": fault,
            "ends": ends,
            "trace": trace,
            "options": options,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        while True:
            asked, _, status = self._process.stdout.readline().partition(" ")
            assert status, "the server has ended, its last words are above"
            if int(asked) == self._asked:  # else the answer to a question whose test was ended meanwhile
                return int(status)


# -- what a child can do ----------------------------------------------------------------------------------------------


def backfill(home: Path, start: str | None = None, end: str | None = None, **options: Any) -> None:
    """`hoops backfill`, without a model if none is registered, and without what follows it (`watch`)."""
    from datetime import date

    lanes = _lanes(home, options)
    lanes.monitor = lambda tags=None: None
    report = lanes.backfill(
        date.fromisoformat(start) if start else None, date.fromisoformat(end) if end else None, **options
    )
    assert not report.failed, [span.error for span in report.spans]


def train(home: Path, learner: str = "elo", **options: Any) -> None:
    """The training set and one candidate, as `hoops train` launches them; names it the challenger."""
    from hoops_assets.services.registry.local import LocalRegistry

    lanes = _lanes(home, options)
    _materialise(lanes, "training_set", learner)
    registry = LocalRegistry(home / "registry")
    registry.name_challenger(lanes.league.name, registry.list(lanes.league.name)[-1].version, {"reason": "a test"})


def deploy(home: Path, **options: Any) -> None:
    """`hoops deploy`: the challenger through its gate."""
    deployed = _lanes(home, options).deploy()
    assert deployed.refused is None, deployed.refused


def pin(home: Path, version: int, **options: Any) -> None:
    """`hoops promote --version`: one version gets all traffic."""
    _materialise(_lanes(home, options), "live_endpoint", config={"live_endpoint": {"version": version}})


def daily(home: Path, **options: Any) -> None:
    """`hoops daily`."""
    report = _lanes(home, options).daily()
    assert not report.failed, [span.error for span in report.spans]


def twice(home: Path, **options: Any) -> None:
    """Two backfills at once; fails if one of them did."""
    other = os.fork()
    if other == 0:
        try:
            backfill(home, **options)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    try:
        backfill(home, **options)
    finally:
        _, status = os.waitpid(other, 0)
    assert status == 0, "the other backfill failed"


def watch(home: Path, **options: Any) -> None:
    """What follows a backfill: the endpoint's fixtures, scores, drift and its alarms."""
    _lanes(home, options).monitor()


def alarm(home: Path) -> None:
    """An alarm turns red and is told; told again, nothing is added."""
    from hoops_assets.services.monitoring.alerts import raise_alarm
    from hoops_assets.store.alarms import Alarm
    from hoops_assets_tests.launch import small_league as small

    raise_alarm(_record(home), Alarm(small.NAME, "drift/residuals", "red", "a test"))


def answer(home: Path) -> None:
    """A prediction server's segments, closed and not yet drained."""
    from hoops_assets_tests.workloads.serve.test_log import filled

    filled(home, 30, segment_bytes=3000).close()


def drain(home: Path) -> None:
    """The served log enters the record."""
    from hoops_assets.workloads.serve.drain import drain

    drain(home, _record(home))


def _record(home: Path) -> Any:
    from hoops_assets.store.record import Record

    return Record(home / "record.db")


def quality(home: Path, **options: Any) -> None:
    """`hoops quality`."""
    _lanes(home, options).quality()


def _materialise(lanes: Any, *names: str, config: dict[str, Any] | None = None) -> None:
    error = lanes._run([lanes.lane.key(name) for name in names], {}, config)
    assert error is None, error


def _lanes(home: Path, options: dict[str, Any]) -> Any:
    from hoops_assets.launch.lanes import Lanes
    from hoops_assets_tests.launch import small_league as small

    settings = small.settings(home, options.pop("now", small.NOW))
    if url := options.pop("postgres", ""):
        os.environ["DAGSTER_POSTGRES_URL"] = url
        settings = settings.model_copy(update={"instance": "server", "record_url": url})
    return Lanes(settings, small.NAME)


# -- the server -------------------------------------------------------------------------------------------------------


def _warm(home: Path) -> None:
    """Imports everything, and backfills a few days into no tables: much more is made at first use than at import."""
    from unittest import mock

    import onnxruntime
    import tqdm

    import hoops_assets.judging.plots
    import hoops_assets.services.monitoring.alerts
    import hoops_assets.services.prediction.enter
    import hoops_assets.services.prediction.local
    import hoops_assets.services.registry.local
    import hoops_assets.services.training.local
    import hoops_assets.store.expectations.data_docs
    import hoops_assets.workloads.drift
    import hoops_assets.workloads.serve.drain
    import hoops_assets.workloads.train
    from hoops_assets.store import delta
    from hoops_assets_tests.launch import small_league as small

    del onnxruntime, hoops_assets
    tqdm.tqdm.monitor_interval = 0  # no thread may live while this process forks
    with mock.patch.object(delta, "DeltaStore", _NoTables):
        backfill(small.make_home(home), small.FIRST.isoformat(), small.END_OF_FIRST_SPAN.isoformat())


class _NoTables:
    """Stands for the tables while nothing may start the threads of Delta Lake: keeps what was written last."""

    kept: ClassVar[dict[str, Any]] = {}

    def __init__(self, root: str, aws: object = None) -> None:
        pass

    def exists(self, league: str, table: str) -> bool:
        return table in self.kept

    def read(
        self,
        league: str,
        table: str,
        *,
        first: Any = None,
        last: Any = None,
        before: Any = None,
        columns: list[str] | None = None,
    ) -> Any:
        from hoops_assets.store.schemas import TABLES

        frame = self.kept.get(table, TABLES[table].empty())
        here = [
            (first is None or day >= first) and (last is None or day <= last) and (before is None or day < before)
            for day in frame["day"]
        ]
        frame = frame[pd.Series(here, index=frame.index, dtype=bool)].reset_index(drop=True)
        return frame if columns is None else frame[columns]

    def overwrite(self, league: str, table: str, frame: Any, **_: Any) -> int:
        self.kept[table] = frame
        return 0


def _with_one_engine_a_file() -> None:
    """Dagster makes an engine for every event; one a file spares half of what an event costs."""
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage

    engines: dict[str, Any] = {}
    create = sqlite_event_log.create_engine

    def create_engine(url: str, **options: Any) -> Any:
        return engines.get(url) or engines.setdefault(url, create(url, **options))

    sqlite_event_log.create_engine = sqlite_run_storage.create_engine = create_engine


def _name_events() -> None:
    """Fault points around the storing of an event, by its type, and around what Dagster writes of it to its index.

    `event.before:ASSET_MATERIALIZATION`, `event.after:INDEX`. An event of an asset stands in the run's file before it
    stands in the index, so that `event.before:INDEX` is a death between the two.
    """
    from dagster._core.storage.event_log import SqliteEventLogStorage

    from hoops_assets.store.faults import fault_point

    store, transaction = SqliteEventLogStorage.store_event, SqliteEventLogStorage.index_transaction

    def store_event(self: SqliteEventLogStorage, event: Any) -> None:
        kind = event.dagster_event.event_type_value if event.is_dagster_event else "LOG"
        fault_point(f"event.before:{kind}")
        store(self, event)
        fault_point(f"event.after:{kind}")

    @contextmanager
    def index_transaction(self: SqliteEventLogStorage) -> Iterator[Any]:
        fault_point("event.before:INDEX")
        with transaction(self) as connection:
            yield connection
        fault_point("event.after:INDEX")

    SqliteEventLogStorage.store_event = store_event  # type: ignore[method-assign]
    SqliteEventLogStorage.index_transaction = index_transaction  # type: ignore[method-assign,assignment]


def _note_places(path: Path) -> None:
    """Notes every fault point that this process passes."""
    from hoops_assets.store import faults

    listed, file = faults._listed, path.open("w")

    def noted(name: str) -> bool:
        file.write(f"{name}\n")
        file.flush()
        return listed(name)

    faults.arm("commit.before:no_such_table")
    faults._listed = noted  # type: ignore[assignment]


def _end_instead(what: int | str, note: Path) -> None:
    """Lets another die at the fault point that is armed."""
    from unittest import mock

    from hoops_assets.store import faults
    from hoops_assets_tests.postgres import crash, end_connections

    kill = os.kill

    def end(_: int, number: int) -> None:
        note.touch()
        if isinstance(what, int):
            kill(what, number)
        elif what.startswith("clock "):
            clock = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
            new = clock.with_suffix(".new")
            new.write_text(what.removeprefix("clock ") + "\n")
            new.replace(clock)
        elif what.startswith("crash "):
            crash(what.removeprefix("crash "))
        else:
            end_connections(what)

    faults.os = mock.Mock(wraps=os, kill=end)  # type: ignore[assignment]


def _child(request: dict[str, Any]) -> None:
    from hoops_assets.store import faults

    home = Path(request["home"])
    said = os.open(home / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["HOOPS_HOME"] = str(home)
    faults.arm(request["fault"])
    if request["ends"]:
        _end_instead(request["ends"], home / ENDED)
    if request["trace"]:
        _note_places(home / PASSED)
    try:
        globals()[request["what"]](home, **request["options"])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _serve() -> None:
    from hoops_assets_tests.launch import small_league as small

    with small.without_flushing():
        _with_one_engine_a_file()
        _name_events()
        _warm(Path(os.environ["HOOPS_HOME"]))
        _answer()
    os._exit(0)


def _answer() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(request)
        _, status = os.waitpid(child, 0)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
        sys.stdout.write(f"{request['asked']} {number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
