"""What every connector gives, whatever it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import pandas as pd

BOX_SCORES = {
    "game_id": "object",
    "season": "int32",
    "day": "object",  # datetime.date, in the league's zone
    "team": "object",  # franchise code
    "opponent": "object",
    "home": "bool",
    "minutes": "float64",  # of the team: 240, 25 more for each overtime
    "points": "int32",
    "opponent_points": "int32",
    "field_goals_made": "int32",
    "field_goals_attempted": "int32",
    "threes_made": "int32",
    "threes_attempted": "int32",
    "free_throws_made": "int32",
    "free_throws_attempted": "int32",
    "offensive_rebounds": "int32",
    "defensive_rebounds": "int32",
    "assists": "int32",
    "steals": "int32",
    "blocks": "int32",
    "turnovers": "int32",
    "fouls": "int32",
    "possessions": "float64",
    "possessions_estimated": "bool",
    "effective_field_goal_pct": "float64",
    "turnover_pct": "float64",
    "offensive_rebound_pct": "float64",
    "free_throw_rate": "float64",
}
"""Columns and pandas types of box scores, one row a team and game; known only after the game.

The last four are the four factors (D. Oliver, "Basketball on Paper", 2004): (FGM + .5 3PM) / FGA,
TO / (FGA + .44 FTA + TO), OREB / (OREB + the opponent's DREB), FTM / FGA. `possessions` is the source's own count;
where it gives none, the mean over both teams of FGA + .44 FTA - OREB + TO (J. Kubatko et al., "A Starting Point for
Analyzing Basketball Statistics", 2007)."""

ODDS = {
    "game_id": "object",
    "season": "int32",
    "day": "object",
    "home": "object",
    "away": "object",
    "home_moneyline": "float64",  # American odds; NaN where not given
    "away_moneyline": "float64",
    "home_spread": "float64",  # points given to the home side: negative where it is favoured
    "home_win_probability": "float64",  # implied, without the bookmaker's margin; NaN without both moneylines
    "margin": "float64",  # the bookmaker's
    "source": "object",
}
"""Columns and pandas types of closing odds, one row a game: a benchmark to be judged against, never a feature."""


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
    """Fan posts.

    Attributes:
        posts: columns of `basketball.sentiment.POSTS`, sorted by (created_at, post_id); `author` is "" where not known.
        rejected: rows that were refused.
        notes: what a person should know about the reading, each one sentence.
    """

    posts: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BoxScoresRead:
    """Box scores with columns BOX_SCORES, two rows a game, the rows refused or of no known game, and notes."""

    box_scores: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OddsRead:
    """Odds with columns ODDS, at most one row a game, the rows refused or of no known game, and notes."""

    odds: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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


class BoxScoreSource(Protocol):
    """A source of box scores."""

    def read(self, games: pd.DataFrame) -> BoxScoresRead:
        """Box scores of those of the games (columns RESULT_COLUMNS) that it has. Raises SourceError."""
        ...


class OddsSource(Protocol):
    """A source of closing odds."""

    def read(self, games: pd.DataFrame) -> OddsRead:
        """Odds of those of the games (columns FIXTURE_COLUMNS or more) that it has. Raises SourceError."""
        ...
