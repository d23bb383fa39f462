"""A headless Chromium that sees nothing but the loopback, and a person's ways through the Dagster UI."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
PATIENCE = 60.0
"""Seconds that anything on a page may take to appear."""

Seen = TypeVar("Seen")

_NODES = """() => [...document.querySelectorAll('foreignObject')].map(node => {
    const box = node.getBoundingClientRect()
    return [[...node.children].map(child => child.innerText).join('\\n').trim(), box.left, box.top, box.right, box.bottom]
}).filter(node => node[0])"""


@dataclass(frozen=True)
class Node:
    """A box of the asset graph: a group, closed or open, or an asset.

    Attributes:
        lines: what it says, its name first.
        left, top, right, bottom: pixels.
    """

    lines: tuple[str, ...]
    left: float
    top: float
    right: float
    bottom: float

    @property
    def name(self) -> str:
        return self.lines[0]

    @property
    def is_asset(self) -> bool:
        return "Partitions" in self.lines

    def holds(self, other: Node) -> bool:
        return self.left <= other.left <= self.right and self.top <= other.top <= self.bottom


class Dagster:
    """One tab on the UI.

    Attributes:
        page: the tab.
        hosts: whom it has asked for anything, by request or socket.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page, self._address = page, address
        self.hosts: set[str] = set()
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", lambda socket: self._note(socket.url))
        page.set_default_timeout(PATIENCE * 1000)

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"}:
            self.hosts.add(parts.hostname or url)

    def open(self, path: str, text: str) -> Page:
        """Opens a page and waits until it shows `text`: the network never rests, because the UI polls."""
        self.page.goto(f"{self._address}{path}", wait_until="domcontentloaded")
        self.page.get_by_text(text).first.wait_for()
        return self.page

    def text(self) -> str:
        return self.page.inner_text("body")

    def until(self, look: Callable[[], Seen], enough: Callable[[Seen], bool]) -> Seen:
        """Looks until it is enough, or for PATIENCE seconds; returns what was seen last."""
        deadline = time.monotonic() + PATIENCE
        while not enough(seen := look()) and time.monotonic() < deadline:
            self.page.wait_for_timeout(300)
        return seen

    # -- the graph ----------------------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """What the open graph shows."""
        return [Node(tuple(text.split("\n")), *box) for text, *box in self.page.evaluate(_NODES)]

    def open_graph(self, group: str) -> list[Node]:
        """The graph as it first appears, all groups closed."""
        self.open("/asset-groups", group)
        return self.until(self.nodes, lambda nodes: any(node.name == group for node in nodes))

    def expand_groups(self, asset: str) -> list[Node]:
        """Opens all groups of the graph and fits it into the window; waits until no asset is loading."""
        self.page.keyboard.press("Alt+E")
        self.page.get_by_text(asset).first.wait_for()
        self.open("/asset-groups", asset)
        return self.until(self.nodes, lambda nodes: not any("Loading..." in node.lines for node in nodes))

    # -- an asset -----------------------------------------------------------------------------------------------------

    def open_asset(self, league: str, name: str, view: str, text: str) -> Page:
        """One tab (overview, partitions, checks, ...) of an asset's page."""
        return self.open(f"/assets/{league}/{name}?view={view}", text)

    def open_plot(self, key: str) -> tuple[str, int]:
        """Opens a picture in the metadata of the open asset; returns the scheme of its source, and its width."""
        self.page.get_by_role("row", name=key).get_by_text("[Show Markdown]").click()
        picture = self.page.get_by_role("dialog").locator("img")
        picture.wait_for()
        width = self.until(lambda: int(picture.evaluate("image => image.naturalWidth")), lambda pixels: pixels > 0)
        return urlsplit(picture.get_attribute("src") or "").scheme, width

    def close_plot(self) -> None:
        self.page.get_by_role("dialog").get_by_text("Close").click()
        self.page.get_by_role("dialog").wait_for(state="detached")


@contextmanager
def browser(address: str, width: int, height: int) -> Iterator[Dagster]:
    """A fresh browser, without cookies or history, with one tab on the UI at `address`."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            context = chromium.new_context(viewport={"width": width, "height": height}, timezone_id="UTC")
            yield Dagster(context.new_page(), address)
        finally:
            chromium.close()
