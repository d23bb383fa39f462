"""Daily subreddit scores: what they tell of the game just played must never reach that game."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.games import FIXTURE_COLUMNS
from hoops_assets.basketball.league import League
from hoops_assets.sources.contract import GamesRead
from hoops_assets.sources.fivethirtyeight import FiveThirtyEight
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.subreddit_daily import SUBREDDIT_SCORES, for_next_game, read_scores
from hoops_assets_tests.sources.leagues import league

HEADER = "date,team,sen_pos,sen_neu,sen_neg,sen_com,par_pos,par_neu,par_neg,par_com,won"


def write(path: Path, *rows: str) -> str:
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return str(path)


def row(at: str, team: str = "Boston", compound: float = 2.4, won: str = "True") -> str:
    return f"{at},{team},2.7,23.0,1.2,{compound},0.1,0.8,0.05,0.95,{won}"


def fixtures(*days: str, tip_off: str | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"day": [date.fromisoformat(day) for day in days], "home": "BOS", "away": "LAL"})
    stamps = [f"{day}T{tip_off}" if tip_off else None for day in days]
    frame["tip_off"] = pd.to_datetime(pd.Series(stamps, dtype=object), utc=True).astype("datetime64[us, UTC]")
    frame["game_id"] = frame["day"].astype(str)
    return frame.assign(season=2018, neutral=False, stage="regular")[FIXTURE_COLUMNS]


def test_a_row_becomes_typed_columns(tmp_path: Path) -> None:
    read = read_scores([write(tmp_path / "a.csv", row("2018-03-07 11:34:36.8"))], league())
    assert read.scores.dtypes.astype(str).to_dict() == SUBREDDIT_SCORES
    assert read.scores["taken_at"].tolist() == [pd.Timestamp("2018-03-07 16:34:36.8", tz="UTC")]
    assert (read.scores["team"].iat[0], read.scores["sentences_compound"].iat[0]) == ("BOS", 2.4)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (row("yesterday"), "date"),
        (row("2018-03-07 11:00:00", team="Bostn"), "team"),
        (row("2018-03-07 11:00:00", won="maybe"), "won"),
        (row("2018-03-07 11:00:00").replace("0.95", "x"), "par_com"),
    ],
)
def test_a_bad_row_is_refused(tmp_path: Path, bad: str, field: str) -> None:
    read = read_scores([write(tmp_path / "a.csv", row("2018-03-06 11:00:00"), bad)], league())
    assert (len(read.scores), [(r.line, r.field) for r in read.rejected]) == (1, [(3, field)])


def test_a_score_counts_for_the_next_game_and_for_no_other(tmp_path: Path) -> None:
    read = read_scores([write(tmp_path / "a.csv", row("2018-03-07 11:34:36"))], league())
    found = for_next_game(read.scores, fixtures("2018-03-06", "2018-03-09", "2018-03-11"), league().zone)
    assert found[["game_id", "team"]].to_numpy().tolist() == [["2018-03-09", "BOS"]]
    assert "won_before" not in found


@pytest.mark.parametrize(("tip_off", "counts"), [("16:34:36Z", False), ("16:34:37Z", True), (None, True)])
def test_on_the_day_itself_the_tip_off_decides_and_without_one_noon(
    tmp_path: Path, tip_off: str | None, counts: bool
) -> None:
    read = read_scores([write(tmp_path / "a.csv", row("2018-03-07 11:34:36"))], league())
    found = for_next_game(read.scores, fixtures("2018-03-07", tip_off=tip_off), league().zone)
    assert len(found) == int(counts)
    late = read_scores([write(tmp_path / "b.csv", row("2018-03-07 16:34:36"))], league())
    assert for_next_game(late.scores, fixtures("2018-03-07"), league().zone).empty


def test_of_several_scores_before_a_game_the_last_counts(tmp_path: Path) -> None:
    rows = [row("2018-03-07 11:00:00", compound=1), row("2018-03-08 11:00:00", compound=2)]
    read = read_scores([write(tmp_path / "a.csv", *rows)], league())
    found = for_next_game(read.scores, fixtures("2018-03-09"), league().zone)
    assert found["sentences_compound"].tolist() == [2]


def auc(values: pd.Series, won: pd.Series) -> float:
    rank, yes = values.rank().to_numpy(), won.to_numpy(dtype=bool)
    return (rank[yes].sum() - yes.sum() * (yes.sum() + 1) / 2) / (yes.sum() * (~yes).sum())


@pytest.fixture(scope="module")
def real(real_data: Path) -> tuple[League, GamesRead, pd.DataFrame]:
    made, _ = new_league("nba", "fivethirtyeight", [str(real_data / "nba" / "nba_elo_1947_2019.csv.gz")])
    games = FiveThirtyEight(made).read(pd.Timestamp("2020-01-01", tz="UTC").to_pydatetime())
    read = read_scores([str(real_data / "sentiment" / "subreddit_daily" / "*.csv")], made)
    assert (len(read.scores), read.rejected) == (710, [])
    return made, games, read.scores


def test_the_real_scores_tell_the_game_before_and_hardly_the_next(real: tuple[League, GamesRead, pd.DataFrame]) -> None:
    made, read, scores = real
    assert auc(scores["sentences_compound"], scores["won_before"]) == pytest.approx(0.655, abs=0.001)
    games = read.games[read.games["season"] == 2018]
    found = for_next_game(scores, games, made.zone).merge(
        games[["game_id", "home", "home_score", "away_score"]], on="game_id"
    )
    home_won = (found["home_score"] > found["away_score"]).astype(bool)
    won = pd.Series(np.where(found["home"] == found["team"], home_won, ~home_won))
    assert len(found) > 550
    assert 0.45 < auc(found["sentences_compound"], won) < 0.56


def test_the_real_results_in_the_file_are_those_of_the_day_before(real: tuple[League, GamesRead, pd.DataFrame]) -> None:
    made, read, scores = real
    games = read.games[read.games["season"] == 2018]
    sides = pd.concat(
        games[["day"]].assign(team=games[side], won=(games["home_score"] > games["away_score"]) == (side == "home"))
        for side in ("home", "away")
    )
    taken = scores["taken_at"].dt.tz_convert(made.time_zone).dt.date
    before = scores.assign(day=[day - pd.Timedelta(days=1).to_pytimedelta() for day in taken])
    joined = before.merge(sides, on=["day", "team"])
    assert len(joined) == 710
    assert (joined["won"] == joined["won_before"]).all()
