"""Forecasts in this process, from the registry's files."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hoops_assets.errors import ModelError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.workloads.transform import forecast


class LocalPrediction:
    """See the contract."""

    provider = "local"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def batch(self, version: ModelVersion, rows: pd.DataFrame) -> np.ndarray:
        """See the contract."""
        folder = self._registry.artefacts(version.league, version.version)
        try:
            return forecast(folder, rows, version.features)
        except ModelError as error:
            raise ServiceError("invalid", f"{version.name}: {error}") from error
