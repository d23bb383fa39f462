"""A league that does not exist: games and fan posts drawn from a seed, the same for ever.

What belongs here: the schedule, the hidden strengths, the scores and the fans of a simulated league. Everything about
a season is a pure function of the league's options and the season; `now` only decides how much of it is known yet.

The model: a team's hidden strength is a random walk by week with reversion between seasons; the home margin of a game
is Normal(strength difference + home advantage + rest and travel effects, 12 points). Every game draws from its own
generator, seeded by (seed, season, number of the game), so no draw depends on any other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import asin, cos, radians, sin, sqrt
from typing import Annotated, Any, NamedTuple
from zlib import crc32
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field

from hoops_assets.basketball.games import GAMES, empty_games, season_of, with_game_ids
from hoops_assets.basketball.league import (
    FINAL,
    PLAY_IN,
    QUARTER_FINAL,
    REGULAR,
    SEMI_FINAL,
    League,
    Strict,
)
from hoops_assets.basketball.sentiment import POSTS
from hoops_assets.errors import SettingsError
from hoops_assets.sources.contract import GamesRead, PostsRead
from hoops_assets.sources.validation import validate

KIND = "simulated"

GAME_LENGTH = timedelta(hours=2.5)
"""From tip-off until the score is known."""

MARGIN_SD = 12.0
STRENGTH_SD = 5.0
WEEKLY_DRIFT_SD = 0.5
CARRY_OVER = 0.75
NEW_SEASON_SD = 2.6  # keeps the spread of strengths at about STRENGTH_SD for ever
PROMOTED_MEAN, PROMOTED_SD = -4.0, 2.5
TOTAL_MEAN, TOTAL_SD = 214.0, 16.0
BACK_TO_BACK = -3.0
TRAVEL_PER_1000_KM = -0.8
TRAVEL_LIMIT_KM = 2500.0
DAYS_ON_THE_ROAD = 4
"""Points unless the name says otherwise. A team that has not played for DAYS_ON_THE_ROAD days travels from home."""

WEEKDAY_WEIGHTS = (0.3, 1.0, 1.0, 0.8, 1.4, 1.6, 1.2)  # Monday first
SECOND_DAY_WEIGHT, THIRD_DAY_WEIGHT = 2.0, 1e-6  # for a game day next to one, and for a third running
GAME_DAYS_A_BLOCK = 3  # few enough for an even season, enough for games on two days running
EVENING, MATINEE = (time(19, 0), time(19, 30), time(20, 0)), (time(13, 0), time(15, 30))
MATINEE_SHARE = 0.3  # of the games on Saturday and Sunday

QUARTER_FINALISTS = 8
PLAY_IN_AFTER, QUARTER_FINALS_AFTER, SEMI_FINALS_AFTER, FINAL_AFTER = 3, 8, 19, 31
SERIES_PACE = 3
"""Days from the last regular game day to each stage's first day, and between two games of a series."""

KNOCK_OUT_NUMBERS = {PLAY_IN: 10_000, QUARTER_FINAL: 10_100, SEMI_FINAL: 10_200, FINAL: 10_300}


def _month_day(value: str) -> str:
    try:
        date.fromisoformat(f"2001-{value}")
    except ValueError as error:
        raise ValueError(f"{value!r} is not a day of the year; use MM-DD, for example 10-14") from error
    return value


MonthDay = Annotated[str, AfterValidator(_month_day)]


class Shock(Strict):
    """From `date` on the home advantage is `home_advantage` points."""

    date: dt.date
    home_advantage: float


class SimulatedGamesOptions(Strict):
    """Options of `sources.games` with `kind: simulated`.

    Attributes:
        seed: everything random follows from it.
        simulated_from: first season that exists.
        regular_from, regular_to: "MM-DD", first and last day on which the regular season may play.
        meetings: how often each pair meets in the regular season; even, half of them at either home.
        game_days: game days of the regular season.
        direct_qualifiers: teams that reach the quarter-finals by rank; the other places are played for, one play-in
            game each, by the teams ranked next.
        home_advantage: points.
        promoted: mean strength, in points, of teams that join after the first season.
        published_days: days before its first possible game day on which a season's fixtures are published.
        shocks: changes of the home advantage, each from its date on.
    """

    seed: int = Field(ge=0)
    simulated_from: int = Field(ge=1850, le=2200)
    regular_from: MonthDay
    regular_to: MonthDay
    meetings: int = Field(4, ge=2, multiple_of=2)
    game_days: int = Field(ge=1)
    direct_qualifiers: int = Field(6, ge=4, le=QUARTER_FINALISTS)
    home_advantage: float = 2.6
    promoted: float = PROMOTED_MEAN
    published_days: int = Field(90, ge=1, le=180)
    shocks: tuple[Shock, ...] = ()


class _Entrant(NamedTuple):
    code: str
    since: int | None
    until: int | None
    location: tuple[float, float] | None


@dataclass(frozen=True)
class _Plan:
    """All that a season follows from; hashable, so that seasons can be cached by it."""

    options: SimulatedGamesOptions
    time_zone: str
    season_starts: str
    neutral_stages: tuple[str, ...]
    entrants: tuple[_Entrant, ...]

    def teams(self, season: int) -> list[_Entrant]:
        return [
            team
            for team in self.entrants
            if (team.since is None or team.since <= season) and (team.until is None or season <= team.until)
        ]

    def day(self, season: int, month_day: str) -> date:
        of_the_year_before = self.season_starts != "01-01" and month_day >= self.season_starts
        return date.fromisoformat(f"{season - of_the_year_before:04d}-{month_day}")

    def utc(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, ZoneInfo(self.time_zone)).astimezone(UTC)

    def published(self, season: int) -> datetime:
        first = self.day(season, self.options.regular_from)
        return self.utc(first - timedelta(days=self.options.published_days), time(12))

    def home_advantage(self, day: date) -> float:
        shocks = sorted((shock for shock in self.options.shocks if shock.date <= day), key=lambda shock: shock.date)
        return shocks[-1].home_advantage if shocks else self.options.home_advantage


class _Fixture(NamedTuple):
    number: int
    day: date
    tip_off: datetime
    home: str
    away: str
    stage: str
    known_at: datetime


class _Game(NamedTuple):
    fixture: _Fixture
    neutral: bool
    home_score: int
    away_score: int

    @property
    def result_at(self) -> datetime:
        return self.fixture.tip_off + GAME_LENGTH

    @property
    def winner(self) -> str:
        return self.fixture.home if self.home_score > self.away_score else self.fixture.away


@dataclass(frozen=True)
class _Season:
    """One whole season, played to its end.

    Attributes:
        games: columns of GAMES and `number`, `known_at`, `result_at`, by tip-off.
        strengths: hidden strength in points by team, one value a week from the first possible game day.
    """

    games: pd.DataFrame
    strengths: dict[str, np.ndarray]


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def _plan(league: League) -> _Plan:
    if league.sources.games.kind != KIND:
        raise SettingsError(
            f"league {league.name}, sources.games.kind: {league.sources.games.kind!r} is not simulated, and simulated"
            " posts follow simulated games; use another source of posts"
        )
    options = league.sources.games.options
    plan = _Plan(
        options=validate(SimulatedGamesOptions, options, f"league {league.name}", under=("sources", "games")),
        time_zone=league.time_zone,
        season_starts=league.season_starts,
        neutral_stages=league.home_rules.neutral_stages,
        entrants=tuple(_Entrant(code, t.since, t.until, t.location) for code, t in sorted(league.teams.items())),
    )
    _check(league.name, plan)
    return plan


def _seasons_of_change(plan: _Plan) -> list[int]:
    """The first season and every later one whose teams are not those of the season before."""
    first = plan.options.simulated_from
    joined = {team.since for team in plan.entrants if team.since is not None}
    left = {team.until + 1 for team in plan.entrants if team.until is not None}
    return [first, *sorted(season for season in joined | left if season > first)]


def _check(name: str, plan: _Plan) -> None:
    options = plan.options
    for season in _seasons_of_change(plan):
        teams = len(plan.teams(season))
        rounds = options.meetings * (teams - 1 + teams % 2)
        first, last = plan.day(season, options.regular_from), plan.day(season, options.regular_to)
        days = (last - first).days + 1
        needed = 2 * QUARTER_FINALISTS - options.direct_qualifiers
        next_season = plan.day(season + 1, plan.season_starts)
        if teams < needed:
            problem = f"direct_qualifiers: season {season} has {teams} teams, the knock-out needs {needed}; add teams"
        elif not rounds <= options.game_days <= days:
            problem = (
                f"game_days: {options.game_days} is not between the {rounds} rounds of season {season} and the {days}"
                " days from regular_from to regular_to; change one of them"
            )
        elif last + timedelta(days=FINAL_AFTER) >= next_season:
            problem = f"regular_to: the final, {FINAL_AFTER} days later, would fall into the next season; end earlier"
        else:
            continue
        raise SettingsError(f"league {name}, sources.games.{problem}")


# --- schedule


def _round_robin(teams: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Rounds in which every pair meets once and no team plays twice a round (circle method), as (home, away)."""
    circle: list[str | None] = [*teams] if len(teams) % 2 == 0 else [*teams, None]
    rounds = []
    for number in range(len(circle) - 1):
        pairs = [(circle[i], circle[-1 - i]) for i in range(len(circle) // 2)]
        swapped = [(b, a) if (number if i == 0 else i) % 2 else (a, b) for i, (a, b) in enumerate(pairs)]
        rounds.append([(a, b) for a, b in swapped if a is not None and b is not None])
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return rounds


def _game_days(plan: _Plan, season: int, random: np.random.Generator) -> list[date]:
    """Game days spread over the regular season in short blocks, preferring the end of the week, hardly ever three days
    running."""
    first, last = plan.day(season, plan.options.regular_from), plan.day(season, plan.options.regular_to)
    length, count = (last - first).days + 1, plan.options.game_days
    weekdays = np.array([WEEKDAY_WEIGHTS[(first + timedelta(days=offset)).weekday()] for offset in range(length)])
    chosen = np.zeros(length + 4, dtype=bool)  # day i at i + 2, so that its neighbours always exist
    blocks = max(1, count // GAME_DAYS_A_BLOCK)
    for block in range(blocks):
        before, after = block * count // blocks, (block + 1) * count // blocks
        candidates = np.arange(before * length // count, after * length // count)
        for _ in range(after - before):
            near = [chosen[candidates + 2 + step] for step in (-2, -1, 1, 2)]
            third = (near[0] & near[1]) | (near[1] & near[2]) | (near[2] & near[3])
            running = np.where(third, THIRD_DAY_WEIGHT, np.where(near[1] | near[2], SECOND_DAY_WEIGHT, 1.0))
            weights = weekdays[candidates] * running * ~chosen[candidates + 2]
            chosen[2 + random.choice(candidates, p=weights / weights.sum())] = True
    return [first + timedelta(days=int(offset)) for offset in np.flatnonzero(chosen[2:-2])]


def _tip_off(day: date, random: np.random.Generator) -> time:
    weekend, matinee, choice = day.weekday() >= 5, random.random() < MATINEE_SHARE, random.random()
    times = MATINEE if weekend and matinee else EVENING
    return times[int(choice * len(times))]


def _regular_season(plan: _Plan, season: int) -> list[_Fixture]:
    random = _generator(plan.options.seed, season, crc32(b"schedule"))
    codes = [team.code for team in plan.teams(season)]
    base = _round_robin([codes[i] for i in random.permutation(len(codes))])
    rounds: list[list[tuple[str, str]]] = []
    for meeting in range(plan.options.meetings):
        leg = [base[i] for i in random.permutation(len(base))]
        rounds += [[(b, a) for a, b in pairs] if meeting % 2 else pairs for pairs in leg]
    days = _game_days(plan, season, random)
    published = plan.published(season)
    fixtures: list[_Fixture] = []
    for number, pairs in enumerate(rounds):
        own = days[number * len(days) // len(rounds) : (number + 1) * len(days) // len(rounds)]
        for position, pair in enumerate(random.permutation(len(pairs))):
            home, away = pairs[pair]
            day = own[position * len(own) // len(pairs)]
            tip_off = plan.utc(day, _tip_off(day, random))
            fixtures.append(_Fixture(len(fixtures), day, tip_off, home, away, REGULAR, published))
    return fixtures


# --- play


@lru_cache(maxsize=512)
def _strengths(plan: _Plan, season: int) -> dict[str, np.ndarray]:
    before = _strengths(plan, season - 1) if season > plan.options.simulated_from else {}
    strengths = {}
    for team in plan.teams(season):
        random = _generator(plan.options.seed, season, crc32(team.code.encode()))
        start, weeks = random.standard_normal(), random.standard_normal(52) * WEEKLY_DRIFT_SD
        if team.code in before:
            level = CARRY_OVER * before[team.code][-1] + NEW_SEASON_SD * start
        elif team.since is not None and team.since > plan.options.simulated_from:
            level = plan.options.promoted + PROMOTED_SD * start
        else:
            level = STRENGTH_SD * start
        strengths[team.code] = level + np.concatenate([[0.0], np.cumsum(weeks)])
    return strengths


def _kilometres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle distance of two (latitude, longitude) in degrees (haversine formula)."""
    lat_a, lat_b = radians(a[0]), radians(b[0])
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin(radians(b[1] - a[1]) / 2) ** 2
    return 2 * 6371.0 * asin(sqrt(half))


class _Play:
    """Plays one season's games in the order of their tip-offs, remembering where every team last played."""

    def __init__(self, plan: _Plan, season: int) -> None:
        self.plan, self.season = plan, season
        self.strengths = _strengths(plan, season)
        self.homes = {team.code: team.location for team in plan.teams(season)}
        self.last: dict[str, tuple[date, tuple[float, float] | None]] = {}
        self.first_day = plan.day(season, plan.options.regular_from)
        self.games: list[_Game] = []

    def _effort(self, team: str, day: date, venue: tuple[float, float] | None) -> float:
        """Points that a short rest and the way to the venue cost a team."""
        last_day, last_venue = self.last.get(team, (None, None))
        days = (day - last_day).days if last_day else None
        cost = BACK_TO_BACK if days == 1 else 0.0
        origin = last_venue if days is not None and days <= DAYS_ON_THE_ROAD else self.homes[team]
        if origin and venue:
            cost += TRAVEL_PER_1000_KM * min(_kilometres(origin, venue), TRAVEL_LIMIT_KM) / 1000
        return cost

    def play(self, fixture: _Fixture) -> _Game:
        neutral = fixture.stage in self.plan.neutral_stages
        venue = None if neutral else self.homes[fixture.home]
        week = (fixture.day - self.first_day).days // 7
        mean = float(self.strengths[fixture.home][week] - self.strengths[fixture.away][week])
        mean += self._effort(fixture.home, fixture.day, venue) - self._effort(fixture.away, fixture.day, venue)
        mean += 0.0 if neutral else self.plan.home_advantage(fixture.day)
        home_score, away_score = self._score(mean, fixture.number)
        self.last[fixture.home] = self.last[fixture.away] = (fixture.day, venue)
        game = _Game(fixture, neutral, home_score, away_score)
        self.games.append(game)
        return game

    def _score(self, mean: float, number: int) -> tuple[int, int]:
        random = _generator(self.plan.options.seed, self.season, number)
        margin, total = mean + MARGIN_SD * random.standard_normal(), TOTAL_MEAN + TOTAL_SD * random.standard_normal()
        difference = round(margin) or (1 if margin > 0 else -1)
        points = max(round(total), 2 * 50 + abs(difference))
        points += (points + difference) % 2
        return (points + difference) // 2, (points - difference) // 2

    def series(
        self, stage: str, tie: int, pair: tuple[str, str], known_at: datetime, first: date, best_of: int
    ) -> _Game:
        """Plays games until one team of `pair` (better ranked first) has won the series; returns the deciding game."""
        better, other = pair
        wins = {better: 0, other: 0}
        needed = best_of // 2 + 1
        game: _Game | None = None
        for number in range(best_of):
            home, away = (other, better) if number % 2 else (better, other)
            day = first + timedelta(days=SERIES_PACE * number)
            # The first `needed` games are certain; each later one exists only once the game before has left it open.
            known_at = known_at if game is None or number < needed else game.result_at
            tip_off = self.plan.utc(day, EVENING[(tie + number) % len(EVENING)])
            slot = KNOCK_OUT_NUMBERS[stage] + 10 * tie + number
            game = self.play(_Fixture(slot, day, tip_off, home, away, stage, known_at))
            wins[game.winner] += 1
            if wins[game.winner] == needed:
                break
        assert game is not None
        return game


def _ranking(games: Sequence[_Game]) -> list[str]:
    """Teams by wins, then by points difference, then by code."""
    wins: dict[str, int] = {}
    difference: dict[str, int] = {}
    for game in games:
        margin = game.home_score - game.away_score
        for team, own in ((game.fixture.home, margin), (game.fixture.away, -margin)):
            wins[team] = wins.get(team, 0) + (own > 0)
            difference[team] = difference.get(team, 0) + own
    return sorted(wins, key=lambda team: (-wins[team], -difference[team], team))


def _knock_out(play: _Play) -> None:
    """Play-in games for the last places, quarter-finals and semi-finals best of three, one final; no re-seeding.

    A tie's `known_at` is the moment at which both its teams were known.
    """
    rank = _ranking(play.games)
    place = {team: number for number, team in enumerate(rank)}
    decided = max(game.result_at for game in play.games)
    end = max(game.fixture.day for game in play.games)
    direct = play.plan.options.direct_qualifiers
    slots = [(team, decided) for team in rank[:direct]]
    last = 2 * QUARTER_FINALISTS - direct - 1
    for tie in range(QUARTER_FINALISTS - direct):
        day = end + timedelta(days=PLAY_IN_AFTER + tie)
        game = play.series(PLAY_IN, tie, (rank[direct + tie], rank[last - tie]), decided, day, 1)
        slots.append((game.winner, game.result_at))
    ties = [(slots[0], slots[7]), (slots[3], slots[4]), (slots[1], slots[6]), (slots[2], slots[5])]
    for stage, after, best_of in (
        (QUARTER_FINAL, QUARTER_FINALS_AFTER, 3),
        (SEMI_FINAL, SEMI_FINALS_AFTER, 3),
        (FINAL, FINAL_AFTER, 1),
    ):
        winners = []
        for tie, (one, two) in enumerate(ties):
            better, other = sorted((one[0], two[0]), key=place.__getitem__)
            day = end + timedelta(days=after + tie % 2)
            game = play.series(stage, tie, (better, other), max(one[1], two[1]), day, best_of)
            winners.append((game.winner, game.result_at))
        ties = list(zip(winners[::2], winners[1::2], strict=False))


@lru_cache(maxsize=128)
def _season(plan: _Plan, season: int) -> _Season:
    play = _Play(plan, season)
    for fixture in sorted(_regular_season(plan, season), key=lambda fixture: (fixture.tip_off, fixture.number)):
        play.play(fixture)
    _knock_out(play)
    games = sorted(play.games, key=lambda game: (game.fixture.tip_off, game.fixture.number))
    return _Season(_frame(season, games), play.strengths)


def _frame(season: int, games: Sequence[_Game]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {
        "season": [season] * len(games),
        "day": [game.fixture.day for game in games],
        "tip_off": [game.fixture.tip_off for game in games],
        "home": [game.fixture.home for game in games],
        "away": [game.fixture.away for game in games],
        "neutral": [game.neutral for game in games],
        "stage": [game.fixture.stage for game in games],
        "home_score": [game.home_score for game in games],
        "away_score": [game.away_score for game in games],
        "number": [game.fixture.number for game in games],
        "known_at": [game.fixture.known_at for game in games],
        "result_at": [game.result_at for game in games],
    }
    types = {**GAMES, "number": "int64", "known_at": GAMES["tip_off"], "result_at": GAMES["tip_off"]}
    return pd.DataFrame({name: pd.Series(values, dtype=types[name]) for name, values in columns.items()})


def _seasons(plan: _Plan, start: datetime, end: datetime) -> Iterator[_Season]:
    """The seasons that contain any moment from start to end, and the one after if it is published by `end`."""
    zone = ZoneInfo(plan.time_zone)
    first = season_of(start.astimezone(zone).date(), plan.season_starts)
    last = season_of(end.astimezone(zone).date(), plan.season_starts)
    for season in range(max(first, plan.options.simulated_from), last + 2):
        if plan.published(season) <= end:
            yield _season(plan, season)


class SimulatedGames:
    """GameSource of a league whose `sources.games.kind` is simulated. Raises SettingsError if its options are wrong."""

    def __init__(self, league: League) -> None:
        self._plan = _plan(league)

    def read(self, now: datetime) -> GamesRead:
        """All games known at `now`: fixtures once published or decided, scores 2.5 hours after tip-off."""
        known = []
        for season in _seasons(self._plan, self._plan.published(self._plan.options.simulated_from), now):
            games = season.games[season.games["known_at"] <= now]
            played = games["result_at"] <= now
            known.append(
                games.assign(
                    home_score=games["home_score"].where(played), away_score=games["away_score"].where(played)
                )[list(GAMES)]
            )
        return GamesRead(with_game_ids(pd.concat(known, ignore_index=True) if known else empty_games()))


# --- fans

POST_FROM, POST_TO = timedelta(hours=60), timedelta(hours=3)
"""A game's posts stand between POST_FROM before its tip-off and POST_TO after it."""

FORM_GAMES = 5
FORM_SCALE, CONDITION_SCALE = 10.0, 4.0  # points per unit of mood
FAN_BIAS, MOOD_NOISE = 0.8, 0.9
TONE_EDGE = 0.35  # a mood above it sounds glad, one below minus it sounds sour
SHARE_AFTER_TIP_OFF = 0.2
FANS = 60  # of each team
BOT_SHARE, TWICE_SHARE, FOREIGN_SHARE, LOUD_SHARE = 0.04, 0.04, 0.06, 0.08

GLAD = (
    "love this {team} team 😍",
    "{team} are on fire right now 🔥🔥",
    "so happy with how we play, great defense",
    "let's gooo {team}!!! best team in the league",
    "we are killing it lately 💪",
    "good vibes only, we got this 😎",
    "beautiful ball movement, proud of these {team}",
    "bench is amazing ngl, easy win incoming",
    "W after W after W, I trust this coach ❤️",
    "that crossover was filthy, what a win 😂🔥",
)
FLAT = (
    "who else is watching {team} tonight? 🏀",
    "{team} game day",
    "anyone got a spare ticket for the {team}",
    "tip-off can't come soon enough",
    "starting five same as last time I guess",
    "idk what to expect from the {team} tbh",
    "parking at the arena opens two hours before",
    "🏀🏀🏀",
    "new kit looks different in person",
)
SOUR = (
    "{team} are awful right now 😡",
    "took the L again, embarrassing",
    "worst defense I have ever seen 🤮",
    "we can't hit a three to save our lives, terrible",
    "fire the coach. this is a disaster 😭",
    "so tired of losing, I hate this",
    "injuries everywhere, this season is cursed and sad",
    "refs were bad but we were worse smh 💔",
    "no energy, no plan, pathetic {team}",
    "another blown lead, I'm sick of it",
)
FOREIGN = {
    "glad": ("¡vamos {team}! qué gran equipo 🔥", "super équipe, on va gagner 💪", "ka pai {team}! 🎉"),
    "flat": ("¿a qué hora juega {team}?", "heute Abend {team} 🏀"),
    "sour": ("qué desastre de equipo 😡", "so schlecht war {team} lange nicht", "quelle honte, encore perdu 😭"),
}
BOT_TEXT = "🎟️ {team} tickets from 19, link in bio 🎟️"
ENDINGS = ("", "", "", " !!", " lol", " 🙏", " fr", " ...")


class SimulatedPostsOptions(Strict):
    """Options of `sources.posts` with `kind: simulated`.

    Attributes:
        posts_per_game: mean number of posts of one team's fans about one game.
    """

    posts_per_game: float = Field(6.0, ge=0, le=1000)


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@lru_cache(maxsize=128)
def _form(plan: _Plan, season: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By team: when each of its results was known (microseconds), and its mean margin over its last games before each
    of these moments and after the last (one value more)."""
    games = _season(plan, season).games
    margin = (games["home_score"] - games["away_score"]).to_numpy(dtype=float)
    moment = games["result_at"].astype("int64").to_numpy()
    home, away = games["home"].to_numpy(), games["away"].to_numpy()
    form = {}
    for team in _season(plan, season).strengths:
        own = np.flatnonzero((home == team) | (away == team))
        margins = np.where(home[own] == team, margin[own], -margin[own])
        recent = [margins[max(0, i - FORM_GAMES) : i].mean() if i else 0.0 for i in range(len(own) + 1)]
        form[team] = (moment[own], np.array(recent))
    return form


class _Fans:
    """The fans of one season: what each team's write around each of its games.

    Mood follows the results known when the post is written, a little of the team's hidden condition of the week (fans
    watch training), the fan's own bias and noise. It never uses the game's own result before that is known.
    """

    def __init__(self, plan: _Plan, season: int, posts_per_game: float, nicknames: dict[str, str]) -> None:
        self.plan, self.season, self.posts_per_game, self.nicknames = plan, season, posts_per_game, nicknames
        self.strengths = _season(plan, season).strengths
        self.form = _form(plan, season)
        self.first_day = plan.day(season, plan.options.regular_from)

    def posts(self, game: Any, team: str) -> list[tuple[Any, ...]]:
        """Rows (post_id, created_at in microseconds, team, author, text) about one game, of one team's fans."""
        random = _generator(self.plan.options.seed, self.season, int(game.number), crc32(f"fans of {team}".encode()))
        count = int(random.poisson(self.posts_per_game))
        if not count:
            return []
        created = self._created(_microseconds(game.tip_off), random.random((2, count)))
        fans = (FANS * random.random(count) ** 1.7).astype(int)
        moods = self._moods(team, game.day, created, fans, random.standard_normal(count))
        written: list[tuple[str, str]] = []
        for mood, fan, draws in zip(moods, fans, random.random((count, 5)), strict=True):
            written.append(self._text(team, mood, f"{team.lower()}_fan_{fan:02d}", draws, written))
        known_at = _microseconds(game.known_at)
        return [
            (f"{self.season}.{game.number}.{team}.{number}", int(moment), team, author, text)
            for number, (moment, (author, text)) in enumerate(zip(created, written, strict=True))
            if moment >= known_at
        ]

    @staticmethod
    def _created(tip_off: int, draws: np.ndarray) -> np.ndarray:
        before, after = POST_FROM // timedelta(seconds=1), POST_TO // timedelta(seconds=1)
        seconds = np.where(draws[0] < SHARE_AFTER_TIP_OFF, draws[1] * after, -(draws[1] ** 2) * before)
        return np.sort(tip_off + np.floor(seconds).astype("int64") * 1_000_000)

    def _moods(self, team: str, day: date, created: np.ndarray, fans: np.ndarray, noise: np.ndarray) -> np.ndarray:
        moments, form = self.form[team]
        recent = form[np.searchsorted(moments, created, side="right")]
        strength = self.strengths[team]
        condition = strength[(day - self.first_day).days // 7] - strength[0]
        bias = FAN_BIAS * ((fans * 37) % FANS / FANS - 0.5)
        return recent / FORM_SCALE + condition / CONDITION_SCALE + bias + MOOD_NOISE * noise

    def _text(
        self, team: str, mood: float, author: str, draws: np.ndarray, written: Sequence[tuple[str, str]]
    ) -> tuple[str, str]:
        kind, which, ending, foreign, loud = draws
        nickname = self.nicknames[team]
        if kind < BOT_SHARE:
            return f"ticketbot_{team.lower()}", BOT_TEXT.format(team=nickname)
        if kind < BOT_SHARE + TWICE_SHARE and written:
            return written[-1]
        tone = "glad" if mood > TONE_EDGE else "sour" if mood < -TONE_EDGE else "flat"
        own = {"glad": GLAD, "flat": FLAT, "sour": SOUR}[tone]
        phrases = FOREIGN[tone] if foreign < FOREIGN_SHARE else own
        text = phrases[int(which * len(phrases))].format(team=nickname) + ENDINGS[int(ending * len(ENDINGS))]
        return author, text.upper() if loud < LOUD_SHARE else text


class SimulatedPosts:
    """PostSource of a simulated league. Raises SettingsError if its options are wrong or its games are not simulated.

    Posts have no `now` of their own: a caller who reads up to the present passes it as `end`.
    """

    def __init__(self, league: League) -> None:
        options = league.sources.posts.options if league.sources.posts else {}
        where = f"league {league.name}"
        self._options = validate(SimulatedPostsOptions, options, where, under=("sources", "posts"))
        self._plan = _plan(league)
        self._nicknames = {code: team.name.split()[-1] for code, team in league.teams.items()}

    def read(self, start: datetime, end: datetime) -> PostsRead:
        """Posts with start <= created_at < end; the cost follows the games in that window."""
        rows: list[tuple[Any, ...]] = []
        if start < end:
            for season in _seasons(self._plan, start - POST_TO, end):
                rows += self._season_posts(season, start, end)
        frame = pd.DataFrame(rows, columns=["post_id", "created_at", "team", "author", "text"], dtype="object")
        frame["created_at"] = pd.to_datetime(frame["created_at"].astype("int64"), unit="us", utc=True)
        frame = frame.assign(source=KIND).astype(POSTS)[list(POSTS)]
        return PostsRead(frame.sort_values(["created_at", "post_id"], kind="stable", ignore_index=True))

    def _season_posts(self, season: _Season, start: datetime, end: datetime) -> Iterator[tuple[Any, ...]]:
        games = season.games
        near = games[(games["tip_off"] > start - POST_TO) & (games["tip_off"] < end + POST_FROM)]
        if near.empty:
            return
        fans = _Fans(self._plan, int(near["season"].iloc[0]), self._options.posts_per_game, self._nicknames)
        first, last = _microseconds(start), _microseconds(end)
        for game in near.itertuples():
            for team in (game.home, game.away):
                yield from (row for row in fans.posts(game, str(team)) if first <= row[1] < last)
