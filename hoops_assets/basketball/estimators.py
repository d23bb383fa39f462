"""The families of models that forecast a game, all with scikit-learn's interface over the columns FEATURES.

What belongs here: how each learner is built, and the plain pipeline in which it is exported. This module imports
scikit-learn and is itself imported where a model is used. Fitting over time is in `judging.walkforward`; writing skops
and ONNX files belongs to the registry.

Every learner exports to ONNX with the same answers (max |dp| <= 1e-5): it is made of standard converters only, any
scaler stands outside and any calibrator inside (CalibratedClassifierCV around a pipeline is exported wrongly).
Hyper-parameters: lowest log loss of a walk-forward over the NBA seasons 1994 to 2008, each on its previous 15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from hoops_assets.basketball.features import FEATURES, RATED, SENTIMENT_FEATURES, SIMPLE
from hoops_assets.basketball.ratings import LOGIT_PER_POINT
from hoops_assets.errors import ModelError

Learner = Callable[..., BaseEstimator]
"""Makes an unfitted model: `fit(X, y)` and `predict_proba(X)` with X of columns FEATURES, y bool, True = home win."""

MONOTONIC = {
    "elo_difference": 1,
    "rest_difference": 1,
    "home_back_to_back": -1,
    "away_back_to_back": 1,
    "margin_season_difference": 1,
    "margin_10_difference": 1,
    "wins_10_difference": 1,
}
"""Features of which the direction is known: 1, more is better for the home side; -1, worse."""


def _columns(names: Sequence[str]) -> ColumnTransformer:
    """Keeps the named features, by position, since ONNX inputs have no names."""
    return ColumnTransformer([("kept", "passthrough", [FEATURES.index(name) for name in names])])


def _weighed(names: Sequence[str]) -> ColumnTransformer:
    """Keeps the named features for a penalised regression: standardised, but those of sentiment in their own units.

    Where few games have posts, the standard deviation of a sentiment feature over all games is tiny; dividing by it
    would let a handful of games set its weight. In the month after the first posts that cost .01 in log loss.
    """
    plain = [FEATURES.index(name) for name in names if name not in SENTIMENT_FEATURES]
    mood = [FEATURES.index(name) for name in names if name in SENTIMENT_FEATURES]
    return ColumnTransformer([("kept", StandardScaler(), plain), ("sentiment", "passthrough", mood)])


def base_rate() -> Pipeline:
    """Share of games won by the home side; one half on neutral ground.

    A logistic regression without intercept on `home_court`, which is 0 on neutral ground.
    """
    model = LogisticRegression(C=1e6, fit_intercept=False, tol=1e-9)
    return Pipeline([("columns", _columns(["home_court"])), ("model", model)])


class EloFormula(ClassifierMixin, BaseEstimator):
    """FiveThirtyEight's probability from `elo_difference`; nothing is fitted, the ratings learn in team form."""

    def fit(self, x: Any, y: Any) -> Self:
        model = LogisticRegression()
        model.classes_ = np.unique(np.asarray(y))
        if len(model.classes_) != 2:
            raise ValueError("y must hold both home wins and home defeats, to tell how they are written")
        model.coef_ = np.array([[LOGIT_PER_POINT]])
        model.intercept_ = np.zeros(1)
        model.n_iter_ = np.zeros(1, dtype=np.int32)
        columns = _columns(["elo_difference"]).fit(np.zeros((2, len(FEATURES))))
        self.pipeline_ = Pipeline([("columns", columns), ("model", model)])
        self.classes_ = model.classes_
        return self

    def predict_proba(self, x: Any) -> np.ndarray:
        return self.pipeline_.predict_proba(np.asarray(x, dtype=np.float64))

    def predict(self, x: Any) -> np.ndarray:
        return self.classes_[np.argmax(self.predict_proba(x), axis=1)]


def elo() -> EloFormula:
    """The published Elo probability."""
    return EloFormula()


def logistic(C: float = 0.01) -> Pipeline:  # noqa: N803
    """Logistic regression on the SIMPLE features, standardised but for sentiment.

    Args:
        C: inverse strength of the L2 penalty.
    """
    model = LogisticRegression(C=C, max_iter=1000)
    return Pipeline([("columns", _weighed(SIMPLE)), ("model", model)])


def boosting(
    max_iter: int = 150,
    learning_rate: float = 0.05,
    max_leaf_nodes: int = 3,
    min_samples_leaf: int = 50,
    patience: int = 0,
) -> Pipeline:
    """Gradient boosting with small trees on the SIMPLE features, monotonic where the direction is known.

    Args:
        max_iter: number of trees.
        learning_rate: weight of each tree.
        max_leaf_nodes: leaves of each tree; 3 lets two features meet.
        min_samples_leaf: games in a leaf.
        patience: trees without gain on later games after which training stops (`workloads.steps`); 0: it never does.
            scikit-learn's own way to stop early would draw those games at random and so look into the future.
    """
    if patience < 0:
        raise ValueError(f"patience is a number of trees, not {patience}")
    model = HistGradientBoostingClassifier(
        max_iter=max_iter,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaf_nodes,
        min_samples_leaf=min_samples_leaf,
        monotonic_cst=[MONOTONIC.get(name, 0) for name in SIMPLE],
        early_stopping=False,  # pyright: ignore[reportArgumentType]
        random_state=0,
    )
    return Pipeline([("columns", _columns(SIMPLE)), ("model", model)])


ENSEMBLE = ("post_season", "home_sentiment", "away_sentiment", *RATED)
"""What the ensemble sees: the expected margin knows form, rest, home advantage and neutral ground already. The number of
posts is left to the learners with a stronger penalty."""


def ensemble(C: float = 1.0) -> Pipeline:  # noqa: N803
    """Two margin filters and the standings, weighed by a logistic regression.

    Left out because it gave nothing on the NBA seasons 1994 to 2008: the mean with a calibrated ridge regression on the
    margin (+-.00002 in log loss), `home_court`, and the SIMPLE features beside the rating (+.0002).

    Args:
        C: inverse strength of the L2 penalty.
    """
    model = LogisticRegression(C=C, max_iter=1000)
    return Pipeline([("columns", _weighed(ENSEMBLE)), ("model", model)])


LEARNERS: dict[str, Learner] = {
    "base_rate": base_rate,
    "elo": elo,
    "logistic": logistic,
    "boosting": boosting,
    "ensemble": ensemble,
}
"""Every learner by name, from the simplest on. Keyword arguments are its hyper-parameters."""


def exportable(fitted: BaseEstimator) -> Pipeline:
    """The fitted learner as a pipeline of scikit-learn's own classes, ready for skops and skl2onnx.

    Raises:
        ModelError: it is not a fitted learner of this module.
    """
    pipeline = getattr(fitted, "pipeline_", None) if isinstance(fitted, EloFormula) else fitted
    if not isinstance(pipeline, Pipeline) or not hasattr(pipeline[-1], "classes_"):
        raise ModelError(
            f"{type(fitted).__name__} cannot be exported: give a fitted model made by one of {sorted(LEARNERS)}"
        )
    return pipeline
