"""Several files that state the same seasons: which one is believed.

What belongs here: the rule by which dated snapshots become one set of games, the same whatever the order in which the
files are named and however often a content is repeated. Reading one file is in its connector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pandas as pd

from hoops_assets.sources.contract import Rejected


@dataclass(frozen=True)
class FileGames:
    """What one file states: games with columns GAMES in file order, the rows refused, and notes."""

    path: Path
    games: pd.DataFrame
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def newest_content(files: Sequence[FileGames]) -> tuple[pd.DataFrame, list[str]]:
    """For each season, the games of the one file whose content is newest.

    Rule: the file with the latest day that has a score; among equals the one with more games played, then with more
    games, then by a digest of the games. All of that season's games come from that file, so a game that was moved
    stands at its new day only, and one that was cancelled is gone. The file's name and its date on disk play no part.

    Returns:
        The games with columns GAMES, in season order, and one note for each file that gave nothing for a season.
    """
    seasons: dict[int, list[tuple[tuple[date, int, int], FileGames, pd.DataFrame]]] = {}
    for file in files:
        for season, games in file.games.groupby("season", sort=True):
            played = games["home_score"].notna()
            last = games.loc[played, "day"].max() if played.any() else date.min
            seasons.setdefault(int(str(season)), []).append(((last, int(played.sum()), len(games)), file, games))
    taken: list[pd.DataFrame] = []
    older: dict[tuple[str, str, str], list[int]] = {}
    for season in sorted(seasons):
        stated = seasons[season]
        if len(stated) > 1:
            stated = sorted(stated, key=lambda s: (s[0], _digest(s[2]), str(s[1].path)))
        best_content, best, best_games = stated[-1]
        taken.append(best_games)
        for content, file, games in stated[:-1]:
            relation = "is older than"
            if content == best_content:
                same = _digest(games) == _digest(best_games)
                relation = "states the same games as" if same else "is no newer than"
            older.setdefault((str(file.path), relation, str(best.path)), []).append(season)
    games = pd.concat(taken, ignore_index=True) if taken else pd.concat([f.games for f in files], ignore_index=True)
    notes = [
        f"{file} {relation} {newer} for {_named(years)}: nothing taken from it"
        for (file, relation, newer), years in older.items()
    ]
    return games, sorted(notes)


def _digest(games: pd.DataFrame) -> str:
    ordered = games.drop(columns="tip_off").astype(str).sort_values(["day", "home", "away"], kind="stable")
    return hashlib.sha256(ordered.to_csv(index=False).encode()).hexdigest()


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
