"""What a newcomer sees in the Dagster UI after `hoops up`. The last test ends the servers."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.ui.browser import Dagster, Node
from hoops_assets_tests.ui.served import LEAGUES, NOW, STAGES, Up, partitions

TODAY = datetime.fromisoformat(NOW).date()
TABLES = {
    "ingest": {"fixtures", "results", "fan_posts"},
    "features": {"team_form", "game_ratings", "fan_sentiment", "game_features"},
    "prediction": {"predictions"},
    "monitoring": {"scored_predictions"},
}
"""The assets that have a partition per game day."""

CANDIDATES = {"base_rate", "elo", "logistic", "boosting", "ensemble"}
WHOLE = {
    "ingest": {"history"},
    "training": {"training_set", "challenger", *CANDIDATES, *(f"{one}_evaluation" for one in CANDIDATES)},
    "deployment": {"canary_endpoint", "canary_verdict", "endpoint_fixtures", "live_endpoint"},
    "monitoring": {"model_performance", "drift_report"},
    "quality": {"data_docs", "new_teams"},
}
CHECKED = {
    *("history", "training_set", "canary_endpoint", "canary_verdict"),
    *CANDIDATES,
    *WHOLE["monitoring"],
    *WHOLE["quality"],
    *(name for names in TABLES.values() for name in names),
}


@pytest.fixture(scope="module")
def closed(dagster: Dagster) -> dict[str, Node]:
    """The graph's groups by name, closed."""
    return {node.name: node for node in dagster.open_graph("atlantic_ingest")}


@pytest.fixture(scope="module")
def opened(dagster: Dagster, closed: dict[str, Node]) -> dict[str, dict[str, Node]]:
    """The assets of each group of the graph, by group and name."""
    nodes = dagster.expand_groups("team_form")
    groups, assets = [n for n in nodes if n.name in closed], [n for n in nodes if n.is_asset]
    return {group.name: {asset.name: asset for asset in assets if group.holds(asset)} for group in groups}


def test_the_graph_shows_each_league_as_a_lane_from_ingest_to_monitoring(closed: dict[str, Node]) -> None:
    assert set(closed) == {f"{league}_{stage}" for league in LEAGUES for stage in STAGES}
    for league in LEAGUES:
        begins = [closed[f"{league}_{stage}"].left for stage in STAGES]
        assert begins == sorted(begins)
    above, below = ([node for name, node in closed.items() if name.startswith(league)] for league in LEAGUES)
    assert max(node.bottom for node in above) < min(node.top for node in below)


def test_every_group_holds_its_assets(opened: dict[str, dict[str, Node]]) -> None:
    shown = {group: set(assets) for group, assets in opened.items()}
    assert shown == {
        f"{league}_{stage}": TABLES.get(stage, set()) | WHOLE.get(stage, set())
        for league in LEAGUES
        for stage in STAGES
    }


def test_every_asset_is_green_on_all_days_past_and_ahead(opened: dict[str, dict[str, Node]]) -> None:
    """Days ahead are materialised too: fixtures and forecasts of the next days, results that are empty until played."""
    for league in LEAGUES:
        for stage in STAGES:
            for name, node in opened[f"{league}_{stage}"].items():
                if name in TABLES.get(stage, set()):
                    assert "100% filled" in node.lines, node
                    assert any(re.fullmatch(r"\d+ partitions", line) for line in node.lines), node
                else:
                    assert "Materialized" in node.lines, node
                passed = [line for line in node.lines if re.fullmatch(r"\d+ / \d+ Passed", line)]
                assert bool(passed) == (name in CHECKED), node
                assert name == "drift_report" or set(passed) <= {"1 / 1 Passed"}, node


@pytest.mark.parametrize("table", ["results", "predictions"])
def test_no_day_is_missing_or_failed(up: Up, dagster: Dagster, table: str) -> None:
    days = partitions(up.home, "atlantic")
    assert min(days) < TODAY < max(days)
    dagster.open_asset("atlantic", table, "partitions", "Missing (")
    counts = f"Failed (0) Materialized ({len(days)}) Materializing (0) Missing (0)"
    assert counts in dagster.until(lambda: " ".join(dagster.text().split()), lambda text: counts in text)


@pytest.mark.parametrize(("table", "ahead"), [("results", False), ("results", True), ("predictions", True)])
def test_a_day_shows_how_many_rows_it_has(up: Up, dagster: Dagster, table: str, ahead: bool) -> None:
    store = DeltaStore(str(up.home / "tables"))
    fixtures = store.read("atlantic", "fixtures")["day"]
    day = min(one for one in fixtures if one > TODAY) if ahead else max(one for one in fixtures if one < TODAY)
    rows = len(store.read("atlantic", table, first=day, last=day))
    assert (rows == 0) == (table == "results" and ahead)
    dagster.open(f"/assets/atlantic/{table}?view=partitions&partition={day}", "dagster/partition_row_count")
    row = dagster.page.get_by_role("row", name="dagster/partition_row_count")
    assert row.inner_text().split() == ["dagster/partition_row_count", str(rows)]


def test_the_challenger_shows_its_evidence_and_its_plots(up: Up, dagster: Dagster) -> None:
    version = LocalRegistry(up.home / "registry").challenger("atlantic")
    assert version
    page = dagster.open_asset("atlantic", "challenger", "overview", "log_loss_by_season_plot")
    assert page.get_by_role("row", name=re.compile("^version")).inner_text().split()[-1] == str(version.version)
    assert page.get_by_role("row", name=re.compile("^learner")).first.inner_text().split()[-1] == version.learner
    candidates = dagster.until(
        page.get_by_role("row", name="candidates").first.inner_text,
        lambda text: all(learner in text for learner in CANDIDATES),
    )
    assert all(learner in candidates for learner in CANDIDATES), candidates
    for key in ("reliability_plot", "log_loss_by_season_plot"):
        assert dagster.open_plot(key) == ("data", 600)
        dagster.close_plot()


def test_a_suite_of_great_expectations_is_seen_to_have_passed(dagster: Dagster) -> None:
    page = dagster.open_asset("atlantic", "results", "checks", "Great Expectations")
    page.get_by_text("all expectations hold").wait_for()
    assert page.get_by_text("Passed", exact=True).is_visible()


@pytest.mark.parametrize("service", ["training", "registry", "prediction"])
def test_a_service_says_which_provider_it_has(dagster: Dagster, service: str) -> None:
    page = dagster.open(f"/locations/hoops_assets/resources/{service}", "provider")
    assert '"local"' in page.get_by_role("row", name="provider").inner_text()


def test_jobs_schedules_and_sensors_of_every_league_are_listed_and_run(dagster: Dagster) -> None:
    page = dagster.open("/jobs", "pacific_training")
    for league in LEAGUES:
        for job in ("game_days", "training", "quality"):
            assert page.get_by_text(f"{league}_{job}", exact=True).first.is_visible()
    page = dagster.open("/automation", "pacific_results")
    for league in LEAGUES:
        for automation in ("daily", "quality", "results", "calendar", "challenger", "verdict", "canary_health", "live",
                           "drift", "weekly"):  # fmt: skip
            assert page.get_by_text(f"{league}_{automation}", exact=True).first.is_visible()
    assert dagster.until(page.locator("input:checked").count, lambda on: on == 18) == 18  # all but weekly
    text = dagster.open("/deployment/daemons", "Scheduler").inner_text("body")
    assert re.search(r"Scheduler\s+Running", text)
    assert re.search(r"Sensors\s+Running", text)


def test_the_ui_asks_nobody_but_this_machine(dagster: Dagster) -> None:
    dagster.open("/runs", "Launched by")
    assert dagster.hosts == {"127.0.0.1"}


def test_ctrl_c_ends_everything_that_hoops_up_started(up: Up) -> None:
    names = [" ".join(one.cmdline()) for one in up.processes()]
    assert any("dagster_webserver" in name for name in names)
    assert any("dagster._daemon" in name for name in names)
    seconds, status = up.interrupt(patience=25)
    assert (status, [one.cmdline() for one in up.processes()]) == (0, [])
    assert seconds < 25
