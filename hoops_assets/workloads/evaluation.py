"""What an evaluation says, as a value that travels between assets.

What belongs here: the typed content only, so that nothing heavy is imported to read it. Making one is in `workloads.evaluate`.
"""

from __future__ import annotations

from datetime import date

import pandas as pd

from hoops_assets.workloads.spec import Strict


class Evaluation(Strict):
    """A learner's walk-forward forecasts of a training set, game by game.

    Attributes:
        game_ids, days, seasons, home_wins, probabilities: one entry a game, in order of time; the first games, which
            nothing precedes, are left out.
    """

    league: str
    learner: str
    version: int
    metrics: dict[str, float]
    game_ids: tuple[str, ...]
    days: tuple[date, ...]
    seasons: tuple[int, ...]
    home_wins: tuple[bool, ...]
    probabilities: tuple[float, ...]

    def frame(self) -> pd.DataFrame:
        """Columns game_id, day, season, home_win, probability."""
        return pd.DataFrame(
            {
                "game_id": self.game_ids,
                "day": self.days,
                "season": self.seasons,
                "home_win": self.home_wins,
                "probability": self.probabilities,
            }
        )
