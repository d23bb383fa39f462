"""What a league is: its teams and their successions, its calendar's zone, its home rules and where its data come from.

What belongs here: the validated model of one league YAML file. Reading and writing such files is in
`hoops_assets.sources.leagues`; parsing a source's rows is in the source's own module.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

REGULAR = "regular"
PLAY_IN = "play-in"
QUARTER_FINAL = "quarter-final"
SEMI_FINAL = "semi-final"
FINAL = "final"


class Strict(BaseModel):
    """A frozen model that refuses unknown fields, so that a typo in a YAML file is an error and not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Succession(Strict):
    """An earlier identity of a team: the code it had, and the last season in which that code meant this team."""

    code: str
    until: int | None = None


def _as_succession(value: Any) -> Any:
    return {"code": value} if isinstance(value, str) else value


class Team(Strict):
    """One franchise.

    Attributes:
        name: for people.
        aliases: other spellings that sources use for the team (names, cities, abbreviations).
        was: earlier codes that this franchise inherits its record from (renames and moves).
        since: first season; None means always. A team with `since` later than the league's first season is new
            (promoted or expansion) and starts from the rating of a new team.
        until: last season; None means still playing.
        location: (latitude, longitude) in degrees, for travel; None when unknown.
    """

    name: str
    aliases: tuple[str, ...] = ()
    was: tuple[Annotated[Succession, BeforeValidator(_as_succession)], ...] = ()
    since: int | None = None
    until: int | None = None
    location: tuple[float, float] | None = None


class EloRules(Strict):
    """Constants of the Elo rating, in rating points; the defaults are FiveThirtyEight's for the NBA.

    Source: N. Silver and R. Fischer-Baum, "How We Calculate NBA Elo Ratings" (FiveThirtyEight, 2015).
    """

    k: float = Field(default=20.0, gt=0)
    home_advantage: float = 100.0
    carry_over: float = Field(default=0.75, ge=0, le=1)
    mean: float = 1505.0
    new_team: float = 1300.0


class HomeRules(Strict):
    """Who is at home.

    Attributes:
        neutral_stages: stages that the league plays on neutral ground whatever the source says.
    """

    neutral_stages: tuple[str, ...] = ()


class SentimentRules(Strict):
    """How fan posts become sentiment.

    Attributes:
        scorer: `basketball`, VADER's rules with basketball's words in front of its own, or `vader`, VADER as published.
        window_hours: a post counts for a game if written in so many hours before tip-off.
    """

    scorer: Literal["basketball", "vader"] = "basketball"
    window_hours: float = Field(default=72.0, gt=0, le=336)


class SourceSpec(BaseModel):
    """Which connector reads, and its own options, which that connector validates."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class Sources(Strict):
    """Where a league's data come from.

    Attributes:
        games: required; the games that count.
        posts: what fans write.
        box_scores: figures of both teams, known after the game.
        odds: closing odds, a benchmark and never a feature.
        compare: a second source of the same games, which the first is held against and nothing is read from.
    """

    games: SourceSpec
    posts: SourceSpec | None = None
    box_scores: SourceSpec | None = None
    odds: SourceSpec | None = None
    compare: SourceSpec | None = None


class League(Strict):
    """One league, as its YAML file says.

    Attributes:
        name: lower-case identifier; key prefix of the league's assets and folder of its tables.
        title: for people.
        time_zone: IANA zone in which a game day begins at midnight.
        first_season: the first season with a partition per game day; older games stand in `history`.
            A season is named by the year in which it ends.
        season_starts: "MM-DD", the day on which one season turns into the next where the source does not name seasons.
        season_games: season -> regular-season games of each team, where the league announced another number than in the
            seasons before (a late start, a shorter calendar).
        sentiment: how fan posts become sentiment.
    """

    name: str
    title: str = ""
    time_zone: str
    first_season: int = Field(ge=1850, le=2200)
    season_starts: str = "07-01"
    season_games: dict[int, int] = {}
    sources: Sources
    home_rules: HomeRules = HomeRules()
    elo: EloRules = EloRules()
    sentiment: SentimentRules = SentimentRules()
    teams: dict[str, Team]

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
            raise ValueError(
                "use lower-case letters, digits and _ only, starting with a letter (it names assets and folders)"
            )
        return value

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not an IANA time zone such as America/New_York")
        return value

    @field_validator("season_starts")
    @classmethod
    def _season_starts(cls, value: str) -> str:
        if not re.fullmatch(r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", value):
            raise ValueError("use MM-DD, for example 07-01")
        return value

    @model_validator(mode="after")
    def _successions(self) -> League:
        owner: dict[str, str] = {}
        for code, team in self.teams.items():
            if team.since is not None and team.until is not None and team.until < team.since:
                raise ValueError(f"teams.{code}: until {team.until} is before since {team.since}")
            for succession in team.was:
                if succession.code in self.teams and succession.until is None:
                    raise ValueError(
                        f"teams.{code}.was: {succession.code} is also a team of its own; say until which season"
                        f" the code meant {code}, as {{code: {succession.code}, until: YEAR}}"
                    )
                taken = owner.setdefault(succession.code, code)
                if taken != code:
                    raise ValueError(
                        f"teams.{code}.was: {succession.code} already belongs to {taken}; a code has one successor"
                    )
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def _spellings(self) -> dict[str, str]:
        spellings: dict[str, str] = {}
        for code, team in self.teams.items():
            for spelling in (code, team.name, *team.aliases):
                spellings.setdefault(spelling.casefold(), code)
        return spellings

    @cached_property
    def _earlier(self) -> dict[str, tuple[str, int | None]]:
        return {s.code.casefold(): (code, s.until) for code, team in self.teams.items() for s in team.was}

    def team(self, spelling: str, season: int) -> str | None:
        """Code of the franchise that a source's spelling meant in a season, or None if the league has no such team."""
        key = spelling.strip().casefold()
        if key in self._earlier:
            code, until = self._earlier[key]
            if until is None or season <= until:
                return code
        return self._spellings.get(key)


SourceKind = Literal["games", "posts"]
