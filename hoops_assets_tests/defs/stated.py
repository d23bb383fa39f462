"""Sources that say what a test states, and the small frames to state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from hoops_assets.basketball.games import GAMES, with_game_ids
from hoops_assets.basketball.league import League
from hoops_assets.sources.contract import GamesRead, PostsRead

TEAMS = ("ANT", "BEE", "CAT", "DOE")


@dataclass
class Stated:
    """Stands where the `sources` resource stands."""

    frame: pd.DataFrame
    now: datetime
    home: str = ""

    def clock(self) -> datetime:
        return self.now

    def games(self, league: League) -> GamesRead:
        return GamesRead(self.frame.copy())

    def posts(self, league: League, start: datetime, end: datetime) -> Iterator[PostsRead]:
        return iter(())


@dataclass
class Altered:
    """The sources of a league with another future: what `games` and `posts` give goes through a function first."""

    true: object
    games_through: Callable[[pd.DataFrame], pd.DataFrame]
    posts_through: Callable[[pd.DataFrame], pd.DataFrame] = lambda posts: posts

    def clock(self) -> datetime:
        return self.true.clock()  # type: ignore[attr-defined]

    def games(self, league: League) -> GamesRead:
        return GamesRead(self.games_through(self.true.games(league).games))  # type: ignore[attr-defined]

    def posts(self, league: League, start: datetime, end: datetime) -> Iterator[PostsRead]:
        for read in self.true.posts(league, start, end):  # type: ignore[attr-defined]
            yield PostsRead(self.posts_through(read.posts))


def league(name: str = "stated", time_zone: str = "America/New_York") -> League:
    return League.model_validate(
        {
            "name": name,
            "time_zone": time_zone,
            "first_season": 2024,
            "sources": {"games": {"kind": "csv"}},
            "teams": {code: {"name": code} for code in TEAMS},
        }
    )


def games(*rows: tuple[str, str, str, tuple[int, int] | None]) -> pd.DataFrame:
    """Games of season 2024 as a source gives them, each (day, home, away, scores or None)."""
    frame = pd.DataFrame(
        [
            {
                "season": 2024, "day": date.fromisoformat(day), "tip_off": pd.NaT, "home": home, "away": away,
                "neutral": False, "stage": "regular",
                "home_score": score[0] if score else None, "away_score": score[1] if score else None,
            }
            for day, home, away, score in rows
        ]
    )  # fmt: skip
    frame["tip_off"] = pd.Series(pd.NaT, index=frame.index, dtype=GAMES["tip_off"])
    return with_game_ids(frame.astype(GAMES))
