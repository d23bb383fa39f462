"""Records of a JSON answer, looked at as rows of text, so that they pass the same checks as the lines of a file.

What belongs here: reaching into nested records. What a field means is in the connectors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


class Records:
    """Records of one answer.

    Attributes:
        path: where they came from, for people.
    """

    def __init__(self, path: str, records: Sequence[Any], fields: Mapping[str, str]):
        """
        Args:
            fields: {column: dotted path to the value in a record}, as `{"home": "home_team.abbreviation"}`.
        """
        self.path = path
        self._records = records
        self._fields = fields

    def rows(self, columns: Sequence[str]) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
        """As `TextTable.rows`; `line` is the 1-based number of the record."""
        taken: list[list[str]] = []
        numbers: list[int] = []
        unfit: list[tuple[int, str]] = []
        for number, record in enumerate(self._records, start=1):
            if not isinstance(record, Mapping):
                unfit.append((number, f"a {type(record).__name__} where a record is expected"))
                continue
            taken.append([_text(value_at(record, self._fields[column])) for column in columns])
            numbers.append(number)
        frame = pd.DataFrame(taken, columns=list(columns), dtype=object)
        frame["line"] = pd.Series(numbers, dtype="int64")
        return frame, unfit

    def raw(self, line: int) -> str:
        return json.dumps(self._records[line - 1], ensure_ascii=False)[:500]


def value_at(record: Any, path: str) -> Any:
    """The value at a dotted path, None where any part is absent."""
    for part in path.split("."):
        record = record.get(part) if isinstance(record, Mapping) else None
    return record


def _text(value: Any) -> str:
    if value is None or isinstance(value, (dict, list)):
        return ""
    return str(value).strip()
