"""A league that plays as fast as the platform keeps up: its provider, its fans, its clock, and a home for it.

What belongs here: what stands outside the platform. Games come over HTTP from a provider on the loopback, which may be told
to refuse; fan posts come in files. Both are drawn from a simulated twin of the league, by the world's own clock. The
platform's clock is the setting `now` in HOME/settings.yaml: every process reads it when it starts, and the code location
when it is reloaded, as it should be every morning.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hoops_assets.basketball.league import League
from hoops_assets.settings import SETTINGS_FILE, Settings
from hoops_assets.sources.simulated import SimulatedGames, SimulatedPosts
from hoops_assets.store.atomic import write_text
from hoops_assets_tests.sources.loopback import Answer, Request, provider

NAME = "soak"
KEY_VARIABLE = "BALLDONTLIE_API_KEY"
TEAMS = {code: f"{code.title()}s" for code in ("ANT", "BEE", "CAT", "DOE", "ELK", "FOX", "GNU", "HEN")}
NOON = time(17)
"""In UTC, when the league's day before is over and its new one has not begun to play."""

TWIN = {
    "name": NAME,
    "time_zone": "America/New_York",
    "first_season": 2024,
    "season_starts": "07-01",
    "sources": {
        "games": {
            "kind": "simulated", "seed": 7, "simulated_from": 2024, "regular_from": "10-14", "regular_to": "05-10",
            "meetings": 6, "game_days": 140, "direct_qualifiers": 8,
        },
        "posts": {"kind": "simulated", "posts_per_game": 2},
    },
    "teams": {code: {"name": name} for code, name in TEAMS.items()},
}  # fmt: skip


@dataclass
class World:
    """The league outside the platform.

    Attributes:
        refuse: statuses that the provider answers with, one a request, before it answers again.
        refused: how often it did, by status.
    """

    home: Path
    now: datetime
    twin: League = field(default_factory=lambda: League.model_validate(TWIN))
    refuse: list[int] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def games(self) -> pd.DataFrame:
        """What is known of all games at the present."""
        return SimulatedGames(self.twin).read(self.now).games

    def game_days(self, first: date, count: int) -> list[date]:
        """The next days with games, from one on."""
        return sorted(day for day in set(self.games()["day"]) if day >= first)[:count]

    def move_to(self, day: date) -> None:
        """It is noon of a day, in the league: the platform reads the clock, the fans have written, the provider knows."""
        self.tell_clock_of(day)
        before, now = self.now, _noon(day)
        self._write_posts(before, now)
        self.now = now

    def tell_clock_of(self, day: date, **settings: object) -> None:
        """Noon of a day is what the platform takes for the present from now on; and other settings."""
        path = self.home / SETTINGS_FILE
        kept = yaml.safe_load(path.read_text()) if path.exists() else {}
        write_text(path, yaml.safe_dump({**kept, **settings, "now": _noon(day).isoformat()}))

    def settings(self) -> Settings:
        """The settings as the platform's own processes read them."""
        return Settings(home=self.home, **yaml.safe_load((self.home / SETTINGS_FILE).read_text()))

    def answer(self, request: Request) -> Answer:
        """The provider's answer: a page of the games of a season, in the shape of balldontlie."""
        with self._lock:
            if self.refuse:
                status = self.refuse.pop(0)
                self.refused[status] += 1
                return Answer("", status, {"Retry-After": "1"} if status == 429 else {})
        start, size = int(request.query["seasons[]"][0]), int(request.query["per_page"][0])
        first = int(request.query.get("cursor", ["0"])[0])
        games = self.games()
        games = games[games["season"] == start + 1].reset_index(drop=True)
        page = games.iloc[first : first + size]
        meta: dict[str, Any] = {"per_page": size}
        if first + size < len(games):
            meta["next_cursor"] = first + size
        return Answer({"data": [_record(number, game) for number, game in page.iterrows()], "meta": meta})

    def _write_posts(self, start: datetime, end: datetime) -> None:
        """The posts of a span of time in a file of its own."""
        posts = SimulatedPosts(self.twin).read(start, end).posts
        lines = [
            json.dumps({"id": post.post_id, "at": str(post.created_at), "team": post.team,
                        "author": post.author, "text": post.text})
            for post in posts.itertuples()
        ]  # fmt: skip
        write_text(self.home / "posts_in" / f"{end:%Y-%m-%d}.jsonl", "".join(f"{line}\n" for line in lines))


def _noon(day: date) -> datetime:
    return datetime.combine(day, NOON, UTC)


def _record(number: Any, game: Any) -> dict[str, Any]:
    """A game as the provider tells it."""
    played = pd.notna(game["home_score"])
    tip_off = game["tip_off"].isoformat().replace("+00:00", "Z")
    teams = {
        side: {"id": 1, "abbreviation": game[name], "full_name": TEAMS[game[name]]}
        for side, name in (("home_team", "home"), ("visitor_team", "away"))
    }
    return {
        "id": int(game["season"]) * 10_000 + int(number), "date": str(game["day"]), "season": int(game["season"]) - 1,
        "status": "Final" if played else tip_off, "datetime": tip_off, "postseason": game["stage"] != "regular",
        "home_team_score": int(game["home_score"]) if played else 0,
        "visitor_team_score": int(game["away_score"]) if played else 0, **teams,
    }  # fmt: skip


@contextmanager
def world(home: Path, today: date) -> Iterator[World]:
    """A world at noon of a day, and a home whose league file names its provider."""
    made = World(home, _noon(today))
    with provider(made.answer) as there:
        games = {
            "kind": "balldontlie", "base_url": there.url, "requests_per_minute": 6000, "refresh_minutes": 0,
            "timeout_seconds": 10,
        }  # fmt: skip
        posts = {
            "kind": "json_lines", "files": [str(home / "posts_in" / "*.jsonl")],
            "fields": {"id": "id", "created_at": "at", "team": "team", "author": "author", "text": "text"},
        }  # fmt: skip
        (home / "leagues").mkdir(parents=True)
        file = {**TWIN, "sources": {"games": games, "posts": posts}}
        (home / "leagues" / f"{NAME}.yaml").write_text(yaml.safe_dump(file, sort_keys=False))
        made._write_posts(made.now - timedelta(days=14), made.now)
        made.tell_clock_of(today, mlflow_tracking_uri="", upcoming_days=14)
        yield made
