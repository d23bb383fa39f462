"""Rows that were refused, kept where a person can find and mend them.

What belongs here: the quarantine file of a source and the sentences about it. Why a row is refused is decided by the
connector that read it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hoops_assets.sources.contract import Rejected
from hoops_assets.sources.text import write_atomically

COLUMNS = ["file", "line", "field", "reason", "row"]


def write_quarantine(folder: Path, name: str, rejected: Sequence[Rejected]) -> Path | None:
    """Writes `folder/name.csv` with one row per refused row, replacing what stood before.

    The same refusals in any order give the same bytes. Without refusals the file is removed: what stands in quarantine
    is always what the last reading refused.

    Returns:
        The file, or None without refusals.
    """
    path = folder / f"{name}.csv"
    if not rejected:
        path.unlink(missing_ok=True)
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(set(rejected), key=lambda r: (r.file, r.line or 0, r.field, r.reason)):
        writer.writerow([row.file, "" if row.line is None else row.line, row.field, row.reason, row.row])
    write_atomically(path, text.getvalue())
    return path


def describe(row: Rejected) -> str:
    """One refused row in one sentence: file, line, field, reason."""
    where = f"{row.file}, line {row.line}" if row.line is not None else row.file
    return f"{where}, field {row.field}: {row.reason}"


def summary(rejected: Sequence[Rejected]) -> str:
    """One line for people: how many rows were refused, for which fields, and the first of them."""
    if not rejected:
        return "no row refused"
    fields = ", ".join(f"{count} for {field}" for field, count in Counter(row.field for row in rejected).most_common())
    rows = "1 row" if len(rejected) == 1 else f"{len(rejected)} rows"
    return f"{rows} refused ({fields}); first: {describe(rejected[0])}"
