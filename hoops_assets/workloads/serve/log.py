"""The served log: every answer on disk before it is given, on its way into the record.

What belongs here: the buffer of segment files that the server appends to. Moving them into the record is in
`serve.drain`, another process, so that neither the database nor its library touches the hot path.

- One answer is one line, appended by one write before the answer is sent: what was answered with `logged: true` survives
  the death of the process.
- A segment that is full or old enough is flushed to the disk itself and then closed, by a thread, so that no answer waits
  for it. A power cut can cost what was answered in the last `segment_seconds`, a quarter of a second, and as long as the
  disk takes.
- The server holds a lock on a segment until it is flushed; a segment without a holder is closed, whether its server
  rotated it or was killed. Only closed segments are drained.
- Beyond `high_water` bytes not yet drained the buffer is full. Policy `wait` lets an answer wait for room, at most
  `wait_seconds`; policy `shed` does not wait. An answer that finds no room is given with `logged: false` and counted. A
  disk that refuses the write (full, broken) is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Literal

from hoops_assets.store import atomic

Policy = Literal["wait", "shed"]

SUFFIX = ".log"
MEGABYTE = 1024 * 1024


def log_folder(home: Path) -> Path:
    """HOME/serving/log."""
    return Path(home) / "serving" / "log"


class ServedLog:
    """Used from one event loop only.

    Args:
        high_water: bytes not yet drained beyond which the buffer is full.
        segment_bytes, segment_seconds: size and age at which a segment is flushed and closed.

    Attributes:
        depth: bytes not yet drained.
        written, shed: answers since the start.
        trouble: the last error of the disk; None once a write succeeded again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        policy: Policy = "wait",
        high_water: int = 256 * MEGABYTE,
        wait_seconds: float = 0.1,
        segment_bytes: int = 8 * MEGABYTE,
        segment_seconds: float = 1.0,
    ) -> None:
        self.folder, self.policy, self.high_water = Path(folder), policy, high_water
        self._wait_seconds = wait_seconds
        self._segment_bytes, self._segment_seconds = segment_bytes, segment_seconds
        self.depth = self.written = self.shed = 0
        self.trouble: str | None = None
        self._handle: int | None = None
        self._full: deque[int] = deque()  # handles of segments to be flushed and closed
        self._size = self._number = 0
        self._opened = self._retry = 0.0
        self._name = secrets.token_hex(4)
        self._refresh()

    def append(self, line: bytes) -> bool:
        """Writes one line; False if there is no room or the disk refuses. Never raises."""
        length = len(line)
        if self.depth + length > self.high_water:
            return False
        handle = self._handle
        if handle is None:
            handle = self._open()
            if handle is None:
                return False
        try:
            done = os.write(handle, line)
            if done != length:  # the disk became full within the line
                raise OSError(f"only {done} of {length} bytes fitted")
        except OSError as error:
            self._failed(error)
            return False
        self._size += length
        self.depth += length
        self.written += 1
        if self._size >= self._segment_bytes:
            self._rotate()
        return True

    async def append_or_wait(self, line: bytes) -> bool:
        """After `append` said no: waits for room if that is the policy, then counts the line as shed if there is none."""
        if self.policy == "wait" and self.depth + len(line) > self.high_water:
            deadline = time.monotonic() + self._wait_seconds
            while time.monotonic() < deadline:
                await asyncio.sleep(0.01)
                self._refresh()
                if self.append(line):
                    return True
        self.shed += 1
        return False

    async def keep(self) -> None:
        """Flushes and closes segments in time, until it is cancelled."""
        while True:
            await asyncio.sleep(0.25)
            if self._size and time.monotonic() - self._opened >= self._segment_seconds:
                self._rotate()
            self._refresh()
            if self._full:
                with contextlib.suppress(RuntimeError):  # no thread can be started: the next turn tries again
                    await asyncio.to_thread(self._flush)

    def close(self) -> None:
        """Flushes and closes what is open."""
        self._rotate()
        self._flush()

    def _open(self) -> int | None:
        now = time.monotonic()
        if now < self._retry:
            return None
        self._number += 1
        # In order of time across restarts: the drain goes by name.
        name = f"{time.time_ns():020d}-{self._name}-{self._number:06d}{SUFFIX}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # It gets its name when it is locked: a drain must not take it for closed.
            unnamed = self.folder / f".{name}"
            handle = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
            fcntl.flock(handle, fcntl.LOCK_EX)
            unnamed.rename(self.folder / name)
        except OSError as error:
            self._failed(error)
            return None
        self._handle, self._size, self._opened, self.trouble = handle, 0, now, None
        return handle

    def _rotate(self) -> None:
        """Ends the segment; its lock holds until `_flush`."""
        if self._handle is not None:
            self._full.append(self._handle)
        self._handle, self._size = None, 0

    def _flush(self) -> None:
        """Flushes and closes all segments that were ended; from any thread."""
        while self._full:
            try:
                handle = self._full.popleft()
            except IndexError:  # another thread was first
                return
            try:
                os.fsync(handle)
                atomic.sync_folder(self.folder)  # which keeps the names of new files
            except OSError as error:
                self.trouble = str(error)
            with contextlib.suppress(OSError):
                os.close(handle)  # frees the lock

    def _failed(self, error: OSError) -> None:
        """Takes back a part of a line, gives up the segment, and tries again a second later."""
        self.trouble = str(error)
        self._retry = time.monotonic() + 1.0
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
        self._rotate()

    def _refresh(self) -> None:
        """Asks the disk how much is not yet drained."""
        depth = 0
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):
                            depth += entry.stat().st_size
        except FileNotFoundError:
            pass
        except OSError as error:
            self.trouble = str(error)
            return
        self.depth = depth
