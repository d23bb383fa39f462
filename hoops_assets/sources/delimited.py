"""Delimited text files of any league, read by a declared mapping: `kind: csv`.

What belongs here: the mapping and what it means. An example, for a file with winner and loser columns:

    sources:
      games:
        kind: csv
        files: [games.csv]
        columns:
          {date: Date, winner: Winner, loser: Loser, winner_score: PTS, loser_score: PTS.1, location: "Unnamed: 4"}
        date_format: "%a %b %d %Y"

A column is named as in the file's header; a second `PTS` is `PTS.1`, an empty name in the fifth column `Unnamed: 4`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from hoops_assets.basketball.games import empty_games, season_of, with_game_ids
from hoops_assets.basketball.league import REGULAR, League, Strict
from hoops_assets.errors import SourceError
from hoops_assets.sources.contract import GamesRead
from hoops_assets.sources.rows import Resolve, RowChecks, as_games, is_missing, spellings
from hoops_assets.sources.snapshots import FileGames, newest_content
from hoops_assets.sources.text import expand, read_table

Where = Literal["home", "away", "neutral"]

LOCATIONS: dict[str, Where] = {
    "": "home",
    "home": "home",
    "h": "home",
    "1": "home",
    "true": "home",
    "vs": "home",
    "@": "away",
    "at": "away",
    "away": "away",
    "a": "away",
    "0": "away",
    "false": "away",
    "n": "neutral",
    "neutral": "neutral",
}
"""What a `location` column says of the winner or team, folded, unless the mapping declares `location_values`."""

_SIDES = (
    ("home", "away", "home_score", "away_score"),
    ("winner", "loser", "winner_score", "loser_score"),
    ("team", "opponent", "team_score", "opponent_score"),
)


class Columns(Strict):
    """Names of the file's columns.

    Attributes:
        date: day, or moment of tip-off.
        time: time of tip-off, where it stands apart from the date.
        home, away, home_score, away_score: one of three ways to say who played; without scores all games are fixtures.
        winner, loser, winner_score, loser_score: the second way, with `location`.
        team, opponent, team_score, opponent_score: the third way, with `location` or `first_row`.
        location: where the winner or team played, see `location_values`.
        neutral: 1 or true where nobody was at home.
        season: a year, or two as in 2019-20.
        stage: one column, or several whose values are joined with `/`.
    """

    date: str
    time: str | None = None
    home: str | None = None
    away: str | None = None
    home_score: str | None = None
    away_score: str | None = None
    winner: str | None = None
    loser: str | None = None
    winner_score: str | None = None
    loser_score: str | None = None
    team: str | None = None
    opponent: str | None = None
    team_score: str | None = None
    opponent_score: str | None = None
    location: str | None = None
    neutral: str | None = None
    season: str | None = None
    stage: str | tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Columns:
        given = [names for names in _SIDES if any(getattr(self, name) is not None for name in names)]
        if len(given) != 1:
            raise ValueError("say who played in one way: home and away, or winner and loser, or team and opponent")
        for pair in (given[0][:2], given[0][2:]):
            lacking = [name for name in pair if getattr(self, name) is None]
            if lacking and (pair == given[0][:2] or len(lacking) == 1):
                raise ValueError(f"{lacking[0]} is missing; {pair[0]} and {pair[1]} go together")
        if self.winner is not None and self.location is None:
            raise ValueError("winner and loser need location, the column that says where the winner played")
        if self.home is not None and self.location is not None:
            raise ValueError("home and away already say where the game was; leave location out")
        return self

    @property
    def sides(self) -> tuple[str, str, str | None, str | None]:
        """Columns of the side named first and second, and of their scores."""
        names = next(names for names in _SIDES if getattr(self, names[0]) is not None)
        first, second, first_score, second_score = (getattr(self, name) for name in names)
        return first, second, first_score, second_score

    @property
    def stages(self) -> tuple[str, ...]:
        return (self.stage,) if isinstance(self.stage, str) else self.stage

    def used(self) -> list[str]:
        single = [self.date, self.time, *self.sides, self.location, self.neutral, self.season]
        return list(dict.fromkeys(name for name in [*single, *self.stages] if name is not None))


class Options(Strict):
    """Options of `sources.games` with `kind: csv`.

    Attributes:
        files: paths or globs of text files, plain or gzipped.
        snapshots: False: the files are parts, and all their games count, each once. True: they are dated exports of the
            same seasons, and each season is taken from the one whose content is newest.
        columns: see Columns.
        rows_per_game: 2 where every game stands twice, once from either team's side.
        first_row: whose row is the first of a game's two, where no column says who was at home.
        location_values: {value: home | away | neutral}, in place of LOCATIONS.
        date_format: `iso` (2019-10-22, with or without time and offset), `epoch` (seconds or milliseconds), or a
            strptime format.
        time_format: strptime format of `columns.time`; with %p also `7:30p` is read.
        date_zone: IANA zone in which dates with a time are written; by default the league's. A date without a time is
            the game day as it stands.
        day_shift: days to add, for files whose dates are off.
        season_named_by: whether a single year in `columns.season` is the one in which the season ends or starts.
        stage_values: {value of the stage column: stage}.
        stage_default: stage where the column is empty or absent.
    """

    files: tuple[str, ...] = Field(min_length=1)
    snapshots: bool = False
    columns: Columns
    rows_per_game: Literal[1, 2] = 1
    first_row: Literal["home", "away"] | None = None
    location_values: dict[str, Where] | None = None
    date_format: str = "iso"
    time_format: str = "%H:%M"
    date_zone: str | None = None
    day_shift: int = 0
    season_named_by: Literal["end", "start"] = "end"
    stage_values: dict[str, str] = Field(default_factory=dict)
    stage_default: str = REGULAR
    delimiter: str = ","
    encoding: str = "utf-8"

    @field_validator("location_values", "stage_values", mode="before")
    @classmethod
    def _keys_as_text(cls, value: object) -> object:
        return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else value

    @field_validator("date_format")
    @classmethod
    def _date_format(cls, value: str) -> str:
        if value not in ("iso", "epoch") and "%" not in value:
            raise ValueError("use iso, epoch or a strptime format such as %d.%m.%Y")
        return value

    @field_validator("date_zone")
    @classmethod
    def _date_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError(f"{value!r} is not an IANA time zone such as UTC or Europe/Berlin")
        return value

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, value: str) -> str:
        if len(value) != 1 or value in '\r\n"':
            raise ValueError('use one character, such as "," or ";" or "\\t"')
        return value

    @model_validator(mode="after")
    def _who_was_at_home(self) -> Options:
        if self.rows_per_game == 2 and self.columns.team is None:
            raise ValueError("rows_per_game: 2 needs columns.team and columns.opponent")
        by_order = self.rows_per_game == 2 and self.first_row is not None
        if self.columns.team is not None and self.columns.location is None and not by_order:
            raise ValueError("team and opponent need columns.location, or rows_per_game: 2 and first_row: home or away")
        return self


class Delimited:
    """The games that a league's delimited files state."""

    def __init__(self, league: League):
        self._league = league
        self._options = Options.model_validate(league.sources.games.options)

    def files(self) -> list[Path]:
        return expand(self._options.files)

    def read(self, now: datetime) -> GamesRead:
        """All games of the files; they are the same at any `now`."""
        parts = [parse(path, self._options, self._league, self._league.team) for path in self.files()]
        return merge(parts, self._options)


def merge(files: Sequence[FileGames], options: Options) -> GamesRead:
    """One reading from several files.

    Parts: a game that two files state (same day, home, away) is taken from the file that has more of its scores, else
    from the first by name. Snapshots: see `newest_content`.
    """
    games, notes = newest_content(files) if options.snapshots else _joined(files)
    return GamesRead(
        games=with_game_ids(games),
        rejected=[row for file in files for row in file.rejected],
        notes=[note for file in files for note in file.notes] + notes,
    )


def parse(path: Path, options: Options, league: League, resolve: Resolve) -> FileGames:
    """The games that one file states.

    Args:
        league: gives the zone, the turn of the season and the spellings to suggest.
        resolve: gives the franchise of a spelling in a season.

    Raises:
        SourceError: the file cannot be read as a whole.
    """
    columns = options.columns
    table = read_table(path, options.delimiter, options.encoding)
    table.require(columns.used())
    checks = RowChecks(table, columns.used())
    notes: list[str] = []
    if checks.frame.empty:
        if not checks.rejected:
            notes.append(f"{path}: the file has a header and no games")
        return FileGames(path, empty_games(), checks.in_file_order(), notes)
    day, tip_off = _days(checks, options, league)
    season = _seasons(checks, options, day, league)
    first, second, first_score, second_score = columns.sides
    known = spellings(league)
    rows = pd.DataFrame({"season": season, "day": day, "tip_off": tip_off})
    rows["first"] = checks.team(first, season, resolve, known)
    rows["second"] = checks.team(second, season, resolve, known)
    checks.opponents(rows["first"], rows["second"], second)
    rows["first_score"] = _score(checks, first_score)
    rows["second_score"] = _score(checks, second_score)
    checks.scores(rows["first_score"], rows["second_score"], first_score or first, second_score or second)
    if columns.winner is not None:
        lost = (rows["first_score"] < rows["second_score"]).fillna(False)
        checks.refuse(lost, str(first_score), "the winner has fewer points than the loser")
    where = _where(checks, options, rows)
    rows["neutral"] = (where == "neutral") | (checks.truth(columns.neutral) if columns.neutral else False)
    rows["stage"] = _stage(checks, options)
    games = _at_home(rows, where)[checks.good]
    if options.rows_per_game == 2:
        games = _paired(checks, games, notes)
    else:
        _refuse_mirror(path, games)
    checks.once(games)
    kept = games.loc[games.index[checks.good[games.index]]]
    return FileGames(
        path,
        as_games({str(name): column for name, column in kept.items()}).reset_index(drop=True),
        checks.in_file_order(),
        notes,
    )


def _score(checks: RowChecks, column: str | None) -> pd.Series:
    if column is None:
        return pd.Series(pd.NA, index=checks.frame.index, dtype="Int64")
    return checks.whole_number(column, required=False)


def _days(checks: RowChecks, options: Options, league: League) -> tuple[pd.Series, pd.Series]:
    """Game day (datetime.date in the league's zone) and tip-off (UTC, NaT without a time) of every row."""
    column, time = options.columns.date, options.columns.time
    text = checks.text(column)
    stamp, has_time = _stamps(text, options)
    checks.refuse(is_missing(text), column, "the date is not given")
    shape = {"iso": "2019-10-22", "epoch": "seconds since 1970"}.get(options.date_format, options.date_format)
    checks.refuse(stamp.isna(), column, lambda at: f"{text.iat[at]!r} is not a date written as {shape}")
    if time is not None:
        clock = checks.text(time)
        given = ~is_missing(clock)
        written = clock.str.replace(r"(?i)([ap])$", r"\1m", regex=True) if "%p" in options.time_format else clock
        moment = pd.to_datetime(written.where(given), format=options.time_format, errors="coerce")
        unread = given & moment.isna()
        checks.refuse(unread, time, lambda at: f"{clock.iat[at]!r} is not a time written as {options.time_format}")
        stamp = stamp.dt.normalize() + (moment - moment.dt.normalize()).fillna(pd.Timedelta(0))
        has_time = moment.notna()
    zone = options.date_zone or league.time_zone
    aware = stamp.dt.tz_localize(zone, ambiguous=np.ones(len(stamp), dtype=bool), nonexistent="shift_forward")
    if options.date_format == "epoch" or time is None:
        offset = _offset_stamps(text, options)
        aware = aware.where(offset.isna(), offset.dt.tz_convert(zone))
        has_time = has_time | offset.notna()
    shift = pd.Timedelta(days=options.day_shift)
    local = (aware + shift).dt.tz_convert(league.time_zone).dt.date
    day = local.where(has_time, (stamp + shift).dt.date).astype(object)
    tip_off = (aware + shift).dt.tz_convert("UTC").where(has_time).astype("datetime64[us, UTC]")
    return day, tip_off


_EPOCH_SECONDS = 8e9
"""Seconds from 1970 to 2223; what is further away is no date of a game."""

_WITH_OFFSET = r"(?:[Zz]|[+-]\d\d:?\d\d)$"


def _stamps(text: pd.Series, options: Options) -> tuple[pd.Series, pd.Series]:
    """Dates as written, without a zone, and which of them have a time; NaT where unreadable."""
    form = options.date_format
    if form == "epoch" or "%z" in form:
        written = _offset_stamps(text, options).dt.tz_localize(None)
        return written, written.notna()
    if form == "iso":
        has_time = text.str.len() > len("2019-10-22")
        bare = text.str.replace(_WITH_OFFSET, "", regex=True).where(has_time, text)
        well_formed = bare.str.match(r"\d{4}-\d\d-\d\d($|[T ])")
        return pd.to_datetime(bare.where(well_formed), format="ISO8601", errors="coerce"), has_time
    stamp = pd.to_datetime(text, format=form, errors="coerce")
    timed = any(code in form for code in ("%H", "%I", "%X", "%c"))
    return stamp, pd.Series(timed, index=text.index)


def _offset_stamps(text: pd.Series, options: Options) -> pd.Series:
    """Moments in UTC of the dates that state their own offset; NaT for all others."""
    form = options.date_format
    if form == "epoch":
        number = pd.to_numeric(text, errors="coerce")
        seconds = number.where(number.abs() < 1e11, number / 1000)
        within = seconds.where(seconds.abs() < _EPOCH_SECONDS)
        return pd.to_datetime(within, unit="s", errors="coerce", utc=True).astype("datetime64[us, UTC]")
    if form == "iso":
        with_offset = text.where((text.str.len() > len("2019-10-22")) & text.str.contains(_WITH_OFFSET, regex=True))
        return pd.to_datetime(with_offset, format="ISO8601", errors="coerce", utc=True).astype("datetime64[us, UTC]")
    if "%z" in form:
        return pd.to_datetime(text, format=form, errors="coerce", utc=True).astype("datetime64[us, UTC]")
    return pd.Series(pd.NaT, index=text.index, dtype="datetime64[us, UTC]")


def _seasons(checks: RowChecks, options: Options, day: pd.Series, league: League) -> pd.Series:
    """The season, named by the year in which it ends, as Int64."""
    column = options.columns.season
    if column is None:
        by_day = {d: season_of(d, league.season_starts) for d in day.dropna().unique()}
        return day.map(by_day).astype("Int64")
    text = checks.text(column)
    years = text.str.extract(r"^(\d{4})(?:\.0)?(?:\s*[-/]\s*(\d\d(?:\d\d)?))?$")
    start = pd.to_numeric(years[0], errors="coerce").astype("Int64")
    two = years[1].notna()
    single = start + 1 if options.season_named_by == "start" else start
    season = single.where(~two, start + 1)
    wrong = two & (pd.to_numeric(years[1], errors="coerce") % 100 != (start + 1) % 100)
    unread = season.isna() | wrong.fillna(False)
    checks.refuse(unread, column, lambda at: f"{text.iat[at]!r} is not a season; write 2020 or 2019-20")
    year = pd.to_datetime(day, errors="coerce").dt.year
    elsewhere = ~((year == season) | (year == season - 1)).fillna(True)
    checks.refuse(
        elsewhere & year.notna(),
        column,
        lambda at: f"{text.iat[at]!r} is the season that ends in {season.iat[at]}, and the game was on {day.iat[at]}",
    )
    return season


def _where(checks: RowChecks, options: Options, rows: pd.DataFrame) -> pd.Series:
    """`home`, `away` or `neutral`: where the side named first played."""
    column = options.columns.location
    if column is None:
        if options.columns.home is not None:
            return pd.Series("home", index=rows.index, dtype=object)
        position = _row_of_game(rows) % 2
        other = {"home": "away", "away": "home"}
        named_first = str(options.first_row)
        return position.map({0: named_first, 1: other[named_first]}).astype(object)
    text = checks.text(column)
    declared = options.location_values
    values = {k.casefold(): v for k, v in (LOCATIONS if declared is None else declared).items()}
    where = text.str.casefold().map(values)
    reason = "does not say home, away or neutral; declare it in location_values"
    checks.refuse(where.isna(), column, lambda at: f"{text.iat[at]!r} {reason}")
    return where.astype(object)


def _pair(rows: pd.DataFrame) -> pd.Series:
    """A key that both rows of a game share: its day and its two teams in alphabetical order."""
    first, second = rows["first"].astype(str), rows["second"].astype(str)
    ordered = first < second
    return rows["day"].astype(str) + "|" + first.where(ordered, second) + "|" + second.where(ordered, first)


def _row_of_game(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby(_pair(rows)).cumcount()


def _at_home(rows: pd.DataFrame, where: pd.Series) -> pd.DataFrame:
    """The rows with home and away in place of first and second, and `side`: whether the home side was named first.

    On neutral ground the side named first in the first of a game's rows counts as home.
    """
    named_first = rows.groupby(_pair(rows))["first"].transform("first")
    is_home = (where == "home") | ((where == "neutral") & (rows["first"] == named_first))
    return pd.DataFrame(
        {
            "season": rows["season"],
            "day": rows["day"],
            "tip_off": rows["tip_off"],
            "home": rows["first"].where(is_home, rows["second"]),
            "away": rows["second"].where(is_home, rows["first"]),
            "neutral": rows["neutral"].astype(bool),
            "stage": rows["stage"],
            "home_score": rows["first_score"].where(is_home, rows["second_score"]),
            "away_score": rows["second_score"].where(is_home, rows["first_score"]),
            "side": is_home,
        }
    )


def _stage(checks: RowChecks, options: Options) -> pd.Series:
    names = options.columns.stages
    if not names:
        return pd.Series(options.stage_default, index=checks.frame.index, dtype=object)
    text = checks.text(names[0])
    for name in names[1:]:
        text = text + "/" + checks.text(name)
    values = {key.casefold(): stage for key, stage in options.stage_values.items()}
    stage = text.str.casefold().map(values)
    absent = is_missing(text) & stage.isna()
    as_written = text.str.casefold().str.replace(r"[^a-z0-9/]+", "-", regex=True).str.strip("-")
    if values:
        reason = f"is not among stage_values ({', '.join(options.stage_values)}); declare it there"
        checks.refuse(stage.isna() & ~absent, "/".join(names), lambda at: f"{text.iat[at]!r} {reason}")
    return stage.where(stage.notna(), as_written).where(~absent, options.stage_default).astype(object)


def _paired(checks: RowChecks, games: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row per game out of two: the home side's, or the away side's where that is the only one."""
    identity = ["day", "home", "away"]
    number = games.groupby([*identity, "side"]).cumcount()
    keyed = games[[*identity, "side", "home_score", "away_score"]].assign(number=number, at=games.index)
    both = keyed[keyed["side"]].merge(keyed[~keyed["side"]], on=[*identity, "number"], suffixes=("", "_other"))
    given = both[["home_score", "away_score", "home_score_other", "away_score_other"]].astype("float64").fillna(-1)
    differ = (given["home_score"] != given["home_score_other"]) | (given["away_score"] != given["away_score_other"])
    contradicted = np.zeros(len(checks.lines), dtype=bool)
    other: dict[int, int] = {}
    for at, at_other in both.loc[differ, ["at", "at_other"]].itertuples(index=False):
        contradicted[[at, at_other]] = True
        other[at], other[at_other] = at_other, at
    checks.refuse(
        contradicted, "row", lambda at: f"the game's other row, line {checks.lines[other[at]]}, says another score"
    )
    kept = games.drop(index=both["at_other"].tolist())
    kept = kept[checks.good[kept.index]]
    single = len(kept) - int((~differ).sum())
    if single:
        notes.append(f"{checks.table.path}: {single} games have only one of their two rows; taken from that one")
    return kept


def _refuse_mirror(path: Path, games: pd.DataFrame) -> None:
    """Raises SourceError if most games stand a second time with the teams swapped."""
    key = ["day", "home", "away", "home_score", "away_score"]
    swapped = games[["day", "away", "home", "away_score", "home_score"]].set_axis(key, axis=1)
    mirrored = len(games[key].merge(swapped, on=key))
    if len(games) > 1 and mirrored > len(games) / 2:
        raise SourceError(
            f"{path}: most games stand twice, with the teams swapped;"
            " map columns.team and columns.opponent, with rows_per_game: 2"
        )


def _joined(files: Sequence[FileGames]) -> tuple[pd.DataFrame, list[str]]:
    parts = sorted(files, key=lambda file: str(file.path))
    games = pd.concat([file.games.assign(part=number) for number, file in enumerate(parts)], ignore_index=True)
    identity = ["day", "home", "away"]
    played = games["home_score"].notna().groupby([games[c] for c in [*identity, "part"]]).transform("sum")
    ranked = games.assign(unplayed=-played).sort_values(["unplayed", "part"], kind="stable")
    taken_from = ranked.groupby(identity)["part"].transform("first").reindex(games.index)
    repeated = games["part"] != taken_from
    notes = [
        f"{parts[part].path}: {count} games stand in another file as well and are taken from there"
        for part, count in sorted(Counter(games.loc[repeated, "part"].tolist()).items())
    ]
    return games[~repeated].drop(columns="part").reset_index(drop=True), notes
