"""FiveThirtyEight's NBA files: `nba_elo.csv` (the history since 1947) and dated snapshots of `nba_elo_latest.csv`.

What belongs here: what those files' columns mean, and the damage they are known to come with. The licence of the data
is CC BY 4.0 (github.com/fivethirtyeight/data).

Columns used: date, season, neutral, playoff, team1, team2, score1, score2; all others (ratings, `carm-`, `raptor`,
added ones) are ignored. team1 is at home unless `neutral`. Files re-saved by R (NA, TRUE, FALSE) or by a spreadsheet
(dd-mm-yyyy, CRLF, byte order mark) are read as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
from pydantic import Field

from hoops_assets.basketball.games import empty_games, with_game_ids
from hoops_assets.basketball.league import FINAL, PLAY_IN, REGULAR, League, Strict
from hoops_assets.errors import SourceError
from hoops_assets.sources.contract import GamesRead
from hoops_assets.sources.rows import POST_SEASON, Resolve, RowChecks, as_games, is_missing, spellings
from hoops_assets.sources.snapshots import FileGames, newest_content
from hoops_assets.sources.text import by_value, expand, read_table

COLUMNS = ["date", "season", "neutral", "playoff", "team1", "team2", "score1", "score2"]

STAGES = {
    "": REGULAR,
    "na": REGULAR,
    "p": PLAY_IN,
    "q": "first-round",
    "s": "conference-semi-final",
    "c": "conference-final",
    "f": FINAL,
    "t": POST_SEASON,
    "true": POST_SEASON,
    "1": POST_SEASON,
    "0": REGULAR,
    "false": REGULAR,
}
"""What the `playoff` column says, folded. Read off the games that carry each letter: in 2020 and 2021 `p` are the
play-in games, `q` eight series, `s` four, `c` the two before the final. `t` marks play-off games of seasons before
2016, whose round is not given; R reads it as TRUE, as it reads `f` as FALSE."""

DATE_FORMATS = ("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%Y", "%m/%d/%Y")
"""Tried for a file as a whole, never row by row: 03-04-2020 alone does not say which month it is."""


class Options(Strict):
    """Options of `sources.games` with `kind: fivethirtyeight`.

    Attributes:
        files: paths or globs of .csv or .csv.gz files; the order does not matter.
    """

    files: tuple[str, ...] = Field(min_length=1)


class FiveThirtyEight:
    """The games that a set of FiveThirtyEight's files states."""

    def __init__(self, league: League):
        self._league = league
        self._options = Options.model_validate(league.sources.games.options)

    def files(self) -> list[Path]:
        return expand(self._options.files)

    def read(self, now: datetime) -> GamesRead:
        """All games of the files; they are the same at any `now`."""
        return merge([parse(path, self._league.team, spellings(self._league)) for path in self.files()])


def merge(files: Sequence[FileGames]) -> GamesRead:
    """One reading from several files, by the rule of `newest_content`."""
    games, notes = newest_content(files)
    return GamesRead(
        games=with_game_ids(games),
        rejected=[row for file in files for row in file.rejected],
        notes=[note for file in files for note in file.notes] + notes,
    )


def parse(path: Path, resolve: Resolve, known_teams: Sequence[str]) -> FileGames:
    """The games that one file states.

    Args:
        resolve: gives the franchise of a code in a season.
        known_teams: spellings to suggest when a team is unknown.

    Raises:
        SourceError: the file cannot be read as a whole.
    """
    table = read_table(path)
    table.require(COLUMNS)
    checks = RowChecks(table, COLUMNS)
    notes: list[str] = []
    if checks.frame.empty:
        if not checks.rejected:
            notes.append(f"{path}: the file has a header and no games")
        return FileGames(path, empty_games(), checks.in_file_order(), notes)
    season = checks.whole_number("season", required=True)
    day = _days(checks, season)
    home = checks.team("team1", season, resolve, list(known_teams))
    away = checks.team("team2", season, resolve, list(known_teams))
    checks.opponents(home, away, "team2")
    neutral = checks.truth("neutral")
    home_score = checks.whole_number("score1", required=False)
    away_score = checks.whole_number("score2", required=False)
    checks.scores(home_score, away_score, "score1", "score2")
    stage = _stages(checks, pd.DataFrame({"season": season, "day": day, "home": home, "away": away}), notes)
    columns = {
        "season": season,
        "day": day,
        "home": home,
        "away": away,
        "neutral": neutral,
        "stage": stage,
        "home_score": home_score,
        "away_score": away_score,
    }
    checks.once(pd.DataFrame(columns)[checks.good])
    games = as_games({name: column[checks.good] for name, column in columns.items()})
    return FileGames(path, games.reset_index(drop=True), checks.in_file_order(), notes)


def _days(checks: RowChecks, season: pd.Series) -> pd.Series:
    """The column `date` as datetime.date, read with the one format that fits the file best."""
    text = checks.text("date")
    given = text[~is_missing(text)]
    unique = pd.Series(given.unique(), dtype=object)
    fits = {form: pd.to_datetime(unique, format=form, errors="coerce") for form in DATE_FORMATS}
    count = {form: int(days.notna().sum()) for form, days in fits.items()}
    best = [form for form in DATE_FORMATS if count[form] == max(count.values())]
    if len(best) > 1 and count[best[0]] and not all(fits[form].equals(fits[best[0]]) for form in best):
        raise SourceError(
            f"{checks.table.path}: the dates, such as {unique[0]}, can be read as {' or as '.join(best)};"
            " write them as YYYY-MM-DD"
        )
    by_text = dict(zip(unique, fits[best[0]].dt.date, strict=True))
    day = text.map(by_text).astype(object)
    unread = day.isna()
    checks.refuse(is_missing(text), "date", "the date is not given")
    checks.refuse(
        unread, "date", lambda at: f"{text.iat[at]!r} is not a date written as {best[0]}, like the file's others"
    )
    year = day.map({d: d.year for d in by_text.values() if not pd.isna(d)}).astype("Int64")
    elsewhere = ~((year == season) | (year == season - 1)).fillna(True)
    checks.refuse(
        elsewhere, "date", lambda at: f"{text.iat[at]} cannot be in season {season.iat[at]}, which ends in that year"
    )
    return day


def _stages(checks: RowChecks, games: pd.DataFrame, notes: list[str]) -> pd.Series:
    """The stage of every game, with what R lost put right where that is certain."""
    path = checks.table.path
    marker = by_value(checks.text("playoff"), str.casefold)
    stage = marker.map(STAGES)
    unknown = sorted(marker[stage.isna() & checks.good].unique())
    notes += [f"{path}: unknown playoff marker {x!r}; its games have the stage 'playoff-{x}'" for x in unknown]
    stage = stage.where(stage.notna(), "playoff-" + marker)
    rows = games.assign(marker=marker)[checks.good]
    for year in sorted(rows.loc[rows["marker"] == "false", "season"].unique()):
        of_year = rows[rows["season"] == year]
        if set(of_year["marker"]) not in ({"false", "na"}, {"false", ""}):
            continue
        final = of_year.index[of_year["marker"] == "false"]
        others = of_year.index[_after_regular_season(of_year)].difference(final)
        stage.loc[others] = POST_SEASON
        stage.loc[final] = FINAL
        notes.append(
            f"{path}: season {year} has lost its play-off letters; its {len(final)} games marked FALSE are taken as the"
            f" final, {len(others)} others after the last day of the teams that missed the play-offs as {POST_SEASON}"
        )
    return stage


def _after_regular_season(games: pd.DataFrame) -> pd.Series:
    """Mask of the games after the last day on which a team played that missed the play-offs.

    Teams that missed them all end with the same number of games, play-off teams with various larger ones: a team missed
    them if it has no more games than the most common number.

    Args:
        games: day, home, away of one whole season.
    """
    sides = pd.concat([games[["day", side]].set_axis(["day", "team"], axis=1) for side in ("home", "away")])
    played = sides["team"].value_counts()
    missed = played.index[played <= played.mode().min()]
    return games["day"] > sides.loc[sides["team"].isin(missed), "day"].max()
