from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnxruntime
import pytest
import skops.io
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from hoops_assets.basketball.estimators import LEARNERS, MONOTONIC, exportable
from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.ratings import expected_probability
from hoops_assets.errors import ModelError
from hoops_assets_tests.basketball import nba

TRUSTED = {"boosting": ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]}
EVERY = sorted(LEARNERS)
column = {name: number for number, name in enumerate(FEATURES)}


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows as features are (exact in float32), and outcomes that follow the Elo difference."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, len(FEATURES)))
    x[:, column["home_court"]] = random.random(n) < 0.9
    x[:, column["elo_difference"]] = random.normal(0.0, 150.0, n) + 100.0 * x[:, column["home_court"]]
    x = x.astype(np.float32).astype(np.float64)
    y = random.random(n) < 1 / (1 + 10 ** (-x[:, 0] / 400))
    return x, y


@lru_cache
def fitted(name: str):
    return LEARNERS[name]().fit(*drawn(3000, 1))


def onnx_probabilities(model, x):
    onnx = to_onnx(exportable(model), x[:1].astype(np.float32), options={"zipmap": False})
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})[1][:, 1]


@pytest.mark.parametrize("name", EVERY)
def test_onnx_answers_as_scikit_learn(name):
    x, _ = drawn(5000, 2)
    assert np.abs(onnx_probabilities(fitted(name), x) - fitted(name).predict_proba(x)[:, 1]).max() <= 1e-5


@pytest.mark.parametrize("name", EVERY)
def test_onnx_answers_as_scikit_learn_on_every_nba_game(name, real_data):
    rows = nba.features(real_data)
    x, y = rows[list(FEATURES)].to_numpy(), rows["home_win"].to_numpy(bool)
    training = rows["season"].between(1994, 2008).to_numpy()
    model = LEARNERS[name]().fit(x[training], y[training])
    assert np.abs(onnx_probabilities(model, x) - model.predict_proba(x)[:, 1]).max() <= 1e-5


@pytest.mark.parametrize("name", EVERY)
def test_skops_needs_to_trust_nothing_but_the_trees_of_boosting(name):
    x, _ = drawn(100, 3)
    data = skops.io.dumps(exportable(fitted(name)))
    assert skops.io.get_untrusted_types(data=data) == TRUSTED.get(name, [])
    read = skops.io.loads(data, trusted=TRUSTED.get(name, []))
    assert (read.predict_proba(x) == fitted(name).predict_proba(x)).all()


@pytest.mark.parametrize("name", EVERY)
def test_fitting_twice_gives_the_same_model(name):
    x, _ = drawn(500, 4)
    assert (LEARNERS[name]().fit(*drawn(3000, 1)).predict_proba(x) == fitted(name).predict_proba(x)).all()


@pytest.mark.parametrize("name", EVERY)
def test_the_second_column_is_the_home_sides_probability(name):
    x, y = drawn(3000, 1)
    p = fitted(name).predict_proba(x)
    assert fitted(name).classes_.tolist() == [False, True]
    assert p.shape == (3000, 2) and np.allclose(p.sum(axis=1), 1.0)
    assert p[y, 1].mean() > p[~y, 1].mean()


def test_base_rate_is_the_share_of_home_wins_and_one_half_on_neutral_ground():
    x, y = drawn(3000, 1)
    at_home = x[:, column["home_court"]] == 1
    p = fitted("base_rate").predict_proba(x)[:, 1]
    assert p[at_home] == pytest.approx(y[at_home].mean(), abs=1e-6)
    assert (p[~at_home] == 0.5).all()


def test_elo_is_the_published_formula_whatever_it_is_fitted_on():
    x, y = drawn(300, 5)
    expected = [expected_probability(difference) for difference in x[:, column["elo_difference"]]]
    assert LEARNERS["elo"]().fit(x, y).predict_proba(x)[:, 1] == pytest.approx(expected, abs=1e-12)
    assert LEARNERS["elo"]().fit(x, ~y).predict_proba(x)[:, 1] == pytest.approx(expected, abs=1e-12)


def test_boosting_never_falls_where_more_is_better():
    x, _ = drawn(200, 6)
    for name, direction in MONOTONIC.items():
        more = x.copy()
        more[:, column[name]] += 1.0
        gain = fitted("boosting").predict_proba(more)[:, 1] - fitted("boosting").predict_proba(x)[:, 1]
        assert (direction * gain >= -1e-12).all(), name


def test_hyper_parameters_reach_the_model():
    assert LEARNERS["logistic"](C=0.5)[-1].C == 0.5
    assert LEARNERS["boosting"](max_iter=7)[-1].max_iter == 7


def test_a_feature_without_spread_in_training_has_no_say_later():
    x, y = drawn(3000, 7)
    silent = column["home_sentiment"]
    x[:, silent] = 0.0
    loud = x[:50].copy()
    loud[:, silent] = 0.7
    for name in EVERY:
        model = LEARNERS[name]().fit(x, y)
        assert (model.predict_proba(loud) == model.predict_proba(x[:50])).all(), name


def test_only_fitted_learners_are_exported():
    with pytest.raises(ModelError, match="LogisticRegression"):
        exportable(LogisticRegression())
    with pytest.raises(ModelError, match="EloFormula"):
        exportable(LEARNERS["elo"]())
    with pytest.raises(ModelError, match="Pipeline"):
        exportable(LEARNERS["logistic"]())
