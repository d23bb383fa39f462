"""Several files that state the same seasons: which one is believed.

What belongs here: the rule by which dated snapshots become one set of games, the same whatever the order in which the
files are named and however often a content is repeated. Reading one file is in its connector.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import pandas as pd

from hoops_assets.basketball.league import REGULAR
from hoops_assets.sources.contract import Rejected


@dataclass(frozen=True)
class FileGames:
    """What one file states: games with columns GAMES in file order, the rows refused, and notes."""

    path: Path
    games: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Stated:
    """What one file states of one season. `content` orders files from old to new."""

    content: tuple[date, int, int]
    file: FileGames
    games: pd.DataFrame

    @cached_property
    def digest(self) -> str:
        ordered = self.games.drop(columns="tip_off").astype(str).sort_values(["day", "home", "away"], kind="stable")
        return hashlib.sha256(ordered.to_csv(index=False).encode()).hexdigest()

    @property
    def only_played(self) -> bool:
        return bool(self.games["home_score"].notna().all())


def newest_content(files: Sequence[FileGames]) -> tuple[pd.DataFrame, list[str]]:
    """For each season, the games of the one file whose content is newest, and what it leaves open.

    Rule: the file with the latest day that has a score; among equals the one with more games played, then with more
    games, then by a digest of the games. All of that season's games come from that file, so a game that was moved
    stands at its new day only, and one that was cancelled is gone. The file's name and its date on disk play no part.

    A file that holds played games only says nothing of the games to come: somebody has cut them off. If the newest is
    such a file, the newest file that has a schedule gives the rest: its unplayed games of the regular season on or
    after the last day played, as many of each pairing as have not been played since. What it had before that day was
    played, moved or cancelled; play-off games are provisional and are not taken over. Any newer file with a schedule
    denies by its silence, and so does a game played in a later season: then the season is over.

    Returns:
        The games with columns GAMES, in season order, and one note for each file that gave nothing for a season, and
        for each season that was completed from a second file.
    """
    seasons: dict[int, list[_Stated]] = {}
    for file in files:
        for season, games in file.games.groupby("season", sort=True):
            played = games["home_score"].notna()
            last = games.loc[played, "day"].max() if played.any() else date.min
            content = (last, int(played.sum()), len(games))
            seasons.setdefault(int(str(season)), []).append(_Stated(content, file, games))
    taken: list[pd.DataFrame] = []
    older: dict[tuple[str, str, str], list[int]] = {}
    notes: list[str] = []
    latest = max((season for season, of in seasons.items() if any(s.content[1] for s in of)), default=None)
    for season in sorted(seasons):
        stated = seasons[season]
        if len(stated) > 1:
            stated = sorted(stated, key=lambda s: (s.content, s.digest, str(s.file.path)))
        best = stated[-1]
        taken.append(best.games)
        unfinished = best.only_played and season == latest
        schedule = next((s for s in reversed(stated) if not s.only_played), None) if unfinished else None
        rest = _to_come(best, schedule) if schedule is not None else best.games.iloc[:0]
        if schedule is not None and len(rest):
            taken.append(rest)
            notes.append(
                f"{best.file.path} has played games only for season {season}: {len(rest)} games to come are taken from"
                f" {schedule.file.path}"
            )
        for other in stated[:-1]:
            if other is schedule and len(rest):
                continue
            relation = "is older than"
            if other.content == best.content:
                relation = "states the same games as" if other.digest == best.digest else "is no newer than"
            older.setdefault((str(other.file.path), relation, str(best.file.path)), []).append(season)
    games = pd.concat(taken, ignore_index=True) if taken else pd.concat([f.games for f in files], ignore_index=True)
    notes += [
        f"{file} {relation} {newer} for {_named(years)}: nothing taken from it"
        for (file, relation, newer), years in older.items()
    ]
    return games, sorted(notes)


def _to_come(best: _Stated, schedule: _Stated) -> pd.DataFrame:
    """The unplayed games of an older schedule that a newer file of played games leaves open, see `newest_content`."""
    last_day = best.content[0]
    scheduled = schedule.games[schedule.games["stage"] == REGULAR]
    played = best.games[best.games["stage"] == REGULAR]
    open_games = scheduled[scheduled["home_score"].isna() & (scheduled["day"] >= last_day)]
    pairing = ["home", "away"]
    meetings = Counter(zip(scheduled["home"], scheduled["away"], strict=True))
    meetings.subtract(zip(played["home"], played["away"], strict=True))
    from_the_end = open_games.sort_values("day", ascending=False, kind="stable").groupby(pairing).cumcount()
    left = [meetings[pair] for pair in zip(open_games["home"], open_games["away"], strict=True)]
    return open_games[from_the_end.reindex(open_games.index).to_numpy() < left]


def _named(seasons: list[int]) -> str:
    """`season 2020`, or `seasons 2016-2019, 2021`."""
    runs: list[list[int]] = []
    for season in sorted(seasons):
        if runs and season == runs[-1][-1] + 1:
            runs[-1].append(season)
        else:
            runs.append([season])
    said = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"season{'s' if len(seasons) > 1 else ''} {said}"
