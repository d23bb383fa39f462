"""Two sources of the same games: every kind of disagreement, and the real ones that are known."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.league import League
from hoops_assets.sources.delimited import Delimited
from hoops_assets.sources.fivethirtyeight import FiveThirtyEight
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.reconcile import DISAGREEMENTS, reconcile, summary

Row = tuple[str, str, str, int | None, int | None]


def games(*rows: Row, neutral: bool = False) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["day", "home", "away", "home_score", "away_score"])
    frame["day"] = [date.fromisoformat(day) for day in frame["day"]]
    frame["season"] = 2020
    frame["neutral"] = neutral
    number = frame.groupby(["day", "home", "away"]).cumcount()
    frame["game_id"] = frame["day"].astype(str) + frame["home"] + frame["away"] + number.astype(str)
    return frame.astype({"home_score": "Int32", "away_score": "Int32", "season": "int32"})


FIRST: Row = ("2019-11-01", "BOS", "LAL", 100, 90)
LAST: Row = ("2020-04-01", "LAL", "BOS", 88, 99)


def kinds(left: pd.DataFrame, right: pd.DataFrame) -> list[tuple[str, str, str]]:
    report = reconcile(left, right)
    assert report.dtypes.astype(str).to_dict() == DISAGREEMENTS
    return list(report[["kind", "left", "right"]].itertuples(index=False, name=None))


def test_the_same_games_disagree_in_nothing() -> None:
    report = reconcile(games(FIRST, LAST), games(LAST, FIRST))
    assert report.empty
    assert summary(report) == "the two sources agree on every game"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (("2019-12-01", "TOR", "NOP", 101, 95), [("score", "NOP 95, TOR 100", "NOP 95, TOR 101")]),
        (
            ("2019-12-01", "TOR", "NOP", 90, 95),
            [("score", "NOP 95, TOR 100", "NOP 95, TOR 90"), ("winner", "TOR", "NOP")],
        ),
        (
            ("2019-12-01", "TOR", "NOP", 95, 95),
            [("score", "NOP 95, TOR 100", "NOP 95, TOR 95"), ("winner", "TOR", "nobody")],
        ),
        (("2019-12-03", "TOR", "NOP", 100, 95), [("day", "2019-12-01", "2019-12-03")]),
        (
            ("2020-03-07", "TOR", "NOP", 101, 95),
            [("day", "2019-12-01", "2020-03-07"), ("score", "NOP 95, TOR 100", "NOP 95, TOR 101")],
        ),
        (("2019-12-01", "NOP", "TOR", 95, 100), [("home side", "TOR", "NOP")]),
        (("2019-12-01", "TOR", "NOP", None, None), []),
        (("2019-12-05", "TOR", "NOP", None, None), [("day", "2019-12-01", "2019-12-05")]),
    ],
)
def test_every_kind_of_disagreement_is_named(other: Row, said: list[tuple[str, str, str]]) -> None:
    game: Row = ("2019-12-01", "TOR", "NOP", 100, 95)
    assert kinds(games(FIRST, game, LAST), games(FIRST, other, LAST)) == said


def test_neutral_ground_is_compared() -> None:
    assert kinds(games(FIRST, neutral=True), games(FIRST)) == [("neutral", "True", "False")]


def test_what_one_side_lacks_is_said_only_where_it_covers_the_days() -> None:
    game: Row = ("2019-12-01", "TOR", "NOP", 100, 95)
    assert kinds(games(FIRST, game, LAST), games(FIRST, LAST)) == [("missing right", "100-95", "missing")]
    assert kinds(games(FIRST, LAST), games(FIRST, game, LAST)) == [("missing left", "missing", "100-95")]
    assert kinds(games(FIRST, game, LAST), games(game, LAST)) == []
    other_season = games(game).assign(season=2021)
    assert kinds(games(FIRST, LAST), other_season) == []


def test_the_two_games_of_a_double_header_are_two_games() -> None:
    first: Row = ("2019-11-01", "BOS", "LAL", 70, 60)
    assert kinds(games(FIRST, first), games(FIRST, first)) == []
    assert kinds(games(FIRST, first), games(first, FIRST)) == []
    assert kinds(games(FIRST, first), games(FIRST)) == [("missing right", "70-60", "missing")]


row = st.tuples(
    st.integers(1, 28).map(lambda day: f"2020-01-{day:02}"),
    st.sampled_from(["BOS", "TOR"]),
    st.sampled_from(["LAL", "NOP"]),
    st.integers(80, 90),
    st.integers(91, 99),
)
MIRROR = {"missing left": "missing right", "missing right": "missing left"}


@settings(max_examples=15, deadline=None)
@given(left=st.lists(row, max_size=8), right=st.lists(row, max_size=8))
def test_it_does_not_matter_which_source_is_left(left: list[Row], right: list[Row]) -> None:
    there = reconcile(games(*left), games(*right))
    back = reconcile(games(*right), games(*left))
    swapped = back.assign(kind=back["kind"].replace(MIRROR), left=back["right"], right=back["left"])
    keys = ["kind", "left", "right"]
    assert sorted(map(tuple, there[keys].to_numpy())) == sorted(map(tuple, swapped[keys].to_numpy()))
    assert reconcile(games(*left), games(*left)).empty


def odds_games(made: League, file: Path) -> pd.DataFrame:
    data = made.model_dump()
    columns = {"date": "date", "home": "home", "away": "away", "home_score": "score_home", "away_score": "score_away"}
    data["sources"]["games"] = {"kind": "csv", "files": [str(file)], "columns": {**columns, "season": "season"}}
    read = Delimited(League.model_validate(data)).read(datetime(2022, 3, 1, tzinfo=UTC))
    assert [(row.field, row.reason) for row in read.rejected] == [
        ("score_home/score_away", "95-95 is a tie, which basketball does not have")
    ]
    return read.games


def test_the_real_disagreements_that_are_known_are_found(real_data: Path) -> None:
    made, _ = new_league("nba", "fivethirtyeight", [str(real_data / "nba" / "nba_elo_1947_2019.csv.gz")])
    left = FiveThirtyEight(made).read(datetime(2022, 3, 1, tzinfo=UTC)).games
    right = odds_games(made, real_data / "nba" / "odds" / "nba_2008-2021_raw.csv.gz")
    report = reconcile(left, right)
    found = report[report["kind"] != "neutral"]
    told = {(row.kind, str(row.day), row.home, row.away): (row.left, row.right) for row in found.itertuples()}
    assert told["day", "2008-03-07", "ATL", "MIA"] == ("2008-03-07", "2007-12-19")
    assert told["score", "2008-03-07", "ATL", "MIA"] == ("ATL 114, MIA 111", "ATL 117, MIA 111")
    assert told["missing right", "2012-12-26", "PHO", "NYK"] == ("97-99", "missing")
    turned = {(day, home) for kind, day, home, _ in told if kind == "home side"}
    assert turned == {("2011-03-04", "TOR"), ("2013-01-17", "NYK"), ("2015-01-15", "NYK")}
    assert found["kind"].value_counts().to_dict() == {"score": 10, "home side": 3, "day": 1, "missing right": 1}
    assert summary(report).startswith("1 missing right, 1 day, 3 home side")
