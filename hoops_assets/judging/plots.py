"""Plots a person can read at 600 pixels: reliability, log loss over time, confidence sequences.

What belongs here: tables in, PNG bytes out. Drawn with Agg without pyplot, so no display and no global state
is touched.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from hoops_assets.judging.scoring import reliability

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

MARKERS = "osD^vPX"

PALETTE = 64
"""Colours of a PNG: enough for smooth edges, and a quarter of the bytes, since the event log keeps every plot."""


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _png(figure: Figure) -> bytes:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(PALETTE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def reliability_plot(forecasts: pd.DataFrame, labels: pd.Series, title: str = "Reliability") -> bytes:
    """Observed share of events over forecast probability, in ten bins of equal count with 95 % Wilson intervals.

    Args:
        forecasts: P(True), one column per learner; rows without forecast or label are left out.
        labels: bool, null while unknown.

    Returns:
        PNG, 600 x 600 pixels.
    """
    figure = Figure(figsize=(6, 6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="perfect")
    for number, (name, probability) in enumerate(forecasts.items()):
        rows = probability.notna() & labels.notna()
        if not rows.any():
            continue
        table = reliability(probability[rows], labels[rows].astype(bool))
        # A share of 0 or 1 is its own bound but for rounding, and matplotlib refuses a bar of minus 1e-17.
        spread = [(table["share"] - table["low"]).clip(lower=0.0), (table["high"] - table["share"]).clip(lower=0.0)]
        axes.errorbar(
            table["mean_probability"], table["share"], yerr=spread, label=f"{name} ({int(rows.sum()):,} games)",
            linewidth=1.2, markersize=5, capsize=2, **_style(number),
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="forecast probability", ylabel="share that happened", title=title)
    axes.grid(color="#e5e5e5")
    axes.legend(loc="upper left", fontsize=9)
    return _png(figure)


def loss_by_group_plot(losses: Mapping[str, pd.Series], title: str = "Log loss by season") -> bytes:
    """Mean log loss of each learner per season.

    Args:
        losses: by learner, mean log loss indexed by season.

    Returns:
        PNG, 600 x 400 pixels.
    """
    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, by_group) in enumerate(losses.items()):
        ordered = by_group.sort_index()
        axes.plot(
            ordered.index.to_numpy(), ordered.to_numpy(), label=name, linewidth=1.5, markersize=5, **_style(number)
        )
    axes.set(xlabel="season", ylabel="log loss (less is better)", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#e5e5e5")
    if losses:
        figure.legend(loc="outside lower center", fontsize=9, ncols=4)
    return _png(figure)


def confidence_sequence_plot(
    days: Sequence[Any], sequence: NDArray[np.float64], margin: float, title: str = "Gain of the canary"
) -> bytes:
    """Mean gain with both ends of its confidence sequence over game days, beside the two lines that decide.

    Args:
        days: dates, ascending.
        sequence: as `judging.sequential.confidence_sequence` returns it, [days, 3].
        margin: roll out when the lower end is above minus this, roll back when the upper end is below zero.

    Returns:
        PNG, 600 x 400 pixels. Ends far outside what decides are cut off.
    """
    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(-margin, color=COLOURS[2], linewidth=1.2, linestyle="--", label=f"roll out: lower end above {-margin}")
    axes.axhline(0.0, color=COLOURS[1], linewidth=1.2, linestyle="--", label="roll back: upper end below 0")
    if len(days):
        mean, low, high = sequence.T
        at = np.array(days, dtype="datetime64[D]")
        axes.fill_between(at, low, high, color=COLOURS[0], alpha=0.2, label="confidence sequence")
        axes.plot(at, mean, color=COLOURS[0], linewidth=1.5, marker="o", markersize=3, label="mean gain")
        shown = 1.3 * max(5 * margin, float(np.abs(sequence[-1]).max()))
        axes.set_ylim(-shown, shown)
        first = at[0] - np.timedelta64(1, "D")
        axes.set_xlim(first, max(at[-1], at[0] + np.timedelta64(14, "D")))  # pyright: ignore[reportArgumentType]
        locator = AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set(xlabel="settled game day", ylabel="gain in Brier score (more is better)", title=title)
    axes.grid(color="#e5e5e5")
    figure.legend(loc="outside lower center", fontsize=8, ncols=2)
    return _png(figure)


ROLLING = 200
"""Games of a rolling mean."""


def _days(axes: Any) -> None:
    """Dates along the lower edge; of a few days a fortnight is shown, since no ticks would fit between them."""
    low, high = axes.get_xlim()
    if high - low < 14:
        axes.set_xlim(low - 1, low + 13)
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.grid(color="#e5e5e5")


def rolling_loss_plot(
    losses: pd.DataFrame, names: Mapping[str, str], title: str = "Log loss", window: int = ROLLING
) -> bytes:
    """Mean log loss of the last `window` games of each forecaster over time.

    Args:
        losses: `day` and a column per forecaster, one row a game in order of time; NaN where there is no forecast.
        names: column -> name for people; a column without values is left out.

    Returns:
        PNG, 700 x 400 pixels.
    """
    figure = Figure(figsize=(7, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for number, (column, name) in enumerate(names.items()):
        known = losses[["day", column]].dropna()
        least = min(window, max(20, len(known) // 4))
        mean = known[column].rolling(window, min_periods=least).mean()
        by_day = mean.groupby(known["day"]).last().dropna()
        if len(by_day):
            at = by_day.index.to_numpy(dtype="datetime64[D]")
            axes.plot(at, by_day.to_numpy(), label=name, linewidth=1.5, color=COLOURS[number % len(COLOURS)])
    _days(axes)
    axes.set(xlabel="game day", ylabel=f"log loss, last {window} games (less is better)", title=title)
    if axes.lines:
        figure.legend(loc="outside lower center", fontsize=9, ncols=4)
    return _png(figure)


def cumulative_gain_plot(
    losses: pd.DataFrame, forecast: str, against: Mapping[str, str], title: str = "Gain since the first game"
) -> bytes:
    """Sum of what a forecaster lost less than others, game by game: rising means better than the other.

    Args:
        losses: as in `rolling_loss_plot`. forecast: its column. against: other columns -> names for people.

    Returns:
        PNG, 700 x 400 pixels.
    """
    figure = Figure(figsize=(7, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0.0, color="#999999", linewidth=1, linestyle="--")
    for number, (column, name) in enumerate(against.items(), start=1):
        known = losses[["day", forecast, column]].dropna()
        by_day = (known[column] - known[forecast]).cumsum().groupby(known["day"]).last()
        if len(by_day):
            at = by_day.index.to_numpy(dtype="datetime64[D]")
            axes.plot(at, by_day.to_numpy(), label=f"over {name}", linewidth=1.5, color=COLOURS[number % len(COLOURS)])
    _days(axes)
    axes.set(xlabel="game day", ylabel="log loss saved, sum (more is better)", title=title)
    if len(axes.lines) > 1:
        figure.legend(loc="outside lower center", fontsize=9, ncols=3)
    return _png(figure)


def threshold_plot(
    days: Sequence[Any], values: Sequence[float], threshold: float, label: str, title: str, marked: Any = None
) -> bytes:
    """A line over days with the level at which it alarms.

    Args:
        days: dates, ascending. values: one a day. label: of the axis.
        marked: a day to mark: that of the alarm.

    Returns:
        PNG, 600 x 300 pixels.
    """
    figure = Figure(figsize=(6, 3), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    at = np.array(days, dtype="datetime64[D]")
    axes.plot(at, np.asarray(values, dtype=np.float64), color=COLOURS[0], linewidth=1.5)
    axes.axhline(threshold, color=COLOURS[1], linewidth=1.2, linestyle="--", label=f"line {threshold:.3g}")
    if marked is not None:
        axes.axvline(np.datetime64(marked, "D"), color=COLOURS[1], linewidth=1, label="alarm")  # pyright: ignore[reportArgumentType]
    _days(axes)
    axes.set(ylabel=label, title=title)
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def threshold_bars_plot(
    names: Sequence[str], values: Sequence[float], threshold: float, label: str, title: str
) -> bytes:
    """Bars from the top down with the level at which they alarm.

    Returns:
        PNG, 600 pixels wide.
    """
    figure = Figure(figsize=(6, 1.2 + 0.3 * len(names)), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    heights = np.asarray(values, dtype=np.float64)
    colours = [COLOURS[1] if value >= threshold else COLOURS[0] for value in heights]
    axes.barh(np.arange(len(names)), heights, color=colours)
    axes.axvline(threshold, color=COLOURS[1], linewidth=1.2, linestyle="--", label=f"line {threshold:.3g}")
    axes.set_yticks(np.arange(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.grid(color="#e5e5e5", axis="x")
    axes.set(xlabel=label, title=title)
    axes.legend(loc="lower right", fontsize=8)
    return _png(figure)


def intervals_plot(
    names: Sequence[str], values: Sequence[float], lows: Sequence[float], highs: Sequence[float], label: str, title: str
) -> bytes:
    """Values with their intervals from the top down, beside zero.

    Returns:
        PNG, 600 pixels wide.
    """
    figure = Figure(figsize=(6, 1.2 + 0.3 * len(names)), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    at, middle = np.arange(len(names)), np.asarray(values, dtype=np.float64)
    ends = np.array([middle - np.asarray(lows), np.asarray(highs) - middle])
    axes.axvline(0.0, color=COLOURS[1], linewidth=1.2, linestyle="--")
    axes.errorbar(middle, at, xerr=np.maximum(ends, 0.0), fmt="o", markersize=4, color=COLOURS[0], capsize=3)
    axes.set_yticks(at, list(names), fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(color="#e5e5e5", axis="x")
    axes.set(xlabel=label, title=title)
    return _png(figure)
