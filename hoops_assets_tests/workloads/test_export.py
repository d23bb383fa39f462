"""Models as files: which types are trusted, and that ONNX and scikit-learn must agree."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from onnx import numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from hoops_assets.errors import ModelError
from hoops_assets.workloads import export, linear
from hoops_assets.workloads.onnx_model import BOUND_ROWS

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
    (weights,) = [item for item in content.graph.initializer if item.name == "coefficients"]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.01), "coefficients"))
    with pytest.raises(ModelError, match="disagree"):
        export.parity(model, content.SerializeToString(), rows, FEATURES)


def linear_models(rows: pd.DataFrame) -> list[Pipeline]:
    far = ColumnTransformer([("far", StandardScaler(), [2, 0]), ("plain", "passthrough", [1])])
    calibrated = CalibratedClassifierCV(LogisticRegression(), method="sigmoid", cv=3, ensemble=False)
    return [
        fitted(rows, LogisticRegression()),
        fitted(rows, StandardScaler(), LogisticRegression()),
        fitted(rows, far, LogisticRegression(fit_intercept=False)),
        fitted(rows, StandardScaler(), calibrated),
        fitted(rows, far, calibrated),
    ]


def test_a_weighted_sum_is_written_as_one_and_answers_a_row_alike_alone_and_among_others(rows: pd.DataFrame) -> None:
    moved = rows.assign(a=rows["a"] * 50 + 300)
    for model in linear_models(moved):
        content = export.to_onnx_bytes(model, FEATURES)
        assert [node.op_type for node in onnx.load_from_string(content).graph.node] == ["MatMul", "Add", "Sigmoid"]
        assert export.parity(model, content, moved, FEATURES) <= 1e-6
        asked, values = export.OnnxModel(content), export.model_input(moved, FEATURES)
        together, one_by_one = asked.of_rows(values), asked.of_rows(values)
        for first in range(0, 60, 20):
            chosen = list(range(first, first + 20))
            alone = [one_by_one([index])[0] for index in chosen]
            assert together(chosen) == alone == asked.home_win_probability(values)[chosen].tolist()


def test_what_is_no_weighted_sum_is_left_to_the_general_converter(rows: pd.DataFrame) -> None:
    boosted = fitted(rows, StandardScaler(), HistGradientBoostingClassifier(max_iter=5))
    isotonic = CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3, ensemble=False)
    several = CalibratedClassifierCV(LogisticRegression(), method="sigmoid", cv=3)
    for model in (
        boosted,
        fitted(rows, isotonic),
        fitted(rows, several),
        fitted(rows, FunctionTransformer(np.abs), LogisticRegression()),
    ):
        assert linear.log_odds(model, 3) is None


def test_many_rows_are_answered_beyond_the_bound_buffers(rows: pd.DataFrame) -> None:
    model = fitted(rows, StandardScaler(), HistGradientBoostingClassifier(max_iter=5))
    asked, values = export.OnnxModel(export.to_onnx_bytes(model, FEATURES)), export.model_input(rows, FEATURES)
    ask = asked.of_rows(values)
    for count in (1, BOUND_ROWS, BOUND_ROWS + 1, 400):
        assert ask(list(range(count))[::-1]) == asked.home_win_probability(values[:count][::-1]).tolist()


def test_the_graph_has_one_output_and_nothing_that_only_labels_need(rows: pd.DataFrame) -> None:
    boosted = fitted(rows, StandardScaler(), HistGradientBoostingClassifier(max_iter=5))
    content = onnx.load_from_string(export.to_onnx_bytes(boosted, FEATURES))
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
