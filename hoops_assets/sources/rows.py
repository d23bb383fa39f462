"""What makes a row of games acceptable, whatever file it stands in.

What belongs here: the checks that file connectors share, each over whole columns. A row is refused for the first rule
it breaks. How a file is read is in `text`; what its columns are called is in the connectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from hoops_assets.basketball.games import GAMES
from hoops_assets.basketball.league import League
from hoops_assets.sources.contract import Rejected
from hoops_assets.sources.text import by_value, nearest

MAX_SCORE = 300
"""Points of one team above which a score is taken for a slip; the highest in a professional game is 186 (1983)."""

MISSING = frozenset({"", "na", "nan", "n/a", "null", "none", "-"})
"""Spellings, folded, of a value that is not given."""

TRUE = frozenset({"1", "1.0", "true", "t", "yes", "y"})
FALSE = frozenset({"0", "0.0", "false", "f", "no", "n"})

Resolve = Callable[[str, int], str | None]
"""Gives the franchise code that a spelling meant in a season, or None."""


POST_SEASON = "post-season"
"""Stage of a game after the regular season whose round the source does not give."""


class Table(Protocol):
    """Rows as text: the lines of a file, or the records of an answer."""

    @property
    def path(self) -> Path | str: ...

    def rows(self, columns: Sequence[str]) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
        """The rows with `columns` as str and `line`, their 1-based number; and (line, reason) of each that is unfit."""
        ...

    def raw(self, line: int) -> str:
        """The row as found, cut at 500 characters."""
        ...


class RowChecks:
    """The rows of one file and which of them were refused.

    Attributes:
        frame: the rows as text, with `line`, as `TextTable.rows` gives them.
        lines: that column `line`, 1-based.
        good: mask of the rows not refused so far.
        rejected: what was refused so far, in the order of the checks.
    """

    def __init__(self, table: Table, columns: list[str]):
        self.table = table
        self.frame, unfit = table.rows(columns)
        self.lines = self.frame["line"].to_numpy()
        self.good = np.ones(len(self.frame), dtype=bool)
        self.rejected: list[Rejected] = []
        for line, reason in unfit:
            self.rejected.append(Rejected(str(table.path), line, "row", reason, table.raw(line)))

    def text(self, column: str) -> pd.Series:
        return self.frame[column]

    def refuse(self, bad: np.ndarray | pd.Series, field: str, reason: str | Callable[[int], str]) -> None:
        """Refuses the rows of a mask (length n) that were still good; `reason` may be made from the row's position."""
        for at in np.flatnonzero(np.asarray(bad, dtype=bool) & self.good).tolist():
            line = int(self.lines[at])
            said = reason if isinstance(reason, str) else reason(at)
            self.rejected.append(Rejected(str(self.table.path), line, field, said, self.table.raw(line)))
            self.good[at] = False

    def in_file_order(self) -> list[Rejected]:
        return sorted(self.rejected, key=lambda r: r.line or 0)

    def whole_number(self, column: str, required: bool) -> pd.Series:
        """The column as Int64, <NA> where not given; refuses what is not a whole number (`98.0` is one)."""
        text = self.text(column)
        given = ~is_missing(text)
        number = by_value(text, _whole, "Int64")
        whole = number.notna()
        if required:
            self.refuse(~given, column, f"{column} is not given")
        self.refuse(given & ~whole, column, lambda at: f"{text.iat[at]!r} is not a whole number")
        return number

    def truth(self, column: str) -> pd.Series:
        """The column as bool, False where not given; refuses what is neither yes nor no."""
        text = self.text(column)
        known = by_value(text, lambda value: value.casefold() in TRUE | FALSE | MISSING, "bool")
        self.refuse(~known, column, lambda at: f"{text.iat[at]!r} is neither true nor false (use 1 or 0)")
        return by_value(text, lambda value: value.casefold() in TRUE, "bool")

    def team(self, column: str, season: pd.Series, resolve: Resolve, known: list[str]) -> pd.Series:
        """The column as franchise codes, None where unknown; refuses unknown teams, naming the nearest spelling."""
        text = self.text(column)
        spelling, all_spellings = pd.factorize(text)
        year, all_years = pd.factorize(season.fillna(0).astype("int64"))
        pair, all_pairs = pd.factorize(spelling * len(all_years) + year)
        names, years = all_spellings.tolist(), all_years.tolist()
        meant = ((names[p // len(years)], years[p % len(years)]) for p in all_pairs.tolist())
        codes = [None if name.casefold() in MISSING else resolve(name, y) for name, y in meant]
        found = pd.Series(codes, dtype=object).take(pair).set_axis(text.index)
        self.refuse(is_missing(text), column, "the team is not given")

        def unknown(at: int) -> str:
            spelling = str(text.iat[at])
            return f"{spelling!r} is not a team of the league{nearest(spelling, known)}; add it to `teams` if it is one"

        self.refuse(found.isna(), column, unknown)
        return found

    def opponents(self, home: pd.Series, away: pd.Series, field: str) -> None:
        """Refuses games of a team against itself."""
        same = home.notna() & (home == away)
        self.refuse(same, field, lambda at: f"{home.iat[at]} cannot play itself")

    def scores(self, home: pd.Series, away: pd.Series, home_field: str, away_field: str) -> None:
        """Refuses scores no game can end with. Both missing means not yet played and is accepted."""
        both = f"{home_field}/{away_field}"
        one_side = "only one side has a score; give both, or neither if the game is not yet played"
        self.refuse(home.isna() & away.notna(), home_field, one_side)
        self.refuse(away.isna() & home.notna(), away_field, one_side)
        for score, field in ((home, home_field), (away, away_field)):
            absurd = ((score < 0) | (score > MAX_SCORE)).fillna(False)
            self.refuse(absurd, field, lambda at, s=score: f"{s.iat[at]} points; a team scores 0 to {MAX_SCORE}")
        zero = ((home == 0) & (away == 0)).fillna(False)
        self.refuse(zero, both, "0-0 is not a result; leave both scores empty if the game is not yet played")
        tie = (home == away).fillna(False)
        self.refuse(tie, both, lambda at: f"{home.iat[at]}-{away.iat[at]} is a tie, which basketball does not have")

    def once(self, games: pd.DataFrame) -> None:
        """Refuses rows that state a game which an earlier row has stated.

        Rule: two rows with the same day, home and away are two games (a double-header) only if both were played and
        their scores differ. So a row with the same scores is a duplicate, and so is one without scores beside another.

        Args:
            games: day, home, away, home_score, away_score, index = position in the file's rows, good rows only.
        """
        identity = ["day", "home", "away"]
        twice = games[games.duplicated(identity, keep=False)]
        if twice.empty:
            return
        for _, same in twice.groupby(identity, sort=False):
            unplayed = same["home_score"].isna()
            stated: dict[tuple[object, object], int] = {}
            for at in [*same.index[~unplayed], *same.index[unplayed]]:
                score = (same.at[at, "home_score"], same.at[at, "away_score"])
                earlier = next(iter(stated.values()), None) if unplayed[at] else stated.get(score)
                if earlier is None:
                    stated[score] = at
                    continue
                mask = np.zeros(len(self.frame), dtype=bool)
                mask[at] = True
                self.refuse(mask, "row", f"duplicate: the same game stands in line {self.lines[earlier]}")


def is_missing(text: pd.Series) -> pd.Series:
    """Mask of the values that are not given (see MISSING)."""
    return by_value(text, lambda value: value.casefold() in MISSING, "bool")


def _whole(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**31 else None


def spellings(league: League) -> list[str]:
    """Every spelling of a team that the league knows, to suggest from."""
    found: list[str] = []
    for code, team in league.teams.items():
        found += [code, team.name, *team.aliases, *(was.code for was in team.was)]
    return found


def as_games(columns: dict[str, pd.Series]) -> pd.DataFrame:
    """A frame with the columns and types of GAMES; `tip_off` is NaT and `neutral` False where not among `columns`."""
    games = pd.DataFrame(columns)
    if "tip_off" not in games:
        games["tip_off"] = pd.Series(pd.NaT, index=games.index, dtype=GAMES["tip_off"])
    if "neutral" not in games:
        games["neutral"] = False
    return games[list(GAMES)].astype(GAMES)
