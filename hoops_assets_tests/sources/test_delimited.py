"""Delimited files under a declared mapping: every option does what it says, and wrong mappings are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.league import League
from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import GamesRead
from hoops_assets.sources.leagues import TEMPLATES, load_league, new_league
from hoops_assets.sources.open import open_games

NOW = datetime(2022, 3, 1, tzinfo=UTC)
TEAMS = {"RED": {"name": "Red Foxes"}, "BLU": {"name": "Blue Owls"}, "GRN": {"name": "Green Bears"}}
PLAIN = {"date": "date", "home": "home", "away": "away", "home_score": "hs", "away_score": "as"}
TWO_ROWS = {"date": "d", "team": "t", "opponent": "o", "team_score": "ts", "opponent_score": "os"}


def league(files: list[Path], zone: str = "Europe/Berlin", **options: Any) -> League:
    return League.model_validate(
        {
            "name": "cup",
            "time_zone": zone,
            "first_season": 2020,
            "sources": {"games": {"kind": "csv", "files": [str(file) for file in files], **options}},
            "teams": TEAMS,
        }
    )


def read(path: Path, *lines: str, zone: str = "Europe/Berlin", **options: Any) -> GamesRead:
    path.write_text("\n".join(lines) + "\n", encoding=options.get("encoding", "utf-8"))
    return open_games(league([path], zone, **options)).read(NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cup.csv"


def test_home_and_away_columns(file: Path) -> None:
    found = read(file, "date,home,away,hs,as", "2020-01-05,Red Foxes,BLU,80,70", "2020-08-05,GRN,BLU,,", columns=PLAIN)
    assert found.games["game_id"].tolist() == ["2020-01-05.RED.BLU", "2020-08-05.GRN.BLU"]
    assert found.games["season"].tolist() == [2020, 2021]
    assert found.games["home_score"].tolist() == [80, pd.NA]


def test_without_score_columns_all_games_are_fixtures(file: Path) -> None:
    found = read(
        file, "d,h,a", "2020-01-05,RED,BLU", "2020-01-06,RED,RED", columns={"date": "d", "home": "h", "away": "a"}
    )
    assert found.games["home_score"].isna().tolist() == [True]
    assert found.rejected[0].reason == "RED cannot play itself"


def test_a_file_of_bad_rows_only_gives_no_games(file: Path) -> None:
    found = read(file, "date,home,away,hs,as", "x,RED,BLU,1,2", "2020-01-05,RED,?,1,2", columns=PLAIN)
    assert found.games.empty
    assert [row.field for row in found.rejected] == ["date", "away"]
    assert str(found.games["home_score"].dtype) == "Int32"


words = st.sampled_from(
    ["", "RED", "BLU", "2020-01-05", "2020-13-05T25:00Z", "80", "-1", "1e9", "inf", "NA", "@", '"', "é", "n"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(words, min_size=4, max_size=6), max_size=5),
    options=st.sampled_from(
        [
            {"columns": PLAIN},
            {"columns": PLAIN, "date_format": "epoch", "day_shift": -1},
            {"columns": {**PLAIN, "time": "hs", "stage": "away", "season": "as"}},
            {"columns": {**TWO_ROWS, "date": "date", "team": "home", "opponent": "away", "team_score": "hs"}},
        ]
    ),
)
def test_whatever_stands_in_the_rows_every_row_is_taken_or_refused(
    file: Path, rows: list, options: dict[str, Any]
) -> None:
    if "team" in options["columns"]:
        options = {"columns": {**options["columns"], "opponent_score": "as"}, "rows_per_game": 2, "first_row": "home"}
    written = [",".join(row) for row in rows]
    try:
        found = read(file, "date,home,away,hs,as", *written, **options)
    except SourceError as error:
        assert str(file) in str(error)
        return
    assert found.games["home_score"].isna().equals(found.games["away_score"].isna())
    assert found.games["home"].isin(list(TEAMS)).all()
    if options.get("rows_per_game", 1) == 1 and '"' not in "".join(written):
        filled = sum(bool(row.replace(",", "")) for row in written)
        assert len(found.games) + len(found.rejected) == filled


def test_winner_and_loser_columns_with_a_marker_of_the_place(file: Path) -> None:
    columns = {
        "date": "d",
        "winner": "W",
        "loser": "L",
        "winner_score": "P",
        "loser_score": "P.1",
        "location": "Unnamed: 3",
    }
    found = read(
        file,
        "d,W,P,,L,P",
        "2020-01-05,RED,80,@,BLU,70",
        "2020-01-06,RED,80,,BLU,70",
        "2020-01-07,RED,80,N,BLU,70",
        "2020-01-08,RED,70,,BLU,80",
        "2020-01-09,RED,80,?,BLU,70",
        columns=columns,
    )
    assert found.games["game_id"].tolist() == ["2020-01-05.BLU.RED", "2020-01-06.RED.BLU", "2020-01-07.RED.BLU"]
    assert found.games["home_score"].tolist() == [70, 80, 80]
    assert found.games["neutral"].tolist() == [False, False, True]
    assert [(r.line, r.field) for r in found.rejected] == [(5, "P"), (6, "Unnamed: 3")]
    assert "fewer points" in found.rejected[0].reason
    assert "declare it in location_values" in found.rejected[1].reason


def test_two_rows_a_game_are_one_game(file: Path) -> None:
    found = read(
        file,
        "d,t,o,ts,os,h",
        "2020-01-05,RED,BLU,70,80,0",
        "2020-01-05,GRN,BLU,60,50,1",
        "2020-01-05,BLU,RED,80,70,1",
        "2020-01-05,BLU,GRN,50,60,0",
        columns={**TWO_ROWS, "location": "h"},
        rows_per_game=2,
    )
    assert found.games["game_id"].tolist() == ["2020-01-05.BLU.RED", "2020-01-05.GRN.BLU"]
    assert found.games["home_score"].tolist() == [80, 60]
    assert not found.rejected
    assert not found.notes


def test_two_rows_by_order_on_neutral_ground_and_twice_a_day(file: Path) -> None:
    rows = [
        "2020-01-05,RED,BLU,70,80",
        "2020-01-05,BLU,RED,80,70",
        "2020-01-05,RED,BLU,66,55",
        "2020-01-05,BLU,RED,55,66",
    ]
    by_order = read(file, "d,t,o,ts,os", *rows, columns=TWO_ROWS, rows_per_game=2, first_row="away")
    assert by_order.games["game_id"].tolist() == ["2020-01-05.BLU.RED", "2020-01-05.BLU.RED.2"]
    assert by_order.games["home_score"].tolist() == [80, 55]
    neutral = read(
        file, "d,t,o,ts,os,w", *[f"{row},n" for row in rows[:2]], columns={**TWO_ROWS, "location": "w"}, rows_per_game=2
    )
    assert neutral.games["game_id"].tolist() == ["2020-01-05.RED.BLU"]
    assert neutral.games["neutral"].tolist() == [True]


def test_two_rows_that_disagree_are_both_refused_and_a_single_row_is_taken(file: Path) -> None:
    found = read(
        file,
        "d,t,o,ts,os,h",
        "2020-01-05,RED,BLU,70,80,0",
        "2020-01-05,BLU,RED,81,70,1",
        "2020-01-06,GRN,BLU,60,50,1",
        "2020-01-07,BLU,GRN,61,50,0",
        columns={**TWO_ROWS, "location": "h"},
        rows_per_game=2,
    )
    assert found.games["game_id"].tolist() == ["2020-01-06.GRN.BLU", "2020-01-07.GRN.BLU"]
    assert found.games["home_score"].tolist() == [60, 50]
    assert [(r.line, r.reason) for r in found.rejected] == [
        (2, "the game's other row, line 3, says another score"),
        (3, "the game's other row, line 2, says another score"),
    ]
    assert "2 games have only one of their two rows" in found.notes[0]


def test_a_two_row_file_read_as_one_row_is_noticed(file: Path) -> None:
    rows = ["2020-01-05,RED,BLU,70,80", "2020-01-05,BLU,RED,80,70"]
    with pytest.raises(SourceError, match=r"most games stand twice, with the teams swapped; .* rows_per_game: 2"):
        read(file, "date,home,away,hs,as", *rows, columns=PLAIN)


@pytest.mark.parametrize(
    ("written", "options", "day", "tip_off"),
    [
        ("2020-01-05", {}, date(2020, 1, 5), None),
        ("2020-01-05", {"date_zone": "Asia/Tokyo"}, date(2020, 1, 5), None),
        ("2020-01-05", {"day_shift": 1}, date(2020, 1, 6), None),
        ("2020-01-05T20:00", {}, date(2020, 1, 5), "2020-01-05T19:00Z"),
        ("2020-01-05 20:00", {"date_zone": "America/New_York"}, date(2020, 1, 6), "2020-01-06T01:00Z"),
        ("2020-01-05T23:30Z", {}, date(2020, 1, 6), "2020-01-05T23:30Z"),
        ("2020-01-05T23:30-05:00", {"date_zone": "UTC"}, date(2020, 1, 6), "2020-01-06T04:30Z"),
        ("1578267000", {"date_format": "epoch"}, date(2020, 1, 6), "2020-01-05T23:30Z"),
        ("1578267000000", {"date_format": "epoch"}, date(2020, 1, 6), "2020-01-05T23:30Z"),
        ("5.1.2020", {"date_format": "%d.%m.%Y"}, date(2020, 1, 5), None),
        ("Sun Jan 5 2020", {"date_format": "%a %b %d %Y"}, date(2020, 1, 5), None),
        (
            "05.01.2020 00:30",
            {"date_format": "%d.%m.%Y %H:%M", "date_zone": "Asia/Tokyo"},
            date(2020, 1, 4),
            "2020-01-04T15:30Z",
        ),
        ("05.01.2020 23:30 +0000", {"date_format": "%d.%m.%Y %H:%M %z"}, date(2020, 1, 6), "2020-01-05T23:30Z"),
    ],
)
def test_dates_become_game_days_of_the_league_zone(
    file: Path, written: str, options: dict[str, Any], day: date, tip_off: str | None
) -> None:
    games = read(file, "date,home,away,hs,as", f"{written},RED,BLU,80,70", columns=PLAIN, **options).games
    assert games["day"].tolist() == [day]
    if tip_off is None:
        assert games["tip_off"].isna().all()
    else:
        assert games["tip_off"].tolist() == [pd.Timestamp(tip_off)]


def test_a_time_in_its_own_column_makes_the_tip_off(file: Path) -> None:
    found = read(
        file,
        "date,time,home,away,hs,as",
        "2020-01-05,7:30p,RED,BLU,80,70",
        "2020-01-06,,RED,BLU,81,70",
        "2020-01-07,late,RED,BLU,82,70",
        columns={**PLAIN, "time": "time"},
        time_format="%I:%M%p",
        date_zone="America/New_York",
    )
    assert found.games["tip_off"].tolist() == [pd.Timestamp("2020-01-06T00:30Z"), pd.NaT]
    assert found.games["day"].tolist() == [date(2020, 1, 6), date(2020, 1, 6)]
    assert found.rejected[0].reason == "'late' is not a time written as %I:%M%p"


@pytest.mark.parametrize(
    ("written", "named_by", "season"),
    [("2020", "end", 2020), ("2019", "start", 2020), ("2019-20", "end", 2020), ("2019/2020", "start", 2020)],
)
def test_seasons_are_named_by_the_year_in_which_they_end(file: Path, written: str, named_by: str, season: int) -> None:
    found = read(
        file,
        "date,home,away,hs,as,s",
        f"2020-01-05,RED,BLU,80,70,{written}",
        columns={**PLAIN, "season": "s"},
        season_named_by=named_by,
    )
    assert found.games["season"].tolist() == [season]


@pytest.mark.parametrize(
    ("written", "said"), [("2019-21", "not a season"), ("x", "not a season"), ("2015", "ends in 2015")]
)
def test_a_wrong_season_is_refused(file: Path, written: str, said: str) -> None:
    found = read(
        file, "date,home,away,hs,as,s", f"2020-01-05,RED,BLU,80,70,{written}", columns={**PLAIN, "season": "s"}
    )
    assert (found.rejected[0].line, found.rejected[0].field) == (2, "s")
    assert said in found.rejected[0].reason


def test_stages_are_declared_or_the_leagues_own_words(file: Path) -> None:
    lines = ["date,home,away,hs,as,s,r"] + [
        f"2020-01-0{i},RED,BLU,80,70,{s}" for i, s in ((1, "0,"), (2, "1,Cup Final"))
    ]
    own = read(file, *lines, columns={**PLAIN, "stage": "r"})
    assert own.games["stage"].tolist() == ["regular", "cup-final"]
    declared = read(file, *lines, columns={**PLAIN, "stage": "s"}, stage_values={0: "regular", 1: "final"})
    assert declared.games["stage"].tolist() == ["regular", "final"]
    joined = read(
        file, *lines, columns={**PLAIN, "stage": ["s", "r"]}, stage_values={"0/": "group", "1/Cup Final": "final"}
    )
    assert joined.games["stage"].tolist() == ["group", "final"]
    lacking = read(file, *lines, columns={**PLAIN, "stage": "s"}, stage_values={0: "regular"})
    assert lacking.rejected[0].reason == "'1' is not among stage_values (0); declare it there"


def test_delimiter_encoding_and_neutral_column(file: Path) -> None:
    lines = ["date;home;away;hs;as;n", "2020-01-05;Red Foxes;Blue Owls;80;70;1"]
    found = read(file, *lines, columns={**PLAIN, "neutral": "n"}, delimiter=";", encoding="utf-16")
    assert found.games["neutral"].tolist() == [True]


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ("2020-01-06,Red Foxe,BLU,80,70", "home", "'Red Foxe' is not a team of the league (did you mean 'Red Foxes'?)"),
        ("06/01/2020,RED,BLU,80,70", "date", "'06/01/2020' is not a date written as 2019-10-22"),
        ("2020-01-06,RED,BLU,0,0", "hs/as", "0-0 is not a result"),
        ("2020-01-06,RED,BLU,80,80", "hs/as", "80-80 is a tie"),
        ("2020-01-06,RED,BLU,80,", "as", "only one side has a score"),
        ("2020-01-05,RED,BLU,80,70", "row", "duplicate: the same game stands in line 2"),
    ],
)
def test_a_bad_row_is_refused_and_the_good_rows_go_on(file: Path, row: str, field: str, said: str) -> None:
    good = ["2020-01-05,RED,BLU,80,70", "2020-01-07,GRN,BLU,80,70"]
    found = read(file, "date,home,away,hs,as", good[0], row, good[1], columns=PLAIN)
    assert len(found.games) == 2
    (refused,) = found.rejected
    assert (refused.file, refused.line, refused.field, refused.row) == (str(file), 3, field, row)
    assert said in refused.reason


def test_parts_are_joined_and_a_game_in_two_of_them_counts_once(tmp_path: Path) -> None:
    header = "date,home,away,hs,as\n"
    (tmp_path / "a.csv").write_text(header + "2020-01-05,RED,BLU,,\n2020-01-06,RED,GRN,80,70\n")
    (tmp_path / "b.csv").write_text(header + "2020-01-05,RED,BLU,90,91\n")
    found = open_games(league([tmp_path / "b.csv", tmp_path / "a.csv"], columns=PLAIN)).read(NOW)
    assert found.games["home_score"].tolist() == [90, 80]
    assert found.notes == [f"{tmp_path / 'a.csv'}: 1 games stand in another file as well and are taken from there"]


def test_snapshots_follow_the_newest_content(tmp_path: Path) -> None:
    header = "date,home,away,hs,as\n"
    (tmp_path / "a.csv").write_text(header + "2020-01-05,RED,BLU,90,91\n2020-02-06,RED,GRN,80,70\n")
    (tmp_path / "b.csv").write_text(header + "2020-01-05,RED,BLU,90,91\n2020-01-06,RED,GRN,,\n")
    found = open_games(league([tmp_path / "a.csv", tmp_path / "b.csv"], columns=PLAIN, snapshots=True)).read(NOW)
    assert found.games["day"].tolist() == [date(2020, 1, 5), date(2020, 2, 6)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": {**PLAIN, "hom": "x"}}, "unknown field sources.games.columns.hom (did you mean 'home'?)"),
        ({"columns": {"date": "d", "home": "h"}}, "away is missing; home and away go together"),
        ({"columns": {"date": "d"}}, "say who played in one way"),
        ({"columns": {**PLAIN, "winner": "w"}}, "say who played in one way"),
        ({"columns": {"date": "d", "winner": "w", "loser": "l"}}, "winner and loser need location"),
        ({"columns": PLAIN, "rows_per_game": 2}, "rows_per_game: 2 needs columns.team"),
        ({"columns": TWO_ROWS, "rows_per_game": 2}, "team and opponent need columns.location"),
        ({"columns": PLAIN, "date_format": "dd.mm.yyyy"}, "use iso, epoch or a strptime format"),
        ({"columns": PLAIN, "date_zone": "Berlin"}, "'Berlin' is not an IANA time zone"),
        ({"columns": PLAIN, "delimiter": "||"}, "use one character"),
        ({}, "field sources.games.columns is missing"),
    ],
)
def test_a_wrong_mapping_is_one_clear_settings_error(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    path = tmp_path / "cup.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "cup",
                "time_zone": "UTC",
                "first_season": 2020,
                "sources": {"games": {"kind": "csv", "files": ["a.csv"], **options}},
                "teams": TEAMS,
            }
        )
    )
    with pytest.raises(SettingsError) as error:
        load_league(path)
    assert str(error.value).startswith(f"{path}, line ")
    assert said in str(error.value)


def test_a_wrong_column_names_the_nearest(file: Path) -> None:
    with pytest.raises(
        SourceError,
        match=r"line 1: column missing: 'hs' \(did you mean 'hsc'\?\), 'as'\. The file has the columns date, ",
    ):
        read(file, "date,home,away,hsc", "2020-01-05,RED,BLU,80", columns=PLAIN)


def made(tmp_path: Path, file: Path, mapping: dict[str, Any]) -> tuple[League, GamesRead]:
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(mapping))
    new, _ = new_league("real", "csv", [str(file)], path)
    return new, open_games(new).read(NOW)


def test_the_real_wnba_file(real_data: Path, tmp_path: Path) -> None:
    new, found = made(
        tmp_path,
        real_data / "wnba" / "wnba_elo_1997_2019.csv.gz",
        {
            "time_zone": "America/New_York",
            "season_starts": "01-01",
            "rows_per_game": 2,
            "day_shift": 1,
            "columns": {
                "date": "date",
                "team": "team1_abbr",
                "opponent": "team2_abbr",
                "team_score": "team1_score",
                "opponent_score": "team2_score",
                "location": "is_home",
                "neutral": "neutral",
                "season": "season",
                "stage": "playoff",
            },
            "stage_values": {0: "regular", 1: "post-season"},
        },
    )
    assert len(found.games) == 5244
    assert not found.rejected
    assert found.games["day"].min() == date(1997, 6, 21)
    assert found.games["stage"].value_counts().to_dict() == {"regular": 4860, "post-season": 384}
    opening = found.games[found.games["home"] == "LAS"].iloc[0]
    assert (opening["away"], opening["home_score"], opening["away_score"]) == ("NYL", 57, 67)
    assert len(new.teams) == 18


def test_the_template_puts_the_real_wnba_games_on_their_days(real_data: Path) -> None:
    """The days are ESPN's, as sportsdataverse/wehoop-wnba-data keeps them; 2019-10-06 was played at 15:30 local time."""
    file = real_data / "wnba" / "wnba_elo_1997_2019.csv.gz"
    new, _ = new_league("wnba", "csv", [str(file)], TEMPLATES / "wnba.yaml")
    found = open_games(new).read(NOW)
    assert not found.rejected
    known = {
        ("2004-05-20", "SEA", "MIN", 88, 85),
        ("2004-05-22", "CON", "PHO", 58, 65),
        ("2004-06-02", "DAL", "WAS", 63, 65),
        ("2019-09-15", "LVA", "CHI", 93, 92),
        ("2019-10-06", "CON", "WAS", 81, 94),
        ("2019-10-10", "WAS", "CON", 89, 78),
    }
    rows = found.games.astype({"day": str})[["day", "home", "away", "home_score", "away_score"]]
    assert known <= set(rows.itertuples(index=False, name=None))
    weekday = pd.to_datetime(found.games["day"]).dt.dayofweek.value_counts()
    assert weekday[6] > 2 * weekday[0]
    assert (new.elo.k, new.season_starts, len(new.teams)) == (28, "01-01", 18)


def test_the_real_odds_file_is_the_nba_under_other_names(real_data: Path, tmp_path: Path) -> None:
    new, found = made(
        tmp_path,
        real_data / "nba" / "odds" / "nba_2008-2021_raw.csv.gz",
        {
            "time_zone": "America/New_York",
            "columns": {
                "date": "date",
                "home": "home",
                "away": "away",
                "home_score": "score_home",
                "away_score": "score_away",
                "season": "season",
                "stage": ["regular", "playoffs"],
            },
            "stage_values": {"True/False": "regular", "False/True": "post-season", "False/False": "play-in"},
        },
    )
    assert len(found.games) == 17834
    (tie,) = found.rejected
    assert (tie.line, tie.field) == (6747, "score_home/score_away")
    assert tie.row.startswith("2013,2012-12-26,")
    assert found.games["stage"].value_counts()["play-in"] == 7
    assert new.teams["OKC"].was
    ours, _ = new_league("nba", "fivethirtyeight", [str(real_data / "nba" / "nba_elo_1947_2019.csv.gz")])
    truth = open_games(ours).read(NOW).games
    both = found.games.merge(truth, on="game_id", suffixes=("", "_538"))
    assert len(both) > 15_500
    assert (both["home_score"] == both["home_score_538"]).mean() > 0.999


def test_the_junk_rows_of_the_real_moneylines_are_refused(real_data: Path, tmp_path: Path) -> None:
    _, found = made(
        tmp_path,
        real_data / "nba" / "odds" / "moneylines_2006_2020.csv.gz",
        {
            "time_zone": "America/New_York",
            "date_format": "%m/%d/%Y",
            "columns": {
                "date": "date",
                "home": "team1",
                "away": "team2",
                "home_score": "score1",
                "away_score": "score2",
            },
        },
    )
    assert len(found.games) + len(found.rejected) == 16955
    reasons = pd.Series([row.reason.split(" is ")[0] if "0-0" not in row.reason else "0-0" for row in found.rejected])
    assert (reasons == "0-0").sum() == 755
    assert sum(row.reason == "the team is not given" for row in found.rejected) == 735


def test_the_real_schedule_export_with_repeated_and_empty_headers(real_data: Path, tmp_path: Path) -> None:
    _, found = made(
        tmp_path,
        real_data / "sentiment" / "tweets" / "training.csv",
        {
            "time_zone": "America/New_York",
            "date_format": "%a %b %d %Y",
            "time_format": "%I:%M%p",
            "columns": {
                "date": "Date",
                "time": "Start (ET)",
                "home": "Home/Neutral",
                "away": "Visitor/Neutral",
                "home_score": "PTS.1",
                "away_score": "PTS",
            },
        },
    )
    assert not found.rejected
    assert len(found.games) == 795
    first = found.games[found.games["home"] == "MIL"].iloc[0]
    assert first["game_id"] == "2021-10-19.MIL.BRK"
    assert (first["home_score"], first["away_score"]) == (127, 104)
    assert first["tip_off"] == pd.Timestamp("2021-10-19T23:30Z")
