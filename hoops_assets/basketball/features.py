"""Features of a game: one row of numbers per fixture, known before its tip-off.

What belongs here: the choice of features and how they come from team form, game ratings and fan sentiment. Only `*_before`
columns of team form are read.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from hoops_assets.basketball.games import FIXTURE_COLUMNS, GAMES
from hoops_assets.basketball.league import REGULAR, League
from hoops_assets.errors import ModelError

SIMPLE = (
    "elo_difference",  # rating points, home minus away, home advantage included unless neutral
    "home_court",  # 1, or 0 on neutral ground
    "post_season",  # 1 in every stage but the regular season
    "rest_difference",  # days, each side at most MAX_REST
    "home_back_to_back",  # 1 if the team had a fixture the day before
    "away_back_to_back",
    "margin_season_difference",  # points a game, each side shrunk towards 0 by SHRINKAGE games
    "margin_10_difference",
    "wins_10_difference",  # share of the last ten won, each side shrunk towards one half
    "home_sentiment",  # mean score of the fans' posts, -1 to 1; 0 without posts
    "away_sentiment",
    "posts_difference",  # log(1 + posts), home minus away
)
"""What the simple learners see."""

RATED = (
    "margin_ratio",  # expected home margin over its standard deviation, mean of the two filters
    "eliminated_difference",  # 1 if only the home side has no way left into the post-season, -1 if only the away side
    "settled_difference",  # the same of a side whose rank is settled
    "near_cut_difference",  # the same of a side that fights for the last places
)
"""What game ratings add, all 0 for two equal sides on neutral ground."""

SENTIMENT_FEATURES = ("home_sentiment", "away_sentiment", "posts_difference")
"""Those of SIMPLE that come from fan posts; all 0 where nobody wrote."""

FEATURES = SIMPLE + RATED
"""Names and order of the model inputs. Every value is a float64 that float32 represents exactly."""

FEATURE_TABLE = {
    "game_id": "object",
    **{name: GAMES[name] for name in FIXTURE_COLUMNS[1:]},
    **dict.fromkeys(FEATURES, "float64"),
}
"""Columns and pandas types of `game_features`, one row a fixture."""

MAX_REST = 3.0
"""Days; longer rest gives nothing more. A season's first game counts as fully rested."""

SHRINKAGE = 5.0
"""Games of average form added to each side's means, so that one game in October is not taken for a season."""

_FORM_COLUMNS = [
    "elo_before", "games_before", "margin_total_before", "rest_days_before", "margin_10_before", "wins_10_before",
]  # fmt: skip


def _side(fixtures: pd.DataFrame, form: pd.DataFrame, side: str) -> pd.DataFrame:
    """Form before the game of each fixture's home or away team, as floats in the order of `fixtures`."""
    indexed = form.loc[form["is_home"].astype(bool) == (side == "home")].set_index("game_id")
    missing = ~fixtures["game_id"].isin(indexed.index)
    if missing.any():
        raise ModelError(
            f"team_form lacks {int(missing.sum())} of {len(fixtures)} fixtures, the first is"
            f" {fixtures.loc[missing, 'game_id'].iloc[0]}; materialise team_form for its day before game_features"
        )
    rows = indexed.loc[fixtures["game_id"], _FORM_COLUMNS]
    return rows.astype("Float64").astype("float64").reset_index(drop=True)


def _sentiment(fixtures: pd.DataFrame, sentiment: pd.DataFrame, side: str) -> tuple[pd.Series, pd.Series]:
    """(mean score, posts) of each fixture's home or away fans; 0 where nobody wrote."""
    keys = fixtures[["game_id", side]].rename(columns={side: "team"})
    known = sentiment[["game_id", "team", "posts", "mean_score"]] if len(sentiment) else None
    if known is None:
        zeros = pd.Series(0.0, index=range(len(fixtures)))
        return zeros, zeros
    rows = keys.merge(known, on=["game_id", "team"], how="left", validate="one_to_one")
    return rows["mean_score"].astype("float64").fillna(0.0), rows["posts"].astype("float64").fillna(0.0)


def _rated(fixtures: pd.DataFrame, ratings: pd.DataFrame) -> pd.DataFrame:
    """Game ratings in the order of `fixtures`."""
    indexed = ratings.set_index("game_id")
    missing = ~fixtures["game_id"].isin(indexed.index)
    if missing.any():
        raise ModelError(
            f"game_ratings lacks {int(missing.sum())} of {len(fixtures)} fixtures, the first is"
            f" {fixtures.loc[missing, 'game_id'].iloc[0]}; materialise game_ratings for its day before game_features"
        )
    return indexed.loc[fixtures["game_id"]].reset_index(drop=True)


def _shrunk(total: pd.Series, games: pd.Series) -> pd.Series:
    return total / (games + SHRINKAGE)


def game_features(
    fixtures: pd.DataFrame, form: pd.DataFrame, ratings: pd.DataFrame, sentiment: pd.DataFrame, league: League
) -> pd.DataFrame:
    """What a model sees of each fixture.

    Args:
        fixtures: columns `games.FIXTURE_COLUMNS`, one row a game.
        form: columns `form.FORM`; the two rows of every fixture are needed, others are ignored.
        ratings: columns `game_ratings.GAME_RATINGS`; the row of every fixture is needed, others are ignored.
        sentiment: `game_id`, `team`, `posts` (number), `mean_score` (-1 to 1) and more; may be empty.

    Returns:
        Columns FEATURE_TABLE in the order of `fixtures`, index reset.

    Raises:
        ModelError: a fixture has no team form or no game ratings.
    """
    fixtures = fixtures[FIXTURE_COLUMNS].reset_index(drop=True)
    home, away = _side(fixtures, form, "home"), _side(fixtures, form, "away")
    rated = _rated(fixtures, ratings)
    home_score, home_posts = _sentiment(fixtures, sentiment, "home")
    away_score, away_posts = _sentiment(fixtures, sentiment, "away")
    home_court = 1.0 - fixtures["neutral"].astype("float64")
    recent = {side: rows["games_before"].clip(upper=10.0) for side, rows in (("home", home), ("away", away))}

    def recent_margin(rows: pd.DataFrame, games: pd.Series) -> pd.Series:
        return _shrunk(rows["margin_10_before"].fillna(0.0) * games, games)

    def recent_wins(rows: pd.DataFrame, games: pd.Series) -> pd.Series:
        return _shrunk((rows["wins_10_before"].fillna(0.5) - 0.5) * games, games)

    def stake_difference(name: str) -> pd.Series:
        return rated[f"home_{name}"].astype("float64") - rated[f"away_{name}"].astype("float64")

    values = {
        "elo_difference": home["elo_before"] - away["elo_before"] + league.elo.home_advantage * home_court,
        "home_court": home_court,
        "post_season": (fixtures["stage"] != REGULAR).astype("float64"),
        "rest_difference": _rest(home) - _rest(away),
        "home_back_to_back": (home["rest_days_before"] == 1).astype("float64"),
        "away_back_to_back": (away["rest_days_before"] == 1).astype("float64"),
        "margin_season_difference": _shrunk(home["margin_total_before"], home["games_before"])
        - _shrunk(away["margin_total_before"], away["games_before"]),
        "margin_10_difference": recent_margin(home, recent["home"]) - recent_margin(away, recent["away"]),
        "wins_10_difference": recent_wins(home, recent["home"]) - recent_wins(away, recent["away"]),
        "home_sentiment": home_score,
        "away_sentiment": away_score,
        "posts_difference": np.log1p(home_posts) - np.log1p(away_posts),
        "margin_ratio": (
            rated["margin_mean"] / rated["margin_sd"] + rated["form_margin_mean"] / rated["form_margin_sd"]
        )
        / 2,
        **{f"{name}_difference": stake_difference(name) for name in ("eliminated", "settled", "near_cut")},
    }
    features = pd.DataFrame({name: values[name].astype("float32").astype("float64") for name in FEATURES})
    return pd.concat([fixtures, features], axis=1)


def _rest(rows: pd.DataFrame) -> pd.Series:
    return rows["rest_days_before"].fillna(MAX_REST).clip(upper=MAX_REST)
