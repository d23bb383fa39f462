"""What is stored of models, leagues and answers, read as it stands on disk.

What belongs here: light readers. They read the very files and tables that the registry, the league files and the record
write, without the libraries that writing needs (pydantic models, pandas, SQLAlchemy).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

import hoops_assets
from hoops_assets.errors import HoopsError, SettingsError, StoreError

EMBEDDED = Path(hoops_assets.__file__).parent / "leagues"
_MOMENT = "%Y-%m-%d %H:%M:%S.%f"  # how SQLAlchemy spells a time in SQLite


# -- models -----------------------------------------------------------------------------------------------------------


def numbers(registry: Path, league: str) -> list[int]:
    """Numbers of a league's versions, ascending."""
    try:
        return sorted(int(path.name) for path in (registry / league).iterdir() if path.name.isdigit())
    except FileNotFoundError:
        return []


def folder_of(registry: Path, league: str, number: int) -> Path:
    return registry / league / f"{number:06d}"


def read_version(registry: Path, league: str, number: int) -> dict[str, Any]:
    """version.json of one version, as `registry.contract.ModelVersion` without uri and status.

    Raises:
        HoopsError: there is no such version, or its file is damaged.
    """
    path = folder_of(registry, league, number) / "version.json"
    try:
        version = json.loads(path.read_bytes())
        if (version["league"], version["version"]) != (league, number):
            raise ValueError(f"it describes {version['league']}/{version['version']}")
    except FileNotFoundError as error:
        found = numbers(registry, league)
        known = f"it has {found[0]} to {found[-1]}" if found else "it has none yet"
        raise HoopsError(f"league {league} has no model version {number}: {known}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}; restore it from a backup") from error
    return version


def read_manifest(registry: Path, league: str, number: int) -> dict[str, Any]:
    """manifest.json of one version, its digest checked; as `registry.contract.Manifest`.

    Raises:
        HoopsError: there is no such version, or its manifest is not what was registered.
    """
    version = read_version(registry, league, number)
    path = folder_of(registry, league, number) / "manifest.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing; restore it from a backup") from error
    found = hashlib.sha256(content).hexdigest()
    if found != version["manifest_digest"]:
        raise StoreError(
            f"{path} is not what was registered: its sha256 is {found[:12]}, not {version['manifest_digest'][:12]};"
            " restore it from a backup"
        )
    return json.loads(content)


def challenger_events(registry: Path, league: str) -> list[dict[str, Any]]:
    """Every naming of a challenger, oldest first; `at` is aware, UTC. As `registry.contract.ChallengerEvent`."""
    path = registry / league / "challengers.json"
    try:
        return [{**event, "at": _aware(event["at"])} for event in json.loads(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}; restore it from a backup") from error


def model_of(registry: Path, record: str, model: str) -> tuple[str, int]:
    """(league, version) that a model's name means: LEAGUE/NUMBER, LEAGUE/live or LEAGUE/challenger.

    `live` is the version with the greatest share of the league's traffic now, the older one if shares are equal.

    Raises:
        HoopsError: the name is none of these, or nothing serves or challenges.
    """
    league, slash, which = model.partition("/")
    if not slash or not league or not which:
        raise HoopsError(f"model {model!r}: write LEAGUE/NUMBER, LEAGUE/live or LEAGUE/challenger")
    if which == "challenger":
        events = challenger_events(registry, league)
        if not events:
            raise HoopsError(f"league {league} has no challenger yet; run: hoops train {league}")
        return league, int(events[-1]["version"])
    if which == "live":
        traffic = traffic_at(deployments(record, league), datetime.now(UTC))
        if not traffic:
            raise HoopsError(f"nothing of league {league} is deployed, so {model} names no version")
        return league, min(traffic, key=lambda number: (-traffic[number], number))
    if not which.isdigit():
        raise HoopsError(f"model {model!r}: write LEAGUE/NUMBER, LEAGUE/live or LEAGUE/challenger")
    return league, int(which)


# -- leagues ----------------------------------------------------------------------------------------------------------


def league_files(home: Path) -> dict[str, Path]:
    """The file of every league; a user's own in place of an embedded one."""
    return {path.stem: path for folder in (EMBEDDED, home / "leagues") for path in sorted(folder.glob("*.yaml"))}


def read_league(home: Path, league: str) -> dict[str, Any]:
    """A league's file as plain values, not validated.

    Raises:
        SettingsError: there is no such league, or its file is not YAML.
    """
    files = league_files(home)
    if league not in files:
        near = difflib.get_close_matches(league, files, n=1)
        guess = f" (did you mean {near[0]!r}?)" if near else ""
        raise SettingsError(f"no league {league!r}{guess}; there are {', '.join(sorted(files))}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(files[league].read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{files[league]}: not YAML in UTF-8: {error}; correct the file") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{files[league]}: found a {type(content).__name__}; a league's file holds `name: value`")
    return content


def zone_of(home: Path, league: str) -> ZoneInfo:
    """The time zone in which a league's days begin at midnight. Raises SettingsError."""
    name = read_league(home, league).get("time_zone")
    try:
        return ZoneInfo(str(name))
    except (ValueError, OSError) as error:
        raise SettingsError(
            f"{league_files(home)[league]}: field time_zone: {name!r} is not an IANA time zone such as America/New_York"
        ) from error


# -- the record -------------------------------------------------------------------------------------------------------


def rows(
    url: str, table: str, since: datetime | None = None, until: datetime | None = None, **equal: Any
) -> list[dict[str, Any]]:
    """Rows of a table of the record with since <= at < until, in the order of their appending; as `Record.rows`.

    An SQLite record is read without SQLAlchemy; one that does not exist, or has no such table yet, has no rows.

    Raises:
        StoreError: the record cannot be read.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or "?" in path:
        from hoops_assets.store.record import Record

        return Record(url).rows(table, since, until, **equal)
    if not Path(path).exists():
        return []
    conditions = [*(f"{name} = ?" for name in equal), *(["at >= ?"] if since else []), *(["at < ?"] if until else [])]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    values = [*equal.values(), *(_spelled(moment) for moment in (since, until) if moment)]
    try:
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            connection.row_factory = sqlite3.Row
            found = connection.execute(f"SELECT * FROM {table}{where} ORDER BY id", values).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return []
        raise StoreError(f"the record at {path} cannot be read: {error}; run: hoops doctor") from error
    return [{**dict(row), "at": _aware(row["at"])} for row in found]


def deployments(url: str, league: str) -> list[dict[str, Any]]:
    """Every change of what served, oldest first; `traffic` is {version: percent} after it, `evidence` as recorded."""
    found = sorted(rows(url, "deployments", league=league), key=lambda row: (row["at"], row["id"]))
    return [{**row, "traffic": traffic_of(row["traffic"]), "evidence": json.loads(row["evidence"])} for row in found]


def traffic_of(text: str | None) -> dict[int, int]:
    """{version: percent} from its JSON in the record."""
    return {int(version): int(percent) for version, percent in json.loads(text or "{}").items()}


def traffic_at(changes: list[dict[str, Any]], at: datetime) -> dict[int, int]:
    """{version: percent} at a moment (aware), of `deployments`; empty before the first."""
    return next((change["traffic"] for change in reversed(changes) if change["at"] <= at), {})


def _spelled(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; give an aware time")
    return moment.astimezone(UTC).strftime(_MOMENT)


def _aware(moment: str | datetime) -> datetime:
    value = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
