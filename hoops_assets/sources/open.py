"""From a league to its sources: which connector reads, imported when first used.

What belongs here: the table of connectors, and the cache that lets many assets of one process read a file once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from hoops_assets.basketball.league import League, Sources, SourceSpec
from hoops_assets.errors import SettingsError
from hoops_assets.sources.contract import BoxScoreSource, GameSource, GamesRead, PostSource, PostsRead
from hoops_assets.sources.text import nearest
from hoops_assets.sources.validation import line_of, validate

CONNECTORS: dict[str, dict[str, tuple[str, str, str]]] = {
    "box_scores": {
        "nba_stats": ("hoops_assets.sources.box_scores", "NbaStats", "Options"),
    },
    "games": {
        "balldontlie": ("hoops_assets.sources.balldontlie", "BallDontLie", "Options"),
        "csv": ("hoops_assets.sources.delimited", "Delimited", "Options"),
        "fivethirtyeight": ("hoops_assets.sources.fivethirtyeight", "FiveThirtyEight", "Options"),
        "simulated": ("hoops_assets.sources.simulated", "SimulatedGames", "SimulatedGamesOptions"),
    },
    "posts": {
        "json_lines": ("hoops_assets.sources.json_lines", "JsonLines", "Options"),
        "reddit": ("hoops_assets.sources.reddit", "Reddit", "Options"),
        "reddit_dump": ("hoops_assets.sources.reddit_dump", "RedditDump", "Options"),
        "simulated": ("hoops_assets.sources.simulated", "SimulatedPosts", "SimulatedPostsOptions"),
        "tweets_archive": ("hoops_assets.sources.tweets_archive", "TweetsArchive", "Options"),
    },
    "odds": {
        "csv": ("hoops_assets.sources.odds", "CsvOdds", "Options"),
    },
}
CONNECTORS["compare"] = CONNECTORS["games"]
"""For every source, the module, the class and the options of each kind. A class is made from a league; the options are
the pydantic model of what may stand beside `kind`. Odds are opened by their own module only, see `sources.odds`."""


class _Files(Protocol):
    def files(self) -> list[Path]: ...

    def read(self, now: datetime) -> GamesRead: ...


def open_games(league: League) -> GameSource:
    """The league's source of games.

    Raises:
        SettingsError: unknown kind or options.
    """
    source = _open("games", league, league.sources.games)
    return _ReadOnce(league, source) if hasattr(source, "files") else source


def open_compared_games(league: League) -> GameSource | None:
    """The second source of the league's games, or None if it has none.

    Raises:
        SettingsError: unknown kind or options.
    """
    second = league.sources.compare
    if second is None:
        return None
    sources = league.sources.model_copy(update={"games": second, "compare": None})
    return open_games(league.model_copy(update={"sources": sources}))


def open_posts(league: League) -> PostSource | None:
    """The league's source of fan posts, or None if it has none.

    Raises:
        SettingsError: unknown kind or options.
    """
    return _open("posts", league, league.sources.posts) if league.sources.posts is not None else None


def read_parts(source: PostSource, start: datetime, end: datetime) -> Iterator[PostsRead]:
    """A source's posts of a window, in parts if it can stream them and at once if not."""
    stream = getattr(source, "stream", None)
    if stream is None:
        yield source.read(start, end)
    else:
        yield from stream(start, end)


def open_box_scores(league: League) -> BoxScoreSource | None:
    """The league's source of box scores, or None if it has none.

    Raises:
        SettingsError: unknown kind or options.
    """
    spec = league.sources.box_scores
    return _open("box_scores", league, spec) if spec is not None else None


def check_options(league: League, file: str, text: str | None = None) -> None:
    """Raises SettingsError, naming file and field, if a source's kind or options are not known."""
    for what, spec in _specs(league).items():
        _check(what, spec, file, text)


def _specs(league: League) -> dict[str, SourceSpec]:
    """What the league says of each of its sources."""
    named = {what: getattr(league.sources, what) for what in Sources.model_fields}
    return {what: spec for what, spec in named.items() if spec is not None}


def _open(what: str, league: League, spec: SourceSpec) -> Any:
    _check(what, spec, f"league {league.name}", None)
    module, connector, _ = CONNECTORS[what][spec.kind]
    return getattr(import_module(module), connector)(league)


def _check(what: str, spec: SourceSpec, file: str, text: str | None) -> None:
    kinds = CONNECTORS[what]
    if spec.kind not in kinds:
        where = f"{file}{line_of(text, ('sources', what, 'kind'))}"
        raise SettingsError(
            f"{where}: field sources.{what}.kind: {spec.kind!r} is not a kind of source{nearest(spec.kind, kinds)};"
            f" use {', '.join(kinds)}"
        )
    module, _, options = kinds[spec.kind]
    validate(getattr(import_module(module), options), spec.options, file, text, ("sources", what))


class _ReadOnce:
    """A source of games in files, read again only when a file's path, time of change or size is another."""

    def __init__(self, league: League, source: _Files):
        self._league = league
        self._source = source

    def files(self) -> list[Path]:
        return self._source.files()

    def read(self, now: datetime) -> GamesRead:
        read = _read_files(_Reading(self._league.model_dump_json(), _fingerprint(self.files()), self._source))
        return GamesRead(read.games.copy(), list(read.rejected), list(read.notes))


class _Reading:
    """What a reading depends on, as a key of the cache; the source itself plays no part in equality."""

    def __init__(self, league: str, fingerprint: tuple[tuple[str, int, int], ...], source: _Files):
        self.key = (league, fingerprint)
        self.source = source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reading) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=8)
def _read_files(reading: _Reading) -> GamesRead:
    return reading.source.read(datetime.max)


def _fingerprint(files: list[Path]) -> tuple[tuple[str, int, int], ...]:
    stats = [(path, path.stat()) for path in files]
    return tuple((str(path.resolve()), stat.st_mtime_ns, stat.st_size) for path, stat in stats)
