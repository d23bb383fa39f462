"""The buffer through which posts enter: durable, bounded, and nothing is lost uncounted.

What belongs here: one SQLite file a league (or several: one a source) that producers append posts to and one reader
takes them from. The file holds what is not yet read and the counts of everything that ever came; read posts leave it.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from hoops_assets.basketball.sentiment import POSTS
from hoops_assets.errors import SettingsError, StoreError
from hoops_assets.settings import BufferPolicy
from hoops_assets.store.atomic import locked
from hoops_assets.store.faults import fault_point

Policy = BufferPolicy

HIGH_WATER_POSTS = 100_000
HIGH_WATER_BYTES = 256 << 20
BUSY_SECONDS = 30.0
_POLL_SECONDS = 0.05
_APPEND_AT_ONCE = 5_000
_HOUR = 3_600_000_000
_LEVELS = 48  # a sample of one in 2**48 is none

_TABLES = (
    """CREATE TABLE IF NOT EXISTS posts (
        place INTEGER PRIMARY KEY AUTOINCREMENT, post_id TEXT NOT NULL, created_at INTEGER NOT NULL,
        team TEXT, author TEXT, text TEXT, source TEXT, size INTEGER NOT NULL, draw REAL NOT NULL,
        level INTEGER NOT NULL, entered_at REAL NOT NULL)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS posts_by_id ON posts (post_id, ifnull(team, ''))",
    "CREATE INDEX IF NOT EXISTS posts_by_draw ON posts (draw)",
    """CREATE TABLE IF NOT EXISTS counts (
        only INTEGER PRIMARY KEY CHECK (only = 1), offered INTEGER, repeated INTEGER, sampled_out INTEGER,
        committed INTEGER, committed_place INTEGER, depth INTEGER, bytes INTEGER, level INTEGER, policy TEXT,
        high_water_posts INTEGER, high_water_bytes INTEGER)""",
    """CREATE TABLE IF NOT EXISTS sampled_out (
        team TEXT NOT NULL, hour INTEGER NOT NULL, posts INTEGER NOT NULL, PRIMARY KEY (team, hour))""",
)


@dataclass(frozen=True)
class BufferMetrics:
    """What the buffer holds and what came of every post ever offered.

    Always offered = repeated + sampled_out + committed + depth: nothing is lost uncounted.

    Attributes:
        depth: posts not yet read.
        bytes: size of their texts.
        oldest_seconds: since the oldest of them entered; 0 when there is none.
        offered: posts taken from producers (a post a producer was told to offer again is not).
        repeated: of these, posts whose post_id and team were in the buffer already.
        sampled_out: of these, posts dropped by the policy `sample`.
        committed: of these, posts the reader has taken and committed.
        level: posts that enter now stand for 2**level each.
    """

    depth: int
    bytes: int
    oldest_seconds: float
    offered: int
    repeated: int
    sampled_out: int
    committed: int
    level: int
    policy: Policy
    high_water_posts: int
    high_water_bytes: int


@dataclass(frozen=True)
class PostBatch:
    """Posts read but not committed.

    Attributes:
        posts: columns of POSTS and `weight` (float64), how many offered posts each one stands for; in the order of
            their entering.
        place: hand it to `commit` when they are safe elsewhere; None when there are no posts.
    """

    posts: pd.DataFrame
    place: int | None


class PostBuffer:
    """Posts between producers, who may come in bursts, and one reader.

    Durable: every append and every commit is one SQLite transaction in a write-ahead log that is flushed to disk before
    the call returns (`synchronous=FULL`), so what was acknowledged outlives a kill of the process and a power failure.

    Bounded by `high_water_posts` and by `high_water_bytes` of text, whichever is reached first; one post larger than
    all is let into an empty buffer. At the mark the policy decides:
        wait: the buffer takes no more; `offer` says how many it took and `put` waits for the reader.
        sample: the buffer takes every post and keeps a uniform sample. A post is kept at level L if a hash of its
            post_id falls into the first 2**-L of the range; at the mark the level rises by one and about half of what
            is held goes. A kept post has the weight 2**L, so sums of weights estimate volumes without bias (relative
            standard error about sqrt((2**L - 1) / posts written)); what went is counted exactly, by team and hour of
            writing. The level falls by one with each commit that leaves less than a quarter of the mark.

    Read at least once: the reader stores a batch and then commits it; killed between, it reads the batch again, with
    the same post_ids, and the store must leave out the ones it has. A post (its post_id and team) offered again while
    it is in the buffer is counted as repeated; later it enters again, for the store to leave out. One that was sampled
    out and is offered again is counted again.

    Several processes may use one file; of readers there must be one.

    Args:
        path: the file, created with its folder.

    Raises:
        SettingsError: a mark below 1 or an unknown policy.
        StoreError: of every method: the file cannot be used; what was acknowledged still stands.
    """

    def __init__(
        self,
        path: Path,
        policy: Policy = "wait",
        high_water_posts: int = HIGH_WATER_POSTS,
        high_water_bytes: int = HIGH_WATER_BYTES,
    ) -> None:
        if policy not in get_args(Policy):
            raise SettingsError(f"post buffer: policy {policy!r} is none of {', '.join(get_args(Policy))}")
        if high_water_posts < 1 or high_water_bytes < 1:
            raise SettingsError(
                f"post buffer: high-water marks are {high_water_posts} posts and {high_water_bytes} bytes; both must be 1"
                " or more"
            )
        self.path = Path(path)
        self._policy: Policy = policy
        self.high_water_posts, self._most_bytes = high_water_posts, high_water_bytes
        # Two processes may create the file at once, and SQLite does not wait for the switch of its journal.
        with locked(self.path.with_name(f"{self.path.name}.lock")), self._transaction() as open_file:
            for table in _TABLES:
                open_file.execute(table)
            open_file.execute("INSERT OR IGNORE INTO counts VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0)")
            open_file.execute(
                "UPDATE counts SET policy = ?, high_water_posts = ?, high_water_bytes = ?",
                (policy, high_water_posts, high_water_bytes),
            )

    def offer(self, posts: pd.DataFrame) -> int:
        """Appends posts, in their order, until the buffer is full; does not wait.

        Args:
            posts: columns of POSTS.

        Returns:
            How many of them were taken, the first ones: they are on disk. Offer the rest again later. With the policy
            `sample` it is always all of them.
        """
        rows = _rows_of(posts)
        taken = 0
        while taken < len(rows):
            some = rows[taken : taken + _APPEND_AT_ONCE]
            with self._transaction() as open_file:
                fit = self._append(open_file, some)
            taken += fit
            if fit < len(some):
                break
        return taken

    def put(self, posts: pd.DataFrame, timeout: float = 60.0) -> None:
        """Appends all posts; waits for the reader where the policy says so.

        Args:
            timeout: seconds to wait for room.

        Raises:
            StoreError: there was no room in time; says how many were taken.
        """
        deadline = time.monotonic() + timeout
        taken = self.offer(posts)
        while taken < len(posts):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the post buffer {self.path} is full: of {len(posts)} posts the first {taken} were taken within"
                    f" {timeout:g} s. Offer the rest again, let its reader run (materialise fan_posts), or raise the mark"
                )
            time.sleep(_POLL_SECONDS)
            taken += self.offer(posts.iloc[taken:])

    def read(self, limit: int = 10_000) -> PostBatch:
        """The oldest posts not yet committed, at most `limit`. Reading again without `commit` gives them again."""
        with self._transaction("DEFERRED") as open_file:
            rows = open_file.execute(
                "SELECT place, post_id, created_at, team, author, text, source, level FROM posts ORDER BY place LIMIT ?",
                (limit,),
            ).fetchall()
        columns = ["place", "post_id", "created_at", "team", "author", "text", "source", "level"]
        frame = pd.DataFrame(rows, columns=columns)
        created = pd.to_datetime(frame["created_at"].astype("int64"), unit="us", utc=True)
        posts = frame.assign(created_at=created.astype("datetime64[us, UTC]"))[list(POSTS)].astype(POSTS)
        weight = 2.0 ** frame["level"].astype("float64")
        return PostBatch(posts.assign(weight=weight), int(frame["place"].iloc[-1]) if len(frame) else None)

    def commit(self, batch: PostBatch) -> None:
        """Takes the posts of a batch out of the buffer; call it when they are safe elsewhere. Twice is once."""
        if batch.place is None:
            return
        with self._transaction() as open_file:
            if batch.place <= open_file.execute("SELECT committed_place FROM counts").fetchone()[0]:
                return
            held = open_file.execute(
                "SELECT post_id, ifnull(team, ''), size FROM posts WHERE place <= ?", (batch.place,)
            ).fetchall()
            open_file.execute("DELETE FROM posts WHERE place <= ?", (batch.place,))
            # Sampled out after they were read: they did get through.
            keys = {(post_id, team) for post_id, team, _ in held}
            read = zip(batch.posts["post_id"], batch.posts["team"].fillna(""), strict=True)
            through = _rows_of(batch.posts[np.array([key not in keys for key in read], dtype=bool)])
            _count_out(open_file, [(row[2] or "", _hour(row[1]), -1) for row in through])
            open_file.execute(
                "UPDATE counts SET committed = committed + ?, sampled_out = sampled_out - ?, depth = depth - ?,"
                " bytes = bytes - ?, committed_place = ?",
                (len(batch.posts), len(through), len(held), sum(size for *_, size in held), batch.place),
            )
            open_file.execute(
                "UPDATE counts SET level = level - 1 WHERE level > 0 AND depth < ? AND bytes < ?",
                (self.high_water_posts / 4, self._most_bytes / 4),
            )

    def metrics(self) -> BufferMetrics:
        """The counts as of now."""
        return read_metrics(self.path)

    def sampled_out(self) -> pd.DataFrame:
        """Posts dropped by the policy `sample`: `team`, `hour` (UTC, datetime64[us]) of their writing, `posts`."""
        with self._transaction("DEFERRED") as open_file:
            rows = open_file.execute("SELECT team, hour, posts FROM sampled_out ORDER BY team, hour").fetchall()
        frame = pd.DataFrame(rows, columns=["team", "hour", "posts"])
        hour = pd.to_datetime(frame["hour"].astype("int64") * 3600, unit="s", utc=True).astype("datetime64[us, UTC]")
        return frame.assign(hour=hour, posts=frame["posts"].astype("int64"))

    def _append(self, open_file: sqlite3.Connection, rows: list[tuple]) -> int:
        """Appends the rows that fit in one transaction; returns how many were taken."""
        depth, size, level = open_file.execute("SELECT depth, bytes, level FROM counts").fetchone()
        before = depth
        taken = repeated = 0
        for row in rows:
            if self._policy == "wait" and self._is_full(depth, size, row[6]):
                known = open_file.execute(
                    "SELECT 1 FROM posts WHERE post_id = ? AND ifnull(team, '') = ?", (row[0], row[2] or "")
                ).fetchone()
                if known is None:
                    break
            taken += 1
            if row[7] >= 2.0**-level:
                _count_out(open_file, [(row[2] or "", _hour(row[1]), 1)])
                continue
            new = open_file.execute(
                "INSERT OR IGNORE INTO posts (post_id, created_at, team, author, text, source, size, draw, level,"
                " entered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, level, time.time()),
            ).rowcount
            repeated += 1 - new
            depth, size = depth + new, size + new * row[6]
            while self._policy == "sample" and level < _LEVELS and depth > 1 and self._is_over(depth, size):
                level += 1
                depth, size = self._thin(open_file, level)
        kept = depth - before
        open_file.execute(
            "UPDATE counts SET offered = offered + ?, repeated = repeated + ?, sampled_out = sampled_out + ?,"
            " depth = ?, bytes = ?, level = ?",
            (taken, repeated, taken - repeated - kept, depth, size, level),
        )
        return taken

    def _is_full(self, depth: int, size: int, more: int) -> bool:
        return depth > 0 and (depth + 1 > self.high_water_posts or size + more > self._most_bytes)

    def _is_over(self, depth: int, size: int) -> bool:
        return depth > self.high_water_posts or size > self._most_bytes

    def _thin(self, open_file: sqlite3.Connection, level: int) -> tuple[int, int]:
        """Keeps of what is held the sample of a level; returns how many posts and bytes are left."""
        share = 2.0**-level
        gone = open_file.execute(
            "SELECT ifnull(team, ''), created_at / ?, count(*) FROM posts WHERE draw >= ? GROUP BY 1, 2",
            (_HOUR, share),
        ).fetchall()
        _count_out(open_file, gone)
        open_file.execute("DELETE FROM posts WHERE draw >= ?", (share,))
        open_file.execute("UPDATE posts SET level = max(level, ?)", (level,))
        return _held(open_file)

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block or nothing."""
        try:
            # A connection per use: none is inherited by a forked process.
            open_file = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                open_file.execute("PRAGMA journal_mode=WAL")
                open_file.execute("PRAGMA synchronous=FULL")
                open_file.execute(f"BEGIN {kind}")
                try:
                    yield open_file
                    if kind == "IMMEDIATE":
                        fault_point("buffer.before_commit")
                    open_file.execute("COMMIT")
                except BaseException:
                    if open_file.in_transaction:
                        open_file.execute("ROLLBACK")
                    raise
                if kind == "IMMEDIATE":
                    fault_point("buffer.after_commit")
            finally:
                open_file.close()
        except (sqlite3.Error, OSError) as error:
            raise _unusable(self.path, error) from error


def read_metrics(path: Path) -> BufferMetrics:
    """The counts of a buffer, read from outside without touching it.

    Raises:
        StoreError: there is no buffer, or it cannot be read.
    """
    if not Path(path).exists():
        raise StoreError(f"there is no post buffer at {path}; it is created when the first post is offered")
    try:
        open_file = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            open_file.row_factory = sqlite3.Row
            open_file.execute("PRAGMA query_only=ON")
            row = dict(open_file.execute("SELECT * FROM counts").fetchone())
            oldest = open_file.execute("SELECT entered_at FROM posts ORDER BY place LIMIT 1").fetchone()
        finally:
            open_file.close()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    del row["only"], row["committed_place"]
    return BufferMetrics(oldest_seconds=max(0.0, time.time() - oldest[0]) if oldest else 0.0, **row)


def metrics_text(league: str, metrics: BufferMetrics) -> str:
    """The counts in the Prometheus text format, one gauge or counter a line."""
    values = {name: value for name, value in asdict(metrics).items() if not isinstance(value, str)}
    return "".join(f'hoops_post_buffer_{name}{{league="{league}"}} {value:g}\n' for name, value in values.items())


def _unusable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"the post buffer {path} cannot be used: {error}; posts acknowledged before still stand."
        " Check the folder's permissions and free space and try again"
    )


def _held(open_file: sqlite3.Connection) -> tuple[int, int]:
    return open_file.execute("SELECT count(*), ifnull(sum(size), 0) FROM posts").fetchone()


def _hour(microseconds: int) -> int:
    return microseconds // _HOUR


def _count_out(open_file: sqlite3.Connection, gone: list[tuple]) -> None:
    open_file.executemany(
        "INSERT INTO sampled_out VALUES (?, ?, ?) ON CONFLICT (team, hour) DO UPDATE SET posts = posts + excluded.posts",
        gone,
    )


def draw(post_id: str) -> float:
    """A number in [0, 1) that depends on the post_id alone, so that a post offered twice meets the same fate."""
    return int.from_bytes(blake2b(post_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()[:6], "big") / 2**48


def _rows_of(posts: pd.DataFrame) -> list[tuple]:
    """(post_id, created_at in microseconds, team, author, text, source, size, draw) of each post."""
    created = posts["created_at"].dt.as_unit("us").astype("int64").tolist()
    columns = [[_text(value) for value in posts[name]] for name in ("post_id", "team", "author", "text", "source")]
    return [
        (post_id, when, team, author, text, source, len((text or "").encode()), draw(post_id or ""))
        for when, (post_id, team, author, text, source) in zip(created, zip(*columns, strict=True), strict=True)
    ]


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    # SQLite keeps UTF-8; half a surrogate pair is no character.
    return str(value).encode("utf-8", "replace").decode("utf-8")
