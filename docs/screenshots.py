"""Makes the pictures of docs/images from a running `hoops up`.

    PYTHONPATH=. .venv/bin/python docs/screenshots.py [ADDRESS]

Needs Chromium and the `dev` extra. A picture that grew over 250 kB is refused.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import FloatRect

from hoops_assets_tests.ui.browser import Dagster, browser

IMAGES = Path(__file__).parent / "images"
LARGEST = 250_000
COLOURS = 128
LANES: FloatRect = {"x": 370, "y": 130, "width": 1487, "height": 1060}
GREEN = 0.03
"""Share of the graph's picture that is green when all assets of a league are shown as materialised."""

STAGES = ("ingest", "features", "training", "deployment", "prediction", "monitoring")


def main(address: str) -> None:
    with browser(address, 1900, 1260) as dagster:
        graph(dagster, "atlantic")
    with browser(address, 1600, 1080) as dagster:
        challenger(dagster, "atlantic")


def graph(dagster: Dagster, league: str) -> None:
    """All leagues as lanes, one of them opened."""
    page = dagster.page
    dagster.open_graph(f"{league}_ingest")
    page.get_by_text("Hide navigation").click()
    for stage in STAGES:
        page.locator(f'[data-tooltip="{league}_{stage}"]').last.click()
        page.wait_for_timeout(500)
        dagster.open("/asset-groups", f"{league}_{stage}")  # fits the graph into the window again
        page.wait_for_timeout(1500)
    picture = dagster.until(lambda: page.screenshot(clip=LANES), lambda png: green(png) > GREEN)
    if green(picture) < GREEN:
        raise SystemExit("the graph is not green; is everything materialised?")
    save(picture, "graph.png")


def green(png: bytes) -> float:
    """The share of pixels in the colour that the UI gives to what is materialised."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return float((pixels[..., 1] - pixels[..., 0] > 10).mean())


def challenger(dagster: Dagster, league: str) -> None:
    """The page of the challenger with its reliability."""
    page = dagster.open_asset(league, "challenger", "overview", "log_loss_by_season_plot")
    page.get_by_text("test log loss").wait_for()
    page.get_by_text(re.compile("ago$")).last.wait_for()
    page.wait_for_timeout(2000)
    save(page.screenshot(), "challenger.png")
    dagster.open_plot("reliability_plot")
    page.wait_for_timeout(500)
    save(page.screenshot(), "reliability.png")


def save(png: bytes, name: str) -> None:
    """Writes a picture with few colours, which a page of flat colours does not need more of."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(buffer, "PNG", optimize=True)
    if len(buffer.getvalue()) > LARGEST:
        raise SystemExit(f"{name} has {len(buffer.getvalue()):,} bytes, more than {LARGEST:,}")
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / name).write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000")
