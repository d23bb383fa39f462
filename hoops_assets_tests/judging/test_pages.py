"""A report page is whole in itself, and nothing in its parts can become markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from hoops_assets.judging.pages import Heading, Link, Mark, Picture, Table, Text, page

NASTY = '<script>alert("1")</script>&\'"'


class Reader(HTMLParser):
    """Collects tags, attributes and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.seen: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.seen.append(data)


def test_nothing_in_a_part_becomes_markup() -> None:
    parts = [
        Heading(NASTY), Text(NASTY, "warn"), Table([[NASTY, Mark(NASTY, "red")]], [NASTY, "b"]),
        Picture(b"png", NASTY, NASTY), Link(NASTY, NASTY),
    ]  # fmt: skip
    read = Reader(page(NASTY, parts))
    assert "script" not in read.tags
    assert not any(name.startswith("on") for name, _ in read.attributes)
    assert sum(NASTY in text for text in read.seen) == 9  # title twice, and every part
    assert ("alt", NASTY) in read.attributes


def test_a_page_asks_nothing_of_another_host() -> None:
    html = page("t", [Picture(b"\x89PNG", "p"), Table(pd.DataFrame({"a": [1]})), Text("x")])
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*(?![\"']?data:)", html)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd"]
)
def test_an_address_that_runs_or_reads_something_is_no_link(address: str) -> None:
    read = Reader(page("t", [Link("there", address)]))
    assert "a" not in read.tags and "there" in read.seen


@pytest.mark.parametrize("address", ["monitoring.html", "/reports/nba/a.html", "https://example.org/x:y", "a/b:c"])
def test_other_addresses_are(address: str) -> None:
    assert ("href", address) in Reader(page("t", [Link("there", address)])).attributes


def test_cells_are_shown_as_a_person_reads_them() -> None:
    frame = pd.DataFrame({"log_loss": [0.61234, float("nan")], "games": [12345, 2], "won": [True, False]})
    read = Reader(page("t", [Table(frame)]))
    assert [text for text in read.seen if text.strip() and text != "t" and "{" not in text] == [
        "log loss",
        "games",
        "won",
        "0.6123",
        "12,345",
        "yes",
        "2",
        "no",
    ]


def test_a_row_that_lacks_a_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 cells"):
        page("t", [Table([[1]], ["a", "b"])])
