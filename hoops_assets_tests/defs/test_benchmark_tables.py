"""Box scores and closing odds: tables that a league has when it names a source of them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from hoops_assets.definitions import build_defs
from hoops_assets.settings import Settings
from hoops_assets.sources.leagues import league_yaml, load_league, new_league
from hoops_assets.store.delta import DeltaStore

ODDS = {
    "kind": "csv",
    "name": "archive",
    "date_format": "iso",
    "columns": {
        "date": "date", "home": "home", "away": "away", "home_moneyline": "moneyline_home",
        "away_moneyline": "moneyline_away", "spread": "spread", "favourite": "whos_favored",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the NBA in it, whose league file names box scores and odds."""
    home = tmp_path_factory.mktemp("home")
    league, _ = new_league(
        "nba", "fivethirtyeight", [str(real_data / "nba/nba_elo_1947_2019.csv.gz")], first_season=2016
    )
    content = yaml.safe_load(league_yaml(league))
    boxes = real_data / "nba/boxscores"
    content["sources"]["box_scores"] = {
        "kind": "nba_stats",
        "traditional": [str(boxes / "api_data_2015_traditional.csv.gz")],
        "advanced": [str(boxes / "api_data_2015_advanced.csv.gz")],
    }
    content["sources"]["odds"] = {**ODDS, "files": [str(real_data / "nba/odds/nba_2008-2021_raw.csv.gz")]}
    path = home / "leagues" / "nba.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(content))
    load_league(path)
    return Settings(home=home)


def test_box_scores_and_odds_become_tables_joined_to_the_games(settings: Settings) -> None:
    defs = build_defs(settings, leagues=[load_league(settings.home / "leagues" / "nba.yaml")])
    keys = [dg.AssetKey(["nba", name]) for name in ("box_scores", "closing_odds")]
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=keys).success
    store = DeltaStore(settings.tables_root)
    boxes, odds = store.read("nba", "box_scores"), store.read("nba", "closing_odds")
    assert len(boxes) == 2460
    assert (boxes.groupby("game_id").size() == 2).all()
    assert len(odds) > 15_000
    assert odds["home_win_probability"].dropna().between(0, 1).all()
    assert (settings.home / "quarantine" / "nba" / "odds.csv").exists()


def test_a_league_without_such_sources_has_no_such_assets(tmp_path: Path) -> None:
    defs = build_defs(Settings(home=tmp_path))
    names = {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert not names & {"box_scores", "closing_odds"}
