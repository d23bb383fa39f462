"""What SageMaker's endpoints answered, from data capture into the record, each answer once.

What belongs here: the attributes by which whoever asks tells for whom and about which games, and the import. A container
knows no fixtures and no customers, so both travel in the question's CustomAttributes, which capture keeps:

    hoops-customer=NAME;hoops-games=GAME_ID,GAME_ID
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hoops_assets.clouds.aws import Aws
from hoops_assets.services.aws import asked
from hoops_assets.store import atomic
from hoops_assets.store.record import Record

TABLE = "served_predictions"
CUSTOMER, GAMES = "hoops-customer", "hoops-games"
PLATFORM = "hoops"
"""The customer in whose name the platform itself asks."""

UNNAMED = "sagemaker"
"""The customer of a question that names none: whoever AWS let in."""

LONGEST = 1024
"""Characters of CustomAttributes."""

LATE = timedelta(hours=2)
"""How much later than its hour a captured answer may appear."""


_SOMETHING_ELSE = (ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What a line raises that is not an answer of ours in JSON: whoever AWS lets in may ask as he likes, and must not stop the
import for all others."""


class Collected(NamedTuple):
    """What an import made.

    Attributes:
        rows: how many it appended.
        skipped: lines of capture in the hours looked at that name no game and no version: answers in text/csv, and whatever
            else stands there.
    """

    rows: int
    skipped: int


class Place(NamedTuple):
    """What a game id stands for."""

    day: date
    home: str
    away: str


def attributes(customer: str, games: Sequence[str]) -> str:
    """CustomAttributes of a question about games, in the order of its rows."""
    return f"{CUSTOMER}={customer};{GAMES}={','.join(games)}"


def fit(games: Sequence[str]) -> int:
    """How many of the first games one question's attributes have room for; at least 1."""
    room, count = LONGEST - len(attributes("x" * 80, [])), 0
    for game in games:
        room -= len(game) + 1
        if room < 0:
            break
        count += 1
    return max(count, 1)


def places_of(fixtures: pd.DataFrame) -> dict[str, Place]:
    """Args: fixtures: columns game_id, day, home, away."""
    columns = fixtures[["game_id", "day", "home", "away"]].itertuples(index=False, name=None)
    return {game_id: Place(day, home, away) for game_id, day, home, away in columns}


def import_captured(aws: Aws, league: str, record: Record, places: Mapping[str, Place], cursor: Path) -> Collected:
    """Appends to `served_predictions` every captured answer that is not there yet.

    Args:
        cursor: a file that remembers through which hour all has been imported; without it everything is looked at again,
            and nothing is appended twice.

    Raises:
        ServiceError: the bucket cannot be read. StoreError: the record cannot be written.
    """
    made = skipped = 0
    with atomic.locked(cursor.with_suffix(".lock")):
        with asked(f"reading what the endpoint of {league} answered"):
            hours = _hours(aws, league, _since(cursor))
        for hour, keys in sorted(hours.items()):
            known = {
                row["request_id"]
                for row in record.rows(TABLE, hour - LATE, hour + timedelta(hours=1) + LATE, league=league)
            }
            with asked(f"reading what the endpoint of {league} answered"):
                lines = [line for key in sorted(keys) for line in aws.get(aws.uri(key)).splitlines()]
            rows: list[dict[str, Any]] = []
            for line in lines:
                try:
                    rows += _rows(json.loads(line), league, places)
                except _SOMETHING_ELSE:
                    skipped += 1
            new = sorted((row for row in rows if row["request_id"] not in known), key=lambda row: row["at"])
            if new:
                record.append_many(TABLE, new)
            made += len(new)
            atomic.write_json(cursor, {"through": hour.isoformat()})
    return Collected(made, skipped)


def _since(cursor: Path) -> datetime:
    try:
        through = datetime.fromisoformat(json.loads(cursor.read_bytes())["through"])
    except (FileNotFoundError, ValueError, KeyError):
        return datetime.min.replace(tzinfo=UTC)
    return through - LATE


def _hours(aws: Aws, league: str, since: datetime) -> dict[datetime, list[str]]:
    """Keys of capture files by their hour: .../VARIANT/YYYY/MM/DD/HH/FILE."""
    found: dict[datetime, list[str]] = {}
    for key in aws.keys(aws.uri(aws.key(league, "capture/"))):
        parts = key.split("/")
        try:
            hour = datetime(*map(int, parts[-5:-1]), tzinfo=UTC)  # type: ignore[misc]
        except (TypeError, ValueError):
            continue
        if hour >= since:
            found.setdefault(hour, []).append(key)
    return found


def _rows(event: dict[str, Any], league: str, places: Mapping[str, Place]) -> list[dict[str, Any]]:
    """The rows of one line of capture. Raises one of _SOMETHING_ELSE if it holds no answer of ours in JSON."""
    told = event["captureData"].get("endpointOutput")
    if told is None:
        return []
    if not told["observedContentType"].startswith("application/json"):
        raise ValueError(f"{told['observedContentType']} tells neither version nor request")
    data = base64.b64decode(told["data"]) if told["encoding"] == "BASE64" else told["data"]
    answer, about = json.loads(data), event["eventMetadata"]
    given = _attributes(about.get("customAttributes", ()))
    games = [game for game in given.get(GAMES, "").split(",") if game]
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(answer["predictions"]):
        game = games[number] if number < len(games) else one["game_id"]
        place = places.get(game) if game else None
        rows.append({
            "at": datetime.fromisoformat(about["inferenceTime"].replace("Z", "+00:00")),
            "request_id": answer["request_id"], "customer": given.get(CUSTOMER, UNNAMED)[:80], "league": league,
            "game_id": game, "day": place.day if place else None, "home": place.home if place else None,
            "away": place.away if place else None, "version": one["version"], "learner": one["learner"],
            "home_win_probability": one["home_win_probability"], "degraded": one["degraded"],
            # What had which share at that moment stands in the record of deployments.
            "traffic": None,
        })  # fmt: skip
    return rows


def _attributes(told: Sequence[str]) -> dict[str, str]:
    pairs = (part.partition("=") for one in told for part in one.split(";"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}
