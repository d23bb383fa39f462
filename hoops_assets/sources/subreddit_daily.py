"""Daily sentiment scores of team subreddits, as files state them: scores, not texts, and a trap.

What belongs here: reading such files, and the join that keeps the trap shut. Each row was taken on the morning AFTER the
game whose result stands in `won`; joined to that game it would tell its result (AUC .655 against .525 for the next one).
So a score counts from the moment it was taken, for the team's next game and for no other, and `won` is kept apart as
`won_before`: a result already known, never a label for this score.

These scores have no texts and cover four months of one season, so they are no source of posts and no feature of the
lane. Their use is a benchmark: `for_next_game` beside `fan_sentiment` of the same games says whether ours tells more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

from hoops_assets.basketball.games import season_of
from hoops_assets.basketball.league import League
from hoops_assets.sources.contract import Rejected
from hoops_assets.sources.rows import RowChecks, is_missing, spellings
from hoops_assets.sources.text import expand, read_table

_VALUES = {
    "sen_pos": "sentences_positive",
    "sen_neu": "sentences_neutral",
    "sen_neg": "sentences_negative",
    "sen_com": "sentences_compound",
    "par_pos": "paragraph_positive",
    "par_neu": "paragraph_neutral",
    "par_neg": "paragraph_negative",
    "par_com": "paragraph_compound",
}

SUBREDDIT_SCORES = {
    "team": "object",  # franchise code
    "taken_at": "datetime64[us, UTC]",
    "won_before": "bool",  # result of the team's game before taken_at
    **dict.fromkeys(_VALUES.values(), "float64"),
}
"""Columns and pandas types of the scores: VADER's, summed over the sentences of a day's posts and of them as one
paragraph."""

_NOON = pd.Timedelta(hours=12)


@dataclass(frozen=True)
class ScoresRead:
    """Scores with the columns SUBREDDIT_SCORES, sorted by (taken_at, team), and the rows that were refused."""

    scores: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)


def read_scores(files: Sequence[str], league: League, time_zone: str | None = None) -> ScoresRead:
    """The scores of all files.

    Args:
        files: paths or globs.
        time_zone: of the times, which the files do not state; the league's by default, which for a clock in UTC takes
            the scores to be some hours younger than they are and so errs on the safe side.

    Raises:
        SourceError: a file cannot be read as a whole.
    """
    zone = ZoneInfo(time_zone) if time_zone else league.zone
    parts = [_read(path, league, zone) for path in expand(files)]
    scores = pd.concat([part.scores for part in parts], ignore_index=True)
    return ScoresRead(
        scores.sort_values(["taken_at", "team"], kind="stable", ignore_index=True),
        [row for part in parts for row in part.rejected],
    )


def _read(path: Path, league: League, zone: ZoneInfo) -> ScoresRead:
    table = read_table(path)
    columns = ["date", "team", "won", *_VALUES]
    table.require(columns)
    checks = RowChecks(table, columns)
    text = checks.text("date")
    local = pd.to_datetime(text, format="ISO8601", errors="coerce")
    checks.refuse(local.isna(), "date", lambda at: f"{text.iat[at]!r} is not a moment written as 2018-03-07 11:34:36")
    taken = local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").dt.tz_convert(UTC)
    days = local.dt.date
    seasons = [pd.NA if pd.isna(day) else season_of(day, league.season_starts) for day in days]
    season = pd.Series(seasons, index=days.index, dtype="Int64")
    values: dict[str, pd.Series] = {
        "team": checks.team("team", season, league.team, spellings(league)),
        "taken_at": taken,
        "won_before": checks.truth("won"),
    }
    checks.refuse(is_missing(checks.text("won")), "won", "won is not given")
    for column, name in _VALUES.items():
        number = pd.to_numeric(checks.text(column), errors="coerce")
        checks.refuse(number.isna(), column, lambda at, c=column: f"{checks.text(c).iat[at]!r} is not a number")
        values[name] = number
    good = checks.good & taken.notna().to_numpy()
    frame = pd.DataFrame({name: column[good] for name, column in values.items()})
    return ScoresRead(frame.astype(SUBREDDIT_SCORES)[list(SUBREDDIT_SCORES)], checks.in_file_order())


def for_next_game(scores: pd.DataFrame, fixtures: pd.DataFrame, zone: ZoneInfo) -> pd.DataFrame:
    """The score that was known before each game and taken after the team's game before it.

    Args:
        scores: columns SUBREDDIT_SCORES.
        fixtures: columns `basketball.games.FIXTURE_COLUMNS`; must hold every game of the time that the scores cover.

    Returns:
        game_id, day, team and the columns of SUBREDDIT_SCORES, one row a game and team that has a score: the last one
        taken before tip-off, without a tip-off before noon of the game day in league time. `won_before` is left out.
    """
    noon = (pd.to_datetime(fixtures["day"]) + _NOON).dt.tz_localize(zone).dt.tz_convert(UTC)
    cut = fixtures["tip_off"].fillna(noon.astype(fixtures["tip_off"].dtype)).astype("datetime64[us, UTC]")
    sides = [fixtures[["game_id", "day"]].assign(cut=cut, team=fixtures[side]) for side in ("home", "away")]
    games = pd.concat(sides, ignore_index=True).sort_values("cut", kind="stable")
    ordered = scores.drop(columns="won_before").sort_values("taken_at", kind="stable")
    joined = pd.merge_asof(
        ordered, games, left_on="taken_at", right_on="cut", by="team", direction="forward", allow_exact_matches=False
    )
    last = joined[joined["game_id"].notna()].drop_duplicates(["game_id", "team"], keep="last")
    first = ["game_id", "day", "team"]
    rest = [name for name in SUBREDDIT_SCORES if name not in ("team", "won_before")]
    return last.sort_values(["cut", "game_id", "team"])[[*first, *rest]].reset_index(drop=True)
