"""The record only grows, is shared by processes, and survives a kill; the ledger tells finished from unfinished."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

import hoops_assets
from hoops_assets.errors import SettingsError, StoreError
from hoops_assets.store import atomic, faults
from hoops_assets.store.record import Record
from hoops_assets_tests.postgres import own_database
from hoops_assets_tests.workloads.kills import die_at


@pytest.fixture
def record(record_url: str) -> Record:
    return Record(record_url)


def test_a_launch_is_one_entry_with_what_it_became(record: Record) -> None:
    before = datetime.now(UTC)
    with record.launch("nba", "training", "elo", provider="local", launched_from="ui", run_id="r1") as launch:
        launch.billed_seconds, launch.model_version, launch.job = 0.0, "nba/3", "hoops-nba-elo-1"
    (entry,) = record.ledger()
    assert (entry.league, entry.what, entry.learner, entry.provider) == ("nba", "training", "elo", "local")
    assert (entry.status, entry.billed_seconds, entry.model_version, entry.job) == (
        "succeeded",
        0.0,
        "nba/3",
        "hoops-nba-elo-1",
    )
    assert (entry.launched_from, entry.run_id, entry.error) == ("ui", "r1", None)
    assert re.fullmatch(r".+@.+", entry.launched_by)
    assert before <= entry.started_at <= datetime.now(UTC)
    assert entry.seconds is not None and 0 <= entry.seconds < 60
    assert [row["event"] for row in record.rows("launches")] == ["start", "end"]


def test_a_failed_launch_keeps_its_error_and_raises_it(record: Record) -> None:
    with pytest.raises(ValueError, match="no games"), record.launch("nba", "training"):
        raise ValueError("no games")
    (entry,) = record.ledger()
    assert (entry.status, entry.error) == ("failed", "ValueError: no games")


def test_the_last_row_of_every_group_comes_with_the_number_of_its_rows(record: Record) -> None:
    told = [("g1", 1, None, 0.1), ("g1", 1, None, 0.2), ("g1", 2, None, 0.3), ("g1", 1, "broken", 0.4),
            ("g2", None, "none", 0.5), ("g1", 1, None, 0.6), (None, 1, None, 0.7)]  # fmt: skip
    record.append_many("served_predictions", [
        {"request_id": "r", "customer": "fan", "league": league, "game_id": game, "version": version,
         "home_win_probability": p, "degraded": degraded}
        for league in ("nba", "wnba") for game, version, degraded, p in told
    ])  # fmt: skip

    def last(*by: str, **equal: Any) -> list[tuple[float, int]]:
        rows = record.last_rows("served_predictions", by, league="nba", **equal)
        assert {row["league"] for row in rows} == {"nba"} and rows[0]["at"].tzinfo == UTC
        return [(row["home_win_probability"], row["rows"]) for row in rows]

    assert last("game_id", "version", "degraded") == [(0.3, 1), (0.4, 1), (0.5, 1), (0.6, 3), (0.7, 1)]
    assert last("game_id", degraded=None) == [(0.6, 4), (0.7, 1)]


def test_an_interrupted_launch_is_failed_too(record: Record) -> None:
    with pytest.raises(KeyboardInterrupt), record.launch("nba", "backfill", launched_from="backfill"):
        raise KeyboardInterrupt
    assert record.ledger()[0].status == "failed"


def test_a_launch_without_its_end_is_unfinished(record: Record) -> None:
    with record.launch("nba", "training"):
        (entry,) = record.ledger()
        assert (entry.status, entry.seconds) == ("unfinished", None)


def record_in(folder: Path) -> Record:
    """The record that a folder names, for processes that are told nothing but the folder."""
    named = folder / "url"
    return Record(named.read_text() if named.exists() else folder / "record.db")


def launch_in(folder: Path) -> None:
    with record_in(folder).launch("nba", "training"):
        pass


def test_a_kill_leaves_whole_rows_only(tmp_path: Path, record_url: str, request: pytest.FixtureRequest) -> None:
    rows = {
        "record.before_commit": 0,
        "record.after_commit": 1,
        "record.before_commit:2": 1,
        "record.after_commit:2": 2,
    }
    folders = {point: tmp_path / point for point in rows}
    for folder in folders.values():
        folder.mkdir()
        if record_url.startswith("postgresql"):
            (folder / "url").write_text(own_database(request.getfixturevalue("postgres_server")))
    died = die_at("hoops_assets_tests.store.test_record:launch_in", folders)
    assert died == dict.fromkeys(rows, signal.SIGKILL)
    for point, folder in folders.items():
        record = record_in(folder)
        assert len(record.rows("launches")) == rows[point], point
        assert [entry.status for entry in record.ledger()] == {0: [], 1: ["unfinished"], 2: ["succeeded"]}[rows[point]]
        launch_in(folder)
        assert record.ledger()[-1].status == "succeeded"


REPLACE = (
    "INSERT OR REPLACE INTO launches (id, at, launch_id, event, what, provider, launched_by, launched_from)"
    " SELECT id, at, launch_id, event, 'nothing', provider, launched_by, launched_from FROM launches"
)
START = {
    "launch_id": "a",
    "event": "start",
    "what": "x",
    "provider": "local",
    "launched_by": "a@b",
    "launched_from": "ui",
}


ON_EITHER = ["UPDATE launches SET what = 'nothing'", "DELETE FROM launches"]
STATEMENTS = {
    "sqlite": [*ON_EITHER, REPLACE],
    "postgresql": [
        *ON_EITHER,
        "TRUNCATE launches",
        f"{REPLACE.replace(' OR REPLACE', '')} ON CONFLICT (id) DO UPDATE SET what = 'nothing'",
    ],
}


def test_rows_are_never_changed_removed_or_replaced(record: Record) -> None:
    with record.launch("nba", "training"):
        pass
    before = record.rows("launches")
    engine = sa.create_engine(record.url)
    for statement in STATEMENTS[engine.dialect.name]:
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as other:
            other.exec_driver_sql(statement)
    engine.dispose()
    assert record.rows("launches") == before


def test_the_ledger_is_cut_by_time_and_league(record: Record) -> None:
    now = datetime.now(UTC)
    row = {**START, "launch_id": "old"}
    record.append("launches", {**row, "league": "nba", "at": now - timedelta(days=40)})
    record.append("launches", {**row, "league": "wnba", "launch_id": "new", "at": now - timedelta(days=1)})
    assert [entry.launch_id for entry in record.ledger()] == ["old", "new"]
    assert [entry.launch_id for entry in record.ledger(now - timedelta(days=30))] == ["new"]
    assert [entry.launch_id for entry in record.ledger(until=now - timedelta(days=30))] == ["old"]
    assert [entry.launch_id for entry in record.ledger(league="nba")] == ["old"]
    assert record.rows("launches", launch_id="old")[0]["at"] == now - timedelta(days=40)
    with pytest.raises(ValueError, match="no time zone"):
        record.ledger(datetime(2026, 1, 1))


def test_threads_and_processes_append_to_one_new_record_at_once(tmp_path: Path, record_url: str) -> None:
    (tmp_path / "url").write_text(record_url)
    program = (
        "import sys; from pathlib import Path; from hoops_assets_tests.store.test_record import launch_in\n"
        "for _ in range(10): launch_in(Path(sys.argv[1]))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(2)]
    shared = Record(record_url)

    def launches() -> None:
        for _ in range(5):
            with shared.launch("nba", "training"):
                pass

    threads = [threading.Thread(target=launches) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0]
    entries = shared.ledger()
    assert len(entries) == 35
    assert {entry.status for entry in entries} == {"succeeded"}
    assert len({entry.launch_id for entry in entries}) == 35


def test_rows_of_one_call_are_appended_together_or_not_at_all(record: Record) -> None:
    with pytest.raises(StoreError, match=r"(?i)not.null"):
        record.append_many("launches", [START, {**START, "what": None}])
    assert record.rows("launches") == []


def test_a_record_that_cannot_be_written_stops_the_launch_with_its_address(tmp_path: Path) -> None:
    (tmp_path / "record.db").write_text("a text file that is long enough to be read as a page" * 50)
    ran = False
    refused = pytest.raises(StoreError, match=r"record\.db is damaged: .*not a database")
    with refused, Record(tmp_path / "record.db").launch("nba", "training"):
        ran = True
    assert not ran
    with pytest.raises(StoreError, match="would be forgotten"):
        Record("sqlite://").rows("launches")
    launched_from: Any = "cron"
    unknown = pytest.raises(ValueError, match="none of cli, ui")
    with unknown, Record(tmp_path / "other.db").launch("nba", "training", launched_from=launched_from):
        pass


def test_the_record_loads_nothing_heavy() -> None:
    program = (
        "import sys; import hoops_assets.store.record\n"
        "print([m for m in ('sqlalchemy', 'dagster', 'mlflow', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_fault_point_in_the_package_is_listed() -> None:
    package = Path(hoops_assets.__file__).parent
    calls = re.compile(r"fault_point\(\s*f?\"([^\":]+)")
    found = {name for path in package.rglob("*.py") for name in calls.findall(path.read_text())}
    assert {"file.before_rename", "record.after_commit", "registry.after_register"} <= found <= set(faults.FAULT_POINTS)


@pytest.mark.parametrize("fault", ["nowhere", "nowhere:2", "file.before_rename:0", ":2"])
def test_a_fault_that_would_never_happen_is_refused(fault: str) -> None:
    with pytest.raises(SettingsError, match="use NAME or NAME:N"):
        faults.arm(fault)


def commit_in(folder: Path) -> None:
    for number, table in enumerate(["fixtures", "results", "fixtures", "results"]):
        faults.fault_point(f"commit.before:{table}")
        (folder / str(number)).touch()


def test_a_fault_counts_the_passings_of_its_subject(tmp_path: Path) -> None:
    written = {"commit.before:2": 1, "commit.before:results": 1, "commit.before:results:2": 3, "commit.after": 4}
    folders = {fault: tmp_path / fault for fault in written}
    for folder in folders.values():
        folder.mkdir()
    died = die_at("hoops_assets_tests.store.test_record:commit_in", folders)
    assert died == {fault: 0 if fault == "commit.after" else signal.SIGKILL for fault in written}
    assert {fault: len(list(folder.iterdir())) for fault, folder in folders.items()} == written


def write_in(folder: Path) -> None:
    atomic.write_json(folder / "state.json", {"state": "new"})


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folders = {point: tmp_path / point for point in ("file.before_rename", "file.after_rename")}
    for folder in folders.values():
        atomic.write_json(folder / "state.json", {"state": "old"})
    assert set(die_at("hoops_assets_tests.store.test_record:write_in", folders).values()) == {signal.SIGKILL}
    assert '"old"' in (folders["file.before_rename"] / "state.json").read_text()
    assert '"new"' in (folders["file.after_rename"] / "state.json").read_text()


def test_what_cannot_be_written_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a.json", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(tmp_path / "a.json", float("nan"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        atomic.write_text(tmp_path / "folder", "a file over a folder")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.json", "folder"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_folder_never_takes_the_place_of_another(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "new" / "a", "new")
    atomic.write_text(tmp_path / "final" / "a", "old")
    with pytest.raises(FileExistsError, match="final"):
        atomic.commit_folder(tmp_path / "new", tmp_path / "final")
    assert (tmp_path / "final" / "a").read_text() == "old"
    atomic.commit_folder(tmp_path / "new", tmp_path / "other")
    assert (tmp_path / "other" / "a").read_text() == "new"
