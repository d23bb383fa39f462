"""What goes into a forecast: the rows as the model takes them, and the files of a model.

What belongs here: what training, export and batches share and what a light process needs; no scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hoops_assets.errors import ModelError


def model_input(rows: pd.DataFrame, features: Sequence[str]) -> np.ndarray:
    """The model's input: float32 [n, number of features], in the order of `features`.

    float32 is part of the model's definition: both files are fitted on, and asked with, the same numbers.

    Raises:
        ModelError: a feature is missing, or a value is not a finite number.
    """
    missing = [name for name in features if name not in rows.columns]
    if missing:
        raise ModelError(
            f"the rows lack the features {', '.join(missing)}; they have {', '.join(map(str, rows.columns))}"
        )
    values = rows[list(features)].to_numpy(dtype="float64", na_value=np.nan).astype("float32")
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(found[0]) for found in np.nonzero(bad))
        where = rows["game_id"].iloc[row] if "game_id" in rows.columns else f"row {row}"
        raise ModelError(
            f"feature {features[column]} of {where} is not a finite number ({int(bad.sum())} such values);"
            " mend the features first"
        )
    return values


def read(folder: Path, name: str) -> bytes:
    """Content of one artefact. Raises ModelError if it is missing."""
    try:
        return (Path(folder) / name).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{Path(folder) / name} is missing; train the model again") from error
