"""A model whose log odds are a weighted sum of the features, as ONNX of one regression.

What belongs here: recognising such a pipeline, and writing it; `workloads.export` decides between this and the general
converter. The general one writes every step of the pipeline as nodes of their own, thirteen for a calibrated regression;
asking for one row costs by the node, and here there are three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from hoops_assets.workloads.onnx_model import INPUT, OUTPUT

OPSET, IR = 22, 10
"""Versions of the operators and of the file format; those that skl2onnx writes."""


@dataclass(frozen=True)
class LogOdds:
    """logit P(home win) = coefficients . features + intercept; coefficients float64 [number of features]."""

    coefficients: np.ndarray
    intercept: float


def log_odds(pipeline: Pipeline, features: int) -> LogOdds | None:
    """The weighted sum that a fitted pipeline is, or None if it is something else.

    Recognised are scaling and choosing of columns, then a logistic regression, with one sigmoid calibration
    (p = 1 / (1 + exp(a f + b)), Platt 1999) or without.
    """
    *steps, (_, last) = pipeline.steps
    weights = _weights(last)
    if weights is None or not all(_is_affine(step) for _, step in steps):
        return None
    asked = np.vstack([np.zeros(features), np.eye(features)])  # an affine map is known by its values on these
    found = np.asarray(pipeline[:-1].transform(asked) if steps else asked, dtype="float64")
    start = float(found[0] @ weights.coefficients) + weights.intercept
    return LogOdds((found[1:] - found[0]) @ weights.coefficients, start)


def _weights(last: Any) -> LogOdds | None:
    """Of the last step, in terms of what comes into it."""
    if isinstance(last, LogisticRegression):
        return LogOdds(last.coef_[0], float(np.ravel(last.intercept_)[0])) if len(last.classes_) == 2 else None
    calibrated: Any = last.calibrated_classifiers_ if isinstance(last, CalibratedClassifierCV) else ()
    if len(calibrated) != 1:
        return None
    only = calibrated[0]
    inner = _weights(only.estimator)
    if inner is None or only.method != "sigmoid":
        return None
    slope, shift = only.calibrators[0].a_, only.calibrators[0].b_
    return LogOdds(-slope * inner.coefficients, float(-(slope * inner.intercept + shift)))


def _is_affine(step: Any) -> bool:
    if isinstance(step, ColumnTransformer):
        return all(_is_affine(inner) for _, inner, _ in step.transformers_)
    return isinstance(step, StandardScaler) or step in ("passthrough", "drop") or _is_passthrough(step)


def _is_passthrough(step: Any) -> bool:
    """As ColumnTransformer keeps it once it is fitted."""
    return type(step).__name__ == "FunctionTransformer" and step.func is None


def to_onnx_model(model: LogOdds) -> Any:
    """The ONNX model, with input and output as `workloads.onnx_model` wants them."""
    nodes = [
        helper.make_node("MatMul", [INPUT, "coefficients"], ["sum"]),
        helper.make_node("Add", ["sum", "intercept"], ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        OUTPUT,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(model.coefficients)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None])],
        [
            numpy_helper.from_array(model.coefficients.astype("float32"), "coefficients"),
            numpy_helper.from_array(np.array(model.intercept, dtype="float32"), "intercept"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
