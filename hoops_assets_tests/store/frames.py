"""Frames that fit the declared tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from hoops_assets.store.schemas import TABLES


def results(days: Sequence[date], points: int = 100) -> pd.DataFrame:
    """One game a day, A at home against B, won by one point."""
    count = len(days)
    frame = pd.DataFrame(
        {
            "game_id": [f"{day}.A.B" for day in days],
            "season": [day.year + (day.month > 6) for day in days],
            "day": list(days),
            "tip_off": pd.Series([pd.NaT] * count, dtype="datetime64[us, UTC]"),
            "home": "A",
            "away": "B",
            "neutral": False,
            "stage": "regular",
            "home_score": np.int32(points + 1),
            "away_score": np.int32(points),
        }
    )
    return frame.astype(TABLES["results"].columns)
