"""One `hoops up` and one browser for all tests of the UI, gone before any other test: a browser keeps an event loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoops_assets_tests.ui.browser import CHROMIUM, Dagster, browser
from hoops_assets_tests.ui.served import Up, make_home, small_environment


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The servers, up, with both embedded leagues (cut down) taken through the whole graph."""
    home = make_home(tmp_path_factory.mktemp("ui") / "home")
    running = Up(home, small_environment(home), 4000 + os.getpid() % 900)
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="package")
def dagster(up: Up) -> Iterator[Dagster]:
    """A tab on the UI, wide and high enough for both leagues' graphs in full detail."""
    if not Path(CHROMIUM).exists():
        pytest.fail(f"no browser at {CHROMIUM}; install one: apt-get install --no-install-recommends chromium")
    with browser(up.address, width=11000, height=11000) as tab:
        yield tab
