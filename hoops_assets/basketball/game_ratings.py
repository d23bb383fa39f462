"""Game ratings: what margin the filters expect of every fixture, and what is at stake for its sides.

What belongs here: the walk of the margin filters through the seasons. Their formulas are in `basketball.margin_filter`,
the standings in `basketball.stakes`; which of the columns a model sees is in `basketball.features`.

A forecast is a pure function of the fixtures up to its day and of the results before it. The filters of a season start
some seasons earlier, at one of the years divisible by STARTS_EVERY, so the cost of a day does not grow with the history
of the league and it does not matter in which spans the days are computed: the numbers are exactly the same.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Any

import pandas as pd

from hoops_assets.basketball.league import League
from hoops_assets.basketball.margin_filter import FORM, SLOW, Encounter, MarginFilter, MarginForecast
from hoops_assets.basketball.stakes import LENGTH_SEASONS, STAKES, stakes

STARTS_EVERY = 20
WARM_UP = 5
"""The filters of a season start in the latest year divisible by STARTS_EVERY that is at least WARM_UP seasons earlier; a
longer warm-up gives nothing (NBA seasons 1994 to 2008)."""

GAME_RATINGS = {
    "game_id": "object",
    "season": "int32",
    "day": "object",  # datetime.date
    "home": "object",
    "away": "object",
    "margin_mean": "float64",  # of the home side's damped margin, points, by the slow filter
    "margin_sd": "float64",
    "form_margin_mean": "float64",  # the same by the filter with form
    "form_margin_sd": "float64",
    "home_rating": "float64",  # points against an average team, by the filter with form
    "away_rating": "float64",
    "home_edge": "float64",  # points, league's and team's together; 0 on neutral ground
    **{f"{side}_{name}": dtype for side in ("home", "away") for name, dtype in STAKES.items()},
}
"""Columns and pandas types, one row a fixture, sorted by (day, game_id)."""

_Filters = tuple[MarginFilter, MarginFilter]

_KEPT = 64
_entering: OrderedDict[bytes, _Filters] = OrderedDict()
"""Filters as they entered a season, by a digest of everything that made them, so that a process that goes from season to
season walks through each of them once. The least recently used goes first."""


def start_season(season: int) -> int:
    """The season in which the filters of a season start."""
    return (season - WARM_UP) // STARTS_EVERY * STARTS_EVERY


def game_ratings(games: pd.DataFrame, league: League, first: date | None = None) -> pd.DataFrame:
    """Expected margins and stakes of every fixture.

    Args:
        games: all games of the league so far and the fixtures to rate, columns `games.RESULT_COLUMNS`, scores null while
            unplayed, in any order; seasons before `start_season` of the earliest season to rate are not read.
        first: the first day to rate; all days when None.

    Returns:
        Columns GAME_RATINGS, the games from `first` on.
    """
    ordered = games.sort_values(["day", "game_id"], kind="stable")
    seasons = {int(season): ordered[ordered["season"] == season] for season in sorted(ordered["season"].unique())}
    wanted = [season for season, rows in seasons.items() if first is None or (rows["day"] >= first).any()]
    rows = [row for season in wanted for row in _season(seasons, season, league)]
    columns = {name: [row[name] for row in rows] for name in GAME_RATINGS}
    table = pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in GAME_RATINGS.items()})
    table = table.sort_values(["day", "game_id"], kind="stable")
    return (table if first is None else table[table["day"] >= first]).reset_index(drop=True)


def _season(seasons: dict[int, pd.DataFrame], season: int, league: League) -> Iterator[dict[str, object]]:
    """One row for every game of a season."""
    past = [rows for earlier, rows in seasons.items() if start_season(season) <= earlier < season]
    earlier = [rows for other, rows in seasons.items() if other < season][-LENGTH_SEASONS:]
    games = zip(
        seasons[season].itertuples(index=False),
        *_forecasts(past, seasons[season]),
        stakes(earlier, seasons[season], league),
        strict=True,
    )
    for game, slow, form, sides in games:
        yield {
            "game_id": game.game_id,
            "season": season,
            "day": game.day,
            "home": game.home,
            "away": game.away,
            "margin_mean": slow.mean,
            "margin_sd": slow.sd,
            "form_margin_mean": form.mean,
            "form_margin_sd": form.sd,
            "home_rating": form.home_rating,
            "away_rating": form.away_rating,
            "home_edge": form.home_edge,
            **{f"{side}_{name}": said for side, known in sides.items() for name, said in known.items()},
        }


def _forecasts(past: list[pd.DataFrame], of_season: pd.DataFrame) -> list[list[MarginForecast]]:
    """Forecasts of every game of the season after `past`, by each filter."""
    digest = repr((SLOW, FORM)).encode()
    filters: _Filters = MarginFilter(SLOW), MarginFilter(FORM)
    forecasts: list[list[MarginForecast]] = []
    for rows in [*past, of_season]:
        digest = hashlib.sha256(digest + _content(rows)).digest()
        if digest in _entering and rows is not of_season:
            _entering.move_to_end(digest)
            filters = _entering[digest]
            continue
        filters = filters[0].copy(), filters[1].copy()
        days = _days(rows)
        forecasts = [_walk(one, days) for one in filters]
        _entering[digest] = filters
        if len(_entering) > _KEPT:
            _entering.popitem(last=False)
    return forecasts


def _content(rows: pd.DataFrame) -> bytes:
    """Everything that a season's games tell the filters; day and teams stand in the game_id."""
    scores = rows[["home_score", "away_score"]].astype("Int32").fillna(-1).to_numpy(dtype="int32")
    return "\n".join(rows["game_id"]).encode() + rows["neutral"].to_numpy(dtype=bool).tobytes() + scores.tobytes()


def _walk(state: MarginFilter, days: list[tuple[date, list[Encounter]]]) -> list[MarginForecast]:
    """Forecasts of every game; moves `state` into the next season, each day after its forecasts."""
    forecasts: list[MarginForecast] = []
    last: date | None = None
    for day, games in days:
        if last is not None:
            state.pass_days((day - last).days)
        last = day
        forecasts += [state.forecast(game) for game in games]
        state.learn(games)
    state.next_season()
    return forecasts


def _days(of_season: pd.DataFrame) -> list[tuple[date, list[Encounter]]]:
    """The season's games by day; a side is tired if it had a fixture, played or not, the day before."""
    ordinal = [day.toordinal() for day in of_season["day"]]
    fixtures = {*zip(of_season["home"], ordinal, strict=True), *zip(of_season["away"], ordinal, strict=True)}
    margins = of_season["home_score"].astype("Int64") - of_season["away_score"].astype("Int64")
    days = []
    rows: Iterator[Any] = of_season[["day", "home", "away", "neutral"]].assign(margin=margins).itertuples(index=False)
    for day, games in groupby(rows, key=attrgetter("day")):
        eve = day.toordinal() - 1
        days.append(
            (
                day,
                [
                    Encounter(
                        game.home,
                        game.away,
                        bool(game.neutral),
                        (game.home, eve) in fixtures,
                        (game.away, eve) in fixtures,
                        None if pd.isna(game.margin) else int(game.margin),
                    )
                    for game in games
                ],
            )
        )
    return days
