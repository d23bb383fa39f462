"""What every prediction provider keeps.

What belongs here: the batch interface, through which every forecast in `predictions` is made.

- `batch` answers in the order of the rows, one probability each, or raises: never a part of the answers.
- The same version and rows always give the same answers, on every provider to 1e-5.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd

from hoops_assets.services.registry.contract import ModelVersion


class PredictionService(Protocol):
    """Somebody who runs registered models."""

    provider: str

    def batch(self, version: ModelVersion, rows: pd.DataFrame) -> np.ndarray:
        """P(home win) of each row, float64 [n].

        Args:
            rows: with the columns `version.features`.

        Raises:
            ServiceError: not_found, invalid (a feature is missing or not finite), failed.
        """
        ...
