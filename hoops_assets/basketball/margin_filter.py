"""A joint Kalman filter on the home margin: team ratings, home edges and the price of playing two days running.

What belongs here: the state of the filter and its steps, pure and per game. Which games it walks through, and from where
it starts, is in `basketball.game_ratings`.

The observation of a game is the damped margin y = D tanh(m / D), so that a rout counts little more than a clear win:

    y = rating[home] - rating[away] + (edge[league] + edge[home]) * not neutral + tired_home + tired_away + noise

where the tired terms count for a side that had a fixture the day before. Between days the ratings and the league's edge
drift, between seasons ratings and home edges move towards the mean. With `form_variance` every team has a second,
short-lived rating that decays by the day. The noise variance is learned from the forecast errors. Forecast: mean and
standard deviation of y, the uncertainty of every term included.

Sources: R. E. Kalman, "A New Approach to Linear Filtering and Prediction Problems" (1960); M. E. Glickman and H. S. Stern,
"A State-Space Model for National Football League Scores" (JASA 1998), for ratings that drift between games and seasons.

Only element-wise operations are used, no linear algebra library: a state is the same to the last bit however many teams
there are, and on however many threads it runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from hoops_assets.basketball.new_teams import RECORD_GAMES, newcomer_rating


@dataclass(frozen=True)
class FilterRules:
    """Constants of the filter; means in points of damped margin, variances in points squared.

    Attributes:
        damping: D, the greatest damped margin.
        noise: variance of one game's damped margin around its mean, at the start.
        noise_memory: games over which the noise variance is learned.
        rating_variance: of a team when the filter starts, its mean then being 0.
        newcomer, newcomer_variance: mean and variance of a team that joins in a later season; the mean is drawn towards
            the records of those that joined before it (`new_teams.newcomer_rating`).
        carry_over: share of a rating that is left in the next season.
        season_variance, day_variance: growth of a rating's variance between seasons and with every day in a season.
        edge_variance, edge_carry_over, edge_season_variance: the same for a team's own home edge, whose mean is 0.
        league_edge, league_edge_variance: mean and variance of the league's home edge at the start.
        league_edge_season_variance, league_edge_day_variance: its growth.
        tired_home, tired_away, tired_variance: change of the home margin if that side played the day before.
        form_variance: stationary variance of the short-lived rating; 0 for a filter without one.
        form_memory: share of it that is left a day later.
    """

    damping: float
    noise: float
    noise_memory: float
    rating_variance: float
    newcomer: float
    newcomer_variance: float
    carry_over: float
    season_variance: float
    day_variance: float
    edge_variance: float
    edge_carry_over: float
    edge_season_variance: float
    league_edge: float
    league_edge_variance: float
    league_edge_season_variance: float
    league_edge_day_variance: float
    tired_home: float
    tired_away: float
    tired_variance: float
    form_variance: float = 0.0
    form_memory: float = 0.0


SLOW = FilterRules(
    damping=22.7,
    noise=73.0,
    noise_memory=4000.0,
    rating_variance=24.0,
    newcomer=-8.0,
    newcomer_variance=25.0,
    carry_over=0.75,
    season_variance=3.4,
    day_variance=0.024,
    edge_variance=0.47,
    edge_carry_over=0.905,
    edge_season_variance=0.126,
    league_edge=4.0,
    league_edge_variance=2.0,
    league_edge_season_variance=0.032,
    league_edge_day_variance=0.00028,
    tired_home=-2.0,
    tired_away=1.3,
    tired_variance=0.15,
)
"""Ratings that move slowly. Fitted to the NBA seasons 1985 to 2008 by `benchmarks/fit_margin_filter.py`, rounded."""

FORM = FilterRules(
    damping=24.1,
    noise=73.0,
    noise_memory=4000.0,
    rating_variance=24.0,
    newcomer=-8.0,
    newcomer_variance=25.0,
    carry_over=0.805,
    season_variance=3.9,
    day_variance=0.013,
    edge_variance=0.47,
    edge_carry_over=0.905,
    edge_season_variance=0.126,
    league_edge=4.0,
    league_edge_variance=2.0,
    league_edge_season_variance=0.032,
    league_edge_day_variance=0.00028,
    tired_home=-2.0,
    tired_away=1.3,
    tired_variance=0.15,
    form_variance=1.45,
    form_memory=0.96,
)
"""Ratings with a short-lived form beside them, fitted in the same way."""


@dataclass(frozen=True, slots=True)
class Encounter:
    """One game as the filter sees it.

    Attributes:
        home_tired, away_tired: the side had a fixture the day before.
        margin: home score minus away score, None while unplayed.
    """

    home: str
    away: str
    neutral: bool
    home_tired: bool
    away_tired: bool
    margin: int | None


@dataclass(frozen=True, slots=True)
class MarginForecast:
    """What the filter expects of a game, in points of damped margin.

    Attributes:
        mean, sd: of the home side's damped margin, all uncertainty and the noise of one game included.
        home_rating, away_rating: against an average team, form included.
        home_edge: the league's and the home team's together; 0 on neutral ground.
    """

    mean: float
    sd: float
    home_rating: float
    away_rating: float
    home_edge: float


_LEAGUE_EDGE, _TIRED_HOME, _TIRED_AWAY, _TEAMS = 0, 1, 2, 3
"""Places in the state: three of the league, then for every team rating, home edge and, if there is one, form."""


class MarginFilter:
    """State of the filter after the games seen so far: the mean of every term and their joint covariance."""

    def __init__(self, rules: FilterRules) -> None:
        self._rules = rules
        self._stride = 3 if rules.form_variance else 2
        self._place: dict[str, int] = {}
        self._mean = np.array([rules.league_edge, rules.tired_home, rules.tired_away])
        self._covariance = np.diag([rules.league_edge_variance, rules.tired_variance, rules.tired_variance])
        self._noise = rules.noise
        self._first_season = True
        self._records: dict[str, tuple[int, float]] = {}
        """Newcomer -> games that count for its record, and the sum of its strength in them."""

    def copy(self) -> Self:
        twin = type(self)(self._rules)
        twin._place = dict(self._place)
        twin._mean, twin._covariance = self._mean.copy(), self._covariance.copy()
        twin._noise, twin._first_season = self._noise, self._first_season
        twin._records = dict(self._records)
        return twin

    def _variances(self, term: int | None = None) -> np.ndarray:
        """View of the diagonal: all of it, or one term (0 rating, 1 home edge, 2 form) of every team."""
        diagonal = np.einsum("ii->i", self._covariance)
        return diagonal if term is None else diagonal[_TEAMS + term :: self._stride]

    def _scale(self, factors: np.ndarray) -> None:
        self._mean *= factors
        self._covariance *= factors[:, None]
        self._covariance *= factors

    def _factors(self, **terms: float) -> np.ndarray:
        factors = np.ones(len(self._mean))
        for number, name in enumerate(("rating", "edge", "form")[: self._stride]):
            factors[_TEAMS + number :: self._stride] = terms.get(name, 1.0)
        return factors

    def next_season(self) -> None:
        """Moves every team towards the mean and forgets its form."""
        rules = self._rules
        self._first_season = False
        self._scale(self._factors(rating=rules.carry_over, edge=rules.edge_carry_over, form=0.0))
        self._variances(0)[:] += rules.season_variance
        self._variances(1)[:] += rules.edge_season_variance
        if rules.form_variance:
            self._variances(2)[:] += rules.form_variance
        self._variances()[_LEAGUE_EDGE] += rules.league_edge_season_variance

    def pass_days(self, days: int) -> None:
        """Lets ratings drift and form fade between two game days of a season."""
        rules = self._rules
        if rules.form_variance:
            left = rules.form_memory**days
            self._scale(self._factors(form=left))
            self._variances(2)[:] += rules.form_variance * (1.0 - left * left)
        self._variances(0)[:] += rules.day_variance * days
        self._variances()[_LEAGUE_EDGE] += rules.league_edge_day_variance * days

    def _admit(self, team: str) -> int:
        """Place of the team's rating; a team not seen before gets one."""
        if team not in self._place:
            rules = self._rules
            start = (0.0, rules.rating_variance)
            if not self._first_season:
                start = (newcomer_rating(self._whole_records(), rules.newcomer), rules.newcomer_variance)
                self._records[team] = (0, 0.0)
            place = self._place[team] = len(self._mean)
            self._mean = np.concatenate([self._mean, [start[0], 0.0, 0.0][: self._stride]])
            wider = np.zeros((len(self._mean), len(self._mean)))
            wider[:place, :place] = self._covariance
            self._covariance = wider
            self._variances()[place:] = [start[1], rules.edge_variance, rules.form_variance][: self._stride]
        return self._place[team]

    def _whole_records(self) -> list[float]:
        """Strength of every newcomer that has a whole record, points against an average team."""
        return [total / games for games, total in self._records.values() if games == RECORD_GAMES]

    def _note_records(self, game: Encounter, error: float) -> None:
        """Adds a game to its newcomers' records: what the side showed is its rating before the game and the surprise."""
        for team, surprise in ((game.home, error), (game.away, -error)):
            games, total = self._records.get(team, (RECORD_GAMES, 0.0))
            if games < RECORD_GAMES:
                place = self._place[team]
                shown = self._mean.item(place) + (self._mean.item(place + 2) if self._stride == 3 else 0.0) + surprise
                self._records[team] = (games + 1, total + shown)

    def _terms(self, game: Encounter) -> tuple[list[int], list[int]]:
        """Places of the terms that count for the home side, and of those that count against it."""
        home, away = self._admit(game.home), self._admit(game.away)
        plus, minus = [home], [away]
        if self._rules.form_variance:
            plus.append(home + 2)
            minus.append(away + 2)
        if not game.neutral:
            plus += [home + 1, _LEAGUE_EDGE]
        if game.home_tired:
            plus.append(_TIRED_HOME)
        if game.away_tired:
            plus.append(_TIRED_AWAY)
        return plus, minus

    def _project(self, plus: list[int], minus: list[int]) -> tuple[np.ndarray, float, float]:
        """Covariance of every term with the game's mean, that mean, and its variance without noise."""
        covariance = self._covariance[plus[0]] - self._covariance[minus[0]]
        for place in plus[1:]:
            covariance += self._covariance[place]
        for place in minus[1:]:
            covariance -= self._covariance[place]
        mean = variance = 0.0
        for place in plus:
            mean += self._mean.item(place)
            variance += covariance.item(place)
        for place in minus:
            mean -= self._mean.item(place)
            variance -= covariance.item(place)
        return covariance, mean, variance

    def forecast(self, game: Encounter) -> MarginForecast:
        """What is expected of a game now. A team not seen before is admitted with the prior of a newcomer."""
        plus, minus = self._terms(game)
        _, mean, variance = self._project(plus, minus)
        form = self._stride == 3
        home, away = (
            self._mean.item(place) + (self._mean.item(place + 2) if form else 0.0) for place in (plus[0], minus[0])
        )
        edge = 0.0 if game.neutral else self._mean.item(plus[0] + 1) + self._mean.item(_LEAGUE_EDGE)
        return MarginForecast(mean, math.sqrt(variance + self._noise), home, away, edge)

    def learn(self, games: list[Encounter]) -> None:
        """Takes in the games of one day that have been played, in their order."""
        surplus = 0.0
        for game in games:
            if game.margin is None:
                continue
            covariance, mean, variance = self._project(*self._terms(game))
            variance += self._noise
            error = self._rules.damping * math.tanh(game.margin / self._rules.damping) - mean
            surplus += error * error - variance
            self._note_records(game, error)
            self._mean += covariance * (error / variance)
            covariance /= math.sqrt(variance)
            self._covariance -= covariance[:, None] * covariance
        self._noise = max(self._noise + surplus / self._rules.noise_memory, 0.1 * self._rules.noise)
