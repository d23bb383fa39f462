"""Tweets in a tar.gz archive, one JSON file a team and game, keyed by the row of a schedule: `kind: tweets_archive`.

What belongs here: that archive's conventions. A file's name ends in the side and the game's row in the schedule, counted
from 0 without the header: `.../home_train17.json`, `.../away_train17.json`. It holds {"0": text, ...}, newest first.

The archive gives no times. Every tweet was written in the 24 hours before tip-off, so each is stamped in the middle of
them: tip-off minus 12 hours. Nothing finer than a game can be learnt from these stamps. Duplicates (4 in 100 of a
file, copies of adverts) and empty texts stay in: what counts is decided where the sentiment is.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pandas as pd
from pydantic import Field

from hoops_assets.basketball.league import League, Strict
from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import PostsRead, Rejected
from hoops_assets.sources.delimited import Columns
from hoops_assets.sources.delimited import Options as ScheduleOptions
from hoops_assets.sources.delimited import parse as parse_schedule
from hoops_assets.sources.posts import as_posts
from hoops_assets.sources.quarantine import describe

NAME = "tweets"

_MEMBER = re.compile(r"(home|away)\D*(\d+)\.json")
_MAX_MEMBER = 64 * 2**20


class Options(Strict):
    """Options of `sources.posts` with `kind: tweets_archive`.

    Attributes:
        archive: the tar.gz file.
        schedule: delimited file whose rows number the games.
        columns, date_format, time_format: what its columns mean, as in `kind: csv`; by default those of a schedule
            exported from basketball-reference.
        hours_before: each tweet is stamped so many hours before tip-off.
    """

    archive: str
    schedule: str
    columns: Columns = Columns(date="Date", time="Start (ET)", home="Home/Neutral", away="Visitor/Neutral")
    date_format: str = "%a %b %d %Y"
    time_format: str = "%I:%M%p"
    hours_before: float = Field(default=12.0, gt=0, le=24)


class TweetsArchive:
    """The tweets of one archive."""

    def __init__(self, league: League):
        spec = league.sources.posts
        self._league = league
        self._options = Options.model_validate(spec.options if spec else {})
        if league.sources.posts is None:
            raise SettingsError(f"league {league.name}: sources.posts is missing")

    def files(self) -> list[Path]:
        return [Path(self._options.archive), Path(self._options.schedule)]

    def read(self, start: datetime, end: datetime) -> PostsRead:
        stats = tuple((str(path), *_stat(path)) for path in self.files())
        whole = _whole(self._league.model_dump_json(), stats)
        created = whole.posts["created_at"]
        window = whole.posts[(created >= pd.Timestamp(start)) & (created < pd.Timestamp(end))]
        return PostsRead(window.reset_index(drop=True), list(whole.rejected), list(whole.notes))


@lru_cache(maxsize=1)
def _whole(league: str, stats: tuple[tuple[str, int, int], ...]) -> PostsRead:
    """All posts of an archive; kept, since a backfill by day asks for it again and again."""
    of = League.model_validate_json(league)
    options = Options.model_validate(of.sources.posts.options if of.sources.posts else {})
    return read_archive(Path(options.archive), schedule(Path(options.schedule), options, of), options.hours_before)


def schedule(path: Path, options: Options, league: League) -> pd.DataFrame:
    """The games in the order of their rows: tip_off, home, away.

    Raises:
        SourceError: a row cannot be read, or has no time; then no later row number can be trusted.
    """
    given = ScheduleOptions(
        files=(str(path),),
        columns=options.columns,
        date_format=options.date_format,
        time_format=options.time_format,
    )
    read = parse_schedule(path, given, league, league.team)
    if read.rejected:
        raise SourceError(
            f"{describe(read.rejected[0])}; the archive's files are numbered by the rows, so every row must be readable"
        )
    untimed = read.games["tip_off"].isna()
    if untimed.any():
        raise SourceError(f"{path}: {int(untimed.sum())} games have no time of tip-off; the tweets are stamped by it")
    return read.games[["tip_off", "home", "away"]]


def read_archive(path: Path, games: pd.DataFrame, hours_before: float) -> PostsRead:
    """All tweets of an archive, sorted by (created_at, post_id).

    Args:
        games: tip_off, home, away in the order of the rows that number the files.

    Raises:
        SourceError: the archive cannot be read, is cut off, or holds no file of tweets.
    """
    stamps = (games["tip_off"] - pd.Timedelta(hours=hours_before)).tolist()
    teams = {side: games[side].tolist() for side in ("home", "away")}
    taken: list[tuple[object, ...]] = []
    rejected: list[Rejected] = []
    with_tweets: set[tuple[str, int]] = set()
    for name, content in _members(path):
        named = _MEMBER.search(name.rsplit("/", 1)[-1])
        if named is None:
            continue
        side, row = named[1], int(named[2])
        place = f"{path}:{name}"
        if row >= len(games):
            said = f"row {row} is not in the schedule, which has rows 0 to {len(games) - 1}"
            rejected.append(Rejected(place, None, "file", said, ""))
            continue
        if (side, row) in with_tweets:
            rejected.append(Rejected(place, None, "file", f"row {row} has another file for {side}", ""))
            continue
        with_tweets.add((side, row))
        for key, text in _texts(place, content, rejected):
            taken.append((f"{NAME}.{row}.{side}.{key}", stamps[row], teams[side][row], "", text, NAME))
    if not with_tweets:
        raise SourceError(f"{path}: holds no file named like home_train17.json; is it the archive of tweets?")
    missing = 2 * len(games) - len(with_tweets)
    notes = [f"{path}: {missing} of {2 * len(games)} teams and games have no file of tweets"] if missing else []
    posts = as_posts(taken).sort_values(["created_at", "post_id"], kind="stable", ignore_index=True)
    return PostsRead(posts, rejected, notes)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.isfile() and member.size <= _MAX_MEMBER:
                    file = archive.extractfile(member)
                    yield member.name, file.read() if file else b""
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; correct `archive` of the league's posts") from None
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: the archive is damaged or cut off ({error}); fetch it again") from error


def _texts(place: str, content: bytes, rejected: list[Rejected]) -> list[tuple[str, str]]:
    try:
        found = json.loads(content)
    except ValueError as error:
        rejected.append(
            Rejected(place, None, "file", f"not whole JSON ({error})", content[:200].decode("utf-8", "replace"))
        )
        return []
    if not isinstance(found, dict):
        rejected.append(Rejected(place, None, "file", f"a {type(found).__name__} where an object is expected", ""))
        return []
    texts: list[tuple[str, str]] = []
    for key, text in found.items():
        if isinstance(text, str):
            texts.append((str(key), text))
        else:
            rejected.append(Rejected(place, None, str(key), f"{text!r} is not a text", str(text)[:500]))
    return texts


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        raise SourceError(f"{path}: no such file; correct the options of the league's posts") from None
    return stat.st_mtime_ns, stat.st_size
