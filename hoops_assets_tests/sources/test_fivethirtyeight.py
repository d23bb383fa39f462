"""FiveThirtyEight's files: what is taken, what is refused and why, and which of several snapshots is believed."""

from __future__ import annotations

import gzip
import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.league import League
from hoops_assets.errors import SourceError
from hoops_assets.sources.contract import GamesRead
from hoops_assets.sources.fivethirtyeight import FiveThirtyEight, merge, parse
from hoops_assets.sources.leagues import new_league

NOW = datetime(2022, 3, 1, tzinfo=UTC)
HEADER = "date,season,neutral,playoff,team1,team2,elo1_pre,score1,score2"
GOOD = "2019-10-22,2020,0,,TOR,NOP,1672.9,130,122"


def league(*files: Path | str) -> League:
    return League.model_validate(
        {
            "name": "nba",
            "time_zone": "America/New_York",
            "first_season": 2010,
            "sources": {"games": {"kind": "fivethirtyeight", "files": [str(file) for file in files]}},
            "teams": {
                "TOR": {"name": "Toronto Raptors"},
                "NOP": {"name": "New Orleans Pelicans", "was": ["NOK"]},
                "BOS": {"name": "Boston Celtics"},
                "LAL": {"name": "Los Angeles Lakers"},
            },
        }
    )


def read(*files: Path | str) -> GamesRead:
    return FiveThirtyEight(league(*files)).read(NOW)


def write(path: Path, *rows: str, header: str = HEADER, end: str = "\n") -> Path:
    path.write_bytes((end.join([header, *rows]) + end).encode())
    return path


def test_a_row_becomes_a_game_of_typed_columns(tmp_path: Path) -> None:
    games = read(write(tmp_path / "a.csv", GOOD, "2020-09-19,2020,1,c,BOS,LAL,,,")).games
    assert games["game_id"].tolist() == ["2019-10-22.TOR.NOP", "2020-09-19.BOS.LAL"]
    assert games["day"].tolist() == [date(2019, 10, 22), date(2020, 9, 19)]
    assert games["neutral"].tolist() == [False, True]
    assert games["stage"].tolist() == ["regular", "conference-final"]
    assert games["home_score"].tolist() == [130, pd.NA]
    assert str(games["tip_off"].dtype) == "datetime64[us, UTC]"
    assert games["tip_off"].isna().all()


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ("2019-10-23,2020,0,,BSO,LAL,,90,80", "team1", "'BSO' is not a team of the league (did you mean 'BOS'?)"),
        ("2019-10-23,2020,0,,BOS,,,90,80", "team2", "the team is not given"),
        ("2019-10-33,2020,0,,BOS,LAL,,90,80", "date", "'2019-10-33' is not a date"),
        (",2020,0,,BOS,LAL,,90,80", "date", "the date is not given"),
        ("2009-10-23,2020,0,,BOS,LAL,,90,80", "date", "2009-10-23 cannot be in season 2020"),
        ("2019-10-23,2020,0,,BOS,LAL,,90,90", "score1/score2", "90-90 is a tie"),
        ("2019-10-23,2020,0,,BOS,LAL,,0,0", "score1/score2", "0-0 is not a result"),
        ("2019-10-23,2020,0,,BOS,LAL,,-1,80", "score1", "-1 points"),
        ("2019-10-23,2020,0,,BOS,LAL,,90,1080", "score2", "1080 points"),
        ("2019-10-23,2020,0,,BOS,LAL,,90,", "score2", "only one side has a score"),
        ("2019-10-23,2020,0,,BOS,LAL,,NA,80", "score1", "only one side has a score"),
        ("2019-10-23,2020,0,,BOS,LAL,,9o,80", "score1", "'9o' is not a whole number"),
        ("2019-10-23,2020,0,,BOS,LAL,,90.5,80", "score1", "'90.5' is not a whole number"),
        ("2019-10-23,2020,0,,BOS,BOS,,90,80", "team2", "BOS cannot play itself"),
        ("2019-10-23,2020/21,0,,BOS,LAL,,90,80", "season", "'2020/21' is not a whole number"),
        ("2019-10-23,,0,,BOS,LAL,,90,80", "season", "season is not given"),
        ("2019-10-23,2020,maybe,,BOS,LAL,,90,80", "neutral", "'maybe' is neither true nor false"),
        ("2019-10-23,2020,0,,BOS,LAL,,90", "row", "8 fields where the header has 9"),
        ("2019-10-23,2020,0,,BOS,LAL,,90,80,77", "row", "10 fields where the header has 9"),
        (GOOD, "row", "duplicate: the same game stands in line 2"),
        ("2019-10-22,2020,0,,TOR,NOP,1672.9,,", "row", "duplicate: the same game stands in line 2"),
    ],
)
def test_a_bad_row_is_refused_with_line_field_and_reason_and_the_good_rows_go_on(
    tmp_path: Path, row: str, field: str, said: str
) -> None:
    file = write(tmp_path / "a.csv", GOOD, row, "2019-10-24,2020,0,,LAL,BOS,,101,99")
    found = read(file)
    assert found.games["game_id"].tolist() == ["2019-10-22.TOR.NOP", "2019-10-24.LAL.BOS"]
    (refused,) = found.rejected
    assert (refused.file, refused.line, refused.field, refused.row) == (str(file), 3, field, row)
    assert said in refused.reason


def test_line_numbers_count_blank_lines_and_quoted_line_ends(tmp_path: Path) -> None:
    header = HEADER + ",note"
    file = write(tmp_path / "a.csv", GOOD + ',"two\nlines"', "", "2019-10-23,2020,0,,BOS,LAL,,9,9,", header=header)
    found = read(file)
    assert len(found.games) == 1
    assert found.rejected[0].line == 5
    assert found.rejected[0].row == file.read_text().split("\n")[4]


@pytest.mark.parametrize("padding", [0, 200_000])
def test_a_quotation_mark_that_is_not_closed_costs_only_its_own_line(tmp_path: Path, padding: int) -> None:
    bad = '2019-10-23,2020,0,,"BOS,LAL,,90,80'
    after = [f"2019-11-{d:02},2020,0,,LAL,BOS,{'1' * (padding // 20)},1{d},99" for d in range(1, 21)]
    found = read(write(tmp_path / "a.csv", GOOD, bad, *after))
    assert len(found.games) == 21
    assert [(r.line, r.reason) for r in found.rejected] == [(3, "a quotation mark is opened and not closed")]


def test_two_games_of_one_day_with_different_scores_are_a_double_header(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", GOOD, "2019-10-22,2020,0,,TOR,NOP,1674.0,99,122"))
    assert found.games["game_id"].tolist() == ["2019-10-22.TOR.NOP", "2019-10-22.TOR.NOP.2"]
    assert found.games["home_score"].tolist() == [130, 99]
    assert not found.rejected


def test_an_earlier_code_is_its_franchise(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", "2005-11-01,2006,0,,NOK,LAL,,93,67"))
    assert found.games["home"].tolist() == ["NOP"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_line_ends_byte_order_mark_and_gzip_change_nothing(tmp_path: Path, end: str, mark: bytes, pack) -> None:
    plain = read(write(tmp_path / "a.csv", GOOD)).games
    (tmp_path / "b.csv.gz").write_bytes(pack(mark + end.join([HEADER, GOOD, ""]).encode()))
    pd.testing.assert_frame_equal(read(tmp_path / "b.csv.gz").games, plain)


def test_values_as_r_and_spreadsheets_write_them_change_nothing(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "a.csv", GOOD, "2020-09-19,2020,1,,BOS,LAL,,,")).games
    other = write(
        tmp_path / "b.csv",
        "win,22-10-2019,2020.0,FALSE,NA,tor,NOP,NA,130.0, 122 ",
        "NA,19-09-2020,2020,TRUE,NA,BOS,LAL,NA,NA,NA",
        header="Team1 Win,date,season,neutral,playoff,team1,team2,carm-elo1_pre,score1,score2",
    )
    pd.testing.assert_frame_equal(read(other).games, plain)


def test_the_date_format_is_decided_for_the_file_not_for_the_row(tmp_path: Path) -> None:
    rows = ["03-11-2019,2020,0,,TOR,NOP,,130,122", "22-11-2019,2020,0,,TOR,NOP,,131,122"]
    found = read(write(tmp_path / "a.csv", *rows))
    assert found.games["day"].tolist() == [date(2019, 11, 3), date(2019, 11, 22)]
    mixed = read(write(tmp_path / "b.csv", *rows, "2019-11-25,2020,0,,TOR,NOP,,131,122"))
    assert len(mixed.games) == 2
    assert "not a date written as %d-%m-%Y" in mixed.rejected[0].reason


def test_dates_that_can_be_read_in_two_ways_are_not_guessed(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "03-11-2019,2020,0,,TOR,NOP,,130,122")
    with pytest.raises(SourceError, match=r"a\.csv: the dates, such as 03-11-2019, can be read as .* write them as"):
        read(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (
            b"date,season,neutral,playoff,team1,team_2,score1,score2\n",
            r"line 1: column missing: 'team2' \(did you mean",
        ),
        (b"a;b;c\n1;2;3\n", "column missing: 'date'"),
        (b"PK\x03\x04\x00\x00\x00", "not a text file"),
        (HEADER.encode() + b"\n2019,\xff\xfe", "line 2: not text in utf-8"),
        (gzip.compress(HEADER.encode() * 50, mtime=0)[:40], "damaged or cut off"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=said) as error:
        read(file)
    assert str(error.value).startswith(str(file))


def test_a_missing_file_or_an_empty_pattern_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv: no such file"):
        read(tmp_path / "gone.csv")
    with pytest.raises(SourceError, match=r"\*\.csv: no file matches"):
        read(f"{tmp_path}/*.csv")
    with pytest.raises(SourceError, match="is a folder"):
        read(tmp_path)


def test_a_header_without_games_is_said_in_a_note(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv"))
    assert found.games.empty
    assert found.notes == [f"{tmp_path / 'a.csv'}: the file has a header and no games"]


def test_an_unknown_playoff_letter_keeps_the_game_under_its_own_word(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", "2019-10-22,2020,0,x,TOR,NOP,,130,122"))
    assert found.games["stage"].tolist() == ["playoff-x"]
    assert "unknown playoff marker 'x'" in found.notes[0]


def season_with_lost_letters(path: Path, *extra: str) -> Path:
    """Every team plays four games; TOR and NOP go on to two games whose letter is lost and a final read as FALSE."""
    pairs = ["TOR,NOP", "BOS,LAL", "TOR,BOS", "NOP,LAL", "LAL,TOR", "NOP,BOS", "NOP,TOR", "LAL,BOS"]
    regular = [f"2018-01-{1 + i:02},2018,FALSE,NA,{pair},NA,100,90" for i, pair in enumerate(pairs)]
    last = [
        "2018-05-01,2018,FALSE,NA,TOR,NOP,NA,100,90",
        "2018-05-02,2018,FALSE,NA,TOR,NOP,NA,100,91",
        "2018-06-01,2018,FALSE,FALSE,TOR,NOP,NA,100,92",
    ]
    return write(path, *regular, *extra, *last)


def test_lost_playoff_letters_are_put_right_and_said(tmp_path: Path) -> None:
    found = read(season_with_lost_letters(tmp_path / "a.csv"))
    assert found.games["stage"].tolist() == ["regular"] * 8 + ["post-season"] * 2 + ["final"]
    assert "season 2018 has lost its play-off letters" in found.notes[0]


def test_false_means_regular_where_the_letters_are_not_lost(tmp_path: Path) -> None:
    rows = ["2018-01-01,2018,FALSE,FALSE,TOR,NOP,NA,100,90", "2018-05-01,2018,FALSE,TRUE,TOR,NOP,NA,100,90"]
    found = read(write(tmp_path / "a.csv", *rows))
    assert found.games["stage"].tolist() == ["regular", "post-season"]
    assert not found.notes


def test_of_two_snapshots_the_newer_content_decides_which_games_exist(tmp_path: Path) -> None:
    older = write(
        tmp_path / "z_newer_by_name.csv",
        GOOD,
        "2020-01-28,2020,0,,LAL,BOS,,,",  # will be moved
        "2020-04-15,2020,0,,BOS,LAL,,,",  # will be cancelled
    )
    newer = write(tmp_path / "a.csv", GOOD, "2020-04-09,2020,0,,LAL,BOS,,99,98", "2020-04-16,2020,0,,TOR,BOS,,,")
    found = read(older, newer)
    assert found.games["game_id"].tolist() == ["2019-10-22.TOR.NOP", "2020-04-09.LAL.BOS", "2020-04-16.TOR.BOS"]
    assert found.notes == [f"{older} is older than {newer} for season 2020: nothing taken from it"]


PLAYED_ONLY = [GOOD, "2020-03-11,2020,0,,BOS,LAL,,99,98"]
SCHEDULE = [
    GOOD,
    "2020-03-10,2020,0,,NOP,TOR,,,",  # not played by the last day of the newer file: moved or cancelled
    "2020-03-11,2020,0,,BOS,LAL,,,",
    "2020-03-11,2020,0,,NOP,LAL,,,",  # may have been played that evening
    "2020-03-20,2020,0,,BOS,LAL,,,",
    "2020-04-01,2020,0,,TOR,LAL,,,",
    "2020-05-01,2020,0,q,TOR,BOS,,,",  # provisional
]


def test_a_newer_file_of_played_games_only_does_not_delete_the_games_to_come(tmp_path: Path) -> None:
    newer, older = write(tmp_path / "a.csv", *PLAYED_ONLY), write(tmp_path / "b.csv", *SCHEDULE)
    found = read(newer, older)
    assert found.games["game_id"].tolist() == [
        "2019-10-22.TOR.NOP",
        "2020-03-11.BOS.LAL",
        "2020-03-11.NOP.LAL",
        "2020-03-20.BOS.LAL",
        "2020-04-01.TOR.LAL",
    ]
    assert found.games["home_score"].notna().tolist() == [True, True, False, False, False]
    assert found.notes == [
        f"{newer} has played games only for season 2020: 3 games to come are taken from {older}",
    ]


def test_a_game_played_early_does_not_stand_at_its_old_day_as_well(tmp_path: Path) -> None:
    newer = write(tmp_path / "a.csv", *PLAYED_ONLY, "2020-03-09,2020,0,,TOR,LAL,,90,80")
    days = read(newer, write(tmp_path / "b.csv", *SCHEDULE)).games.query("home == 'TOR' and away == 'LAL'")["day"]
    assert days.tolist() == [date(2020, 3, 9)]


def test_a_newer_file_with_a_schedule_denies_by_its_silence(tmp_path: Path) -> None:
    between = write(tmp_path / "c.csv", GOOD, "2020-03-08,2020,0,,LAL,NOP,,99,98", "2020-04-02,2020,0,,TOR,LAL,,,")
    found = read(write(tmp_path / "a.csv", *PLAYED_ONLY), write(tmp_path / "b.csv", *SCHEDULE), between)
    assert found.games.loc[found.games["home_score"].isna(), "game_id"].tolist() == ["2020-04-02.TOR.LAL"]


def test_a_season_is_over_once_a_later_one_is_played(tmp_path: Path) -> None:
    next_season = write(tmp_path / "c.csv", "2020-12-22,2021,0,,TOR,BOS,,99,98", "2020-12-23,2021,0,,LAL,BOS,,,")
    found = read(write(tmp_path / "a.csv", *PLAYED_ONLY), write(tmp_path / "b.csv", *SCHEDULE), next_season)
    assert found.games.loc[found.games["home_score"].isna(), "game_id"].tolist() == ["2020-12-23.LAL.BOS"]


def test_a_file_adds_the_seasons_that_only_it_has(tmp_path: Path) -> None:
    history = write(tmp_path / "a.csv", "2018-10-22,2019,0,,TOR,NOP,,1,2", "2019-10-22,2020,0,,TOR,NOP,,,")
    found = read(history, write(tmp_path / "b.csv", GOOD))
    assert found.games["home_score"].tolist() == [1, 130]


def test_the_same_content_twice_is_said(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", GOOD), write(tmp_path / "b.csv", GOOD))
    assert len(found.games) == 1
    assert "states the same games as" in found.notes[0]


games_of_a_season = st.lists(
    st.tuples(
        st.integers(1, 20),
        st.sampled_from(["TOR,NOP", "BOS,LAL", "NOP,BOS"]),
        st.one_of(st.none(), st.integers(80, 99)),
    ),
    max_size=5,
    unique_by=lambda g: (g[0], g[1]),
)


def snapshot(content: Sequence[tuple[int, str, int | None]]) -> list[str]:
    return [f"2020-01-{day:02},2020,0,,{pair},,{s or ''},{100 if s else ''}" for day, pair, s in content]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(games_of_a_season, min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_order_names_and_repetition_of_files_never_change_the_games(contents: list, seed: int) -> None:
    shuffled = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        once = [write(Path(folder) / f"{i}.csv", *snapshot(c)) for i, c in enumerate(contents)]
        again = [*contents, *shuffled.choices(contents, k=2)]
        shuffled.shuffle(again)
        other = [write(Path(folder) / f"other{i}.csv", *snapshot(c)) for i, c in enumerate(again)]
        one, two = read(*once), read(*reversed(other), other[0])
    pd.testing.assert_frame_equal(one.games, two.games)


@pytest.fixture(scope="module")
def real_games(real_data: Path) -> pd.DataFrame:
    made, notes = new_league("nba", "fivethirtyeight", [str(real_data / "nba" / "nba_elo_1947_2019.csv.gz")])
    found = FiveThirtyEight(made).read(NOW)
    assert not found.rejected
    assert not notes
    return found.games


def test_the_real_history_has_its_known_counts(real_games: pd.DataFrame) -> None:
    assert len(real_games) == 68406
    since_2009 = real_games[real_games["season"] >= 2009]
    assert len(since_2009) == 14205
    assert since_2009.loc[since_2009["season"] >= 2010, "day"].nunique() == 2040
    assert real_games["game_id"].is_unique
    assert real_games.loc[real_games["game_id"].str.endswith(".2"), "day"].tolist() == [
        date(1954, 3, 8),
        date(1970, 2, 8),
        date(1976, 1, 24),
        date(1979, 3, 23),
        date(1983, 4, 13),
    ]


def test_the_real_seasons_with_lost_letters_have_all_their_playoff_games(real_games: pd.DataFrame) -> None:
    late = real_games[real_games["season"].between(2016, 2019)]
    counts = late.groupby(["season", "stage"]).size().unstack()
    assert counts["regular"].tolist() == [1230] * 4
    assert counts["final"].tolist() == [7, 5, 4, 6]
    assert counts["post-season"].tolist() == [79, 74, 78, 76]


def test_the_real_franchises_are_followed_through_their_moves(real_games: pd.DataFrame) -> None:
    now = real_games[real_games["season"] == 2019]
    assert now["home"].nunique() == 30
    thunder = real_games.loc[real_games["home"] == "OKC", "season"]
    assert (thunder.min(), real_games.loc[real_games["home"] == "CHO", "season"].min()) == (1968, 2005)


def test_the_real_history_is_read_in_good_time(real_data: Path) -> None:
    made, _ = new_league("nba", "fivethirtyeight", [str(real_data / "nba" / "nba_elo_1947_2019.csv.gz")])
    source = FiveThirtyEight(made)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        source.read(NOW)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.5


def real_snapshots(real_data: Path, *as_of: str) -> GamesRead:
    files = [real_data / "nba" / "snapshots" / f"nba_elo_latest_asof_{day}.csv" for day in as_of]
    made, _ = new_league("nba", "fivethirtyeight", [str(file) for file in files])
    return FiveThirtyEight(made).read(NOW)


def test_the_real_snapshot_of_played_games_only_keeps_the_schedule_of_the_one_before(real_data: Path) -> None:
    alone = real_snapshots(real_data, "2020-03-11").games
    assert (len(alone), int(alone["home_score"].isna().sum())) == (970, 0)
    found = real_snapshots(real_data, "2019-11-20", "2020-03-08", "2020-03-11").games
    assert (len(found), int(found["home_score"].isna().sum())) == (1230, 260)
    lal_lac = found[(found["home"] == "LAL") & (found["away"] == "LAC")]
    assert lal_lac["day"].tolist() == [date(2019, 12, 25), date(2020, 4, 9)]
    resumed = real_snapshots(real_data, "2020-03-08", "2020-03-11", "2020-09-13").games
    assert (len(resumed), int(resumed["home_score"].isna().sum())) == (1129, 4)


@pytest.mark.parametrize("seed", range(3))
def test_the_real_snapshots_in_any_order_and_number_are_one_set_of_games(
    real_data: Path, tmp_path: Path, seed: int
) -> None:
    files = sorted((real_data / "nba" / "snapshots").glob("*.csv"))
    shuffled = random.Random(seed)
    order = [*files, *shuffled.choices(files, k=2)]
    shuffled.shuffle(order)
    named = [tmp_path / f"{number}.csv" for number in range(len(order))]
    for name, file in zip(named, order, strict=True):
        name.symlink_to(file)
    made, _ = new_league("nba", "fivethirtyeight", [str(file) for file in files])
    spellings = [*made.teams]
    parts = [parse(file, made.team, spellings) for file in named]
    shuffled.shuffle(parts)
    pd.testing.assert_frame_equal(merge(parts).games, FiveThirtyEight(made).read(NOW).games)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_real_snapshots_become_one_set_of_games(real_data: Path, reverse: bool) -> None:
    files = sorted((real_data / "nba" / "snapshots").glob("*.csv"), reverse=reverse)
    assert len(files) == 8
    made, _ = new_league("nba", "fivethirtyeight", [str(file) for file in files])
    found = FiveThirtyEight(made).read(NOW)
    assert not found.rejected
    assert found.games.groupby("season").size().to_dict() == {2020: 1129, 2021: 1139, 2022: 1230}
    assert found.games.groupby("season")["home_score"].count().to_dict() == {2020: 1125, 2021: 1112, 2022: 795}
    stages = found.games.groupby(["season", "stage"]).size()
    assert stages[2020].to_dict() == {
        "conference-final": 3,
        "conference-semi-final": 24,
        "first-round": 42,
        "play-in": 1,
        "regular": 1059,
    }
    assert stages[2021]["play-in"] == 6
    assert len(found.notes) == 5
    assert all("is older than" in note for note in found.notes)
    lal_lac = found.games[
        (found.games["home"] == "LAL") & (found.games["away"] == "LAC") & (found.games["season"] == 2020)
    ]
    assert date(2020, 1, 28) not in lal_lac["day"].tolist()
