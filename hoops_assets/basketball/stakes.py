"""What a regular-season game is worth to each side, told by the standings before its day.

What belongs here: standings and what they settle, from games alone. Sources do not name conferences, so the tables in
which teams compete are read off the schedule: teams that met often belong together. How many qualify is how many played
in last season's post-season, in proportion to the table; the length of the season is the longest of the last three
unless the league announced another (`League.season_games`). Where these are not known nothing is at stake.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from hoops_assets.basketball.league import PLAY_IN, REGULAR, League

STAKES = {
    "eliminated": "bool",  # no way into the post-season is left
    "settled": "bool",  # qualified, and the rank cannot change any more
    "near_cut": "bool",  # in the last quarter of the season, and close to the last rank that qualifies
}
"""Names and pandas types, for each of the two sides."""

LENGTH_SEASONS = 3
"""Earlier seasons that tell how many games a team plays."""

LATE = 0.6
"""Share of the season after which the table is looked at."""

LAST_SHARE = 0.25
NEAR_WINS = 1.5
"""A team is near the cut with at most LAST_SHARE of its games left and at most NEAR_WINS between its wins and the cut, which
lies in the middle between the last that qualifies and the first that does not. Chosen on the NBA seasons 1994 to 2008."""


class _Standings:
    """The table of one season as it stands after the games seen so far.

    Attributes:
        length: regular-season games of a team.
        places: teams that qualify for the post-season.
    """

    def __init__(self, length: float, places: int) -> None:
        self.length, self.places = length, places
        self._number: dict[str, int] = {}
        self._wins = np.zeros(0)
        self._games = np.zeros(0)
        self._met = np.zeros((0, 0))

    def enter(self, team: str) -> None:
        if team not in self._number:
            self._number[team] = len(self._wins)
            self._wins, self._games = np.append(self._wins, 0.0), np.append(self._games, 0.0)
            self._met = np.pad(self._met, (0, 1))

    def play(self, home: str, away: str, margin: int) -> None:
        pair = [self._number[home], self._number[away]]
        self._games[pair] += 1.0
        self._wins[pair[0] if margin > 0 else pair[1]] += 1.0
        self._met[pair, pair[::-1]] += 1.0

    def late(self) -> bool:
        return len(self._games) > 0 and float(np.median(self._games)) > LATE * self.length

    def stakes(self) -> dict[str, dict[str, bool]]:
        teams = list(self._number)
        label = self._tables()
        return {
            teams[at]: said for one in np.unique(label) for at, said in self._of_table(np.flatnonzero(label == one))
        }

    def _tables(self) -> np.ndarray:
        """Label of every team's table: teams connected by pairs that met more than half as often as the pair that met most."""
        joined = (self._met > self._met.max() / 2) | np.eye(len(self._met), dtype=bool)
        label = np.arange(len(joined))
        while True:
            least = np.where(joined, label, len(label)).min(axis=1)
            if (least == label).all():
                return label
            label = least

    def _of_table(self, rows: np.ndarray) -> Iterator[tuple[int, dict[str, bool]]]:
        qualify = max(1, round(self.places * len(rows) / len(self._games)))
        if qualify >= len(rows):
            return
        wins = self._wins[rows]
        left = np.maximum(self.length - self._games[rows], 0.0)
        most = wins + left
        certainly_above = (wins[None, :] > most[:, None]).sum(axis=1)
        possibly_above = (most[None, :] >= wins[:, None]).sum(axis=1) - 1
        eliminated, qualified = certainly_above >= qualify, possibly_above < qualify
        ranked = np.sort(wins)[::-1]
        cut = (ranked[qualify - 1] + ranked[qualify]) / 2
        near_cut = (np.abs(wins - cut) <= NEAR_WINS) & (left <= LAST_SHARE * self.length) & ~eliminated & ~qualified
        settled = (certainly_above == possibly_above) & ~eliminated
        for at, *said in zip(rows.tolist(), eliminated.tolist(), settled.tolist(), near_cut.tolist(), strict=True):
            yield at, dict(zip(STAKES, said, strict=True))


_NOTHING = dict.fromkeys(STAKES, False)


def _length(season: pd.DataFrame) -> float | None:
    """Median number of regular-season games that a team played."""
    played = season[(season["stage"] == REGULAR) & season["home_score"].notna()]
    sides = pd.concat([played["home"], played["away"]])
    return float(np.median(sides.value_counts().to_numpy())) if len(sides) else None


def _qualified(season: pd.DataFrame) -> int:
    """Teams that took part in the post-season, play-ins apart."""
    rows = season[~season["stage"].isin([REGULAR, PLAY_IN])]
    return len({*rows["home"], *rows["away"]})


def _opening(earlier: Sequence[pd.DataFrame], season: int, league: League) -> _Standings | None:
    """The empty table of a season, or None if its length or its places are not known."""
    lengths = [length for length in map(_length, earlier) if length]
    length = league.season_games.get(season) or max(lengths, default=None)
    places = _qualified(earlier[-1]) if earlier else 0
    return _Standings(float(length), places) if length and places else None


def stakes(
    earlier: Sequence[pd.DataFrame], of_season: pd.DataFrame, league: League
) -> list[dict[str, dict[str, bool]]]:
    """What is at stake for both sides of every game of a season, known before the game's day.

    Args:
        earlier: the games of the LENGTH_SEASONS seasons before, oldest first; without them nothing is at stake.
        of_season: the season's games, columns `games.RESULT_COLUMNS`, scores null while unplayed, sorted by
            (day, game_id).

    Returns:
        One entry a game in the same order: {"home": {name: bool}, "away": ...} with the names of STAKES. Nothing is at
        stake in other stages than the regular season.
    """
    standings = _opening(earlier, int(of_season["season"].to_numpy()[0]), league)
    rows: list[dict[str, dict[str, bool]]] = []
    for _, of_day in groupby(of_season.itertuples(index=False), key=attrgetter("day")):
        day: list[Any] = list(of_day)
        said = standings.stakes() if standings and standings.late() else {}
        for game in day:
            known = said if game.stage == REGULAR else {}
            rows.append({"home": known.get(game.home, _NOTHING), "away": known.get(game.away, _NOTHING)})
        if standings:
            _take_in(standings, day)
    return rows


def _take_in(standings: _Standings, day: list[Any]) -> None:
    for game in day:
        if game.stage == REGULAR:
            standings.enter(game.home)
            standings.enter(game.away)
            if not (pd.isna(game.home_score) or pd.isna(game.away_score)):
                standings.play(game.home, game.away, int(game.home_score) - int(game.away_score))
