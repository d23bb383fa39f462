"""Closing odds, by a declared mapping: `kind: csv` of `sources.odds`. A benchmark to be judged against, and nothing else.

What belongs here: reading prices, taking the bookmaker's margin out, and the join to games. Nothing that builds a
feature or trains a model may import this module, or be handed its table: the market knows what the forecast is to be
measured by. `hoops_assets_tests/sources/test_odds.py` holds that door shut.

    sources:
      odds:
        kind: csv
        files: [nba_2008-2021_raw.csv.gz]
        columns:
          {date: date, home: home, away: away, home_moneyline: moneyline_home, away_moneyline: moneyline_away,
           spread: spread, favourite: whos_favored}
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from hoops_assets.basketball.games import season_of
from hoops_assets.basketball.league import League, Strict
from hoops_assets.errors import SettingsError
from hoops_assets.sources.contract import ODDS, OddsRead, Rejected
from hoops_assets.sources.rows import RowChecks, is_missing, spellings
from hoops_assets.sources.text import expand, read_table

MARGINS = (-0.01, 0.15)
"""Bounds of a bookmaker's margin; two prices outside them do not belong together. Of 17,833 closing prices of
2008-2021 all but 10 lie between 0 and .06."""

LONGEST_SPREAD = 40.0


class Columns(Strict):
    """Names of the file's columns.

    Attributes:
        date, home, away: the game.
        home_moneyline, away_moneyline: American odds, such as -140 and 120.
        spread: points; with `favourite` without a sign, without it signed for the home side (negative if favoured).
        favourite: `home` or `away`.
    """

    date: str
    home: str
    away: str
    home_moneyline: str
    away_moneyline: str
    spread: str | None = None
    favourite: str | None = None

    @model_validator(mode="after")
    def _favourite_needs_spread(self) -> Columns:
        if self.favourite is not None and self.spread is None:
            raise ValueError("favourite says whose the spread is; name the column spread as well")
        return self

    def used(self) -> list[str]:
        return [name for name in self.model_dump().values() if name is not None]


class Options(Strict):
    """Options of `sources.odds` with `kind: csv`.

    Attributes:
        files: paths or globs.
        columns: see Columns.
        date_format: `iso` (2019-10-22) or a strptime format.
        name: the odds' `source`.
    """

    files: tuple[str, ...] = Field(min_length=1)
    columns: Columns
    date_format: str = "iso"
    name: str = "market"

    @field_validator("date_format")
    @classmethod
    def _date_format(cls, value: str) -> str:
        if value != "iso" and "%" not in value:
            raise ValueError("use iso or a strptime format such as %m/%d/%Y")
        return value


def implied_probability(home_moneyline: pd.Series, away_moneyline: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The home side's chance that two American prices state, and the bookmaker's margin.

    A price m stands for q = 100 / (m + 100) if positive, -m / (100 - m) if negative. The two q add up to 1 + margin;
    the chance is q_home / (q_home + q_away), which takes the margin from both in proportion (multiplicative
    normalisation; E. Štrumbelj, "On determining probability forecasts from betting odds", 2014, compares others).
    """
    home, away = (
        pd.Series(
            np.where(line > 0, 100 / (line.abs() + 100), line.abs() / (line.abs() + 100)), index=line.index
        ).where(line.notna())
        for line in (home_moneyline, away_moneyline)
    )
    return home / (home + away), home + away - 1


def open_odds(league: League) -> CsvOdds | None:
    """The league's source of odds, or None if it has none.

    Raises:
        SettingsError: unknown kind.
    """
    spec = league.sources.odds
    if spec is None:
        return None
    if spec.kind != "csv":
        raise SettingsError(f"league {league.name}: sources.odds.kind: {spec.kind!r} is not a kind of odds; use csv")
    return CsvOdds(league)


class CsvOdds:
    """The odds of a league's files."""

    def __init__(self, league: League, options: Options | None = None):
        """
        Args:
            options: in place of those in the league.
        """
        spec = league.sources.odds
        self._league = league
        self._options = options or Options.model_validate(spec.options if spec else {})

    def files(self) -> list[Path]:
        return expand(self._options.files)

    def read(self, games: pd.DataFrame) -> OddsRead:
        """The odds of those of the games that the files have.

        A row belongs to the game of its day, home and away. Where the two sides are the other way round and the game
        was on neutral ground, the row is turned. A row of no game (moved, or never played), and one of a day with a
        double-header of the two, is refused.

        Args:
            games: game_id, season, day, home, away, neutral.

        Raises:
            SourceError: a file cannot be read as a whole.
        """
        rejected: list[Rejected] = []
        parts = [parse(path, self._options, self._league, rejected) for path in self.files()]
        rows = pd.concat(parts, ignore_index=True)
        joined, notes = _joined(rows, games, rejected)
        frame = joined.assign(source=self._options.name).sort_values(["day", "game_id"], kind="stable")
        return OddsRead(frame[list(ODDS)].astype(ODDS).reset_index(drop=True), rejected, notes)


def parse(path: Path, options: Options, league: League, rejected: list[Rejected]) -> pd.DataFrame:
    """The prices that one file states: day, home, away, the prices, file, line, row.

    Raises:
        SourceError: the file cannot be read as a whole.
    """
    columns = options.columns
    table = read_table(path)
    table.require(columns.used())
    checks = RowChecks(table, columns.used())
    text = checks.text(columns.date)
    form = "%Y-%m-%d" if options.date_format == "iso" else options.date_format
    stamp = pd.to_datetime(text.str[:10] if form == "%Y-%m-%d" else text, format=form, errors="coerce")
    checks.refuse(stamp.isna(), columns.date, lambda at: f"{text.iat[at]!r} is not a date written as {form}")
    days = stamp.dt.date
    seasons = [pd.NA if pd.isna(day) else season_of(day, league.season_starts) for day in days]
    season = pd.Series(seasons, index=days.index, dtype="Int64")
    home = checks.team(columns.home, season, league.team, spellings(league))
    away = checks.team(columns.away, season, league.team, spellings(league))
    checks.opponents(home, away, columns.away)
    prices = [_price(checks, name) for name in (columns.home_moneyline, columns.away_moneyline)]
    probability, margin = implied_probability(*prices)
    implausible = ~margin.between(*MARGINS) & margin.notna()
    checks.refuse(
        implausible,
        columns.home_moneyline,
        lambda at: (
            f"{prices[0].iat[at]:g} and {prices[1].iat[at]:g} leave a margin of {margin.iat[at]:.3f};"
            " they are no two prices of one game"
        ),
    )
    spread = _spread(checks, columns)
    nothing = probability.isna() & spread.isna()
    checks.refuse(nothing, columns.home_moneyline, "neither both moneylines nor a spread are given")
    frame = pd.DataFrame(
        {
            "day": days,
            "home": home,
            "away": away,
            "home_moneyline": prices[0],
            "away_moneyline": prices[1],
            "home_spread": spread,
            "home_win_probability": probability,
            "margin": margin,
            "line": checks.lines,
        }
    )
    again = frame.duplicated(["day", "home", "away"]) & checks.good
    checks.refuse(again, "row", "duplicate: an earlier row has the same game")
    rejected += checks.in_file_order()
    kept = frame[checks.good].assign(file=str(path))
    return kept.assign(row=[table.raw(line) for line in kept["line"]])


def _price(checks: RowChecks, column: str) -> pd.Series:
    """American odds as float64, NaN where not given; refuses what no price can be."""
    text = checks.text(column)
    price = pd.to_numeric(text, errors="coerce")
    given = ~is_missing(text)
    wrong = given & (price.isna() | (price.abs() < 100))
    checks.refuse(wrong, column, lambda at: f"{text.iat[at]!r} is not American odds (at least 100 or at most -100)")
    return price.where(given)


def _spread(checks: RowChecks, columns: Columns) -> pd.Series:
    """Points given to the home side: negative where it is favoured."""
    if columns.spread is None:
        return pd.Series(np.nan, index=checks.frame.index, dtype="float64")
    text = checks.text(columns.spread)
    spread = pd.to_numeric(text, errors="coerce")
    given = ~is_missing(text)
    wrong = given & (spread.isna() | (spread.abs() > LONGEST_SPREAD))
    checks.refuse(wrong, columns.spread, lambda at: f"{text.iat[at]!r} is not a spread in points")
    if columns.favourite is None:
        return spread
    favourite = checks.text(columns.favourite).str.casefold()
    unsaid = given & ~favourite.isin(["home", "away"])
    checks.refuse(unsaid, columns.favourite, lambda at: f"{favourite.iat[at]!r} is neither home nor away")
    checks.refuse((spread < 0) & given, columns.spread, "a spread beside a favourite has no sign")
    return spread.where(favourite == "away", -spread)


_TURNED = {
    "home": "away",
    "away": "home",
    "home_moneyline": "away_moneyline",
    "away_moneyline": "home_moneyline",
}


def _joined(rows: pd.DataFrame, games: pd.DataFrame, rejected: list[Rejected]) -> tuple[pd.DataFrame, list[str]]:
    """The rows with game_id and season, see `CsvOdds.read`."""
    key = ["day", "home", "away"]
    known = games[["game_id", "season", "neutral", *key]]
    single = known[~known.duplicated(key, keep=False)]
    straight = rows.merge(single, on=key, how="left")
    open_rows = straight["game_id"].isna()
    turned = straight[open_rows].drop(columns=["game_id", "season", "neutral"]).rename(columns=_TURNED)
    turned = turned.assign(
        home_spread=-turned["home_spread"], home_win_probability=1 - turned["home_win_probability"]
    ).merge(single[single["neutral"]], on=key, how="left")
    lost = turned[turned["game_id"].isna()]
    double = set(known.loc[known.duplicated(key), key].itertuples(index=False, name=None))
    for row in lost.itertuples():
        # The frame is turned; what is said is how the row stood.
        stood = (row.day, row.away, row.home)
        why = "is one of two games of that day" if stood in double else "is not among the games"
        said = f"{stood[1]}-{stood[2]} on {row.day} {why}"
        rejected.append(Rejected(str(row.file), int(str(row.line)), "row", said, str(row.row)))
    found = [straight[~open_rows], turned[turned["game_id"].notna()]]
    joined = pd.concat([part for part in found if len(part)] or found, ignore_index=True)
    again = joined.duplicated("game_id", keep="first")
    for row in joined[again].itertuples():
        said = f"another row has odds of {row.game_id} already"
        rejected.append(Rejected(str(row.file), int(str(row.line)), "row", said, str(row.row)))
    notes = _notes(found[1], joined[~again], single, rows)
    return joined[~again], notes


def _notes(turned: pd.DataFrame, joined: pd.DataFrame, games: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    notes: list[str] = []
    if len(turned):
        notes.append(f"odds: {len(turned)} games on neutral ground have the sides the other way round and were turned")
    if len(rows):
        span = games[(games["day"] >= rows["day"].min()) & (games["day"] <= rows["day"].max())]
        without = int((~span["game_id"].isin(joined["game_id"])).sum())
        if without:
            notes.append(f"odds: {without} of {len(span)} games of these years have none")
    return notes
