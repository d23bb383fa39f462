"""From a league to its sources: every kind of source is opened, checked by name, and finds its files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hoops_assets.basketball.league import League, Sources, SourceSpec
from hoops_assets.errors import SettingsError
from hoops_assets.sources.box_scores import NbaStats
from hoops_assets.sources.leagues import load_league
from hoops_assets.sources.odds import CsvOdds, open_odds
from hoops_assets.sources.open import check_options, open_box_scores, open_posts
from hoops_assets_tests.sources.leagues import TEAMS, league


class AllSources(Sources):
    box_scores: SourceSpec | None = None
    odds: SourceSpec | None = None


def with_sources(**specs: dict[str, object]) -> League:
    games = {"kind": "csv", "files": ["a.csv"], "columns": {"date": "d", "home": "h", "away": "a"}}
    return league().model_copy(update={"sources": AllSources.model_validate({"games": games, **specs})})


BOX_SCORES = {"kind": "nba_stats", "traditional": ["t.csv"]}
ODDS = {
    "kind": "csv",
    "files": ["o.csv"],
    "columns": {"date": "d", "home": "h", "away": "a", "home_moneyline": "hm", "away_moneyline": "am"},
}


def test_a_source_that_the_league_has_is_opened_and_one_it_has_not_is_none() -> None:
    whole = with_sources(box_scores=BOX_SCORES, odds=ODDS)
    check_options(whole, "nba.yaml")
    assert isinstance(open_box_scores(whole), NbaStats)
    assert isinstance(open_odds(whole), CsvOdds)
    assert (open_box_scores(league()), open_odds(league()), open_posts(league())) == (None, None, None)


@pytest.mark.parametrize(
    ("what", "spec", "said"),
    [
        ("box_scores", BOX_SCORES | {"kind": "nba_stat"}, r"'nba_stat' is not a kind of source \(did you mean"),
        ("box_scores", {"kind": "nba_stats"}, "field sources.box_scores.traditional is missing"),
        ("odds", ODDS | {"columns": {"date": "d"}}, r"sources\.odds\.columns"),
        ("posts", {"kind": "redit"}, r"did you mean 'reddit'"),
    ],
)
def test_what_is_wrong_in_any_source_is_named(what: str, spec: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check_options(with_sources(**{what: spec}), "nba.yaml")


def test_files_of_posts_stand_beside_the_league_file(tmp_path: Path) -> None:
    posts = {"kind": "tweets_archive", "archive": "tweets.tar.gz", "schedule": "/data/games.csv"}
    games = {"kind": "csv", "files": ["a.csv"], "columns": {"date": "d", "home": "h", "away": "a"}}
    content = {
        "name": "cup",
        "time_zone": "UTC",
        "first_season": 2020,
        "sources": {"games": games, "posts": posts},
        "teams": TEAMS,
    }
    (tmp_path / "cup.yaml").write_text(yaml.safe_dump(content))
    sources = load_league(tmp_path / "cup.yaml").sources
    assert sources.games.options["files"] == [str(tmp_path / "a.csv")]
    assert sources.posts is not None
    assert sources.posts.options["archive"] == str(tmp_path / "tweets.tar.gz")
    assert sources.posts.options["schedule"] == "/data/games.csv"
