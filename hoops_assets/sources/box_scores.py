"""NBA box scores by team, from traditional and advanced files of stats.nba.com: `kind: nba_stats`.

What belongs here: what those files' columns mean, the join to games, and the four factors.

The files hold two rows a game, and neither a date nor who was at home. `GAME_ID` (0021200001) says the kind of game in
its third digit (2 regular season, 4 play-offs), the year in which the season began in the next two, and a number that
follows the schedule; read as a number it has lost its leading zeros. A game is recognised by its season, its two teams
and both their points; of two that agree even in these, the lower number is the earlier game.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from hoops_assets.basketball.league import REGULAR, League, SourceSpec, Strict
from hoops_assets.sources.contract import BOX_SCORES, BoxScoresRead, Rejected
from hoops_assets.sources.rows import RowChecks, spellings
from hoops_assets.sources.text import expand, read_table

COUNTS = {
    "FGM": "field_goals_made",
    "FGA": "field_goals_attempted",
    "FG3M": "threes_made",
    "FG3A": "threes_attempted",
    "FTM": "free_throws_made",
    "FTA": "free_throws_attempted",
    "OREB": "offensive_rebounds",
    "DREB": "defensive_rebounds",
    "AST": "assists",
    "STL": "steals",
    "BLK": "blocks",
    "TO": "turnovers",
    "PF": "fouls",
    "PTS": "points",
}
TRADITIONAL = ["GAME_ID", "TEAM_ABBREVIATION", "MIN", *COUNTS]
ADVANCED = ["GAME_ID", "TEAM_ABBREVIATION", "POSS"]


class Options(Strict):
    """Options of `sources.box_scores` with `kind: nba_stats`.

    Attributes:
        traditional: paths or globs of the files with shots, rebounds and so on.
        advanced: of those with possessions; without them possessions are estimated.
    """

    traditional: tuple[str, ...] = Field(min_length=1)
    advanced: tuple[str, ...] = ()


class NbaStats:
    """The box scores of a league's files."""

    def __init__(self, league: League, options: Options | None = None):
        """
        Args:
            options: in place of those in the league.
        """
        spec: SourceSpec | None = getattr(league.sources, "box_scores", None)
        self._league = league
        self._options = options or Options.model_validate(spec.options if spec else {})

    def files(self) -> list[Path]:
        return expand([*self._options.traditional, *self._options.advanced])

    def read(self, games: pd.DataFrame) -> BoxScoresRead:
        """The box scores of those of the games that the files have.

        Args:
            games: columns `basketball.games.RESULT_COLUMNS`.

        Raises:
            SourceError: a file cannot be read as a whole.
        """
        rejected: list[Rejected] = []
        rows = pd.concat([_traditional(p, self._league, rejected) for p in expand(self._options.traditional)])
        rows = rows.reset_index(drop=True)
        if self._options.advanced:
            parts = [_advanced(path, self._league, rejected) for path in expand(self._options.advanced)]
            possessions = pd.concat(parts).drop_duplicates(["number", "team"])
            rows = rows.merge(possessions, on=["number", "team"], how="left")
        else:
            rows["possessions"] = np.nan
        paired = _with_opponent(rows, rejected)
        joined, notes = _joined(paired, games, rejected)
        return BoxScoresRead(_typed(joined), rejected, notes)


def _traditional(path: Path, league: League, rejected: list[Rejected]) -> pd.DataFrame:
    checks, number, season, team = _opened(path, TRADITIONAL, league)
    minutes = checks.text("MIN").str.extract(r"^(\d+)(?::(\d\d))?$").astype("float64")
    checks.refuse(minutes[0].isna(), "MIN", lambda at: f"{checks.text('MIN').iat[at]!r} is not a time such as 240:00")
    values = {name: checks.whole_number(column, required=True) for column, name in COUNTS.items()}
    for column, name in COUNTS.items():
        checks.refuse((values[name] < 0).fillna(False), column, f"{column} is negative")
    for made, tried in (("FGM", "FGA"), ("FG3M", "FG3A"), ("FTM", "FTA"), ("FG3M", "FGM")):
        more = (values[COUNTS[made]] > values[COUNTS[tried]]).fillna(False)
        checks.refuse(more, made, f"{made} is larger than {tried}")
    scored = 2 * values["field_goals_made"] + values["threes_made"] + values["free_throws_made"]
    checks.refuse((scored != values["points"]).fillna(False), "PTS", "the points are not those of the shots made")
    frame = pd.DataFrame({"number": number, "season": season, "team": team, **values})
    frame["minutes"] = minutes[0] + minutes[1].fillna(0) / 60
    return _good(frame, checks, path, rejected)


def _advanced(path: Path, league: League, rejected: list[Rejected]) -> pd.DataFrame:
    checks, number, _, team = _opened(path, ADVANCED, league)
    possessions = pd.to_numeric(checks.text("POSS"), errors="coerce")
    wrong = possessions.isna() | (possessions <= 0)
    checks.refuse(wrong, "POSS", lambda at: f"{checks.text('POSS').iat[at]!r} is not a number of possessions")
    frame = pd.DataFrame({"number": number, "team": team, "possessions": possessions})
    return _good(frame, checks, path, rejected)[["number", "team", "possessions"]]


def _opened(path: Path, columns: Sequence[str], league: League) -> tuple[RowChecks, pd.Series, pd.Series, pd.Series]:
    """Checks of a file, and of its rows the GAME_ID with its zeros, the season, and the franchise."""
    table = read_table(path)
    table.require(columns)
    checks = RowChecks(table, list(columns))
    text = checks.text("GAME_ID")
    number = text.str.replace(r"\.0$", "", regex=True).str.zfill(10)
    known = number.str.fullmatch(r"00[24]\d{7}")
    checks.refuse(~known, "GAME_ID", lambda at: f"{text.iat[at]!r} is not the number of a season or play-off game")
    start = pd.to_numeric(number.str[3:5].where(known), errors="coerce").astype("Int64")
    century = pd.Series(np.where(start.fillna(0) >= 46, 1900, 2000), index=start.index)
    season = start + century + 1
    team = checks.team("TEAM_ABBREVIATION", season, league.team, spellings(league))
    return checks, number, season, team


def _good(frame: pd.DataFrame, checks: RowChecks, path: Path, rejected: list[Rejected]) -> pd.DataFrame:
    twice = frame.duplicated(["number", "team"]) & checks.good
    checks.refuse(twice, "row", "duplicate: an earlier row has the same game and team")
    rejected += checks.in_file_order()
    return frame.assign(file=str(path), line=checks.lines)[checks.good]


def _with_opponent(rows: pd.DataFrame, rejected: list[Rejected]) -> pd.DataFrame:
    """The rows whose game has two, with the other's as `opponent_*`; a game of one row cannot be joined."""
    rows = rows.drop_duplicates(["number", "team"])
    other = rows[["number", "team", "points", "offensive_rebounds", "defensive_rebounds"]]
    both = rows.merge(other, on="number", suffixes=("", "_other"))
    both = both[both["team"] != both["team_other"]]
    count = rows.groupby("number")["team"].transform("size")
    for row in rows[count != 2].itertuples():
        said = f"game {row.number} has {count[row.Index]} rows where 2 are expected"
        rejected.append(Rejected(str(row.file), int(str(row.line)), "GAME_ID", said, f"{row.number} {row.team}"))
    return both[both["number"].map(rows["number"].value_counts()) == 2].reset_index(drop=True)


def _joined(rows: pd.DataFrame, games: pd.DataFrame, rejected: list[Rejected]) -> tuple[pd.DataFrame, list[str]]:
    """The rows with their game: matched by season, kind of game, teams and points, then in order."""
    played = games[games["home_score"].notna()].sort_values(["day", "game_id"])
    sides = []
    for side, other in (("home", "away"), ("away", "home")):
        named = played[["game_id", "season", "day"]].assign(
            regular=played["stage"] == REGULAR,
            team=played[side],
            opponent=played[other],
            points=played[f"{side}_score"].astype("Int64"),
            opponent_points=played[f"{other}_score"].astype("Int64"),
            home=side == "home",
        )
        sides.append(named)
    known = pd.concat(sides, ignore_index=True).sort_values(["day", "game_id"], kind="stable")
    stated = rows.rename(columns={"team_other": "opponent", "points_other": "opponent_points"})
    stated = stated.assign(regular=stated["number"].str[2] == "2").sort_values("number", kind="stable")
    key = ["season", "regular", "team", "points", "opponent", "opponent_points"]
    for frame in (known, stated):
        for name in ("season", "points", "opponent_points"):
            frame[name] = frame[name].astype("Int64")
        frame["nth"] = frame.groupby(key).cumcount()
    joined = stated.merge(known, on=[*key, "nth"], how="left", validate="one_to_one")
    lost = joined["game_id"].isna()
    for row in joined[lost].itertuples():
        said = (
            f"game {row.number}: no {'regular-season' if row.regular else 'play-off'} game of season {row.season} was"
            f" {row.team} {row.points}, {row.opponent} {row.opponent_points}"
        )
        rejected.append(Rejected(str(row.file), int(str(row.line)), "GAME_ID", said, f"{row.number} {row.team}"))
    twins = int((joined["nth"] > 0).sum()) // 2
    notes = [f"box scores: {twins} games share teams and points with another and are joined in order"] if twins else []
    return joined[~lost], notes


def _typed(joined: pd.DataFrame) -> pd.DataFrame:
    """The columns BOX_SCORES, sorted by (day, game_id), home first."""
    made = joined["field_goals_made"].astype("float64")
    tried = joined["field_goals_attempted"].astype("float64")
    throws = joined["free_throws_attempted"].astype("float64")
    lost = joined["turnovers"].astype("float64")
    own_boards = joined["offensive_rebounds"].astype("float64")
    estimate = tried + 0.44 * throws - own_boards + lost
    frame = joined.assign(
        estimated=estimate,
        possessions_estimated=joined["possessions"].isna(),
        effective_field_goal_pct=(made + 0.5 * joined["threes_made"].astype("float64")) / tried,
        turnover_pct=lost / (tried + 0.44 * throws + lost),
        offensive_rebound_pct=own_boards / (own_boards + joined["defensive_rebounds_other"].astype("float64")),
        free_throw_rate=joined["free_throws_made"].astype("float64") / tried,
    )
    of_both = frame.groupby("game_id")["estimated"].transform("mean")
    frame["possessions"] = frame["possessions"].fillna(of_both)
    frame = frame.sort_values(["day", "game_id", "home"], ascending=[True, True, False], kind="stable")
    return frame[list(BOX_SCORES)].astype(BOX_SCORES).reset_index(drop=True)
