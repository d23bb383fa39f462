"""The page for people, in a real browser that reaches nothing but the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hoops_assets.workloads.serve.bundle import endpoint_folder, write_deployments
from hoops_assets_tests.ui.browser import CHROMIUM, browser
from hoops_assets_tests.workloads.serve.served import FIRST, LEAGUE, TEAMS, Served, deploy, fixtures, serving

EVIL = "<script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("page")
    deploy(home, {1: 90, 2: 10})
    row = {
        "at": "2026-11-23 12:00", "action": "deploy", "version": 2, "traffic": "1: 90 %, 2: 10 %",
        "decided_by": "canary_verdict", "reason": EVIL,
    }  # fmt: skip
    write_deployments(endpoint_folder(home, LEAGUE), [row])
    with serving(home) as running:
        yield running


def test_a_person_sees_games_versions_reliability_and_deployments(server: Served, tmp_path: Path) -> None:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"no browser at {CHROMIUM}; install one: apt-get install --no-install-recommends chromium")
    games = [one for one in fixtures().fixtures if one.day == FIRST]
    told = server.ask(f"/leagues/{LEAGUE}/games/{FIRST}").json()["predictions"]
    with browser(server.address, width=1100, height=1400) as tab:
        page = tab.open(f"/?league={LEAGUE}&day={FIRST}", "who wins at home?")
        rows = page.locator("#games tr").all_inner_texts()[1:]
        assert len(rows) == len(games)
        for row, game, one in zip(rows, games, told, strict=True):
            assert TEAMS[game.home] in row and TEAMS[game.away] in row and "18:30" in row
            assert f"{100 * one['home_win_probability']:.1f} %" in row and f"version {one['version']}" in row
        assert page.locator("svg#reliability circle").count() == 8  # four bins of two variants
        box = page.locator("svg#reliability").first.bounding_box()
        assert box is not None and box["width"] > 200 and box["height"] > 200
        assert EVIL in page.inner_text("#deployments") and page.title() != "taken"
        page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
        page.get_by_text(f"{games[-1].day:%a %d %b}").first.wait_for()
        page.locator("nav a").last.click()
        page.wait_for_load_state()
        assert str(fixtures().last_day.day) in page.inner_text("h2")
        tab.open("/docs", "POST /predict")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert tab.hosts == {"127.0.0.1"}


def test_it_fits_a_telephone(server: Served) -> None:
    with browser(server.address, width=390, height=800) as tab:
        page = tab.open("/", "who wins at home?")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
