"""Fits the constants of the margin filters: `python benchmarks/fit_margin_filter.py GAMES...`

GAMES are files of FiveThirtyEight's NBA history. Only seasons up to 2008 are read, whatever else the files hold: later
seasons are where the forecast is judged. Every constant in turn is moved up and down by a factor, the step halves where
neither helps. What is minimised is the log loss of 1 / (1 + exp(-a mean / sd)) over the seasons 1985 to 2008, `a` being
fitted alongside. SLOW is fitted first, FORM starts from it. Prints both as they stand in `basketball/margin_filter.py`.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import asdict, replace
from datetime import datetime

import numpy as np

from hoops_assets.basketball import game_ratings
from hoops_assets.basketball.margin_filter import FORM, SLOW, FilterRules, MarginFilter
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.open import open_games

LAST_SEASON = 2008
FIRST_SCORED = 1985

SLOW_FITTED = (
    "carry_over", "season_variance", "day_variance", "damping", "edge_variance", "edge_carry_over",
    "edge_season_variance", "league_edge", "league_edge_day_variance", "league_edge_season_variance",
    "tired_home", "tired_away", "tired_variance", "rating_variance", "newcomer",
)  # fmt: skip
FORM_FITTED = (
    "form_variance", "form_memory", "carry_over", "season_variance", "day_variance", "edge_carry_over", "damping",
)  # fmt: skip
SHARES = {"carry_over", "edge_carry_over", "form_memory"}


def moved(rules: FilterRules, name: str, step: float) -> FilterRules:
    """The rules with one constant multiplied by e^step; of a share, what is lost is."""
    value = getattr(rules, name)
    return replace(rules, **{name: 1 - (1 - value) * math.exp(-step) if name in SHARES else value * math.exp(step)})


class Objective:
    """Log loss of a filter's forecasts, season by season as `game_ratings` walks."""

    def __init__(self, files: list[str]) -> None:
        league, _ = new_league("nba", "fivethirtyeight", files)
        games = open_games(league).read(datetime.max).games
        games = games[games["season"] <= LAST_SEASON].sort_values(["day", "game_id"], kind="stable")
        self._days = {
            int(season): game_ratings._days(games[games["season"] == season]) for season in games["season"].unique()
        }
        self._margin = {
            season: np.array([game.margin for _, of_day in days for game in of_day], dtype=np.float64)
            for season, days in self._days.items()
        }

    def __call__(self, rules: FilterRules) -> float:
        ratios, wins = [], []
        starts = sorted({game_ratings.start_season(season) for season in range(FIRST_SCORED, LAST_SEASON + 1)})
        for start in starts:
            state = MarginFilter(rules)
            for season in range(start, LAST_SEASON + 1):
                if game_ratings.start_season(max(season, FIRST_SCORED)) > start:
                    break
                forecasts = game_ratings._walk(state, self._days[season])
                if season >= FIRST_SCORED and game_ratings.start_season(season) == start:
                    played = np.isfinite(self._margin[season])
                    ratios.append(np.array([one.mean / one.sd for one in forecasts])[played])
                    wins.append(self._margin[season][played] > 0)
        return _log_loss(np.concatenate(ratios), np.concatenate(wins))


def _log_loss(ratio: np.ndarray, win: np.ndarray) -> float:
    slope = 1.7
    for _ in range(6):
        p = 1 / (1 + np.exp(-slope * ratio))
        slope -= float(((p - win) * ratio).sum() / (p * (1 - p) * ratio * ratio).sum())
    p = 1 / (1 + np.exp(-slope * ratio))
    return float(-np.log(np.where(win, p, 1 - p)).mean())


def fit(rules: FilterRules, names: tuple[str, ...], objective: Objective, rounds: int) -> FilterRules:
    best = objective(rules)
    steps = dict.fromkeys(names, 0.3)
    for number in range(1, rounds + 1):
        for name in names:
            for step in (steps[name], -steps[name]):
                candidate = moved(rules, name, step)
                loss = objective(candidate)
                if loss < best - 1e-6:
                    best, rules = loss, candidate
                    break
            else:
                steps[name] /= 2
        sys.stdout.write(f"round {number}: {best:.6f}\n")
        sys.stdout.flush()
    return rules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("games", nargs="+", metavar="GAMES")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    objective = Objective(given.games)
    slow = fit(SLOW, SLOW_FITTED, objective, given.rounds)
    shared = {name: value for name, value in asdict(slow).items() if name not in FORM_FITTED}
    form = fit(replace(FORM, **shared), FORM_FITTED, objective, given.rounds)
    for name, rules in (("SLOW", slow), ("FORM", form)):
        sys.stdout.write(f"{name}: " + ", ".join(f"{key}={value:.4g}" for key, value in asdict(rules).items()) + "\n")


if __name__ == "__main__":
    main()
