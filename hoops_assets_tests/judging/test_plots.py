from __future__ import annotations

import io
import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from hoops_assets.judging.plots import confidence_sequence_plot, loss_by_group_plot, reliability_plot
from hoops_assets.judging.sequential import confidence_sequence

LEARNERS = ["base_rate", "elo", "logistic", "boosting"]


@pytest.fixture
def forecasts():
    random = np.random.default_rng(0)
    truth = random.uniform(0.1, 0.95, 4000)
    table = pd.DataFrame({name: np.clip(truth + 0.05 * number, 0, 1) for number, name in enumerate(LEARNERS)})
    return table, pd.Series(random.random(4000) < truth).astype("boolean")


def image_of(png):
    assert png.startswith(b"\x89PNG") and len(png) <= 60_000
    return imread(io.BytesIO(png), format="png")


def test_the_reliability_curve_is_a_small_png_of_600_pixels(forecasts):
    assert image_of(reliability_plot(*forecasts)).shape[:2] == (600, 600)


def test_another_forecast_gives_another_curve_and_the_same_gives_the_same(forecasts):
    table, labels = forecasts
    assert reliability_plot(table, labels) == reliability_plot(table, labels)
    assert reliability_plot(table, labels) != reliability_plot(1 - table, labels)


def test_rows_without_a_result_or_a_forecast_do_not_show(forecasts):
    table, labels = forecasts
    more = pd.concat([table, pd.DataFrame({name: [0.5, np.nan] for name in LEARNERS})], ignore_index=True)
    known = pd.concat([labels, pd.Series([pd.NA, True], dtype="boolean")], ignore_index=True)
    assert reliability_plot(more, known) == reliability_plot(table, labels)
    image_of(reliability_plot(table.head(0), labels.head(0)))


def test_log_loss_by_season_is_a_small_png_of_600_pixels():
    seasons = range(1990, 2020)
    losses = {
        name: pd.Series(0.6 + 0.01 * np.sin(np.arange(30) + number), index=seasons)
        for number, name in enumerate(LEARNERS)
    }
    assert image_of(loss_by_group_plot(losses)).shape[:2] == (400, 600)
    image_of(loss_by_group_plot({}))


def test_drawing_needs_no_display_and_no_pyplot():
    code = (
        "import sys, pandas as pd, hoops_assets.judging.plots as plots;"
        "plots.loss_by_group_plot({'elo': pd.Series({2001: .6, 2002: .61})});"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"MPLBACKEND": "TkAgg"})


def test_a_confidence_sequence_is_drawn_from_its_first_day_on():
    days = [date(2025, 1, 1) + timedelta(days=number) for number in range(40)]
    gains = np.random.default_rng(0).normal(0.0, 0.05, 200)
    sequence = confidence_sequence(gains, range(5, 201, 5))
    whole = confidence_sequence_plot(days, sequence, 0.01)
    assert image_of(whole).shape[:2] == (400, 600)
    assert whole != confidence_sequence_plot(days, sequence, 0.02)
    image_of(confidence_sequence_plot(days[:1], sequence[:1], 0.01))
    image_of(confidence_sequence_plot([], np.empty((0, 3)), 0.01))
