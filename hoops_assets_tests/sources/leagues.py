"""Leagues for tests of connectors."""

from __future__ import annotations

from typing import Any

from hoops_assets.basketball.league import League

TEAMS = {
    "TOR": {"name": "Toronto Raptors", "aliases": ["Toronto"]},
    "NOP": {"name": "New Orleans Pelicans", "was": ["NOK"]},
    "BOS": {"name": "Boston Celtics", "aliases": ["Boston", "Celtics"]},
    "LAL": {"name": "Los Angeles Lakers", "aliases": ["LA Lakers", "Lakers"]},
}


def league(games: dict[str, Any] | None = None, zone: str = "America/New_York", **sources: Any) -> League:
    """A league of four teams with the sources given."""
    return League.model_validate(
        {
            "name": "nba",
            "time_zone": zone,
            "first_season": 2010,
            "season_starts": "10-14",
            "sources": {"games": games or {"kind": "csv"}, **sources},
            "teams": TEAMS,
        }
    )
