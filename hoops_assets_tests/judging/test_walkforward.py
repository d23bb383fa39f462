from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from hoops_assets.errors import LeakAlarm, ModelError
from hoops_assets.judging.walkforward import BLOCK, fit, probabilities, report, walk_forward

N = 600


@pytest.fixture
def rows():
    """Six seasons of 100 rows: features, labels, groups, days."""
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(N, 3)), columns=list("abc"), index=pd.RangeIndex(1000, 1000 + N))
    labels = pd.Series(random.random(N) < 1 / (1 + np.exp(-features["a"])), index=features.index).astype("boolean")
    groups = pd.Series(np.repeat(np.arange(2001, 2007), 100), index=features.index)
    days = pd.Series(np.arange(N) // 5, index=features.index)
    return features, labels, groups, days


class Share:
    """Forecasts the share of True among the labels it was fitted on, and keeps what it saw."""

    seen: ClassVar[list[int]] = []

    def fit(self, x, y):
        Share.seen.append(len(y))
        self.share = y.mean()
        return self

    def predict_proba(self, x):
        return np.tile([1 - self.share, self.share], (len(x), 1))


def test_every_group_is_forecast_from_the_window_of_groups_before_it(rows):
    features, labels, groups, _ = rows
    found = walk_forward(features, labels, groups, {"share": Share}, window=2, minimum=1)["share"]
    assert found[groups == 2001].isna().all()
    for season in range(2002, 2007):
        earlier = labels[(groups < season) & (groups >= season - 2)].astype(bool)
        assert (found[groups == season] == earlier.mean()).all()


def test_only_the_groups_asked_for_are_forecast(rows):
    features, labels, groups, _ = rows
    found = walk_forward(features, labels, groups, {"share": Share}, forecast=[2004, 2006], minimum=1)
    assert sorted(groups[found["share"].notna()].unique()) == [2004, 2006]
    assert list(found.index) == list(features.index)


def test_games_without_a_result_are_forecast_and_not_trained_on(rows):
    features, labels, groups, _ = rows
    labels = labels.mask((groups == 2003) & (np.arange(N) % 2 == 0)).astype("boolean")
    Share.seen.clear()
    found = walk_forward(features, labels, groups, {"share": Share}, forecast=[2003, 2004], minimum=1)
    assert Share.seen == [200, 250]
    assert found.loc[groups == 2003, "share"].notna().all()


def test_changing_labels_and_features_of_later_rows_moves_no_earlier_forecast(rows):
    features, labels, groups, _ = rows
    learners = {"logistic": LogisticRegression}
    before = walk_forward(features, labels, groups, learners, minimum=1)
    now = 1000 + 437  # within season 2005
    changed = features.copy()
    changed.loc[now:] = -changed.loc[now:]
    flipped = labels.copy()
    flipped.loc[now:] = ~flipped.loc[now:]
    later = pd.DataFrame(np.ones((3, 3)), columns=list("abc"), index=[5000, 5001, 5002])
    after = walk_forward(
        pd.concat([changed, later]),
        pd.concat([flipped, pd.Series([True] * 3, index=later.index, dtype="boolean")]),
        pd.concat([groups, pd.Series([2006] * 3, index=later.index)]),
        learners,
        minimum=1,
    )
    pd.testing.assert_frame_equal(after.loc[: now - 1], before.loc[: now - 1], check_exact=True)
    assert (after.loc[now:1599, "logistic"] != before.loc[now:, "logistic"]).mean() > 0.9


def test_a_forecast_does_not_depend_on_which_other_rows_are_asked_for(rows):
    features, labels, _, _ = rows
    x = features.to_numpy()
    model = LogisticRegression().fit(x, labels.to_numpy(bool))
    whole = probabilities(model, x)
    assert whole == pytest.approx(model.predict_proba(x)[:, 1], abs=1e-15)
    for n in (1, 2, 3, 7, 100, BLOCK - 1, BLOCK, BLOCK + 1):
        assert (probabilities(model, x[:n]) == whole[:n]).all()
    assert probabilities(model, x[:0]).shape == (0,)


def test_progress_tells_every_fit(rows):
    features, labels, groups, _ = rows
    told = []
    walk_forward(
        features,
        labels,
        groups,
        {"one": Share, "two": Share},
        forecast=[2005, 2006],
        progress=lambda *step: told.append(step),
    )
    assert told == [("one 2005", 1, 4), ("two 2005", 2, 4), ("one 2006", 3, 4), ("two 2006", 4, 4)]


def test_too_few_earlier_games_are_an_error_that_names_the_season(rows):
    features, labels, groups, _ = rows
    with pytest.raises(ModelError, match=r"share for season 2002 .* 100 games, at least 200"):
        walk_forward(features, labels, groups, {"share": Share})
    with pytest.raises(ModelError, match=r"season 2001 .* 0 games"):
        walk_forward(features, labels, groups, {"share": Share}, forecast=[2001])
    with pytest.raises(ModelError, match="season 1999 has no games; there are 2001 to 2006"):
        walk_forward(features, labels, groups, {"share": Share}, forecast=[1999])


def test_what_cannot_be_fitted_is_refused_with_its_reason(rows):
    features, labels, _, _ = rows
    x, y = features.to_numpy(), labels.to_numpy(bool)
    with pytest.raises(ModelError, match="same outcome"):
        fit("logistic", LogisticRegression, x, np.ones(N, dtype=bool))
    x[3, 1] = np.nan
    with pytest.raises(ModelError, match="feature number 1"):
        fit("logistic", LogisticRegression, x, y)


def forecasts_of(labels, **skill):
    """A learner of skill s gives s to what happened."""
    return pd.DataFrame(
        {name: np.where(labels.astype(bool), s, 1 - s) for name, s in skill.items()}, index=labels.index
    )


def test_the_report_has_the_names_that_other_programs_call(rows):
    _, labels, _, days = rows
    found = report(forecasts_of(labels, elo=0.6, logistic=0.65, boosting=0.55), labels, days)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [row["learner"] for row in found["learners"]] == ["elo", "logistic", "boosting"]
    assert {"learner", "n", "log_loss", "brier", "accuracy", "calibration_error"} == set(found["learners"][0])
    pairs = [(row["learner"], row["against"]) for row in found["paired"]]
    assert pairs == [("logistic", "elo"), ("boosting", "elo"), ("boosting", "logistic")]
    first = found["paired"][0]
    assert first["n"] == N and first["days"] == N // 5
    assert first["log_loss_difference"] == pytest.approx(np.log(0.6 / 0.65))
    assert first["low"] <= first["log_loss_difference"] <= first["high"]
    assert first["brier_difference"] == pytest.approx(0.35**2 - 0.4**2)


def test_all_learners_are_judged_on_the_games_that_all_of_them_forecast_and_that_were_played(rows):
    _, labels, _, days = rows
    forecasts = forecasts_of(labels, elo=0.6, logistic=0.65)
    forecasts.iloc[:10, 0] = np.nan
    forecasts.iloc[5:20, 1] = np.nan
    found = report(forecasts, labels.mask(days == days.max()), days)
    assert {row["n"] for row in [*found["learners"], *found["paired"]]} == {N - 20 - 5}


def test_nothing_to_judge_is_an_error(rows):
    _, labels, _, days = rows
    with pytest.raises(ModelError, match="nothing to judge"):
        report(forecasts_of(labels, elo=0.6), labels.mask(days >= 0), days)


def test_the_report_stops_at_a_result_too_good_to_be_true():
    labels = pd.Series(np.arange(2000) % 2 == 0).astype("boolean")
    days = pd.Series(np.arange(2000) // 5)
    forecasts = forecasts_of(labels, elo=0.6, boosting=0.7)
    with pytest.raises(LeakAlarm, match="boosting"):
        report(forecasts, labels, days, elo="elo")
    assert report(forecasts.head(900), labels.head(900), days.head(900), elo="elo")["learners"]
