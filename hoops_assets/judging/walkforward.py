"""Walk-forward: every group of games is forecast only by models fitted on earlier groups.

What belongs here: the loop over groups (seasons), the prediction of rows, and the report of the forecasts. Which
features and which learners is the caller's affair; an estimator is anything with scikit-learn's `fit` and
`predict_proba`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from hoops_assets.errors import ModelError
from hoops_assets.judging.comparison import leak_alarm, paired_difference
from hoops_assets.judging.scoring import brier_scores, log_losses, scores

WINDOW = 15
"""Earlier groups on which a model is fitted."""

MIN_TRAINING_ROWS = 200

BLOCK = 512
"""Rows per call of `predict_proba`."""

THREADS = 1
"""Threads of the numerical libraries while fitting and forecasting. Seasons of games are small: two threads that wait
for each other on busy cores took 11 to 30 s where one took 3.5 s, and sums do not depend on the number of cores."""

Progress = Callable[[str, int, int], None]
"""Called with (learner and group, steps done, steps in all) after each fit and forecast."""


def probabilities(fitted: Any, x: ArrayLike) -> NDArray[np.float64]:
    """P(True) of each row, not depending on which other rows are asked for, to the last bit.

    Linear algebra libraries choose their order of summation by the shape of the input, so the forecast of a game could
    move by an ulp when later fixtures are added. Every call therefore has the same shape: BLOCK rows, filled up with
    zeros.

    Args:
        fitted: with `predict_proba`; its second column is P(True).
        x: floats, (n, features).
    """
    rows = np.ascontiguousarray(x, dtype=np.float64)
    out = np.empty(len(rows))
    with threadpool_limits(THREADS):
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            block = np.zeros((BLOCK, rows.shape[1]))
            block[: len(part)] = part
            out[start : start + len(part)] = fitted.predict_proba(block)[: len(part), 1]
    return out


def fit(learner: str, make: Callable[[], Any], x: ArrayLike, y: ArrayLike, *, minimum: int = MIN_TRAINING_ROWS) -> Any:
    """A model made by `make` and fitted.

    Args:
        learner: name for messages.
        x: floats, (n, features). y: bool, n.

    Raises:
        ModelError: fewer than `minimum` rows, only one outcome among them, or a feature that is not finite.
    """
    rows, labels = np.ascontiguousarray(x, dtype=np.float64), np.asarray(y, dtype=bool)
    if len(rows) < minimum:
        raise ModelError(
            f"{learner} cannot be trained on {len(rows)} games, at least {minimum} are needed;"
            " add earlier seasons or begin later"
        )
    if labels.all() or not labels.any():
        raise ModelError(f"{learner} cannot be trained: all {len(rows)} games have the same outcome; check the labels")
    if not np.isfinite(rows).all():
        column = int(np.argwhere(~np.isfinite(rows))[0][1])
        raise ModelError(
            f"{learner} cannot be trained: feature number {column} (from 0) is missing or infinite in some game"
        )
    with threadpool_limits(THREADS):
        return make().fit(rows, labels)


def walk_forward(
    features: pd.DataFrame,
    labels: pd.Series,
    groups: pd.Series,
    learners: Mapping[str, Callable[[], Any]],
    *,
    forecast: Iterable[int] | None = None,
    window: int = WINDOW,
    minimum: int = MIN_TRAINING_ROWS,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Forecasts groups one after the other, each from the `window` groups before it.

    Args:
        features: floats, (n, features), rows in order of time, no nulls.
        labels: what happened (bool), null while unknown; such rows are forecast and never trained on.
        groups: season of each row; groups are ordered by value.
        learners: by name, each makes an unfitted estimator.
        forecast: groups to forecast; all that have an earlier group when None.
        minimum: training rows without which a group is not forecast.

    Returns:
        P(True) with the index of `features` and one column per learner, NaN in groups that were not forecast.

    Raises:
        ModelError: a group to forecast has no rows or too few training rows; the message names it.
    """
    x = np.ascontiguousarray(features.to_numpy(dtype=np.float64))
    known = labels.notna().to_numpy()
    y = labels.fillna(False).to_numpy(dtype=bool)
    of = groups.to_numpy()
    present = np.unique(of)
    wanted = sorted(set(present[1:] if forecast is None else forecast))
    out = pd.DataFrame(np.nan, index=features.index, columns=list(learners))
    total = len(wanted) * len(learners)
    for step, group in enumerate(wanted):
        rows = of == group
        if not rows.any():
            raise ModelError(f"season {group} has no games; there are {present.min()} to {present.max()}")
        training = known & np.isin(of, present[present < group][-window:])
        for number, (name, make) in enumerate(learners.items(), start=1):
            model = fit(f"{name} for season {group}", make, x[training], y[training], minimum=minimum)
            out.loc[rows, name] = probabilities(model, x[rows])
            if progress is not None:
                progress(f"{name} {group}", step * len(learners) + number, total)
    return out


def log_losses_where_known(p: pd.Series, y: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log loss of each row with a probability, NaN where there is none."""
    known = p.notna().to_numpy()
    losses = np.full(len(y), np.nan)
    losses[known] = log_losses(p[known].to_numpy(dtype=np.float64), y[known])
    return losses


def report(
    forecasts: pd.DataFrame,
    labels: pd.Series,
    clusters: pd.Series,
    *,
    elo: str | None = None,
    closing_line: pd.Series | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Scores of every learner, and paired differences of every two, all on the same rows.

    Args:
        forecasts: P(True), one column per learner. Rows that lack a forecast or a label are left out.
        labels: bool, null while unknown. clusters: game day of each row.
        elo: the learner against which the leak alarm judges the others; None for no alarm.
        closing_line: the market's P(True) of each row, NaN where it has none, against which the alarm judges as well.

    Returns:
        {"learners": [{"learner", "n", "log_loss", "brier", "accuracy", "calibration_error"}, ...],
         "paired": [{"learner", "against", "n", "days", "log_loss_difference", "low", "high", "brier_difference",
         "brier_low", "brier_high"}, ...]}: differences are learner minus against, so negative means that `learner` is
        better; low and high are the 95 % interval of `paired_difference`. Plain numbers, ready for JSON.

    Raises:
        LeakAlarm: a result too good to be true.
        ModelError: no row has every forecast and a label.
    """
    rows = (forecasts.notna().all(axis=1) & labels.notna()).to_numpy()
    if not rows.any():
        raise ModelError("nothing to judge: no game has both a result and a forecast of every learner")
    y = labels[rows].to_numpy(dtype=bool)
    days = clusters[rows].to_numpy()
    columns = {str(name): column[rows].to_numpy(dtype=np.float64) for name, column in forecasts.items()}
    losses = {name: log_losses(p, y) for name, p in columns.items()}
    squares = {name: brier_scores(p, y) for name, p in columns.items()}
    line = None if closing_line is None else log_losses_where_known(closing_line[rows], y)
    for name in columns:
        leak_alarm(name, losses[name], elo=None if elo is None else losses[elo], closing_line=line)
    paired = []
    for against, name in combinations(columns, 2):
        nats = paired_difference(losses[name], losses[against], days)
        square = paired_difference(squares[name], squares[against], days)
        paired.append(
            {
                "learner": name,
                "against": against,
                "n": nats.n,
                "days": nats.clusters,
                "log_loss_difference": nats.mean,
                "low": nats.low,
                "high": nats.high,
                "brier_difference": square.mean,
                "brier_low": square.low,
                "brier_high": square.high,
            }
        )
    return {"learners": [{"learner": name, **scores(p, y)} for name, p in columns.items()], "paired": paired}
