"""Which games a person means: `stage=quarter-final season=2026`, `team=BOS from=2026-01-01`, a game id.

What belongs here: reading such a filter, and finding the games in the league's tables of played games. The tables are
asked in SQL through Delta Lake's own engine, which needs no pandas.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from hoops_assets.errors import HoopsError, StoreError
from hoops_assets.settings import AwsSettings

KEYS = ("stage", "season", "team", "home", "away", "day", "from", "to")
STAGES = {"qf": "quarter-final", "sf": "semi-final", "quarterfinal": "quarter-final", "semifinal": "semi-final"}
"""Other ways to write a stage; a plural is understood by itself."""

PLAYED = ("history", "results")
"""The tables of a league that hold its played games."""

_GAME_ID = re.compile(r"(\d{4}-\d\d-\d\d)\.([^.]+)\.([^.]+?)(\.\d+)?")


@dataclass(frozen=True)
class Filter:
    """A condition on games; all parts must hold.

    Attributes:
        text: as it was written.
        game_ids: these games only; empty means any.
        stages: spellings of one stage in lower case; empty means any.
        seasons: first and last, both included.
        team, home, away: franchise codes.
        first, last: days, both included.
    """

    text: str
    game_ids: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    seasons: tuple[int, int] | None = None
    team: str | None = None
    home: str | None = None
    away: str | None = None
    first: date | None = None
    last: date | None = None

    @property
    def sql(self) -> str:
        """As a condition over game_id, stage, season, home, away, day."""
        parts = []
        if self.game_ids:
            parts.append(f"game_id IN ({', '.join(map(_quoted, self.game_ids))})")
        if self.stages:
            parts.append(f"lower(stage) IN ({', '.join(map(_quoted, self.stages))})")
        if self.seasons:
            parts.append(f"season BETWEEN {self.seasons[0]} AND {self.seasons[1]}")
        if self.team:
            parts.append(f"(home = {_quoted(self.team)} OR away = {_quoted(self.team)})")
        parts += [f"{name} = {_quoted(value)}" for name, value in (("home", self.home), ("away", self.away)) if value]
        parts += [f"day >= DATE '{self.first}'"] if self.first else []
        parts += [f"day <= DATE '{self.last}'"] if self.last else []
        return " AND ".join(parts)


def parse_filter(text: str, league: Callable[[], dict[str, Any]]) -> Filter:
    """Reads a filter.

    Args:
        league: gives the league's file (`stored.read_league`), for the teams' names; asked only if a team is named.

    Raises:
        HoopsError: names the part that is not understood.
    """
    try:
        words = shlex.split(text.replace(",", " "))
    except ValueError as error:
        raise HoopsError(f"--games {text!r}: {error}; close the quotes") from None
    if not words:
        raise HoopsError(f"--games is empty; write for example stage=quarter-final season=2026, with {_keys()}")
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and _GAME_ID.fullmatch(word):
            found["game_ids"] = (*found.get("game_ids", ()), word)
            continue
        if not equals:
            key, value = "stage", word
        if key not in KEYS or not value:
            near = difflib.get_close_matches(key, KEYS, n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise HoopsError(
                f"--games: {word!r} is not understood{guess}; write KEY=VALUE with {_keys()}, or a game id"
            )
        found |= _part(key, value, league)
    return Filter(text, **found)


def _keys() -> str:
    return ", ".join(KEYS)


def _part(key: str, value: str, league: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if key == "stage":
        name = value.casefold()
        singular = name.removesuffix("s")
        return {"stages": tuple(dict.fromkeys((name, singular, STAGES.get(singular, name))))}
    if key == "season":
        first, dots, last = value.partition("..")
        try:
            return {"seasons": (int(first), int(last if dots else first))}
        except ValueError:
            raise HoopsError(f"--games: season {value!r}: write one season as 2026 or a span as 2024..2026") from None
    if key in ("team", "home", "away"):
        return {key: _team(value, league())}
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise HoopsError(f"--games: {key} {value!r} is not a day; write it as 2026-05-12") from None
    return {"from": {"first": day}, "to": {"last": day}, "day": {"first": day, "last": day}}[key]


def _team(spelling: str, league: dict[str, Any]) -> str:
    """Code of a team by code, name or alias. An earlier code means its successor, as in the tables."""
    codes: dict[str, str] = {}
    teams = league.get("teams") or {}
    for code, team in teams.items():
        was = [one["code"] if isinstance(one, dict) else one for one in team.get("was", ())]
        for name in (code, team["name"], *team.get("aliases", ()), *was):
            codes.setdefault(str(name).casefold(), str(code))
    found = codes.get(spelling.strip().casefold())
    if found is None:
        near = difflib.get_close_matches(spelling.casefold(), codes, n=1)
        guess = f" (did you mean {codes[near[0]]}?)" if near else ""
        raise HoopsError(f"--games: league {league.get('name')} has no team {spelling!r}{guess}")
    return found


@dataclass(frozen=True)
class Found:
    """The games of the tables.

    Attributes:
        matching: ids that the filter means, sorted; the day leads an id, so by day.
        known: ids of all played games.
        stages: all stages that were ever played.
    """

    matching: tuple[str, ...]
    known: frozenset[str]
    stages: tuple[str, ...]


def find_games(tables: str, league: str, wanted: Filter, aws: AwsSettings | None = None) -> Found:
    """The played games of a league and those of them that a filter means.

    Args:
        aws: as `store.delta.DeltaStore` takes it.

    Raises:
        StoreError: the league's tables cannot be read.
    """
    matching: set[str] = set()
    known: set[str] = set()
    stages: set[str] = set()
    for name in PLAYED:
        columns = _ask(
            f"{tables.rstrip('/')}/{league}/{name}",
            aws,
            f"SELECT game_id, ({wanted.sql}) AS meant FROM games",
            "SELECT DISTINCT stage FROM games",
        )
        if columns:
            (ids, meant), (found,) = columns
            known.update(ids)
            matching.update(game for game, yes in zip(ids, meant, strict=True) if yes)
            stages.update(found)
    return Found(tuple(sorted(matching)), frozenset(known), tuple(sorted(stages)))


def _ask(uri: str, aws: AwsSettings | None, *queries: str) -> list[list[list[Any]]]:
    """Columns of the answers to queries over the table `games` at a URI; nothing if it was never written."""
    from deltalake import DeltaTable, QueryBuilder
    from deltalake.exceptions import DeltaError

    options = None
    if "://" in uri:
        from hoops_assets.store.delta import storage_options  # needs pandas, for which a folder's tables do not wait

        options = storage_options(uri, aws)
    elif not (Path(uri) / "_delta_log").is_dir():
        return []
    try:
        if not DeltaTable.is_deltatable(uri, options):
            return []
        asked = QueryBuilder().register("games", DeltaTable(uri, storage_options=options))
        answers = [asked.execute(query).read_all() for query in queries]
    except (DeltaError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise StoreError(f"{uri} cannot be read: {first}; materialise the table again") from error
    return [
        [answer.column(position).to_pylist() for position in range(answer.num_columns)]  # type: ignore[attr-defined]
        for answer in answers
    ]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
