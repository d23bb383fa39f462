"""Games from balldontlie's REST API: `kind: balldontlie`.

What belongs here: what the provider's fields mean. How it is asked is in `http`.

Shapes were read in the provider's own repositories on GitHub: openapi/nba.yml of balldontlie-api/mcp (commit 3e49ddad:
the path /nba/v1/games, its parameters, NBAGame, NBATeam, Pagination, the error answers) and src/balldontlie/base.py of
balldontlie-api/python (commit 04017331: key in the header Authorization without a scheme, lists as `name[]`, the last
page without `next_cursor`). Scheduled games carry their tip-off in UTC in `status` and `date` as midnight in UTC in a
recorded answer of 2024 (LeiChenUCD/NBA-Stats-Simple). Unverified against the provider: the words for postponed and
cancelled games, the field `postponed` (known from clients only), and whether `date` is always the day in league time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pandas as pd
from pydantic import Field, field_validator

from hoops_assets.basketball.games import empty_games, season_of, with_game_ids
from hoops_assets.basketball.league import REGULAR, League, Strict
from hoops_assets.errors import SourceError
from hoops_assets.sources.contract import GamesRead
from hoops_assets.sources.http import Cache, Client, cache_folder, secret
from hoops_assets.sources.records import Records
from hoops_assets.sources.rows import POST_SEASON, RowChecks, as_games, is_missing, spellings

NAME = "balldontlie"

FIELDS = {
    "id": "id",
    "date": "date",
    "datetime": "datetime",
    "season": "season",
    "status": "status",
    "postseason": "postseason",
    "postponed": "postponed",
    "home_team": "home_team.abbreviation",
    "visitor_team": "visitor_team.abbreviation",
    "home_team_score": "home_team_score",
    "visitor_team_score": "visitor_team_score",
}

CALLED_OFF = ("postponed", "cancel", "suspended", "forfeit")
"""Beginnings, folded, of a status that says the game does not take place on its day."""

SETTLED_AGE = 30 * 86400.0
"""Seconds for which pages of a season that is over are taken from disk."""

MAX_PAGES = 200
"""Pages of one season after which a cursor is taken to run in a circle; the NBA has 14 of 100 games."""


class Options(Strict):
    """Options of `sources.games` with `kind: balldontlie`.

    Attributes:
        api_key_env: environment variable that holds the key.
        base_url, path: the provider's address; `/v1/games` is the path of older plans.
        since: first season asked for, by the year in which it ends; the league's first season by default.
        per_page: games a page, 100 at most.
        requests_per_minute: by the plan; the free one allowed 5 when this was written.
        refresh_minutes: for how long pages of a running season are taken from disk.
        timeout_seconds: for one answer.
    """

    api_key_env: str = "BALLDONTLIE_API_KEY"
    base_url: str = "https://api.balldontlie.io"
    path: str = "/nba/v1/games"
    since: int | None = None
    per_page: int = Field(default=100, ge=1, le=100)
    requests_per_minute: float = Field(default=5.0, gt=0, le=6000)
    refresh_minutes: float = Field(default=15.0, ge=0)
    timeout_seconds: float = Field(default=30.0, gt=0)

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("use an https:// address; the key goes with every request")
        return value.rstrip("/")


class BallDontLie:
    """The games that the provider states, season by season."""

    def __init__(self, league: League, client: Client | None = None):
        self._league = league
        self._options = Options.model_validate(league.sources.games.options)
        self._client = client

    def read(self, now: datetime) -> GamesRead:
        """All games from the first season asked for to the one that is on, or next, at `now`."""
        client = self._client or self._connect()
        current = season_of(now.astimezone(self._league.zone).date(), self._league.season_starts)
        first = self._options.since or self._league.first_season
        parts = [self._season(client, season, over=season < current) for season in range(first, current + 1)]
        filled = [part.games for part in parts if len(part.games)]
        games = pd.concat(filled, ignore_index=True) if filled else empty_games()
        return GamesRead(
            games=with_game_ids(games.astype({"season": "int32"})),
            rejected=[row for part in parts for row in part.rejected],
            notes=[note for part in parts for note in part.notes],
        )

    def _connect(self) -> Client:
        options = self._options
        where = f"options of sources.games of league {self._league.name}; keys: https://www.balldontlie.io"
        key = secret(options.api_key_env, NAME, where)
        return Client(
            source=NAME,
            per_minute=options.requests_per_minute,
            cache=Cache(cache_folder(self._league.name, NAME)),
            headers={"Authorization": key},
            timeout=options.timeout_seconds,
            remedies={401: f"the key in {options.api_key_env} was not accepted, or your plan does not include games"},
        )

    def _season(self, client: Client, season: int, over: bool) -> GamesRead:
        asked = f"{self._options.base_url}{self._options.path}"
        source = f"{asked}?seasons[]={season - 1}"
        records = list(self._records(client, asked, season, over))
        latest = {game["id"]: game for game in records if isinstance(game, dict) and "id" in game}
        others = [game for game in records if not (isinstance(game, dict) and "id" in game)]
        return parse(Records(source, [*latest.values(), *others], FIELDS), self._league, season)

    def _records(self, client: Client, asked: str, season: int, over: bool) -> Iterator[Any]:
        """Every record of a season, page by page; a page once fetched is not fetched again while it is fresh."""
        max_age = SETTLED_AGE if over else self._options.refresh_minutes * 60
        params = [("seasons[]", str(season - 1)), ("per_page", str(self._options.per_page))]
        seen: set[str] = set()
        cursor: list[tuple[str, str]] = []
        while len(seen) < MAX_PAGES:
            page = client.get_json(asked, [*params, *cursor], max_age)
            data = page.get("data") if isinstance(page, dict) else None
            if not isinstance(data, list):
                raise SourceError(f"{NAME}: {asked}: the answer has no list `data`; the provider has changed its shape")
            yield from data
            meta = page.get("meta")
            following = meta.get("next_cursor") if isinstance(meta, dict) else None
            if following is None or following == "":
                return
            if str(following) in seen:
                raise SourceError(f"{NAME}: {asked}: the cursor {following} came twice; run it again later")
            seen.add(str(following))
            cursor = [("cursor", str(following))]
        raise SourceError(f"{NAME}: {asked}: more than {MAX_PAGES} pages for one season; correct `per_page` or `path`")


def parse(table: Records, league: League, season: int) -> GamesRead:
    """The games among a season's records.

    `date` is the game day as it stands, whatever time follows it. The tip-off is `datetime`, else a moment in `status`;
    it counts only if its day in league time is that day, since a tip-off not yet fixed is given as midnight. Scores
    count only once the status begins with "Final". A game called off is left out until the provider gives it a day.

    Raises:
        SourceError: every record lacks the same field, so the provider has changed its shape.
    """
    checks = RowChecks(table, list(FIELDS))
    if checks.frame.empty:
        return GamesRead(empty_games(), checks.in_file_order())
    notes: list[str] = []
    named = pd.Series(season, index=checks.frame.index, dtype="Int64")
    start = checks.whole_number("season", required=True)
    checks.refuse(
        (start != season - 1).fillna(False), "season", lambda at: f"{start.iat[at]} in an answer for {season - 1}"
    )
    day = _days(checks)
    home = checks.team("home_team", named, league.team, spellings(league))
    away = checks.team("visitor_team", named, league.team, spellings(league))
    checks.opponents(home, away, "visitor_team")
    post = checks.truth("postseason")
    status = checks.text("status").str.casefold()
    final = status.str.startswith("final")
    off = (status.str.startswith(CALLED_OFF) | checks.truth("postponed")) & ~final
    scores = [checks.whole_number(f"{side}_team_score", required=False) for side in ("home", "visitor")]
    home_score, away_score = (score.where(final) for score in scores)
    checks.refuse(final & home_score.isna() & away_score.isna(), "home_team_score", "a final game without scores")
    checks.scores(home_score, away_score, "home_team_score", "visitor_team_score")
    _refuse_a_changed_shape(checks)
    tip_off = _tip_offs(checks, day, league, notes)
    columns = {
        "season": named,
        "day": day,
        "tip_off": tip_off,
        "home": home,
        "away": away,
        "stage": post.map({True: POST_SEASON, False: REGULAR}),
        "home_score": home_score,
        "away_score": away_score,
    }
    taken = checks.good & ~off.to_numpy()
    if (checks.good & off).any():
        notes.append(
            f"{table.path}: {int((checks.good & off).sum())} games are postponed or cancelled and left out until they"
            " have a day"
        )
    checks.once(pd.DataFrame(columns)[taken])
    kept = taken & checks.good
    games = as_games({name: column[kept] for name, column in columns.items()})
    return GamesRead(games.reset_index(drop=True), checks.in_file_order(), notes)


def _days(checks: RowChecks) -> pd.Series:
    text = checks.text("date")
    written = text.where(text.str.match(r"\d{4}-\d\d-\d\d($|T)"))
    day = pd.to_datetime(written.str[:10], format="%Y-%m-%d", errors="coerce")
    checks.refuse(is_missing(text), "date", "the date is not given")
    checks.refuse(day.isna(), "date", lambda at: f"{text.iat[at]!r} is not a date written as 2019-10-22")
    return day.dt.date.astype(object)


def _tip_offs(checks: RowChecks, day: pd.Series, league: League, notes: list[str]) -> pd.Series:
    """Tip-off in UTC, NaT where not given or not on the game day."""
    stated = checks.text("datetime")
    text = stated.where(~is_missing(stated), checks.text("status"))
    written = text.where(text.str.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$"))
    moment = pd.to_datetime(written, format="ISO8601", errors="coerce", utc=True)
    local = moment.dt.tz_convert(league.time_zone).dt.date
    elsewhere = moment.notna() & (local != day) & checks.good
    if elsewhere.any():
        notes.append(
            f"{checks.table.path}: {int(elsewhere.sum())} games have a tip-off that is not on their day in"
            f" {league.time_zone}; the day counts, and they are taken without a tip-off"
        )
    return moment.where(local == day).astype("datetime64[us, UTC]")


def _refuse_a_changed_shape(checks: RowChecks) -> None:
    if checks.good.any() or not checks.rejected:
        return
    first = checks.rejected[0]
    if all(row.field == first.field for row in checks.rejected):
        raise SourceError(
            f"{checks.table.path}: all {len(checks.rejected)} games are refused for {first.field}: {first.reason};"
            f" the provider has changed its shape, or the league's teams are not this provider's (first: {first.row})"
        )
