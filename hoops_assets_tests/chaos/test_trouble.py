"""What else goes wrong with a machine: a full disk, a clock that jumps, damaged files, two writers, a folder that refuses.

After each of them either the same command run again ends as if nothing had happened, or the error says what to do and
doing that does.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.errors import StoreError
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets_tests.chaos.driver import NOT_KILLED, Driver
from hoops_assets_tests.chaos.homes import Homes, assert_old_or_new, assert_undisturbed, state_of
from hoops_assets_tests.chaos.matrix import LIFE
from hoops_assets_tests.chaos.tally import Tally
from hoops_assets_tests.launch import small_league as small

pytestmark = pytest.mark.timeout(900)

STEP = "second season"
BEFORE = LIFE[STEP].after


def said(home: Path) -> str:
    """The last error of the last child, in one line."""
    return " ".join((home / "said.txt").read_text().split())


# -- a full disk --------------------------------------------------------------------------------------------------------


class Disk:
    """A file system of its own in memory, if this machine lets us mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, kilobytes: int) -> None:
        self._mount("-o", f"remount,size={kilobytes}k")

    def only_read(self, yes: bool) -> None:
        self._mount("-o", f"remount,{'ro' if yes else 'rw'}")

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self.folder)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount: {mounted.stderr.decode().strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("room", [64, 400, 900, 1600])
def test_a_full_disk_costs_the_run_in_hand_and_room_mends_it(homes: Homes, tally: Tally, disk: Disk, room: int) -> None:
    """`room` in kilobytes, a little or nearly enough for what the run writes."""
    home = shutil.copytree(homes.after(BEFORE), disk.folder / "home", ignore=shutil.ignore_patterns("said.txt"))
    (home / "said.txt").symlink_to(disk.folder.parent / "said.txt")
    disk.resize(_kilobytes(disk.folder) + room)
    assert homes.do(home, STEP, NO_FAULT) != NOT_KILLED
    tally.strike("disk full")
    disk.resize(512 * 1024)
    assert re.search(r"(?i)no space left|is full", said(home))
    assert re.search(r"what (stood|was recorded|was committed) before still stands", said(home)), said(home)
    assert re.search(r"(?i)free space|run it again", said(home)), said(home)
    assert_old_or_new(homes.state(BEFORE), state_of(home), homes.state(STEP))
    homes.do(home, STEP)
    assert_undisturbed(state_of(home), homes.state(STEP))
    tally.survived()


NO_FAULT = "commit.before:no_such_table"


def _kilobytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


def test_a_file_that_may_not_grow_leaves_the_record_as_it_was_and_says_so(tmp_path: Path, tally: Tally) -> None:
    """As on a full disk, where nothing may be mounted: the kernel refuses to let any file grow beyond a size."""
    record = Record(tmp_path / "record.db")
    with record.launch("nba", "training"):
        pass
    with _no_file_grows(1):
        tally.strike("disk full")
        with pytest.raises(StoreError, match=r"what was recorded before still stands.*free space.*run again"):
            record.append_many("launches", [{**record.rows("launches")[0], "id": None}] * 500)
    assert [entry.status for entry in record.ledger()] == ["succeeded"]
    tally.survived()


@contextmanager
def _no_file_grows(size: int) -> Iterator[None]:
    import signal

    before, heeded = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heeded)


# -- a folder that refuses ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_that_refuses_every_write_is_named_and_nothing_has_changed(
    homes: Homes, tally: Tally, disk: Disk, tmp_path: Path
) -> None:
    home = shutil.copytree(homes.after(BEFORE), tmp_path / "home")
    shutil.copytree(home / "tables", disk.folder / "tables")
    shutil.rmtree(home / "tables")
    (home / "tables").symlink_to(disk.folder / "tables")
    disk.only_read(True)
    assert homes.do(home, STEP, NO_FAULT) == -1
    tally.strike("folder read-only")
    assert re.search(
        r"tables/small/\w+: cannot be written \(.*[Rr]ead-only.*what stood before still stands", said(home)
    )
    assert_old_or_new(homes.state(BEFORE), state_of(home), homes.state(STEP))
    disk.only_read(False)
    homes.do(home, STEP)
    assert_undisturbed(state_of(home), homes.state(STEP))
    tally.survived()


# -- damaged files ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "damage"),
    [("results", "cut"), ("results", "gone"), ("team_form", "cut"), ("predictions", "cut"), ("fan_posts", "cut")],
)
def test_a_damaged_file_of_a_table_is_named_and_the_advice_mends_it(
    driver: Driver, homes: Homes, tally: Tally, tmp_path: Path, table: str, damage: str
) -> None:
    home = shutil.copytree(homes.after(STEP), tmp_path / "home")
    file = max((home / "tables" / small.NAME / table).rglob("*.parquet"), key=lambda path: path.stat().st_mtime)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    tally.strike("Parquet file damaged")
    with pytest.raises(StoreError, match=r"cannot be read") as raised:
        DeltaStore(str(home / "tables")).read(small.NAME, table)
    advice = str(raised.value)
    folder = home / "tables" / small.NAME / table
    assert f"move {folder} away and run: hoops backfill {small.NAME} --force" in advice
    assert ("its old forecasts are then made anew and marked as such" in advice) == (table == "predictions")
    shutil.move(folder, tmp_path / "away")
    # What `hoops backfill --force` does, over the days that the undisturbed home has.
    status = driver.run(home, "backfill", end=str(small.LAST), force=True)
    assert status == NOT_KILLED, said(home)
    tables, undisturbed = small.tables(home), homes.state(STEP).tables
    for name, frame in undisturbed.items():
        now = tables[name]
        if name in ("predictions", "scored_predictions"):
            # Days that came before the first model have forecasts now, and a forecast made anew says when.
            keys = ["game_id", "version"]
            kept = now.merge(frame[keys], on=keys).sort_values(keys, ignore_index=True)
            assert len(kept) == len(frame), name
            if table == "predictions":
                continue
            now, frame = kept[frame.columns], frame.sort_values(keys, ignore_index=True)
        came_in = ["ingested_at"] if name == table and "ingested_at" in frame else []
        pd.testing.assert_frame_equal(now.drop(columns=came_in), frame.drop(columns=came_in), obj=name)
    tally.survived()


def test_a_cut_record_is_named_and_without_it_what_serves_is_recorded_again(
    driver: Driver, homes: Homes, tally: Tally, tmp_path: Path
) -> None:
    home = shutil.copytree(homes.after("swap"), tmp_path / "home")
    file = home / "record.db"
    for beside in home.glob("record.db-*"):
        beside.unlink()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 100])
    tally.strike("record cut")
    with pytest.raises(StoreError, match=rf"{file}.*is damaged.*[Rr]estore.*or move it away") as raised:
        Record(file).rows("deployments")
    assert "sqlite3" in str(raised.value)
    assert driver.run(home, "pin", version=2) == -1
    assert "is damaged" in said(home)
    shutil.move(file, tmp_path / "away.db")
    assert driver.run(home, "pin", version=2) == NOT_KILLED, said(home)
    assert deployments.current(Record(file), small.NAME) == homes.state("swap").traffic
    assert state_of(home).traffic == homes.state("swap").traffic
    tally.survived()


# -- two writers --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_backfills_of_one_league_at_once_leave_what_one_would_leave(
    driver: Driver, homes: Homes, tally: Tally, tmp_path: Path
) -> None:
    """At most one of them fails, and says that it may be run again."""
    for number in range(3):
        home = shutil.copytree(homes.after(BEFORE), tmp_path / f"home{number}")
        status = driver.run(home, "twice", **LIFE[STEP].options)
        tally.strike("two writers")
        if status != NOT_KILLED:
            assert re.search("at the same time|run it again|is locked", said(home)), said(home)
        assert_old_or_new(homes.state(BEFORE), state_of(home), homes.state(STEP))
        homes.do(home, STEP)
        assert_undisturbed(state_of(home), homes.state(STEP), runs=False)
    tally.survived()


# -- a clock that jumps -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Driver, Callable[[str], None]]]:
    """A driver whose children have a clock that can be set, and the way to set it."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.fail("libfaketime is not installed; run: apt-get install faketime")
    root = tmp_path_factory.mktemp("jumping")
    clock = root / "clock"

    def put(offset: str) -> None:
        (root / "clock.new").write_text(f"{offset}\n")
        (root / "clock.new").replace(clock)

    put("+0")
    faked = {
        "LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    with Driver(root / "server", faked) as driver:
        yield driver, put


@pytest.mark.slow
@pytest.mark.parametrize("jump", ["+1d", "-1d"])
def test_a_clock_that_jumps_by_a_day_while_a_run_is_under_way_changes_nothing(
    homes: Homes, tally: Tally, tmp_path: Path, jumping: tuple[Driver, Callable[[str], None]], jump: str
) -> None:
    driver, put = jumping
    home = shutil.copytree(homes.after(BEFORE), tmp_path / "home")
    put("+0")
    status = driver.run(home, LIFE[STEP].what, fault="commit.after:results", ends=f"clock {jump}", **LIFE[STEP].options)
    tally.strike("clock jumped")
    assert status == NOT_KILLED, said(home)
    homes.do(home, STEP)  # is already done: the run has its success, whatever its times say
    assert_undisturbed(state_of(home), homes.state(STEP))
    tally.survived()


def test_after_a_jump_of_the_clock_a_living_run_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    import dagster as dg
    from psutil import _pslinux

    from hoops_assets.launch.instance import fail_dead_runs, own_process_tags

    with dg.instance_for_test() as instance:

        @dg.op
        def one() -> None: ...

        @dg.job
        def job() -> None:
            one()

        instance.create_run_for_job(job, tags=own_process_tags(), status=dg.DagsterRunStatus.STARTED)
        boot = _pslinux.boot_time()
        monkeypatch.setattr(_pslinux, "boot_time", lambda: boot + 86_400)
        tally.strike("clock jumped")
        assert fail_dead_runs(instance) == []
    tally.survived()
