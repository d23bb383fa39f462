"""Fan posts in JSON lines, one object a line, with declared field names: `kind: json_lines`.

What belongs here: reading such files line by line; files of any size are read in bounded memory. An example:

    sources:
      posts:
        kind: json_lines
        files: [posts/*.jsonl.gz]
        fields: {id: id, created_at: created_utc, team: subreddit, author: author, text: body}
        teams: {lakers: LAL, bostonceltics: BOS}
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from hoops_assets.basketball.league import League, Strict
from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import PostsRead, Rejected
from hoops_assets.sources.posts import BATCH, RawPost, gather, rules_for, stream, unknown_teams
from hoops_assets.sources.records import value_at
from hoops_assets.sources.text import expand

MAX_LINE = 1 << 20
"""Bytes of one line above which it is refused unread."""


class Fields(Strict):
    """Where a post's values stand in its object; a dotted path reaches into nested objects.

    Attributes:
        created_at: seconds or milliseconds since 1970, or ISO 8601.
        team: what names the team, such as a subreddit.
        id: what tells posts apart; without it they are told apart by moment, team, author and text.
    """

    created_at: str
    text: str
    team: str
    id: str | None = None
    author: str | None = None


class Options(Strict):
    """Options of `sources.posts` with `kind: json_lines`.

    Attributes:
        files: paths or globs, plain or gzipped.
        fields: see Fields.
        teams: {value of the team field: code}, beside the league's own spellings.
        unknown_team: `refuse` sends posts of no team to quarantine, `skip` leaves them out and counts them.
        time_zone: IANA zone of times without an offset; without it they are refused.
        name: the posts' `source`, and the beginning of their ids.
    """

    files: tuple[str, ...] = Field(min_length=1)
    fields: Fields
    teams: dict[str, str] = Field(default_factory=dict)
    unknown_team: str = Field(default="refuse", pattern="^(refuse|skip)$")
    time_zone: str | None = None
    name: str = Field(default="json_lines", pattern="^[a-z0-9_-]+$")

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError(f"{value!r} is not an IANA time zone such as UTC or Europe/Berlin")
        return value


class JsonLines:
    """The posts of a league's JSON lines."""

    def __init__(self, league: League):
        spec = league.sources.posts
        self._options = Options.model_validate(spec.options if spec else {})
        wrong = unknown_teams(league, self._options.teams)
        if wrong:
            raise SettingsError(f"league {league.name}: sources.posts.teams names {', '.join(wrong)}, no team of it")
        options = self._options
        zone = ZoneInfo(options.time_zone) if options.time_zone else None
        skip = options.unknown_team == "skip"
        self._rules = rules_for(league, options.name, options.fields.team, options.teams, skip_unknown=skip, zone=zone)

    def files(self) -> list[Path]:
        return expand(self._options.files)

    def read(self, start: datetime, end: datetime) -> PostsRead:
        return gather(self.stream(start, end))

    def stream(self, start: datetime, end: datetime, batch: int = BATCH) -> Iterator[PostsRead]:
        """The same posts in frames of at most `batch`, in file order."""
        raw = (found for path in self.files() for found in records(path, self._options.fields))
        return stream(raw, self._rules, start, end, batch)


def records(path: Path, fields: Fields) -> Iterator[RawPost | Rejected]:
    """The posts of one file, line by line.

    Raises:
        SourceError: the file cannot be read, or not one of its lines has the declared fields.
    """
    needed = [fields.created_at, fields.text, fields.team]
    fitting = wrong = 0
    last = ""
    for number, line in lines(path):
        if not line.strip():
            continue
        found = _record(path, number, line, fields, needed)
        if isinstance(found, Rejected):
            wrong, last = wrong + 1, f"line {number}: {found.reason}"
        else:
            fitting += 1
        yield found
    if wrong and not fitting:
        raise SourceError(f"{path}: not one of {wrong} lines can be taken ({last}); correct `fields` or the file")


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(1-based number, line) of a plain or gzipped file, in bounded memory; an endless line comes in pieces of one number.

    Raises:
        SourceError: the file cannot be opened or is cut off.
    """
    number = 1
    try:
        with _opened(path) as file:
            while line := file.readline(MAX_LINE + 1):
                yield number, line
                number += line.endswith(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}, line {number}: cannot be read on: {error}; fetch the file again") from error


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")


def _record(path: Path, number: int, line: bytes, fields: Fields, needed: list[str]) -> RawPost | Rejected:
    def refused(field: str, reason: str) -> Rejected:
        return Rejected(str(path), number, field, reason, line[:500].decode("utf-8", "replace").rstrip("\n"))

    if len(line) > MAX_LINE:
        return refused("line", f"a line of more than {MAX_LINE} bytes")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return refused("line", f"not whole JSON ({error})")
    if not isinstance(found, dict):
        return refused("line", f"a {type(found).__name__} where an object is expected")
    missing = next((name for name in needed if value_at(found, name) is None), None)
    if missing is not None:
        return refused(missing, f"{missing} is not given")
    return RawPost(
        file=str(path),
        line=number,
        id=_plain(found, fields.id),
        created_at=value_at(found, fields.created_at),
        team=_plain(found, fields.team),
        author=_plain(found, fields.author),
        text=value_at(found, fields.text),
        row=line[:500].decode("utf-8", "replace").rstrip("\n"),
    )


def _plain(found: dict[str, object], field: str | None) -> str:
    value = value_at(found, field) if field else None
    return "" if value is None else str(value).strip()
