"""Fan posts from a dump of Reddit comments as CSV: `kind: reddit_dump`.

What belongs here: that format's columns. Bodies run over several lines, `[deleted]` and `[removed]` stand for texts that
are gone, times are seconds since 1970. Shape read off rNBA1stHalf.csv (pushshift's comment fields).

A team's own subreddit names the team. Comments of a common one, such as r/nba, name it by the author's flair at best
("Lakers", "[LAL] Kobe Bryant", "Cavaliers Bandwagon"): then `team_by: flair`.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from hoops_assets.basketball.league import League, Strict
from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import PostsRead, Rejected
from hoops_assets.sources.posts import BATCH, RawPost, Rules, gather, rules_for, stream, unknown_teams
from hoops_assets.sources.text import expand, nearest

COLUMNS = ("id", "created_utc", "subreddit", "author", "body")
FLAIR = "author_flair_text"

MAX_BODY = 1 << 20
"""Characters of one field; Reddit allows 40,000 in a post. More means a quotation mark that is not closed."""

_TAG = re.compile(r"^\[([A-Za-z0-9 ]+)\]")
_FAN = re.compile(r"\s+(bandwagon|fan|fans)$", re.IGNORECASE)


class Options(Strict):
    """Options of `sources.posts` with `kind: reddit_dump`.

    Attributes:
        files: paths or globs, plain or gzipped.
        subreddits: {subreddit: code}, beside the league's own spellings.
        team_by: whether the subreddit or the author's flair names the team; with flair, posts of no team are left out
            and counted, with subreddit they are refused.
    """

    files: tuple[str, ...] = Field(min_length=1)
    subreddits: dict[str, str] = Field(default_factory=dict)
    team_by: Literal["subreddit", "flair"] = "subreddit"


class RedditDump:
    """The comments of a league's Reddit dumps."""

    def __init__(self, league: League):
        spec = league.sources.posts
        self._options = Options.model_validate(spec.options if spec else {})
        wrong = unknown_teams(league, self._options.subreddits)
        if wrong:
            raise SettingsError(
                f"league {league.name}: sources.posts.subreddits names {', '.join(wrong)}, no team of it"
            )
        self._rules: Rules = rules_for(
            league,
            "reddit",
            self._options.team_by,
            self._options.subreddits,
            skip_unknown=self._options.team_by == "flair",
        )

    def files(self) -> list[Path]:
        return expand(self._options.files)

    def read(self, start: datetime, end: datetime) -> PostsRead:
        return gather(self.stream(start, end))

    def stream(self, start: datetime, end: datetime, batch: int = BATCH) -> Iterator[PostsRead]:
        """The same posts in frames of at most `batch`, in file order."""
        by_flair = self._options.team_by == "flair"
        raw = (found for path in self.files() for found in comments(path, by_flair))
        return stream(raw, self._rules, start, end, batch)


def team_of_flair(flair: str) -> str:
    """What a flair says of the team: `LAL` of "[LAL] Kobe Bryant", `Cavaliers` of "Cavaliers Bandwagon"."""
    tag = _TAG.match(flair.strip())
    return tag[1] if tag else _FAN.sub("", flair.strip())


def comments(path: Path, by_flair: bool) -> Iterator[RawPost | Rejected]:
    """The comments of one file, in bounded memory.

    Raises:
        SourceError: the file cannot be read on, or lacks a column.
    """
    before = csv.field_size_limit(MAX_BODY)
    line = 1
    try:
        with path.open("rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
            header = next(reader, [])
            place = _places(path, header, by_flair)
            line = reader.line_num + 1
            for record in reader:
                if record:
                    yield _comment(path, line, record, len(header), place, by_flair)
                line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{path}, line {line}: {error}; is a quotation mark not closed? Mend the line") from error
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}, line {line}: cannot be read on: {error}; fetch the file again") from error
    finally:
        csv.field_size_limit(before)


def _places(path: Path, header: Sequence[str], by_flair: bool) -> dict[str, int]:
    needed = [*COLUMNS, FLAIR] if by_flair else list(COLUMNS)
    missing = [name for name in needed if name not in header]
    if missing:
        named = ", ".join(repr(name) + nearest(name, header) for name in missing)
        raise SourceError(f"{path}, line 1: column missing: {named}. The file has {', '.join(header)}")
    return {name: header.index(name) for name in needed}


def _comment(
    path: Path, line: int, record: list[str], width: int, place: dict[str, int], by_flair: bool
) -> RawPost | Rejected:
    row = ",".join(record)[:500]
    if len(record) != width:
        return Rejected(str(path), line, "row", f"{len(record)} fields where the header has {width}", row)
    return RawPost(
        file=str(path),
        line=line,
        id=record[place["id"]].strip(),
        created_at=record[place["created_utc"]],
        team=team_of_flair(record[place[FLAIR]]) if by_flair else record[place["subreddit"]].strip(),
        author=record[place["author"]].strip(),
        text=record[place["body"]],
        row=row,
    )
