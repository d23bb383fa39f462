"""League files: found, read, made and written.

What belongs here: everything between a league YAML file and the validated `League`. Leagues come embedded in the
package (hoops_assets/leagues/*.yaml); a user's own stand in HOOPS_HOME/leagues/*.yaml, and one of the same name wins.
What a league is, is in `basketball.league`.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hoops_assets.basketball.league import League, SourceSpec
from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import GamesRead, Rejected
from hoops_assets.sources.open import check_options, open_games
from hoops_assets.sources.quarantine import describe
from hoops_assets.sources.text import expand, nearest, write_atomically
from hoops_assets.sources.validation import line_of, parse_yaml, validate

EMBEDDED = Path(__file__).resolve().parent.parent / "leagues"
TEMPLATES = EMBEDDED / "templates"

SEASONS_IN_PARTITIONS = 10
"""A new league gets partitions for this many of the last seasons in its files; older games stand in `history`."""

TEAM_OF_ITS_OWN = 20
"""Games that a code unknown to the NBA template must have to be taken for a new franchise and not for a slip."""

NBA_IS_MEANT_FROM = 15
"""NBA teams, at least, in a csv file whose teams are taken from the NBA template; there are 30."""

SHARE_OF_A_TEAM = 0.1
"""Share of the median team's games below which a spelling in a new csv league is taken for a slip."""


def leagues_folder(home: Path) -> Path:
    """The folder of the user's own league files."""
    return home / "leagues"


def find_leagues(home: Path) -> dict[str, Path]:
    """The file of every league, by file stem, sorted; a user's own in place of an embedded one."""
    files = {path.stem: path for folder in (EMBEDDED, leagues_folder(home)) for path in sorted(folder.glob("*.yaml"))}
    return dict(sorted(files.items()))


def load_league(path: Path) -> League:
    """One league file, validated with its sources' options. Relative source files stand for files beside the YAML file.

    Raises:
        SettingsError: names file, line, field, what was found and what to do.
    """
    text = _text(path)
    data = parse_yaml(text, str(path))
    league = validate(League, data, str(path), text)
    if league.name != path.stem:
        raise SettingsError(
            f"{path}{line_of(text, ('name',))}: field name: found {league.name!r}, but the file is named {path.name};"
            f" rename it {league.name}.yaml"
        )
    check_options(league, str(path), text)
    return _with_absolute_files(league, path.parent)


def load_leagues(home: Path) -> dict[str, League]:
    """Every league by name, sorted.

    Raises:
        SettingsError: the first file that is wrong.
    """
    return {name: load_league(path) for name, path in find_leagues(home).items()}


def get_league(home: Path, name: str) -> League:
    """One league by name; other leagues' files are not read.

    Raises:
        SettingsError: there is no such league, or its file is wrong.
    """
    found = find_leagues(home)
    if name not in found:
        known = ", ".join(found)
        raise SettingsError(
            f"no league {name!r}{nearest(name, found)}; there are {known}. `hoops leagues add` makes one"
        )
    return load_league(found[name])


def league_yaml(league: League) -> str:
    """The league as YAML text, without what has its default value."""
    data = league.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def write_league(league: League, home: Path) -> Path:
    """Writes the user's own file of a league, atomically, and returns its path."""
    path = leagues_folder(home) / f"{league.name}.yaml"
    write_atomically(path, league_yaml(league))
    return path


@dataclass(frozen=True)
class LeagueCheck:
    """What a league's source of games gives.

    Attributes:
        games, played, game_days, seasons: counts; `seasons` is {season: games}.
        first_day, last_day: of the games, None without games.
        rejected: rows that were refused.
        notes: sentences for people.
    """

    name: str
    games: int
    played: int
    game_days: int
    seasons: dict[int, int]
    first_day: date | None
    last_day: date | None
    rejected: list[Rejected]
    notes: list[str]


def check_league(league: League, now: datetime | None = None) -> LeagueCheck:
    """Reads the league's source of games and counts.

    Raises:
        SourceError: the source cannot be read as a whole.
    """
    read = open_games(league).read(now or datetime.now(UTC))
    games = read.games
    seasons = {int(str(season)): int(count) for season, count in games["season"].value_counts().sort_index().items()}
    return LeagueCheck(
        name=league.name,
        games=len(games),
        played=int(games["home_score"].notna().sum()),
        game_days=int(games["day"].nunique()),
        seasons=seasons,
        first_day=games["day"].min() if len(games) else None,
        last_day=games["day"].max() if len(games) else None,
        rejected=read.rejected,
        notes=read.notes,
    )


def new_league(
    name: str,
    source: str,
    files: Sequence[str],
    mapping: Path | None = None,
    time_zone: str | None = None,
    first_season: int | None = None,
    title: str | None = None,
) -> tuple[League, list[str]]:
    """A league made from files of games.

    Args:
        name: lower-case identifier.
        source: `fivethirtyeight` (teams and zone from the NBA template) or `csv` (teams from the files).
        files: paths or globs.
        mapping: YAML file with the options of `csv`, see `hoops_assets.sources.delimited.Options`; required for csv.
        time_zone: IANA zone of the game days; required for csv.
        first_season: first season with partitions; by default the last SEASONS_IN_PARTITIONS in the files.

    Returns:
        The league, not yet written, and notes for people.

    Raises:
        SettingsError, SourceError: naming what is wrong and what to do.
    """
    paths = [str(path.resolve()) for path in expand(files)]
    if source == "fivethirtyeight":
        if mapping is not None:
            raise SettingsError("--mapping belongs to --source csv; FiveThirtyEight's columns are known")
        data, notes = _from_fivethirtyeight(paths)
    elif source == "csv":
        data, notes = _from_csv(paths, mapping, time_zone)
    else:
        kinds = ["csv", "fivethirtyeight"]
        raise SettingsError(
            f"--source {source!r} is not made from files{nearest(source, kinds)}; use {' or '.join(kinds)}"
        )
    data = {"name": name, **data}
    data["title"] = title or data.get("title") or name
    data["time_zone"] = time_zone or data["time_zone"]
    if first_season is not None:
        data["first_season"] = first_season
    return validate(League, data, f"new league {name!r}"), notes


def _from_fivethirtyeight(paths: list[str]) -> tuple[dict[str, Any], list[str]]:
    from hoops_assets.sources.fivethirtyeight import merge, parse

    data, known = _nba_template()
    found = merge([parse(Path(path), lambda code, _: code, []) for path in paths])
    games = _some_games(found)
    totals: Counter[str] = Counter()
    first: dict[str, int] = {}
    for (code, season), count in _sides(games).items():
        if known.team(code, season) is None:
            totals[code] += count
            first[code] = min(season, first.get(code, season))
    notes = []
    for code, total in sorted(totals.items()):
        if total >= TEAM_OF_ITS_OWN:
            data["teams"][code] = {"name": code, "since": first[code]}
            notes.append(
                f"{code} is not in the NBA template: added as a franchise of its own, new in {first[code]},"
                f" with {total} games"
            )
        else:
            notes.append(
                f"{code} is not in the NBA template and has only {total} games: its rows will be refused;"
                " add it to `teams` if it is a team"
            )
    data["sources"] = {"games": {"kind": "fivethirtyeight", "files": paths}}
    data["first_season"] = _first_season(games)
    return data, notes


def _from_csv(paths: list[str], mapping: Path | None, time_zone: str | None) -> tuple[dict[str, Any], list[str]]:
    from hoops_assets.sources.delimited import Options, merge, parse

    if mapping is None:
        raise SettingsError(
            "--source csv needs --mapping FILE, a YAML file that says what the columns mean; see the README"
        )
    text = _text(mapping)
    given = parse_yaml(text, str(mapping))
    data = {field: given.pop(field) for field in list(given) if field in _LEAGUE_FIELDS}
    data["time_zone"] = time_zone or data.get("time_zone")
    if data["time_zone"] is None:
        raise SettingsError(f"{mapping}: time_zone is missing; add it, or give --time-zone, for example Europe/Berlin")
    options = validate(Options, {**given, "files": paths}, str(mapping), text)
    draft = {"name": "draft", "first_season": 2000, "teams": {}, **data}
    draft["sources"] = {"games": {"kind": "csv", **given, "files": paths}}
    league = validate(League, draft, str(mapping), text)
    as_spelled = [parse(Path(path), options, league, lambda spelling, _: spelling) for path in paths]
    games = _some_games(merge(as_spelled, options))
    notes: list[str] = []
    if not league.teams:
        data["teams"] = _nba_teams(games, notes) or _teams(games, notes)
    data["sources"] = draft["sources"]
    data["first_season"] = _first_season(games)
    return data, notes


_LEAGUE_FIELDS = ("title", "time_zone", "season_starts", "home_rules", "elo", "teams")
"""Fields of a league that a mapping file may hold beside the options of `csv`."""


def _nba_teams(games: pd.DataFrame, notes: list[str]) -> dict[str, Any] | None:
    """The NBA template's teams, if at least half of the NBA plays in the files and no team that is not of the NBA."""
    data, known = _nba_template()
    totals = _totals(games)
    enough = SHARE_OF_A_TEAM * statistics.median(totals.values())
    season = int(games["season"].max())
    found = {known.team(spelling, season) for spelling, total in totals.items() if total >= enough}
    if None in found or len(found) < NBA_IS_MEANT_FROM:
        return None
    notes.append("the teams are those of the NBA: taken from its template, with their earlier codes and arenas")
    return data["teams"]


def _totals(games: pd.DataFrame) -> Counter[str]:
    """Games of every spelling of a team."""
    totals: Counter[str] = Counter()
    for (spelling, _), count in _sides(games).items():
        totals[spelling] += count
    return totals


def _nba_template() -> tuple[dict[str, Any], League]:
    template = TEMPLATES / "nba.yaml"
    data = parse_yaml(template.read_text(encoding="utf-8"), str(template))
    draft = {"name": "nba", "first_season": 1947, "sources": {"games": {"kind": "fivethirtyeight"}}}
    return data, League.model_validate({**draft, **data})


def _teams(games: pd.DataFrame, notes: list[str]) -> dict[str, Any]:
    """A team for every spelling that has enough games, with a code made from the spelling."""
    totals = _totals(games)
    enough = SHARE_OF_A_TEAM * statistics.median(totals.values())
    teams: dict[str, Any] = {}
    for spelling, total in sorted(totals.items()):
        if total < enough:
            notes.append(
                f"{spelling!r} has only {total} games: not taken for a team, its rows will be refused;"
                " add it to `teams`, or to a team's `aliases`"
            )
            continue
        code = _code(spelling, teams)
        teams[code] = {"name": spelling}
    return teams


def _code(spelling: str, taken: Mapping[str, Any]) -> str:
    """A short code: the spelling itself up to four characters, initials of three words or more, else three letters."""
    plain = unicodedata.normalize("NFKD", spelling).encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Z0-9]+", plain.upper())
    joined = "".join(words) or "TEAM"
    if len(joined) <= 4:
        code = joined
    elif len(words) >= 3:
        code = "".join(word[0] for word in words)
    else:
        code = joined[:3]
    number = 2
    unique = code
    while unique in taken:
        unique = f"{code}{number}"
        number += 1
    return unique


def _some_games(read: GamesRead) -> pd.DataFrame:
    if read.games.empty:
        why = f"; the first of {len(read.rejected)} refused rows: {describe(read.rejected[0])}" if read.rejected else ""
        raise SourceError(f"the files hold no games that can be taken{why}")
    return read.games


def _sides(games: pd.DataFrame) -> dict[tuple[str, int], int]:
    """Games of every (team, season)."""
    sides = pd.concat([games[["home", "season"]], games[["away", "season"]].rename(columns={"away": "home"})])
    counts = sides.groupby(["home", "season"]).size().reset_index(name="games")
    return {(str(team), int(season)): int(count) for team, season, count in counts.itertuples(index=False, name=None)}


def _first_season(games: pd.DataFrame) -> int:
    seasons = sorted(games["season"].unique())
    return int(seasons[-SEASONS_IN_PARTITIONS:][0])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error


_FILE_OPTIONS = ("files", "archive", "schedule", "traditional", "advanced")
"""Options of sources that name files."""


def _with_absolute_files(league: League, folder: Path) -> League:
    specs: dict[str, SourceSpec] = {}
    for what in type(league.sources).model_fields:
        spec = getattr(league.sources, what)
        if not isinstance(spec, SourceSpec):
            continue
        options = {name: _absolute(spec.options[name], folder) for name in _FILE_OPTIONS if name in spec.options}
        if options:
            specs[what] = SourceSpec.model_validate({"kind": spec.kind, **spec.options, **options})
    return league.model_copy(update={"sources": league.sources.model_copy(update=specs)})


def _absolute(named: Any, folder: Path) -> Any:
    return [str(folder / file) for file in named] if isinstance(named, (list, tuple)) else str(folder / named)
