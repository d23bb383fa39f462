"""A fitted model as files that carry no code: skops with an exact list of trusted types, and ONNX.

What belongs here: writing both, reading both back, and the comparison of their answers. Imported lazily: scikit-learn,
skops, skl2onnx and onnxruntime are heavy.

How the ONNX model is asked is in `workloads.onnx_model`.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import skops.io
from onnx import helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.pipeline import Pipeline

from hoops_assets.errors import ModelError
from hoops_assets.workloads import linear
from hoops_assets.workloads.inputs import model_input
from hoops_assets.workloads.onnx_model import INPUT, OUTPUT, OnnxModel

PARITY = 1e-5
"""Greatest |difference in probability| allowed between the two files' answers to the same rows."""

TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
"""The only types beyond skops' own list that a model file may name."""


def to_skops(pipeline: Pipeline) -> bytes:
    """The model as skops, byte for byte the same for the same model.

    Raises:
        ModelError: the model holds a type that is not in TRUSTED.
    """
    content = _repeatable(skops.io.dumps(pipeline))
    _refuse_untrusted(content, "the fitted model")
    return content


def from_skops(content: bytes, name: str = "model.skops") -> Pipeline:
    """Reads a model back. Raises ModelError if the bytes are no such file or name a type that is not in TRUSTED."""
    _refuse_untrusted(content, name)
    return cast(Pipeline, skops.io.loads(content, trusted=list(TRUSTED)))


def to_onnx_bytes(pipeline: Pipeline, features: Sequence[str]) -> bytes:
    """The model as ONNX, byte for byte the same for the same model.

    Raises:
        ModelError: no converter for the model.
    """
    weighted = linear.log_odds(pipeline, len(features))
    model = linear.to_onnx_model(weighted) if weighted is not None else _converted(pipeline, features)
    # The converter lists them in the order of a set, which changes from process to process.
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return model.SerializeToString(deterministic=True)


def _converted(pipeline: Pipeline, features: Sequence[str]) -> Any:
    """By skl2onnx, every step as it has a converter for it. Raises ModelError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            inputs: Any = [(INPUT, FloatTensorType([None, len(features)]))]
            options = {id(pipeline): {"zipmap": False}}
            model: Any = to_onnx(pipeline, initial_types=inputs, options=options, name="home_win_probability")
    except Exception as error:  # skl2onnx raises RuntimeError, its own classes, KeyError and AttributeError alike
        raise ModelError(
            f"{type(pipeline).__name__} cannot be written as ONNX: {type(error).__name__}: {error}"
        ) from error
    _only_home_win(model)
    return model


def home_win_probability(model: Pipeline, values: np.ndarray) -> np.ndarray:
    """float64 [n]: scikit-learn's answer, computed in float64 from the float32 inputs."""
    return np.asarray(model.predict_proba(values.astype("float64")), dtype="float64")[:, 1]


def parity(model: Pipeline, onnx: bytes, rows: pd.DataFrame, features: Sequence[str]) -> float:
    """Greatest |difference in probability| between scikit-learn and ONNX.

    Args:
        rows: held-out rows with the feature columns, n > 0.

    Returns:
        The difference, at most PARITY.

    Raises:
        ModelError: the difference is greater than PARITY, or there are no rows to compare.
    """
    if rows.empty:
        raise ModelError("no held-out rows: parity cannot be shown; give the test split games")
    values = model_input(rows, features)
    asked = home_win_probability(model, values)
    return check_parity(asked, OnnxModel(onnx).home_win_probability(values), "model.onnx", "scikit-learn", rows)


def check_parity(expected: np.ndarray, found: np.ndarray, name: str, other: str, rows: pd.DataFrame) -> float:
    """Greatest |found - expected|; raises ModelError with the numbers if it is over PARITY or not a number."""
    difference = np.abs(found - expected)
    greatest = float(difference.max())
    if not greatest <= PARITY:
        worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
        over = int((~(difference <= PARITY)).sum())
        game = rows["game_id"].iloc[worst] if "game_id" in rows.columns else f"row {worst}"
        raise ModelError(
            f"{name} and {other} disagree: |difference in probability| up to {greatest:.3g} (allowed {PARITY:g}), on"
            f" {over} of {len(rows)} held-out rows, worst at {game}: {found[worst]:.6f} against {expected[worst]:.6f}."
            " If training made it so, keep the calibrator inside and the scaler outside of it, and prefer sigmoid to"
            " isotonic calibration; else the file was changed: train again"
        )
    return greatest


def _only_home_win(model: Any) -> None:
    """Replaces the outputs label and probabilities [n, 2] by the latter's class 1; drops what only the label needs."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(1, dtype="int64"), name="home_win_class"))
    graph.node.append(
        helper.make_node("Gather", ["probabilities", "home_win_class"], [OUTPUT], name="home_win", axis=1)
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, 1, [None]))  # 1: float32
    needed, kept = {OUTPUT}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [item for item in graph.initializer if item.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _refuse_untrusted(content: bytes, name: str) -> None:
    try:
        untrusted = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)
    except Exception as error:  # zipfile's, json's and skops' own classes
        raise ModelError(f"{name} is not a readable skops file: {type(error).__name__}: {error}") from error
    if untrusted:
        raise ModelError(
            f"{name} names types that are not trusted: {', '.join(sorted(untrusted))}; a model may hold what skops"
            f" trusts and {', '.join(TRUSTED)} only"
        )


def _repeatable(content: bytes) -> bytes:
    """skops names its parts by address in memory and stamps them with the time; here they are numbered and timeless."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = archive.read("schema.json").decode()
        parts = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return found[1] + numbers.setdefault(found[2], str(len(numbers) + 1)) + found[3]

    schema = re.sub(r'("__id__": )(\d+)(\b)', number, schema)
    schema = re.sub(r'("file": ")(\d+)(\.\w+")', number, schema)
    renamed = {re.sub(r"^()(\d+)(\.\w+)$", number, name): part for name, part in parts.items()}
    json.loads(schema)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, part in [("schema.json", schema.encode()), *sorted(renamed.items())]:
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), part)
    return out.getvalue()
