"""Delimited text as a table with line numbers, and files written atomically.

What belongs here: bytes to rows of strings, for whatever file. What a column means is in the connectors; whether a
value is acceptable is in `rows`.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from hoops_assets.errors import SourceError

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class TextTable:
    """A delimited text file, not yet parsed.

    Attributes:
        path: the file.
        header: column names, made unique as pandas does it: a second `PTS` is `PTS.1`, an empty name in the seventh
            column is `Unnamed: 6`.
        lines: every line of the file without its line end; `lines[0]` is line 1, the header.
        delimiter: one character.
    """

    path: Path
    header: list[str]
    lines: list[str]
    delimiter: str = ","

    def require(self, columns: Iterable[str]) -> None:
        """Raises SourceError, naming every column that is missing and the nearest one found."""
        missing = [column for column in columns if column not in self.header]
        if missing:
            named = ", ".join(repr(column) + nearest(column, self.header) for column in missing)
            raise SourceError(
                f"{self.path}, line 1: column missing: {named}. The file has the columns {', '.join(self.header)}."
            )

    def rows(self, columns: Sequence[str]) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
        """The rows as text.

        Returns:
            A frame with one row per record, `columns` as stripped str, and `line`, the 1-based line on which the record
            begins; and (line, reason) of each record that does not fit the header. Blank lines are in neither.
        """
        pick = itemgetter(*(self.header.index(column) for column in columns))
        width = len(self.header)
        taken: list[tuple[str, ...]] = []
        numbers: list[int] = []
        unfit: list[tuple[int, str]] = []
        for line, record in self._records():
            if record is None:
                unfit.append((line, "a quotation mark is opened and not closed"))
            elif not any(map(str.strip, record)):
                continue
            elif len(record) < width or any(map(str.strip, record[width:])):
                unfit.append((line, f"{len(record)} fields where the header has {width}"))
            else:
                taken.append(pick(record) if len(columns) > 1 else (pick(record),))
                numbers.append(line)
        frame = pd.DataFrame(taken, columns=list(columns), dtype=object)
        for column in columns:
            frame[column] = by_value(frame[column], str.strip)
        frame["line"] = pd.Series(numbers, dtype="int64")
        return frame, unfit

    def _records(self) -> Iterator[tuple[int, list[str] | None]]:
        """(1-based line, fields) of every record; None where a quotation mark swallows lines that do not belong to it.

        A quoted field may run over several lines. If the record then does not fit the header, the mark is taken for a
        slip: only its own line is given up and reading goes on with the next.
        """
        before = 1
        while before < len(self.lines):
            reader = csv.reader(self.lines[before:], delimiter=self.delimiter)
            start = last = before
            try:
                for record in reader:
                    line, last = last + 1, start + reader.line_num
                    if last > line and len(record) != len(self.header):
                        before = line
                        yield line, None
                        break
                    yield line, record
                else:
                    return
            except csv.Error:
                before = last + 1
                yield before, None

    def raw(self, line: int) -> str:
        """The line as found, cut at 500 characters."""
        return self.lines[line - 1][:500]


def by_value(text: pd.Series, function: Callable[[str], Any], dtype: str = "object") -> pd.Series:
    """`text.map(function)`, calling the function once for every different value; `text` has no missing values."""
    codes, values = pd.factorize(text)
    results = pd.Series([function(value) for value in values], dtype=dtype)
    return results.take(codes).set_axis(text.index)


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` with the known word most like `word`, or an empty string."""
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f" (did you mean {by_folded[close[0]]!r}?)" if close else ""


def read_table(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> TextTable:
    """Opens a delimited text file, plain or gzipped, with or without a byte order mark, with any line ends.

    Raises:
        SourceError: the file is missing, empty, cut off, not text in `encoding`, or has no header.
    """
    text = _decode(path, _bytes(path), encoding)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not text.strip():
        raise SourceError(f"{path}: the file is empty; give a file with a header line and one line per game")
    header = [name.strip() for name in next(csv.reader(lines[:1], delimiter=delimiter), [])]
    return TextTable(path, _unique(header), lines, delimiter)


def expand(patterns: Iterable[str]) -> list[Path]:
    """Files named by paths or globs (`*`, `?`, `[...]` in the file's name), each once, sorted.

    Raises:
        SourceError: a path does not exist or a glob matches nothing.
    """
    files: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern)
        if path.is_file():
            found = [path]
        elif path.is_dir():
            raise SourceError(f"{pattern}: is a folder; name its files, for example {path / '*.csv'}")
        else:
            found = [match for match in path.parent.glob(path.name) if match.is_file()]
        if not found:
            kind = "no file matches the pattern" if any(c in pattern for c in "*?[") else "no such file"
            raise SourceError(f"{pattern}: {kind}; correct `files` of the league's source")
        files.update(found)
    return sorted(files)


def write_atomically(path: Path, text: str) -> None:
    """Writes UTF-8 text so that at any moment the file holds either what stood before or all of `text`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP) else data
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; correct `files` of the league's source") from None
    except (EOFError, gzip.BadGzipFile) as error:
        raise SourceError(f"{path}: the gzip file is damaged or cut off ({error}); fetch it again") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _decode(path: Path, data: bytes, encoding: str) -> str:
    if encoding.lower().replace("-", "").replace("_", "") == "utf8":
        encoding = "utf-8-sig"
        if b"\0" in data[:65536]:
            raise SourceError(f"{path}: not a text file (it holds zero bytes); save it as CSV in UTF-8")
    try:
        return data.decode(encoding)
    except LookupError:
        raise SourceError(f"{path}: {encoding!r} is not an encoding that Python knows; use for example utf-8") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{path}, line {line}: not text in {encoding.removesuffix('-sig')} (byte {data[error.start]:#04x});"
            " save the file as UTF-8"
        ) from error


def _unique(header: list[str]) -> list[str]:
    names: list[str] = []
    seen: dict[str, int] = {}
    for position, found in enumerate(header):
        name = found or f"Unnamed: {position}"
        count = seen.get(name, 0)
        seen[name] = count + 1
        names.append(f"{name}.{count}" if count else name)
    return names
