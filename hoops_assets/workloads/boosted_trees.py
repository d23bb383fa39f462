"""A model that XGBoost wrote, as scikit-learn's own trees: then it is exported, asked and judged like any other.

What belongs here: reading XGBoost's model file (UBJSON as of its version 2.1, or JSON), the same trees as a
HistGradientBoostingClassifier, and the model folder of a job that somebody else's program has fitted. XGBoost itself is
not needed. Formats: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html, https://ubjson.org.

XGBoost goes left where x < t and scikit-learn where x <= t; on float32 inputs the two agree if t is the next smaller
float32. Sums are float64 here and float32 there, which moves a probability by less than 1e-6.
"""

from __future__ import annotations

import json
import math
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE, X_BITSET_INNER_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.pipeline import Pipeline

from hoops_assets.errors import ModelError
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads import train
from hoops_assets.workloads.export import home_win_probability, model_input
from hoops_assets.workloads.spec import TrainingOutcome
from hoops_assets.workloads.telling import Listener

OBJECTIVE = "binary:logistic"


def adopt(folder: Path, content: bytes) -> TrainingOutcome:
    """Writes FOLDER/model, as `workloads.train` does, of a model that was fitted on the train split of FOLDER/input.

    Args:
        content: XGBoost's model file.

    Raises:
        ModelError: the inputs are incomplete, the file is no model of ours, or its exports answer otherwise.
    """
    started = time.monotonic()
    spec = train.read_spec(folder / "input" / layout.SPEC, learners=None)
    if spec.fit_on != ("train",):
        raise ModelError(f"{spec.learner} is fitted on the train split alone, not on {', '.join(spec.fit_on)}")
    rows = train.read_training_set(folder / "input" / layout.TRAINING_SET, spec)
    by_split = {split: rows[rows["split"] == split] for split in layout.SPLITS}
    pipeline = pipeline_of(content, len(spec.features))
    metrics, answered = dict[str, float](), {}
    for split in ("validation", "test"):
        answered[split] = home_win_probability(pipeline, model_input(by_split[split], spec.features))
        metrics |= train.metrics_of(split, by_split[split], answered[split])
    return train.leave(folder, spec, pipeline, by_split, metrics, answered["test"], Listener(), started)


def pipeline_of(content: bytes, features: int) -> Pipeline:
    """The model as a fitted pipeline over so many columns. Raises ModelError for any other kind of model."""
    try:
        learner = read(content)["learner"]
        objective, booster = learner["objective"]["name"], learner["gradient_booster"]
        trees = booster["model"]["trees"]
        known = int(learner["learner_model_param"]["num_feature"])
        base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    except (KeyError, TypeError, ValueError, struct.error, IndexError) as error:
        raise ModelError(f"the file is not a model of XGBoost 2.1 or later: {type(error).__name__}: {error}") from error
    if objective != OBJECTIVE or booster.get("name") != "gbtree" or known != features:
        raise ModelError(
            f"the model is a {booster.get('name')} with objective {objective} over {known} columns; expected a gbtree"
            f" with {OBJECTIVE} over {features}"
        )
    model = HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=2, min_samples_leaf=1, early_stopping=False)  # pyright: ignore[reportArgumentType]
    model.fit(np.arange(4.0).repeat(features).reshape(4, features), [0, 0, 1, 1])
    # Everything that a prediction looks at; the rest of the shell was fitted on four made-up rows.
    parts: Any = model
    parts._predictors = [[_predictor(tree)] for tree in trees]
    parts._baseline_prediction = np.array([[math.log(base / (1 - base))]])
    parts.train_score_, parts.validation_score_ = np.zeros(0), np.zeros(0)
    return Pipeline([("model", model)])


def _predictor(tree: dict[str, Any]) -> TreePredictor:
    left, right = np.asarray(tree["left_children"]), np.asarray(tree["right_children"])
    if len(tree.get("categories", ())):
        raise ModelError("the model splits by categories, which a training set of ours has none of")
    nodes: Any = np.zeros(len(left), dtype=PREDICTOR_RECORD_DTYPE)
    leaf = left == -1
    condition = np.asarray(tree["split_conditions"], dtype="float32")
    nodes["is_leaf"], nodes["value"] = leaf, np.where(leaf, condition, 0.0)
    nodes["feature_idx"] = np.where(leaf, 0, np.asarray(tree["split_indices"]))
    nodes["num_threshold"] = np.where(leaf, 0.0, np.nextafter(condition, np.float32(-np.inf)))
    nodes["missing_go_to_left"] = np.asarray(tree["default_left"], dtype="uint8")
    nodes["left"], nodes["right"] = np.where(leaf, 0, left), np.where(leaf, 0, right)
    nodes["count"] = np.maximum(1, np.asarray(tree["sum_hessian"]) * 4).astype("uint32")
    none = np.zeros((0, 8), dtype=X_BITSET_INNER_DTYPE)
    return TreePredictor(nodes, none, none)


def read(content: bytes) -> Any:
    """The value of a UBJSON or JSON document."""
    if content[:2] in (b'{"', b"{\n", b"{ "):
        return json.loads(content)
    value, end = _Reader(content).value(0)
    if end != len(content):
        raise ValueError(f"{len(content) - end} bytes after the end of the document")
    return value


_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_CONSTANTS = {"Z": None, "T": True, "F": False}


class _Reader:
    """UBJSON, draft 12, with its typed and counted containers."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def value(self, at: int, kind: str = "") -> tuple[Any, int]:
        """(value, where the next begins) of the value at a place."""
        if not kind:
            kind, at = self._mark(at)
        if kind in _CONSTANTS:
            return _CONSTANTS[kind], at
        if kind in _NUMBERS:
            number = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self._content, number, 1, at)[0].item(), at + number.itemsize
        if kind == "C":
            return chr(self._content[at]), at + 1
        if kind == "S":
            return self._text(at)
        if kind not in "[{":
            raise ValueError(f"{kind!r} at byte {at} is no mark of UBJSON")
        return self._container(at, kind)

    def _container(self, at: int, opened: str) -> tuple[Any, int]:
        each, count = "", None
        if self._content[at : at + 1] == b"$":
            each, at = chr(self._content[at + 1]), at + 2
        if self._content[at : at + 1] == b"#":
            count, at = self.value(at + 1)
        if opened == "[" and each in _NUMBERS and count is not None:
            number = np.dtype(_NUMBERS[each])
            found = np.frombuffer(self._content, number, count, at)
            return found.astype(number.newbyteorder("=")), at + count * number.itemsize
        closing, items, pairs = (b"]" if opened == "[" else b"}"), [], {}
        while count is None or len(items) + len(pairs) < count:
            if count is None and self._content[at : at + 1] == closing:
                at += 1
                break
            if opened == "{":
                name, at = self._text(at)
                pairs[name], at = self.value(at, each)
            else:
                item, at = self.value(at, each)
                items.append(item)
        return (items if opened == "[" else pairs), at

    def _text(self, at: int) -> tuple[str, int]:
        length, at = self.value(at)
        return self._content[at : at + length].decode(), at + length

    def _mark(self, at: int) -> tuple[str, int]:
        while (mark := chr(self._content[at])) == "N":
            at += 1
        return mark, at + 1
