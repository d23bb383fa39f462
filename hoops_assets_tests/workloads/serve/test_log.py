"""The served log and its way into the record: nothing twice, nothing lost that was said to be logged."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hoops_assets.errors import StoreError
from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.drain import TABLE, _is_closed, drain
from hoops_assets.workloads.serve.log import SUFFIX, ServedLog, log_folder
from hoops_assets_tests.workloads.kills import die_at

HERE = "hoops_assets_tests.workloads.serve.test_log"


def line(number: int, games: int = 1) -> bytes:
    """What the server writes."""
    one = {
        "game_id": f"game-{number}", "day": "2026-11-24", "home": "BOS", "away": "LAL", "version": 3,
        "learner": "logistic", "digest": "a" * 12, "home_win_probability": 0.625, "degraded": None,
    }  # fmt: skip
    answer = {
        "league": "sim",
        "revision": 1,
        "request_id": f"run-{number}",
        "logged": True,
        "predictions": [one] * games,
    }
    entry = {
        "at": 1_800_000_000_000_000_000 + number * 1_000_000,
        "customer": "acme",
        "traffic": {"3": 100},
        "answer": answer,
    }
    return json.dumps(entry).encode() + b"\n"


def record_of(home: Path) -> Record:
    return Record(f"sqlite:///{home / 'record.db'}")


def recorded(home: Path) -> list[str]:
    return [row["request_id"] for row in record_of(home).rows(TABLE)]


def filled(home: Path, count: int = 10, **options: Any) -> ServedLog:
    log = ServedLog(log_folder(home), **options)
    assert all(log.append(line(number)) for number in range(count))
    return log


def test_every_answer_enters_the_record_once_with_all_it_tells(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    assert drain(tmp_path, record_of(tmp_path)) == 3
    assert drain(tmp_path, record_of(tmp_path)) == 0
    row = record_of(tmp_path).rows(TABLE)[1]
    assert row["at"].timestamp() == pytest.approx(1_800_000_000.001)
    expected = {
        "request_id": "run-1", "customer": "acme", "league": "sim", "game_id": "game-1", "home": "BOS", "away": "LAL",
        "version": 3, "learner": "logistic", "home_win_probability": 0.625, "degraded": None, "traffic": '{"3": 100}',
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected and str(row["day"]) == "2026-11-24"
    assert not list(log_folder(tmp_path).glob(f"*{SUFFIX}"))


def test_a_segment_that_is_written_is_left_alone(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    assert drain(tmp_path, record_of(tmp_path)) == 0
    assert log.append(line(3))
    log.close()
    assert drain(tmp_path, record_of(tmp_path)) == 4


def test_segments_are_closed_by_size_and_drained_in_order(tmp_path: Path) -> None:
    filled(tmp_path, 20, segment_bytes=1000).close()
    assert len(list(log_folder(tmp_path).glob(f"*{SUFFIX}"))) > 3
    assert drain(tmp_path, record_of(tmp_path)) == 20
    assert recorded(tmp_path) == [f"run-{number}" for number in range(20)]


def drain_folder(home: Path) -> None:
    drain(home, record_of(home))


def test_a_drain_killed_anywhere_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    points = ("record.before_commit", "record.after_commit", "served.before_remove")
    homes = {point: tmp_path / point for point in points}
    for home in homes.values():
        filled(home, 30, segment_bytes=3000).close()
    assert die_at(f"{HERE}:drain_folder", homes) == dict.fromkeys(points, signal.SIGKILL)
    for point, home in homes.items():
        drain(home, record_of(home))
        assert recorded(home) == [f"run-{number}" for number in range(30)], point


def test_two_drains_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    filled(tmp_path, 200, segment_bytes=5000).close()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            drain_folder(tmp_path)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert recorded(tmp_path) == [f"run-{number}" for number in range(200)]


def test_a_killed_server_leaves_its_segment_to_the_next_drain(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        filled(tmp_path, 5)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert drain(tmp_path, record_of(tmp_path)) == 5


def test_a_line_cut_by_a_power_failure_is_put_aside(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    segment = next(log_folder(tmp_path).glob(f"*{SUFFIX}"))
    segment.write_bytes(segment.read_bytes() + line(4)[:50] + b"\0\0")
    assert drain(tmp_path, record_of(tmp_path)) == 3
    assert next(log_folder(tmp_path).glob("*.bad")).read_bytes().startswith(line(4)[:50])


def test_a_record_that_cannot_be_written_leaves_the_log_where_it_is(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    (tmp_path / "record.db").mkdir()
    with pytest.raises(StoreError):
        drain(tmp_path, record_of(tmp_path))
    (tmp_path / "record.db").rmdir()
    assert drain(tmp_path, record_of(tmp_path)) == 3


@pytest.mark.parametrize("limit", [{"segment_bytes": 1000}, {"segment_seconds": 0.0}])
def test_a_segment_is_on_the_disk_before_it_may_be_drained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, Any]
) -> None:
    """Full by size or by age; the disk is slow, and the loop does not wait for it."""
    flushed: list[int] = []
    may_flush = threading.Event()
    real = os.fsync

    def slow(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            assert threading.current_thread() is not threading.main_thread()
            may_flush.wait(5)
            flushed.append(os.fstat(handle).st_size)
        real(handle)

    def unlocked() -> list[Path]:
        return [one for one in sorted(log_folder(tmp_path).glob(f"[!.]*{SUFFIX}")) if _is_closed(one)]

    monkeypatch.setattr(os, "fsync", slow)
    log = filled(tmp_path, 20, **limit)
    segments = sorted(log_folder(tmp_path).glob(f"*{SUFFIX}"))
    full = segments if "segment_seconds" in limit else segments[:-1]
    sizes = [one.stat().st_size for one in full]
    assert full and not unlocked()

    async def kept() -> None:
        keeping = asyncio.create_task(log.keep())
        await asyncio.sleep(0.4)
        assert not unlocked() and not flushed
        may_flush.set()
        deadline = time.monotonic() + 5
        while len(unlocked()) < len(full) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        keeping.cancel()

    asyncio.run(kept())
    assert unlocked() == full and flushed == sizes


def test_without_a_thread_to_flush_it_a_segment_waits_for_the_next_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, real, refused = filled(tmp_path, 3, segment_seconds=0.0), asyncio.to_thread, 0

    async def none_left(work: Any) -> None:
        nonlocal refused
        refused += 1
        monkeypatch.setattr(asyncio, "to_thread", real)
        raise RuntimeError("can't start new thread")

    async def kept() -> None:
        keeping = asyncio.create_task(log.keep())
        await asyncio.sleep(0.8)
        assert not keeping.done()
        keeping.cancel()

    monkeypatch.setattr(asyncio, "to_thread", none_left)
    asyncio.run(kept())
    assert refused == 1 and drain(tmp_path, record_of(tmp_path)) == 3


def test_a_segment_that_a_server_is_just_making_is_not_the_drains(tmp_path: Path) -> None:
    filled(tmp_path, 1).close()
    unnamed = log_folder(tmp_path) / f".1{SUFFIX}"
    unnamed.touch()
    assert drain(tmp_path, record_of(tmp_path)) == 1 and unnamed.exists()


# -- a full buffer, a full disk ---------------------------------------------------------------------------------------


def until_full(log: ServedLog) -> int:
    number = 0
    while log.append(line(number)):
        number += 1
    return number


def test_shed_answers_at_once_and_counts(tmp_path: Path) -> None:
    log = ServedLog(log_folder(tmp_path), policy="shed", high_water=5000)
    written = until_full(log)
    started = time.monotonic()
    assert not asyncio.run(log.append_or_wait(line(0)))
    assert time.monotonic() - started < 0.05
    assert (log.written, log.shed) == (written, 1) and log.depth <= 5000


def test_wait_waits_for_room_and_no_longer_than_allowed(tmp_path: Path) -> None:
    log = ServedLog(log_folder(tmp_path), policy="wait", high_water=5000, wait_seconds=0.3, segment_bytes=1000)
    written = until_full(log)
    started = time.monotonic()
    assert not asyncio.run(log.append_or_wait(line(0)))
    assert 0.2 < time.monotonic() - started < 2 and log.shed == 1

    async def drained_meanwhile() -> bool:
        keeping = asyncio.create_task(log.keep())
        waiting = asyncio.create_task(log.append_or_wait(line(written)))
        while not waiting.done():
            await asyncio.to_thread(drain, tmp_path, record_of(tmp_path))
            await asyncio.sleep(0.05)
        keeping.cancel()
        return await waiting

    log._wait_seconds = 20
    assert asyncio.run(drained_meanwhile())
    log.close()
    drain(tmp_path, record_of(tmp_path))
    assert recorded(tmp_path) == [f"run-{number}" for number in range(written + 1)]


def test_a_full_disk_sheds_whole_lines_and_logs_again_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = filled(tmp_path, 3)
    real = os.write

    def half(handle: int, content: bytes) -> int:
        return real(handle, content[: len(content) // 2])

    def none(handle: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    for broken in (half, none):
        monkeypatch.setattr(os, "write", broken)
        assert not log.append(line(90)) and log.trouble
        assert not log.append(line(91))  # not even tried: a second has not passed
        monkeypatch.setattr(os, "write", real)
        log._retry = 0.0
        assert log.append(line(log.written)) and log.trouble is None
    log.close()
    drain(tmp_path, record_of(tmp_path))
    assert recorded(tmp_path) == [f"run-{number}" for number in range(5)]
    assert not list(log_folder(tmp_path).glob("*.bad"))


def test_a_folder_that_cannot_be_written_never_raises(tmp_path: Path) -> None:
    log_folder(tmp_path).parent.mkdir()
    log_folder(tmp_path).write_text("a file where the folder should be")
    log = ServedLog(log_folder(tmp_path))
    assert not log.append(line(0)) and log.trouble
