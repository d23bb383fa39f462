"""New teams: who has joined the league, what its predecessors' records let one expect of it, and until when it is new.

What belongs here: pure functions over games and their ratings. A team is new if its first fixture lies in a later season
than the league's first; its predecessors are the teams that were new before it (promoted, or by expansion). A new identity
of an old franchise is not new: sources give franchise codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

RECORD_GAMES = 20
"""Played games after which a new team is ordinary, and over which its record counts for its successors."""

STEADYING_TEAMS = 8.0
"""So many teams of the usual strength are added to the predecessors of a new team."""

COVERED = 0.8
"""Share of games whose margin lies in the interval that is told of a forecast."""

NEW_TEAMS = {
    "team": "object",
    "season": "int32",  # of the first fixture
    "first_day": "object",  # datetime.date of the first fixture, played or not
    "games": "int32",  # played before `today`
    "margin": "float64",  # mean of those, NaN before the first
    "predecessors": "int32",  # with a whole record before `first_day`
    "ordinary": "bool",  # has played RECORD_GAMES
}
"""Columns and pandas types of `new_teams`, one row a team, sorted by (first_day, team)."""

FOLLOWED = {
    **{name: NEW_TEAMS[name] for name in ("team", "first_day", "games", "margin", "predecessors")},
    "prior_rating": "float64",  # points against an average team, before the first game
    "rating": "float64",  # the same before the next one; NaN where no fixture is rated
    "next_game": "object",  # game_id, None where no fixture is rated
    "expected_margin": "float64",  # of the team in that game, damped points
    "low": "float64",  # COVERED of the margins lie in [low, high]
    "high": "float64",
    "ordinary_width": "float64",  # median of high - low of games without a new team
}
"""Columns and pandas types of `followed`."""


def newcomer_rating(records: Sequence[float], usual: float) -> float:
    """What to expect of a team before its first game: the mean of its predecessors' records, drawn towards `usual`.

    Args:
        records: strength of each predecessor over its first RECORD_GAMES games, points against an average team.
        usual: what is expected without predecessors, in the same unit.
    """
    return (sum(records) + STEADYING_TEAMS * usual) / (len(records) + STEADYING_TEAMS)


def _sides(games: pd.DataFrame) -> pd.DataFrame:
    """Every game twice, once for each side: game_id, season, day, team, margin (NaN while unplayed), in order of days."""
    margin = (games["home_score"].astype("Float64") - games["away_score"].astype("Float64")).astype("float64")
    shared = games[["game_id", "season", "day"]]
    sides = [shared.assign(team=games["home"], margin=margin), shared.assign(team=games["away"], margin=-margin)]
    return pd.concat(sides).sort_values(["day", "game_id"], kind="stable", ignore_index=True)


def new_teams(games: pd.DataFrame, today: date) -> pd.DataFrame:
    """Every team that joined after the league's first season.

    Args:
        games: all games of the league, columns `games.RESULT_COLUMNS`, scores null while unplayed, in any order.
        today: games of this day and later count as unplayed.

    Returns:
        Columns NEW_TEAMS.
    """
    sides = _sides(games)
    debuts = sides.groupby("team", sort=False)[["season", "day"]].first()
    debuts = debuts[debuts["season"] > sides["season"].min()]
    played = sides[sides["margin"].notna() & sides["team"].isin(debuts.index) & (sides["day"] < today)]
    of_team = {str(team): rows for team, rows in played.groupby("team", sort=False)}
    whole = [rows["day"].iloc[RECORD_GAMES - 1] for rows in of_team.values() if len(rows) >= RECORD_GAMES]
    rows = []
    for team, season, day in debuts.itertuples(name=None):
        margins = of_team[team]["margin"] if team in of_team else pd.Series(dtype="float64")
        rows.append(
            {
                "team": team,
                "season": season,
                "first_day": day,
                "games": len(margins),
                "margin": float(margins.mean()) if len(margins) else np.nan,
                "predecessors": sum(complete < day for complete in whole),
                "ordinary": len(margins) >= RECORD_GAMES,
            }
        )
    table = pd.DataFrame(rows, columns=list(NEW_TEAMS)).astype(NEW_TEAMS)
    return table.sort_values(["first_day", "team"], ignore_index=True)


def unseen(teams: pd.DataFrame) -> pd.DataFrame:
    """The new teams (columns NEW_TEAMS) that have not yet played a game."""
    return teams[teams["games"] == 0].reset_index(drop=True)


def followed(teams: pd.DataFrame, ratings: pd.DataFrame, today: date) -> pd.DataFrame:
    """The new teams that are not yet ordinary, with what is expected of their next game.

    Args:
        teams: columns NEW_TEAMS.
        ratings: columns `game_ratings.GAME_RATINGS`, from the first fixture of the teams that are followed on.

    Returns:
        Columns FOLLOWED, one row a team.
    """
    young = teams[~teams["ordinary"]]
    names = set(young["team"])
    ordinary = ratings[~ratings["home"].isin(names) & ~ratings["away"].isin(names)]
    reach = NormalDist().inv_cdf((1.0 + COVERED) / 2.0)
    rows: list[dict[str, Any]] = []
    for team in young.to_dict("records"):
        own = ratings[(ratings["home"] == team["team"]) | (ratings["away"] == team["team"])]
        ahead = own[own["day"] >= today]
        rows.append(
            {
                **{name: team[name] for name in list(FOLLOWED)[:5]},
                "prior_rating": _rating(own, team["team"]),
                "rating": _rating(ahead, team["team"]),
                **_next(ahead, team["team"], reach),
                "ordinary_width": 2.0 * reach * float(ordinary["form_margin_sd"].median()),
            }
        )
    return pd.DataFrame(rows, columns=list(FOLLOWED)).astype(FOLLOWED)


def _rating(games: pd.DataFrame, team: str) -> float:
    """The team's rating before the first of its games."""
    if games.empty:
        return float("nan")
    first = games.iloc[0]
    return float(first["home_rating"] if first["home"] == team else first["away_rating"])


def _next(ahead: pd.DataFrame, team: str, reach: float) -> dict[str, Any]:
    if ahead.empty:
        return {"next_game": None, "expected_margin": np.nan, "low": np.nan, "high": np.nan}
    game = ahead.iloc[0]
    mean = float(game["form_margin_mean"]) * (1.0 if game["home"] == team else -1.0)
    half = reach * float(game["form_margin_sd"])
    return {"next_game": game["game_id"], "expected_margin": mean, "low": mean - half, "high": mean + half}
