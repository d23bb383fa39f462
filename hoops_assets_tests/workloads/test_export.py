"""Models as files: which types are trusted, and that ONNX and scikit-learn must agree."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from onnx import numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from hoops_assets.errors import ModelError
from hoops_assets.workloads import export

FEATURES = ("a", "b", "c")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(1)
    rows = pd.DataFrame(random.normal(size=(400, 3)).astype("float32"), columns=list(FEATURES)).astype("float64")
    return rows.assign(game_id=[f"g{n}" for n in range(400)], y=random.random(400) < 1 / (1 + np.exp(-2 * rows["a"])))


def fitted(rows: pd.DataFrame, *steps: object) -> Pipeline:
    return make_pipeline(*steps).fit(rows[list(FEATURES)].to_numpy(), rows["y"].to_numpy(dtype="int64"))


def test_a_calibrated_model_survives_both_files(rows: pd.DataFrame) -> None:
    model = fitted(rows, StandardScaler(), CalibratedClassifierCV(LogisticRegression(), method="sigmoid", cv=3))
    content = export.to_onnx_bytes(model, FEATURES)
    assert 0 < export.parity(model, content, rows, FEATURES) <= export.PARITY
    back = export.from_skops(export.to_skops(model))
    values = export.model_input(rows, FEATURES)
    assert (export.home_win_probability(back, values) == export.home_win_probability(model, values)).all()


def test_a_calibrator_around_a_pipeline_is_refused_with_the_numbers(rows: pd.DataFrame) -> None:
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    model = fitted(rows.assign(a=rows["a"] * 50 + 300), CalibratedClassifierCV(inner, method="sigmoid", cv=3))
    moved = rows.assign(a=rows["a"] * 50 + 300)
    with pytest.raises(ModelError, match=r"up to 0\.\d+ \(allowed 1e-05\), on \d+ of 400 held-out rows, worst at g\d+"):
        export.parity(model, export.to_onnx_bytes(model, FEATURES), moved, FEATURES)


def test_a_tampered_onnx_is_refused(rows: pd.DataFrame) -> None:
    model = fitted(rows, StandardScaler(), LogisticRegression())
    content = onnx.load_from_string(export.to_onnx_bytes(model, FEATURES))
    for attribute in (a for node in content.graph.node for a in node.attribute if a.name == "coefficients"):
        attribute.floats[:] = [1.01 * value for value in attribute.floats]
    with pytest.raises(ModelError, match="disagree"):
        export.parity(model, content.SerializeToString(), rows, FEATURES)


def test_the_graph_has_one_output_and_nothing_that_only_labels_need(rows: pd.DataFrame) -> None:
    content = onnx.load_from_string(
        export.to_onnx_bytes(fitted(rows, StandardScaler(), LogisticRegression()), FEATURES)
    )
    assert [item.name for item in content.graph.output] == ["home_win_probability"]
    used = {name for node in content.graph.node for name in node.input}
    for node in content.graph.node:
        assert set(node.output) & (used | {"home_win_probability"}), node.name
    assert {item.name for item in content.graph.initializer} <= used
    assert all(numpy_helper.to_array(item).size for item in content.graph.initializer)


def test_code_in_a_model_file_is_not_loaded(rows: pd.DataFrame) -> None:
    model = fitted(rows, StandardScaler(), LogisticRegression())
    hostile = make_pipeline(FunctionTransformer(eval), LogisticRegression())
    with pytest.raises(ModelError, match=r"types that are not trusted: .*eval"):
        export.from_skops(skops.io.dumps(hostile), "stolen.skops")
    assert export.to_skops(model)


def test_files_cut_in_half_are_refused_by_name(rows: pd.DataFrame) -> None:
    model = fitted(rows, StandardScaler(), LogisticRegression())
    with pytest.raises(ModelError, match=r"model\.skops is not a readable skops file"):
        export.from_skops(export.to_skops(model)[:200])
    with pytest.raises(ModelError, match=r"model\.onnx is not a readable ONNX model"):
        export.OnnxModel(export.to_onnx_bytes(model, FEATURES)[:100])


def test_a_model_without_converter_says_so(rows: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="cannot be written as ONNX"):
        export.to_onnx_bytes(fitted(rows, FunctionTransformer(np.abs), LogisticRegression()), FEATURES)


def test_inputs_are_named_when_missing_and_counted_when_wrong(rows: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="lack the features b"):
        export.model_input(rows.drop(columns="b"), FEATURES)
    with pytest.raises(ModelError, match=r"feature c of g2 is not a finite number \(1 such"):
        export.model_input(rows.assign(c=rows["c"].where(rows.index != 2, np.inf)), FEATURES)
    model = export.OnnxModel(export.to_onnx_bytes(fitted(rows, LogisticRegression()), FEATURES))
    with pytest.raises(ModelError, match="takes 3 features, it was given 2"):
        model.home_win_probability(np.zeros((1, 2), dtype="float32"))
    with pytest.raises(ModelError, match="no held-out rows"):
        export.parity(fitted(rows, LogisticRegression()), b"", rows.head(0), FEATURES)
