"""The Data Docs are whole pages of plain files that ask nothing of any network."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import pytest

from hoops_assets.store import atomic
from hoops_assets.store.expectations.data_docs import KEPT_BUILDS, DataDocs, build_data_docs
from hoops_assets_tests.store.test_expectations import LEAGUE, sound

AT = datetime(2024, 1, 10, 17, tzinfo=UTC)


def build(folder: Path, away: str = "BEE") -> DataDocs:
    results = sound("results")
    results.loc[7, "away"] = away
    tables = [("results", results, None), ("predictions", sound("predictions").iloc[:0], None)]
    return build_data_docs(folder, LEAGUE, tables, AT)


class Links(HTMLParser):
    """Everything that a page loads or leads to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value and value[0] != "#"]


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> DataDocs:
    return build(tmp_path_factory.mktemp("docs"), away="ZZZ")


def test_every_link_leads_to_a_file_of_the_site_and_none_to_a_network(docs: DataDocs) -> None:
    pages = [docs.index, *docs.index.parent.rglob("*.html")]
    assert len(pages) > 2
    for page in pages:
        assert not re.search(r"<script|@import|url\(\s*['\"]?http", page.read_text()), page
        for link in Links(page).found:
            assert "://" not in link and (page.parent / link).resolve().is_file(), (page, link)


def test_the_index_names_every_table_that_has_rows_and_what_fails(docs: DataDocs) -> None:
    text = docs.index.read_text()
    assert "results" in text and "predictions" not in text
    assert "away is a team of the league: rows 1 on 2024-01-08" in text
    assert "2024-01-10 12:00" in text, "in league time"
    (table,) = docs.tables
    assert [one.name for one in table.failed] == ["away is a team of the league"]
    assert "ZZZ" in table.page.read_text(), "the page of Great Expectations shows what was found"


def test_a_new_build_replaces_what_the_index_shows_and_old_ones_go(tmp_path: Path) -> None:
    for away in ("ZZZ", "ZZZ", "ZZZ", "BEE"):
        docs = build(tmp_path, away)
    assert "all hold" in docs.index.read_text()
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == KEPT_BUILDS


def test_a_build_that_is_stopped_leaves_the_last_good_site(tmp_path: Path) -> None:
    docs = build(tmp_path, "ZZZ")
    before = {path: path.read_text() for path in (docs.index, docs.tables[0].page)}
    with mock.patch.object(atomic, "fault_point", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        build(tmp_path)
    assert {path: path.read_text() for path in before} == before
    assert "all hold" in build(tmp_path).index.read_text()
    assert not list(tmp_path.glob(".build.*"))
