"""The calendar file of a league: written by ingestion, the only thing that the definitions read to know the game days.

What belongs here: HOOPS_HOME/leagues/NAME.calendar.json, its reading and atomic writing.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

from hoops_assets.basketball.calendar import Calendar
from hoops_assets.errors import StoreError
from hoops_assets.store.atomic import write_text


def calendar_path(home: Path, league: str) -> Path:
    return home / "leagues" / f"{league}.calendar.json"


def read_calendar(home: Path, league: str) -> Calendar | None:
    """The stored calendar, or None if nothing has been ingested yet.

    Raises:
        StoreError: the file is not a calendar; deleting it is safe, the next ingestion writes it anew.
    """
    path = calendar_path(home, league)
    try:
        content = json.loads(path.read_text())
        seasons = {int(s): (date.fromisoformat(a), date.fromisoformat(b)) for s, (a, b) in content["seasons"].items()}
        return Calendar(tuple(date.fromisoformat(day) for day in content["days"]), seasons)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: not a calendar ({error}); delete it, the next ingestion writes it anew") from error


def calendar_digest(calendar: Calendar | None) -> str:
    """A short digest of the calendar's content, to see that a loaded one is no longer the stored one."""
    return hashlib.sha256(_text(calendar).encode()).hexdigest()[:12] if calendar else "none"


def write_calendar(home: Path, league: str, calendar: Calendar) -> bool:
    """Writes the calendar if it differs from the stored one; returns whether it did."""
    path, text = calendar_path(home, league), _text(calendar)
    if path.exists() and path.read_text() == text:
        return False
    write_text(path, text)
    return True


def _text(calendar: Calendar) -> str:
    seasons = {
        str(season): [first.isoformat(), last.isoformat()] for season, (first, last) in sorted(calendar.seasons.items())
    }
    return json.dumps({"seasons": seasons, "days": [day.isoformat() for day in calendar.days]}, indent=0)
