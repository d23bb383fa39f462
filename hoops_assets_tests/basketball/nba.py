"""The real NBA history as tests need it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pandas as pd

from hoops_assets.basketball.features import game_features
from hoops_assets.basketball.form import extend_form
from hoops_assets.basketball.game_ratings import game_ratings
from hoops_assets.basketball.league import League
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.open import open_games

HISTORY = Path("nba") / "nba_elo_1947_2019.csv.gz"


@lru_cache(maxsize=1)
def history(folder: Path) -> tuple[League, pd.DataFrame]:
    """The NBA and all its games to 2019, columns `games.RESULT_COLUMNS`."""
    league, _ = new_league("nba", "fivethirtyeight", [str(folder / HISTORY)])
    return league, open_games(league).read(datetime.max).games


@lru_cache(maxsize=1)
def features(folder: Path) -> pd.DataFrame:
    """`game_features` of all those games, with `home_win`."""
    league, games = history(folder)
    out = game_features(games, extend_form(None, games, league), game_ratings(games, league), pd.DataFrame(), league)
    return out.assign(home_win=(games["home_score"] > games["away_score"]).astype("boolean"))


def published(folder: Path, league: League) -> pd.DataFrame:
    """FiveThirtyEight's own probabilities: day, home, away (franchise codes), season, elo_prob1."""
    columns = ["date", "season", "team1", "team2", "elo_prob1"]
    raw = pd.read_csv(folder / HISTORY, usecols=columns, keep_default_na=False)
    sides = pd.concat([raw[["season", side]].set_axis(["season", "code"], axis=1) for side in ("team1", "team2")])
    codes = {(row.code, row.season): league.team(row.code, row.season) for row in sides.drop_duplicates().itertuples()}
    return pd.DataFrame(
        {
            "day": pd.to_datetime(raw["date"]).dt.date,
            "season": raw["season"],
            "home": [codes[key] for key in zip(raw["team1"], raw["season"], strict=True)],
            "away": [codes[key] for key in zip(raw["team2"], raw["season"], strict=True)],
            "elo_prob1": raw["elo_prob1"].astype("float64"),
        }
    )
