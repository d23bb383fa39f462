"""Moving the served log into the record, each answer exactly once.

What belongs here: `drain`, which anyone may call, and the process that a server starts to call it all the time:
`python -m hoops_assets.workloads.serve.drain HOME RECORD_URL`, which ends when its standard input closes, that is with
the server, however that ends.

A segment enters the record in one transaction and is removed afterwards. A drain killed between the two finds, the next
time, the segment's first answer in the record, and only removes the file.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import select
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from hoops_assets.errors import HoopsError
from hoops_assets.store import atomic
from hoops_assets.store.faults import fault_point
from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.log import SUFFIX, log_folder

TABLE = "served_predictions"
EVERY = 1.0
"""Seconds between two drains; after a failure ten times that."""


def drain(home: Path, record: Record) -> int:
    """Moves every closed segment of HOME/serving/log into `served_predictions`.

    A segment that a server writes at this moment is left for later. A line cut by a power failure was never answered as
    logged for sure; it goes to the segment's file with the suffix .bad.

    Returns:
        The number of rows that were appended.

    Raises:
        StoreError: the record cannot be written; what was not moved stays where it is.
    """
    folder = log_folder(home)
    if not folder.is_dir():
        return 0
    moved = 0
    with atomic.locked(folder / ".drain.lock"):
        for segment in sorted(folder.glob(f"[!.]*{SUFFIX}")):  # a server is just making those with a dot
            if _is_closed(segment):
                moved += _move(segment, record)
    return moved


def _is_closed(segment: Path) -> bool:
    handle = os.open(segment, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _move(segment: Path, record: Record) -> int:
    rows, bad = _rows(segment.read_bytes())
    if bad:
        atomic.write_bytes(segment.with_suffix(".bad"), b"\n".join(bad) + b"\n")
    moved = 0
    if rows and not _is_recorded(rows[0], record):
        record.append_many(TABLE, rows)
        moved = len(rows)
    fault_point("served.before_remove")
    segment.unlink()
    return moved


def _is_recorded(row: dict[str, Any], record: Record) -> bool:
    at = row["at"]
    near = timedelta(milliseconds=1)
    return bool(record.rows(TABLE, at - near, at + near, request_id=row["request_id"]))


def _rows(content: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    """(rows for the table, lines that are none)."""
    rows: list[dict[str, Any]] = []
    bad = []
    for line in content.split(b"\n"):
        if not line:
            continue
        try:
            rows += _rows_of(from_json(line))
        except (ValueError, KeyError, TypeError):
            bad.append(line)
    return rows, bad


def _rows_of(entry: dict[str, Any]) -> list[dict[str, Any]]:
    answer = entry["answer"]
    common = {
        "at": _EPOCH + timedelta(microseconds=entry["at"] // 1000), "request_id": answer["request_id"],
        "customer": entry["customer"], "league": answer["league"], "traffic": _text(**entry["traffic"]),
    }  # fmt: skip
    return [
        {
            **common,
            "game_id": one["game_id"],
            "day": date.fromisoformat(one["day"]) if one["day"] else None,
            "home": one["home"],
            "away": one["away"],
            "version": one["version"],
            "learner": one["learner"],
            "home_win_probability": one["home_win_probability"],
            "degraded": one["degraded"],
        }
        for one in answer["predictions"]
    ]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@functools.lru_cache(maxsize=100)
def _text(**traffic: int) -> str:
    return json.dumps(traffic)


def main(home: Path, url: str) -> None:
    """Drains until standard input closes, then once more."""
    os.nice(10)
    record, told, ended = Record(url), "", False
    while not ended:
        pause = EVERY
        try:
            drain(home, record)
            told = ""
        except (HoopsError, OSError) as error:
            pause = 10 * EVERY
            if str(error) != told:  # once per trouble, not once per try
                told = str(error)
                sys.stderr.write(f"served predictions wait in {log_folder(home)}: {told}\n")
        deadline = time.monotonic() + pause
        ended = bool(select.select([sys.stdin], [], [], max(0.0, deadline - time.monotonic()))[0])
    try:
        drain(home, record)
    except (HoopsError, OSError) as error:
        sys.stderr.write(f"served predictions wait in {log_folder(home)}: {error}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
