from __future__ import annotations

import io
import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from hoops_assets.judging.plots import (
    confidence_sequence_plot,
    cumulative_gain_plot,
    loss_by_group_plot,
    reliability_plot,
    rolling_loss_plot,
    threshold_bars_plot,
    threshold_plot,
)
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


@pytest.mark.parametrize("days", [1, 2, 9, 400])
def test_pictures_over_time_are_drawn_from_the_first_day_on(days):
    on = [date(2024, 1, 1) + timedelta(days=number) for number in range(days)]
    level = np.linspace(0.5, 0.7, days)
    losses = pd.DataFrame({"day": on, "ours": level, "elo": 0.69, "nobody": np.nan})
    names = {"ours": "ours", "elo": "Elo", "nobody": "nobody"}
    drawn = {
        (400, 700): [rolling_loss_plot(losses, names), cumulative_gain_plot(losses, "ours", {"elo": "Elo"})],
        (300, 600): [threshold_plot(on, level, 0.6, "evidence", "target"),
                     threshold_plot(on, level, 0.6, "evidence", "target", on[-1])],
    }  # fmt: skip
    for size, pictures in drawn.items():
        assert {imread(io.BytesIO(png)).shape[:2] for png in pictures} == {size}
    assert drawn[300, 600][0] != drawn[300, 600][1], "the alarm is marked"


def test_bars_over_the_line_are_of_another_colour():
    above, below = (threshold_bars_plot(["a_b", "c"], [value, 0.1], 0.2, "index", "inputs") for value in (0.21, 0.19))
    assert imread(io.BytesIO(above)).shape[1] == 600
    orange = [
        (abs(imread(io.BytesIO(png))[..., :3] - [0.835, 0.369, 0.0]).max(-1) < 0.02).sum() for png in (above, below)
    ]
    assert orange[0] > 20 * max(orange[1], 1) / 10 and orange[0] > 5000 > orange[1]
