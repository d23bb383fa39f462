"""Team form: what was known of each team before each of its games, and what the game changed.

What belongs here: the walk through the schedule that turns fixtures and scores into `*_before` and `*_after` columns.
Which of them a forecast uses is in `basketball.features`.

A `*_before` value rests on earlier days only: all games of a day are seen from the state before that day, both halves
of a double-header included. An `*_after` value is null while the game is unplayed.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Any

import pandas as pd

from hoops_assets.basketball.league import League
from hoops_assets.basketball.ratings import carried_over, rating_change, rating_difference

RECENT = 10
"""Games in the rolling window of the `*_10_before` columns; the window begins anew with each season."""

FORM = {
    "game_id": "object",
    "season": "int32",
    "day": "object",  # datetime.date
    "tip_off": "datetime64[us, UTC]",
    "team": "object",
    "opponent": "object",
    "is_home": "bool",
    "neutral": "bool",
    "stage": "object",
    "played": "bool",
    "elo_before": "float64",
    "games_before": "int32",  # played this season
    "wins_before": "int32",  # of those
    "margin_total_before": "int32",  # points scored minus points allowed this season
    "rest_days_before": "Int32",  # since the previous fixture this season, played or not; null for the first
    "margin_season_before": "float64",  # mean margin this season; null before the first game
    "margin_10_before": "float64",  # mean margin of the last ten games this season; null before the first
    "wins_10_before": "float64",  # share of them won
    "elo_after": "float64",
    "games_after": "Int32",
    "wins_after": "Int32",
    "margin_total_after": "Int32",
    "margin_after": "Int32",  # of this game
    "won_after": "boolean",
}
"""Columns and pandas types of `team_form`, one row per team and game, sorted by (day, game_id, home first)."""

STATE = [
    "game_id", "season", "day", "team", "played",
    "elo_after", "games_after", "wins_after", "margin_total_after", "margin_after",
]  # fmt: skip
"""The columns of `team_form` from which it can be continued."""


class _Team:
    """What is known of one team after the games seen so far. Season counters belong to `season`."""

    __slots__ = ("elo", "games", "last_day", "last_season", "margin_total", "recent", "season", "wins")

    def __init__(self, elo: float) -> None:
        self.elo = elo
        self.season: int | None = None  # of the last game played
        self.games = 0
        self.wins = 0
        self.margin_total = 0
        self.recent: deque[int] = deque(maxlen=RECENT)
        self.last_season: int | None = None  # of the last fixture, played or not
        self.last_day: date | None = None

    def enter(self, season: int, league: League) -> None:
        """Begins a season: the rating is carried over, the counters start again."""
        if season == self.season:
            return
        if self.season is not None:
            self.elo = carried_over(self.elo, league.elo)
        self.season = season
        self.games = self.wins = self.margin_total = 0
        self.recent.clear()

    def elo_in(self, season: int, league: League) -> float:
        return self.elo if self.season in (None, season) else carried_over(self.elo, league.elo)

    def before(self, season: int, day: date, league: League) -> dict[str, Any]:
        known = season == self.season
        games = self.games if known else 0
        recent = self.recent if known else ()
        rested = season == self.last_season and self.last_day is not None
        return {
            "elo_before": self.elo_in(season, league),
            "games_before": games,
            "wins_before": self.wins if known else 0,
            "margin_total_before": self.margin_total if known else 0,
            "rest_days_before": (day - self.last_day).days if rested and self.last_day else None,
            "margin_season_before": self.margin_total / games if games else None,
            "margin_10_before": sum(recent) / len(recent) if recent else None,
            "wins_10_before": sum(margin > 0 for margin in recent) / len(recent) if recent else None,
        }

    def play(self, margin: int, elo_change: float) -> dict[str, Any]:
        self.elo += elo_change
        self.games += 1
        self.wins += margin > 0
        self.margin_total += margin
        self.recent.append(margin)
        return {
            "elo_after": self.elo,
            "games_after": self.games,
            "wins_after": self.wins,
            "margin_total_after": self.margin_total,
            "margin_after": margin,
            "won_after": margin > 0,
        }


_UNPLAYED: dict[str, Any] = {name: None for name in FORM if name.endswith("_after")}


def _last_rows(form: pd.DataFrame, number: int) -> Iterator[Any]:
    """The last rows of every team, oldest first."""
    return form.groupby("team", sort=False).tail(number).itertuples()


def _restored(previous: pd.DataFrame, league: League) -> dict[str, _Team]:
    """The teams as they stood after the last row of `previous`, from stored values only, so exactly."""
    ordered = previous.sort_values(["day", "game_id"], kind="stable")
    played = ordered[ordered["played"].astype(bool)]
    teams: dict[str, _Team] = defaultdict(lambda: _Team(league.elo.new_team))
    for row in _last_rows(played, 1):
        team = teams[row.team]
        team.elo = float(row.elo_after)
        team.season = int(row.season)
        team.games, team.wins = int(row.games_after), int(row.wins_after)
        team.margin_total = int(row.margin_total_after)
    for row in _last_rows(played, RECENT):
        if int(row.season) == teams[row.team].season:
            teams[row.team].recent.append(int(row.margin_after))
    for row in _last_rows(ordered, 1):
        teams[row.team].last_season, teams[row.team].last_day = int(row.season), row.day
    return teams


def _rows_of_day(day: date, games: list[Any], teams: dict[str, _Team], league: League) -> list[dict[str, Any]]:
    """Two rows a game; moves `teams` to their state after the day."""
    rows: list[dict[str, Any]] = []
    for game in games:
        shared = {name: getattr(game, name) for name in ("game_id", "season", "day", "tip_off", "neutral", "stage")}
        shared["played"] = not (pd.isna(game.home_score) or pd.isna(game.away_score))
        for team, opponent, is_home in ((game.home, game.away, True), (game.away, game.home, False)):
            before = teams[team].before(game.season, day, league)
            rows.append({**shared, "team": team, "opponent": opponent, "is_home": is_home, **before, **_UNPLAYED})
    for index, game in enumerate(games):
        home, away = teams[game.home], teams[game.away]
        if rows[2 * index]["played"]:
            home.enter(game.season, league)
            away.enter(game.season, league)
            margin = int(game.home_score) - int(game.away_score)
            difference = rating_difference(home.elo, away.elo, game.neutral, league.elo)
            change = rating_change(difference, margin, league.elo)
            rows[2 * index].update(home.play(margin, change))
            rows[2 * index + 1].update(away.play(-margin, -change))
        for team in (home, away):
            team.last_season, team.last_day = game.season, day
    return rows


def extend_form(previous: pd.DataFrame | None, games: pd.DataFrame, league: League) -> pd.DataFrame:
    """Continues team form over further game days.

    Extending in any number of steps gives exactly the values of one step. An unplayed fixture carries a team's state
    forward unchanged, except that rest is counted from it.

    Args:
        previous: team form of earlier days, at least the columns STATE in any row order, or None at the beginning. Rows
            of the first day of `games` and later are ignored, so a stored table may be passed whole when a day is done
            again.
        games: fixtures with their scores, columns `games.RESULT_COLUMNS`, scores null while unplayed; whole days.

    Returns:
        The rows of `games` only, columns FORM, 2 x len(games) rows sorted by (day, game_id, home first).
    """
    teams: dict[str, _Team] = defaultdict(lambda: _Team(league.elo.new_team))
    rows: list[dict[str, Any]] = []
    if len(games):
        if previous is not None and len(previous):
            teams = _restored(previous[previous["day"] < games["day"].min()], league)
        ordered = games.sort_values(["day", "game_id"], kind="stable").itertuples(index=False)
        for day, of_day in groupby(ordered, key=attrgetter("day")):
            rows += _rows_of_day(day, list(of_day), teams, league)
    columns = {name: [row[name] for row in rows] for name in FORM}
    return pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in FORM.items()})


def has_gap(previous: pd.DataFrame, game_days: Iterable[date], first: date) -> bool:
    """Whether form stored before `first` lacks one of the game days before it, so that nothing can be built on it."""
    return not {day for day in game_days if day < first} <= set(previous["day"])
