"""Small schedules, drawn by hypothesis or written by hand."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
from hypothesis import strategies as st

from hoops_assets.basketball.games import GAMES, with_game_ids
from hoops_assets.basketball.league import EloRules, League, Sources, SourceSpec, Team

TEAMS = ("ANN", "BEA", "CAT", "DOT", "EVE")
LEAGUE = League(
    name="small",
    time_zone="Europe/Madrid",
    first_season=2001,
    sources=Sources(games=SourceSpec(kind="simulated")),
    elo=EloRules(k=20.0, home_advantage=100.0),
    teams={code: Team(name=code.title()) for code in TEAMS},
)
FIRST_DAY = date(2000, 12, 20)
SEASON_TURNS = date(2001, 1, 1)

Row = tuple[int, str, str, int | None, bool]
"""(day number, home, away, home margin or None while unplayed, neutral)."""


def games_of(rows: list[Row]) -> pd.DataFrame:
    """The frame of games; the season turns on 1 January 2001."""
    days = [FIRST_DAY + timedelta(days=row[0]) for row in rows]
    columns = {
        "season": [2000 if day < SEASON_TURNS else 2001 for day in days],
        "day": days,
        "tip_off": [pd.NaT] * len(rows),
        "home": [row[1] for row in rows],
        "away": [row[2] for row in rows],
        "neutral": [row[4] for row in rows],
        "stage": ["final" if row[0] % 7 == 0 else "regular" for row in rows],
        "home_score": [None if row[3] is None else 100 + max(row[3], 0) for row in rows],
        "away_score": [None if row[3] is None else 100 - min(row[3], 0) for row in rows],
    }
    return with_game_ids(pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in GAMES.items()}))


margins = st.one_of(st.none(), st.integers(-40, -1), st.integers(1, 40))
pairs = st.permutations(TEAMS).map(lambda teams: (teams[0], teams[1]))
rows = st.builds(
    lambda day, pair, margin, neutral: (day, *pair, margin, neutral), st.integers(0, 24), pairs, margins, st.booleans()
)
schedules = st.lists(rows, min_size=1, max_size=60)
"""Up to 60 games on 25 days in two seasons, double-headers and unplayed games included."""
