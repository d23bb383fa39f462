"""What every connector gives, whatever it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import pandas as pd


@dataclass(frozen=True)
class Rejected:
    """A row that was not taken, and why. `line` is the 1-based line in the file (the header is line 1)."""

    file: str
    line: int | None
    field: str
    reason: str
    row: str  # the row as found, for the person who must mend it


@dataclass(frozen=True)
class GamesRead:
    """All games a source knows, played and scheduled.

    Attributes:
        games: columns of `basketball.games.GAMES` with `game_id`, as `with_game_ids` returns them.
        rejected: rows that were refused, in file order.
        notes: what a person should know about the reading (a snapshot older than another, a season rebuilt), each one sentence.
    """

    games: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PostsRead:
    """Fan posts with columns POSTS, sorted by (created_at, post_id), and the rows that were refused."""

    posts: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)


class GameSource(Protocol):
    """A source of games. The same inputs always give the same games, in whatever order files arrived."""

    def read(self, now: datetime) -> GamesRead:
        """Reads all that is known at `now` (aware). Raises SourceError if the source as a whole cannot be read."""
        ...


class PostSource(Protocol):
    """A source of fan posts."""

    def read(self, start: datetime, end: datetime) -> PostsRead:
        """Reads posts with start <= created_at < end (both aware). Raises SourceError if it cannot be read as a whole."""
        ...
