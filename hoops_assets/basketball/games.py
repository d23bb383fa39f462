"""What a game is: the columns every source must give, the game's identity, and the split into fixtures and results.

What belongs here: pure functions over the frame of games. Who reads that frame from where is in `sources`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import pandas as pd

from hoops_assets.basketball.league import League

GAMES = {
    "season": "int32",
    "day": "object",  # datetime.date, in the league's zone
    "tip_off": "datetime64[us, UTC]",  # NaT when the source gives no time
    "home": "object",  # franchise code
    "away": "object",
    "neutral": "bool",
    "stage": "object",
    "home_score": "Int32",  # <NA> while unplayed
    "away_score": "Int32",
}
"""Columns and pandas types of the frame of games that every source returns, one row a game."""

FIXTURES = {"game_id": "object", **{name: dtype for name, dtype in GAMES.items() if not name.endswith("_score")}}
"""Columns and pandas types of a game as scheduled."""

RESULTS = {**FIXTURES, "home_score": "int32", "away_score": "int32"}
"""Columns and pandas types of a game as played."""

FIXTURE_COLUMNS, RESULT_COLUMNS = list(FIXTURES), list(RESULTS)


def empty_games() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in GAMES.items()})


def with_game_ids(games: pd.DataFrame) -> pd.DataFrame:
    """Adds `game_id` and sorts by it.

    (day, home, away) is not unique in real schedules: double-headers were played. The identity is
    `DAY.HOME.AWAY`, and `.2` is appended for the second game of a double-header, in the source's order.

    Args:
        games: columns of GAMES, n rows.

    Returns:
        A new frame of n rows with `game_id` first, sorted by (day, game_id), index reset.
    """
    number = games.groupby(["day", "home", "away"], sort=False).cumcount() + 1
    base = games["day"].astype(str) + "." + games["home"].astype(str) + "." + games["away"].astype(str)
    game_id = base.where(number == 1, base + "." + number.astype(str))
    out = games.assign(game_id=game_id.astype(object) if len(games) else pd.Series(dtype="object"))
    out = out[["game_id", *GAMES]].sort_values(["day", "game_id"], kind="stable")
    return out.reset_index(drop=True)


def fixtures(games: pd.DataFrame) -> pd.DataFrame:
    """The games as they were known before they were played: no scores."""
    return games[FIXTURE_COLUMNS].reset_index(drop=True)


def results(games: pd.DataFrame) -> pd.DataFrame:
    """The games that have been played, with their scores."""
    played = games["home_score"].notna() & games["away_score"].notna()
    return games.loc[played, RESULT_COLUMNS].reset_index(drop=True)


def apply_home_rules(games: pd.DataFrame, league: League) -> pd.DataFrame:
    """Marks as neutral what the league plays on neutral ground whatever the source says."""
    neutral = games["neutral"] | games["stage"].isin(league.home_rules.neutral_stages)
    return games.assign(neutral=neutral.astype(bool))


def season_of(day: date, season_starts: str) -> int:
    """The season, named by the year in which it ends, of a day.

    Args:
        season_starts: "MM-DD"; from that day on a game belongs to the next year's season. "01-01" makes a season a
            calendar year.
    """
    if season_starts == "01-01":
        return day.year
    return day.year + 1 if f"{day:%m-%d}" >= season_starts else day.year


def on_days(frame: pd.DataFrame, days: Iterable[date]) -> pd.DataFrame:
    """The rows of any frame with a column `day` that lie on one of the days, index reset."""
    return frame[frame["day"].isin(set(days))].reset_index(drop=True)


def before_season(games: pd.DataFrame, season: int) -> pd.DataFrame:
    """The games of the seasons before one, index reset."""
    return games[games["season"] < season].reset_index(drop=True)


def with_scores(fixtures: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Fixtures joined with the scores of those that have been played: the columns RESULT_COLUMNS, scores <NA> if unplayed."""
    scores = results[["game_id", "home_score", "away_score"]].astype({"home_score": "Int32", "away_score": "Int32"})
    return fixtures[FIXTURE_COLUMNS].merge(scores, on="game_id", how="left", validate="one_to_one")


def stacked(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The games of several frames of columns RESULT_COLUMNS as one, scores <NA> where unplayed."""
    scores = {"home_score": "Int32", "away_score": "Int32"}
    typed = [part[RESULT_COLUMNS].astype(scores) for part in parts]
    return pd.concat([part for part in typed if len(part)] or typed[:1], ignore_index=True)


def stale_days(games: pd.DataFrame, stored_fixtures: pd.DataFrame, stored_results: pd.DataFrame) -> list[date]:
    """Days on which what is stored differs from what the source says now, ascending.

    Args:
        games: from the source, columns GAMES and `game_id`, limited to the days that may be stored.
        stored_fixtures: columns FIXTURE_COLUMNS. stored_results: columns RESULT_COLUMNS.
    """
    scores = {"home_score": "Int32", "away_score": "Int32"}
    pairs = (
        (fixtures(games), stored_fixtures[FIXTURE_COLUMNS]),
        (results(games).astype(scores), stored_results[RESULT_COLUMNS].astype(scores)),
    )
    days: set[date] = set()
    for wanted, stored in pairs:
        both = pd.concat([wanted.astype("object"), stored.astype("object")], ignore_index=True)
        days.update(both.loc[~both.duplicated(keep=False), "day"])
    return sorted(days)
