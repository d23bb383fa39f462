"""Closing odds: prices without the margin, joined to games; and a door that stays shut to every feature."""

from __future__ import annotations

import math
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grimp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.basketball.features import game_features
from hoops_assets.basketball.form import extend_form
from hoops_assets.basketball.game_ratings import game_ratings
from hoops_assets.basketball.games import fixtures, results, with_game_ids
from hoops_assets.basketball.league import League, Sources
from hoops_assets.basketball.sentiment import SENTIMENT
from hoops_assets.basketball.training_set import training_set
from hoops_assets.errors import SourceError
from hoops_assets.sources.contract import ODDS, OddsRead
from hoops_assets.sources.fivethirtyeight import FiveThirtyEight
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.odds import CsvOdds, Options, implied_probability
from hoops_assets.sources.rows import as_games
from hoops_assets_tests.sources.leagues import TEAMS, league

REPOSITORY = Path(__file__).resolve().parents[2]
HEADER = "date,home,away,whos_favored,spread,moneyline_home,moneyline_away"
COLUMNS = {
    "date": "date",
    "home": "home",
    "away": "away",
    "home_moneyline": "moneyline_home",
    "away_moneyline": "moneyline_away",
    "spread": "spread",
    "favourite": "whos_favored",
}
GOOD = "2019-11-01,Boston,Lakers,home,3.5,-150,130"


def games(*rows: tuple[str, str, str, bool]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["day", "home", "away", "neutral"])
    days = pd.to_datetime(frame["day"]).dt.date.astype(object)
    unplayed = pd.Series(pd.NA, index=frame.index, dtype="Int32")
    rest = {"season": pd.Series(2020, index=frame.index), "stage": pd.Series("regular", index=frame.index)}
    columns = {str(name): column for name, column in frame.items()} | {"day": days, **rest}
    return with_game_ids(as_games({**columns, "home_score": unplayed, "away_score": unplayed}))


KNOWN = games(
    ("2019-11-01", "BOS", "LAL", False), ("2019-11-05", "TOR", "NOP", True), ("2019-11-07", "LAL", "TOR", False)
)


def read(folder: Path, *rows: str, known: pd.DataFrame = KNOWN, header: str = HEADER, **more: Any) -> OddsRead:
    (folder / "odds.csv").write_text("\n".join([header, *rows]) + "\n")
    options = {"files": (str(folder / "odds.csv"),), "columns": COLUMNS, **more}
    return CsvOdds(league(), Options.model_validate(options)).read(known)


def test_a_row_becomes_the_odds_of_its_game(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.odds.dtypes.astype(str).to_dict() == ODDS
    row = found.odds.iloc[0]
    assert (row.game_id, row.home_moneyline, row.away_moneyline, row.home_spread) == (
        "2019-11-01.BOS.LAL",
        -150,
        130,
        -3.5,
    )
    home, away = 150 / 250, 100 / 230
    assert row.home_win_probability == pytest.approx(home / (home + away))
    assert row.margin == pytest.approx(home + away - 1)
    assert found.rejected == []


def test_a_spread_of_the_away_side_is_given_to_the_home_side(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD.replace("home,3.5", "away,3.5")).odds["home_spread"].tolist() == [3.5]
    columns = {k: v for k, v in COLUMNS.items() if k != "favourite"}
    assert read(tmp_path, GOOD.replace("3.5", "-3.5"), columns=columns).odds["home_spread"].tolist() == [-3.5]


def test_a_game_on_neutral_ground_may_stand_the_other_way_round_and_is_turned(tmp_path: Path) -> None:
    found = read(tmp_path, "2019-11-05,NOP,TOR,home,2,-130,110", "2019-11-07,TOR,LAL,home,2,-130,110")
    row = found.odds.iloc[0]
    assert (row.home, row.away, row.home_moneyline, row.away_moneyline, row.home_spread) == ("TOR", "NOP", 110, -130, 2)
    assert row.home_win_probability < 0.5
    assert "1 games on neutral ground have the sides the other way round" in found.notes[0]
    (refused,) = found.rejected
    assert (refused.line, refused.reason) == (3, "TOR-LAL on 2019-11-07 is not among the games")


def test_a_double_header_is_not_guessed(tmp_path: Path) -> None:
    twice = games(("2019-11-01", "BOS", "LAL", False), ("2019-11-01", "BOS", "LAL", False))
    assert [r.reason for r in read(tmp_path, GOOD, known=twice).rejected] == [
        "BOS-LAL on 2019-11-01 is one of two games of that day"
    ]


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        (GOOD.replace("2019-11-01", "11/01/2019"), "date", "is not a date written as"),
        (GOOD.replace("Lakers", "Lokers"), "away", "did you mean 'Lakers'"),
        (GOOD.replace("Lakers", ""), "away", "the team is not given"),
        (GOOD.replace("-150", "-15"), "moneyline_home", "'-15' is not American odds"),
        (GOOD.replace("-150,130", "240,-200"), "moneyline_home", "leave a margin of -0.039"),
        (GOOD.replace("-150,130", "-395,-395"), "moneyline_home", "no two prices of one game"),
        (GOOD.replace("3.5", "195"), "spread", "'195' is not a spread in points"),
        (GOOD.replace("3.5", "-3.5"), "spread", "has no sign"),
        (GOOD.replace("home,", "both,"), "whos_favored", "'both' is neither home nor away"),
        ("2019-11-01,Boston,Lakers,,,,", "moneyline_home", "neither both moneylines nor a spread"),
    ],
)
def test_a_bad_row_is_refused_with_line_field_and_reason(tmp_path: Path, row: str, field: str, said: str) -> None:
    found = read(tmp_path, "2019-11-07,LAL,TOR,home,1,-110,-110", row)
    assert len(found.odds) == 1
    (refused,) = found.rejected
    assert (refused.line, refused.field) == (3, field)
    assert said in refused.reason


def test_a_second_row_of_a_game_and_a_missing_column_are_said(tmp_path: Path) -> None:
    assert "duplicate" in read(tmp_path, GOOD, GOOD).rejected[0].reason
    with pytest.raises(SourceError, match="column missing: 'moneyline_home'"):
        read(tmp_path, header="date,home,away,spread,whos_favored,moneyline_away")


def test_a_price_without_the_other_side_leaves_the_chance_open(tmp_path: Path) -> None:
    row = read(tmp_path, GOOD.replace("-150", "")).odds.iloc[0]
    assert math.isnan(row.home_win_probability)
    assert row.home_spread == -3.5


price = st.one_of(st.integers(-5000, -100), st.integers(100, 5000)).map(float)


@given(home=price, away=price)
def test_the_chances_of_both_sides_add_up_to_one(home: float, away: float) -> None:
    there, margin = implied_probability(pd.Series([home]), pd.Series([away]))
    back, again = implied_probability(pd.Series([away]), pd.Series([home]))
    assert 0 < there.iat[0] < 1
    assert there.iat[0] + back.iat[0] == pytest.approx(1)
    assert margin.iat[0] == pytest.approx(again.iat[0])


@pytest.fixture(scope="module")
def real(real_data: Path) -> tuple[League, pd.DataFrame]:
    nba = real_data / "nba"
    made, _ = new_league(
        "nba", "fivethirtyeight", [str(nba / "nba_elo_1947_2019.csv.gz"), str(nba / "snapshots" / "*.csv")]
    )
    return made, FiveThirtyEight(made).read(datetime(2022, 3, 1, tzinfo=UTC)).games


def first_source(real_data: Path, made: League, games: pd.DataFrame) -> OddsRead:
    files = (str(real_data / "nba" / "odds" / "nba_2008-2021_raw.csv.gz"),)
    return CsvOdds(made, Options.model_validate({"files": files, "columns": COLUMNS})).read(games)


def log_loss(odds: pd.DataFrame, games: pd.DataFrame) -> tuple[int, float]:
    both = odds.merge(games[["game_id", "home_score", "away_score"]], on="game_id")
    both = both[both["home_score"].notna() & both["home_win_probability"].notna()]
    won = (both["home_score"] > both["away_score"]).to_numpy(dtype=float)
    p = both["home_win_probability"].to_numpy()
    return len(both), float(-np.mean(won * np.log(p) + (1 - won) * np.log(1 - p)))


def test_the_real_closing_line_is_as_good_as_it_is_known_to_be(
    real_data: Path, real: tuple[League, pd.DataFrame]
) -> None:
    made, known = real
    found = first_source(real_data, made, known)
    assert len(found.odds) == 17_760
    assert found.notes[0].startswith("odds: 3 games on neutral ground")
    of_2009 = found.odds[found.odds["season"].between(2009, 2019)]
    count, loss = log_loss(of_2009, known)
    assert (count, loss) == (14_195, pytest.approx(0.5828, abs=0.0001))
    assert np.corrcoef(of_2009["home_spread"].fillna(0), of_2009["home_win_probability"].fillna(0.5))[0, 1] < -0.97
    unjoined = [row.reason for row in found.rejected if row.field == "row"]
    assert unjoined[0] == "ATL-MIA on 2007-12-19 is not among the games"
    assert sum("2008" <= reason.split(" on ")[1] < "2020-09-18" for reason in unjoined) == 0


def test_the_real_second_source_agrees_with_the_first_once_its_junk_is_out(
    real_data: Path, real: tuple[League, pd.DataFrame]
) -> None:
    made, known = real
    files = (str(real_data / "nba" / "odds" / "moneylines_2006_2020.csv.gz"),)
    columns = {
        "date": "date",
        "home": "team1",
        "away": "team2",
        "home_moneyline": "moneyline1",
        "away_moneyline": "moneyline2",
    }
    spec = {"files": files, "columns": columns, "date_format": "%m/%d/%Y", "name": "second"}
    found = CsvOdds(made, Options.model_validate(spec)).read(known)
    assert (len(found.odds), len(found.rejected)) == (15_169, 1_786)
    both = found.odds.merge(first_source(real_data, made, known).odds, on="game_id")
    apart = (both["home_win_probability_x"] - both["home_win_probability_y"]).abs()
    assert len(both) == 14_090
    assert apart.median() < 0.01


FEATURES_AND_TRAINING = (
    "hoops_assets.basketball",
    "hoops_assets.defs.features",
    "hoops_assets.defs.training",
    "hoops_assets.services.training",
    "hoops_assets.workloads.train",
    "hoops_assets.workloads.transform",
)
CLOSED = "hoops_assets.sources.odds"


def test_no_feature_and_no_training_imports_odds_by_any_way() -> None:
    """The resources that definitions hand out are left out of the search: they are wired, not imported, by features."""
    graph = grimp.build_graph("hoops_assets", cache_dir=None)
    if "hoops_assets.defs.resources" in graph.modules:
        graph.remove_module("hoops_assets.defs.resources")
    inside = [m for m in graph.modules if m.startswith(FEATURES_AND_TRAINING)]
    assert len(inside) > 15
    assert CLOSED in graph.modules
    chains = [graph.find_shortest_chain(importer=module, imported=CLOSED) for module in inside]
    assert [chain for chain in chains if chain is not None] == []
    graph.add_import(importer="hoops_assets.basketball.games", imported=CLOSED)
    assert graph.find_shortest_chain(importer="hoops_assets.basketball.features", imported=CLOSED) is not None


def test_no_feature_and_no_training_names_odds() -> None:
    """What imports cannot show: a table, a resource or an asset named in text."""
    named = re.compile(r"sources\.odds|open_odds|\.odds\b|\bODDS\b|[\"']odds[\"']")
    folders = ["basketball", "defs/features", "defs/training", "services/training"]
    files = [file for folder in folders for file in (REPOSITORY / "hoops_assets" / folder).rglob("*.py")]
    files = [f for f in files if f.name != "league.py"]  # says which sources a league file may hold
    assert len(files) > 15
    assert [str(file) for file in files if named.search(file.read_text())] == []


def made_features(folder: Path, odds: list[str]) -> pd.DataFrame:
    """The training set of a small league, whatever its odds say."""
    (folder / "odds.csv").write_text("\n".join([HEADER, *odds]) + "\n")
    rng = np.random.default_rng(3)
    pairs = [(a, b) for a in TEAMS for b in TEAMS if a != b]
    rows = [
        f"{2018 + i // 60}-1{1 + i // 30 % 2}-{1 + i % 30:02},{home},{away},{rng.integers(80, 130)},{79 - i % 9}"
        for i in range(120)
        for home, away in [pairs[i % len(pairs)]]
    ]
    (folder / "games.csv").write_text("\n".join(["date,home,away,hs,as", *rows]) + "\n")
    columns = {"date": "date", "home": "home", "away": "away", "home_score": "hs", "away_score": "as"}
    sources = {"odds": {"kind": "csv", "files": [str(folder / "odds.csv")], "columns": COLUMNS}}
    of = league(
        {"kind": "csv", "files": [str(folder / "games.csv")], "columns": columns},
        **(sources if "odds" in Sources.model_fields else {}),
    )
    from hoops_assets.sources.open import open_games

    read = open_games(of).read(datetime(2020, 1, 1, tzinfo=UTC)).games
    empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in SENTIMENT.items()})
    features = game_features(fixtures(read), extend_form(None, read, of), game_ratings(read, of), empty, of)
    return training_set(features, results(read))


def test_changing_all_odds_or_losing_the_module_changes_no_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made_features(tmp_path, [GOOD])
    assert len(first) == 120
    second = made_features(tmp_path, [GOOD.replace("-150,130", "900,-1400").replace("home,3.5", "away,13")])
    pd.testing.assert_frame_equal(first, second)
    monkeypatch.setitem(sys.modules, CLOSED, None)
    pd.testing.assert_frame_equal(first, made_features(tmp_path, ["no odds at all"]))
