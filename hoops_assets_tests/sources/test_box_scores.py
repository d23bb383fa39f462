"""NBA box scores: two rows a game without a date, joined to games; four factors; and the real files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.basketball.games import with_game_ids
from hoops_assets.errors import SourceError
from hoops_assets.sources.box_scores import NbaStats, Options
from hoops_assets.sources.contract import BOX_SCORES, BoxScoresRead
from hoops_assets.sources.fivethirtyeight import FiveThirtyEight
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.rows import as_games
from hoops_assets_tests.sources.leagues import league

T_HEADER = (
    ",GAME_ID,TEAM_ID,TEAM_NAME,TEAM_ABBREVIATION,TEAM_CITY,MIN,FGM,FGA,FG_PCT,FG3M,FG3A,FG3_PCT,FTM,FTA,FT_PCT,OREB,"
    "DREB,REB,AST,STL,BLK,TO,PF,PTS,PLUS_MINUS"
)
A_HEADER = ",GAME_ID,TEAM_ID,TEAM_ABBREVIATION,MIN,POSS,PIE"
HOME, AWAY = "0021200001", "0021200002"


def line(game: str, team: str, points: int, oreb: int = 10, dreb: int = 30, minutes: str = "240:00") -> str:
    """A row that makes 30 shots, 5 of them threes, and the rest of its points from the line."""
    throws = points - 65
    shots = f"30,80,0.375,5,20,0.25,{throws},{throws + 5},0.8"
    return f"0,{game},1,X,{team},Y,{minutes},{shots},{oreb},{dreb},40,20,5,4,12,18,{points},0"


def games(*rows: tuple[str, str, str, int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["day", "home", "away", "home_score", "away_score"])
    days = pd.to_datetime(frame["day"]).dt.date.astype(object)
    season = pd.Series(2013, index=frame.index)
    stage = pd.Series("regular", index=frame.index)
    columns = {str(name): column for name, column in frame.items()} | {"day": days, "season": season, "stage": stage}
    return with_game_ids(as_games(columns))


def read(folder: Path, traditional: list[str], advanced: list[str] | None, known: pd.DataFrame) -> BoxScoresRead:
    (folder / "traditional.csv").write_text("\n".join([T_HEADER, *traditional]) + "\n")
    options = {"traditional": (str(folder / "traditional.csv"),)}
    if advanced is not None:
        (folder / "advanced.csv").write_text("\n".join([A_HEADER, *advanced]) + "\n")
        options["advanced"] = (str(folder / "advanced.csv"),)
    return NbaStats(league(), Options(**options)).read(known)


ONE_GAME = games(("2012-11-01", "BOS", "LAL", 100, 90))
ROWS = [line(HOME, "LAL", 90, oreb=12, dreb=28), line(HOME, "BOS", 100)]


def test_two_rows_become_two_sides_of_their_game(tmp_path: Path) -> None:
    found = read(tmp_path, ROWS, ["0,21200001,1,BOS,240,93,0.5", "1,21200001,1,LAL,240,92,0.5"], ONE_GAME)
    table = found.box_scores
    assert table.dtypes.astype(str).to_dict() == BOX_SCORES
    assert table[["game_id", "team", "opponent", "home", "points", "opponent_points"]].to_numpy().tolist() == [
        ["2012-11-01.BOS.LAL", "BOS", "LAL", True, 100, 90],
        ["2012-11-01.BOS.LAL", "LAL", "BOS", False, 90, 100],
    ]
    assert table["possessions"].tolist() == [93, 92]
    assert (found.rejected, found.notes) == ([], [])


def test_the_four_factors_are_those_of_the_formulas(tmp_path: Path) -> None:
    row = read(tmp_path, ROWS, None, ONE_GAME).box_scores.iloc[0]
    assert row.effective_field_goal_pct == pytest.approx((30 + 2.5) / 80)
    assert row.turnover_pct == pytest.approx(12 / (80 + 0.44 * 40 + 12))
    assert row.offensive_rebound_pct == pytest.approx(10 / (10 + 28))
    assert row.free_throw_rate == pytest.approx(35 / 80)
    own, other = 80 + 0.44 * 40 - 10 + 12, 80 + 0.44 * 30 - 12 + 12
    assert (row.possessions, row.possessions_estimated) == (pytest.approx((own + other) / 2), True)


@pytest.mark.parametrize("written", ["21200001", "0021200001", "21200001.0"])
def test_a_game_number_that_lost_its_zeros_is_the_same_game(tmp_path: Path, written: str) -> None:
    rows = [row.replace(HOME, written) for row in ROWS]
    assert len(read(tmp_path, rows, None, ONE_GAME).box_scores) == 2


def test_two_games_that_agree_in_teams_and_points_are_joined_in_order(tmp_path: Path) -> None:
    twice = games(("2013-03-01", "LAL", "BOS", 90, 100), ("2012-11-01", "BOS", "LAL", 100, 90))
    later = [row.replace(HOME, AWAY) for row in ROWS]
    found = read(tmp_path, [*later, *ROWS[:1], ROWS[1].replace(",12,18,", ",17,18,")], None, twice)
    first = found.box_scores[found.box_scores["game_id"] == "2012-11-01.BOS.LAL"]
    assert first["turnovers"].tolist() == [17, 12]
    assert found.notes == ["box scores: 1 games share teams and points with another and are joined in order"]


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        (line("0011200001", "BOS", 100), "GAME_ID", "'0011200001' is not the number of a season or play-off game"),
        (line(AWAY, "BSO", 100), "TEAM_ABBREVIATION", "did you mean 'BOS'"),
        (line(AWAY, "BOS", 100).replace(",100,0", ",99,0"), "PTS", "the points are not those of the shots made"),
        (line(AWAY, "BOS", 100).replace(",30,80,", ",30,29,"), "FGM", "FGM is larger than FGA"),
        (line(AWAY, "BOS", 100, minutes="four hours"), "MIN", "'four hours' is not a time"),
        (line(AWAY, "BOS", 100).replace(",12,18,", ",x,18,"), "TO", "'x' is not a whole number"),
        (line(AWAY, "BOS", 100), "GAME_ID", "game 0021200002 has 1 rows where 2 are expected"),
        (ROWS[0], "row", "duplicate"),
    ],
)
def test_a_bad_row_is_refused_with_line_field_and_reason(tmp_path: Path, row: str, field: str, said: str) -> None:
    found = read(tmp_path, [*ROWS, row], None, ONE_GAME)
    assert len(found.box_scores) == 2
    (refused,) = found.rejected
    assert (refused.line, refused.field) == (4, field)
    assert said in refused.reason


def test_a_game_that_nobody_knows_is_refused_and_said(tmp_path: Path) -> None:
    found = read(tmp_path, ROWS, None, games(("2012-11-01", "BOS", "LAL", 100, 91)))
    assert found.box_scores.empty
    assert found.box_scores.dtypes.astype(str).to_dict() == BOX_SCORES
    assert [row.line for row in found.rejected] == [2, 3]
    assert "no regular-season game of season 2013 was LAL 90, BOS 100" in found.rejected[0].reason


def test_a_play_off_game_is_not_a_game_of_the_season(tmp_path: Path) -> None:
    rows = [row.replace(HOME, "0041200001") for row in ROWS]
    assert read(tmp_path, rows, None, ONE_GAME).box_scores.empty


def test_a_missing_column_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("GAME_ID,TEAM\n")
    with pytest.raises(SourceError, match="column missing: 'TEAM_ABBREVIATION'"):
        NbaStats(league(), Options(traditional=(str(tmp_path / "a.csv"),))).read(ONE_GAME)


def test_the_real_box_scores_of_ten_seasons_belong_to_their_games(real_data: Path) -> None:
    made, _ = new_league("nba", "fivethirtyeight", [str(real_data / "nba" / "nba_elo_1947_2019.csv.gz")])
    known = FiveThirtyEight(made).read(pd.Timestamp("2020-01-01", tz="UTC").to_pydatetime()).games
    folder = real_data / "nba" / "boxscores"
    files = Options(traditional=(str(folder / "*_traditional.csv.gz"),), advanced=(str(folder / "*_advanced.csv.gz"),))
    found = NbaStats(made, files).read(known)
    table = found.box_scores
    assert len(table) == 24_116
    assert [row.reason.split(":")[0] for row in found.rejected] == ["game 0021600649"] * 2
    assert (table["home"].mean(), table["possessions_estimated"].sum()) == (0.5, 0)
    regular = known[(known["stage"] == "regular") & known["season"].between(2008, 2017)]
    assert set(regular["game_id"]) - set(table["game_id"]) == {"2017-01-20.LAL.IND"}
    assert not table.duplicated(["game_id", "team"]).any()
    assert table["effective_field_goal_pct"].mean() == pytest.approx(0.5008, abs=0.0005)
    # What the files state themselves, to three digits, was computed by somebody else.
    one = pd.read_csv(folder / "api_data_2012_advanced.csv.gz").iloc[0]
    wizards = table[(table["day"].astype(str) == "2012-10-30") & (table["team"] == "WAS")].iloc[0]
    assert round(wizards.effective_field_goal_pct, 3) == pytest.approx(one.EFG_PCT, abs=0.0011)
    assert (wizards.possessions, wizards.home) == (one.POSS, False)
