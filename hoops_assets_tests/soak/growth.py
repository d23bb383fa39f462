"""What grows: the event log and the memory of processes.

What belongs here: reading sizes off a home, and the slope of a series.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Size:
    """Of the Dagster instance of a home: bytes of its SQLite databases, and rows in them by table."""

    bytes: int
    rows: dict[str, int]

    @property
    def all_rows(self) -> int:
        return sum(self.rows.values())


def size_of(home: Path) -> Size:
    rows: dict[str, int] = {}
    total = 0
    for path in sorted((home / "dagster").rglob("*.db")):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as opened:
                pages, each = (opened.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
                total += pages * each
                names = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for name in names:
                    found = opened.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                    rows[name] = rows.get(name, 0) + found
        except sqlite3.OperationalError:
            continue  # deleted while we looked
    return Size(total, rows)


def slope(values: Sequence[float]) -> float:
    """By how much a series grows from one value to the next: the median of the slopes between all its pairs.

    P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau" (1968). One step up does not count.
    """
    points = np.asarray(values, dtype=float)
    first, second = np.triu_indices(len(points), 1)
    return float(np.median((points[second] - points[first]) / (second - first)))
