"""Batch forecasts: a model's files and a table of features in, probabilities out.

What belongs here: what runs in a process or container for a batch. Nothing but onnxruntime and numpy asks the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hoops_assets.workloads.inputs import model_input, read
from hoops_assets.workloads.onnx_model import OnnxModel
from hoops_assets.workloads.spec import ONNX


def forecast(folder: Path, rows: pd.DataFrame, features: Sequence[str]) -> np.ndarray:
    """P(home win) of each row, float64 [n].

    Args:
        folder: holds model.onnx.
        rows: with the feature columns.

    Raises:
        ModelError: the model cannot be read, or a feature is missing or not a finite number.
    """
    if rows.empty:
        return np.zeros(0)
    return OnnxModel(read(folder, ONNX)).home_win_probability(model_input(rows, features))
