"""Every kind of bad input: one message naming file, row and field; good rows go on, bad ones are kept, the status says so."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from hoops_assets_tests.cli.files import HEADER, MAPPING, Hoops, Row, schedule, write

GOOD = schedule()
LINE = 12
"""Of the row that is spoilt; the header is line 1."""

Spoil = Callable[[Row], list[Row]]


@pytest.fixture
def hoops(tmp_path: Path) -> Hoops:
    return Hoops(tmp_path / "home")


def replaced(column: str, value: str) -> Spoil:
    def spoil(row: Row) -> list[Row]:
        return [[value if name == column else cell for name, cell in zip(HEADER, row, strict=True)]]

    return spoil


ROWS: dict[str, tuple[Spoil, int, str, str]] = {
    "unknown team": (replaced("Away", "Anthil"), LINE, "Away", "'Anthil' is not a team of the league (did you mean 'Anthill'?)"),
    "no team": (replaced("Home", ""), LINE, "Home", "the team is not given"),
    "date that does not parse": (replaced("Date", "31.02.2024"), LINE, "Date", "is not a date written as 2019-10-22"),
    "day that does not exist": (replaced("Date", "2024-02-30"), LINE, "Date", "is not a date"),
    "no date": (replaced("Date", ""), LINE, "Date", "the date is not given"),
    "tie": (lambda row: [[*row[:3], "98", "98"]], LINE, "HomePts/AwayPts", "98-98 is a tie, which basketball does not have"),
    "0-0": (lambda row: [[*row[:3], "0", "0"]], LINE, "HomePts/AwayPts", "0-0 is not a result"),
    "half a score": (replaced("AwayPts", ""), LINE, "AwayPts", "only one side has a score"),
    "score that is no number": (replaced("HomePts", "9O"), LINE, "HomePts", "'9O' is not a whole number"),
    "impossible score": (replaced("HomePts", "1001"), LINE, "HomePts", "1001 points; a team scores 0 to 300"),
    "team against itself": (lambda row: [[*row[:2], row[1], *row[3:]]], LINE, "Away", "cannot play itself"),
    "duplicate row": (lambda row: [row, row], LINE + 1, "row", f"duplicate: the same game stands in line {LINE}"),
    "fields missing": (lambda row: [row[:3]], LINE, "row", "3 fields where the header has 5"),
    "quotation mark not closed": (lambda row: [[*row[:2], "UNCLOSED", *row[3:]]], LINE, "row", "a quotation mark is opened"),
}  # fmt: skip


def spoilt(tmp_path: Path, kind: str) -> Path:
    spoil = ROWS[kind][0]
    at = LINE - 2
    path = write(tmp_path / "games.csv", [*GOOD[:at], *spoil(GOOD[at]), *GOOD[at + 1 :]])
    path.write_text(path.read_text().replace("UNCLOSED", '"Unclosed'))
    return path


@pytest.mark.parametrize("kind", ROWS)
def test_a_bad_row_is_refused_by_name_and_all_good_rows_are_taken(kind: str, tmp_path: Path, hoops: Hoops) -> None:
    path, (_, line, field, reason) = spoilt(tmp_path, kind), ROWS[kind]
    said = hoops.add("tiny", path)
    assert said.status == 3
    (message,) = said.err.splitlines()
    assert f"{path}, line {line}, field {field}: " in message
    assert reason in message
    told = said.json
    good = len(GOOD) - (kind != "duplicate row")
    assert (told["games"], told["rejected"]) == (good, 1)
    with Path(told["quarantine"]).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["line"], row["field"]) == (str(path), str(line), field)
    assert reason in row["reason"]
    assert row["row"] == path.read_text().split("\n")[line - 1]


def test_what_was_refused_is_told_again_by_check_and_forgotten_once_it_is_mended(tmp_path: Path, hoops: Hoops) -> None:
    path = spoilt(tmp_path, "tie")
    hoops.add("tiny", path)
    said = hoops("leagues", "check", "tiny")
    assert said.status == 3
    (message,) = said.err.splitlines()
    assert message.startswith(f"{path}, line {LINE}, field HomePts/AwayPts: 98-98 is a tie")
    assert said.out.splitlines()[0].startswith(f"tiny: {len(GOOD) - 1} games")
    quarantine = hoops.home / "quarantine" / "tiny" / "games.csv"
    assert f"1 rows refused, all in {quarantine}" in said.out
    write(path, GOOD)
    said = hoops("leagues", "check", "tiny", "--json")
    assert (said.status, said.err, said.json["rejected"], said.json["games"]) == (0, "", [], len(GOOD))
    assert not quarantine.exists()


def test_a_real_double_header_is_two_games(tmp_path: Path, hoops: Hoops) -> None:
    again = [*GOOD[0][:3], "120", "80"]
    said = hoops.add("tiny", write(tmp_path / "games.csv", [GOOD[0], again, *GOOD[1:]]))
    assert (said.status, said.json["games"], said.json["rejected"]) == (0, len(GOOD) + 1, 0)


@pytest.mark.parametrize(("ends", "start"), [("\r\n", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff"), ("\r", "")])
def test_line_ends_and_a_byte_order_mark_change_nothing(ends: str, start: str, tmp_path: Path, hoops: Hoops) -> None:
    said = hoops.add("tiny", write(tmp_path / "games.csv", GOOD, ends=ends, start=start))
    assert (said.status, said.json["games"], said.json["rejected"]) == (0, len(GOOD), 0)


# -- files that cannot be read at all ---------------------------------------------------------------------------------


def cannot(hoops: Hoops, path: Path) -> str:
    said = hoops.add("tiny", path)
    assert (said.status, said.out) == (2, "")
    (message,) = said.err.splitlines()
    assert message.startswith("error: ")
    assert not (hoops.home / "leagues").exists(), "a league that holds nothing is not made"
    return message


def test_a_missing_file(tmp_path: Path, hoops: Hoops) -> None:
    assert f"{tmp_path}/none.csv: no such file" in cannot(hoops, tmp_path / "none.csv")


def test_wrong_columns_are_named_with_the_nearest_and_those_that_are_there(tmp_path: Path, hoops: Hoops) -> None:
    path = write(tmp_path / "games.csv", GOOD, header=["Date", "Hme", "Away", "HomePts", "Points"])
    message = cannot(hoops, path)
    assert f"{path}, line 1: column missing: 'Home' (did you mean 'Hme'?), 'AwayPts'" in message
    assert "The file has the columns Date, Hme, Away, HomePts, Points" in message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file(content: bytes, tmp_path: Path, hoops: Hoops) -> None:
    (tmp_path / "games.csv").write_bytes(content)
    assert f"{tmp_path}/games.csv: the file is empty" in cannot(hoops, tmp_path / "games.csv")


def test_a_file_with_a_header_and_no_game(tmp_path: Path, hoops: Hoops) -> None:
    assert "no games that can be taken" in cannot(hoops, write(tmp_path / "games.csv", []))


def test_a_file_of_which_every_row_is_bad(tmp_path: Path, hoops: Hoops) -> None:
    path = write(tmp_path / "games.csv", [["some day", *row[1:]] for row in GOOD])
    message = cannot(hoops, path)
    assert f"no games that can be taken; the first of {len(GOOD)} refused rows: {path}, line 2, field Date" in message


def test_a_file_whose_teams_are_none_of_the_mapping(tmp_path: Path, hoops: Hoops) -> None:
    path = write(tmp_path / "games.csv", GOOD)
    said = hoops.add("tiny", path, mapping=MAPPING + "teams: {ZZZ: {name: Zebras}, YYY: {name: Yaks}}\n")
    assert (said.status, said.out) == (2, "")
    assert f"refused rows: {path}, line 2, field Home: " in said.err
    assert not (hoops.home / "leagues" / "tiny.yaml").exists()


def test_a_file_that_is_not_text(tmp_path: Path, hoops: Hoops) -> None:
    path = write(tmp_path / "games.csv", GOOD)
    path.write_bytes(path.read_bytes().replace(b"Catwick", b"Catwick\xe9", 1))
    assert f"{path}, line " in (message := cannot(hoops, path))
    assert "not text in utf-8" in message


def test_a_source_that_goes_missing_later_is_told_by_every_command(tmp_path: Path, hoops: Hoops) -> None:
    path = write(tmp_path / "games.csv", GOOD)
    hoops.add("tiny", path)
    path.unlink()
    for command in (["leagues", "check"], ["evaluate"], ["backfill"], ["predict"]):
        said = hoops(*command, "tiny", "--json")
        assert (said.status, said.out) == (2, "")
        (message,) = said.err.splitlines()
        assert f"{path}: no such file" in message


def test_a_league_whose_every_row_has_become_bad_cannot_be_used(tmp_path: Path, hoops: Hoops) -> None:
    path = write(tmp_path / "games.csv", GOOD)
    hoops.add("tiny", path)
    write(path, [["some day", *row[1:]] for row in GOOD])
    for command in (["evaluate"], ["backfill"]):
        said = hoops(*command, "tiny", "--json")
        assert (said.status, said.out) == (2, "")
        assert "league tiny has no games; look at its sources with: hoops leagues check tiny" in said.err
    said = hoops("leagues", "check", "tiny", "--json")
    assert (said.status, said.json["games"], len(said.json["rejected"])) == (2, 0, len(GOOD))


# -- league files and mappings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "line", "said"),
    [
        ("time_zon: Europe/Berlin\n", 2, "unknown field time_zon (did you mean 'time_zone'?)"),
        ("time_zone: Europe/Berln\n", 2, "field time_zone: 'Europe/Berln' is not an IANA time zone"),
        ("first_season: soon\n", 2, "field first_season: "),
        ("teams: {A: {nam: x}}\n", 2, "unknown field teams.A.nam (did you mean 'name'?)"),
        ("time_zone: }\n", 2, "not valid YAML"),
    ],
)
def test_a_league_file_with_a_slip_is_told_by_file_line_and_field(
    typed: str, line: int, said: str, hoops: Hoops
) -> None:
    fields = {
        "time_zone": "time_zone: UTC\n", "first_season": "first_season: 2024\n", "teams": "teams: {}\n",
        "sources": "sources: {games: {kind: csv, files: [a.csv], columns: {date: D, home: H, away: A}}}\n",
    }  # fmt: skip
    others = "".join(text for name, text in fields.items() if not typed.startswith(name[:8]))
    file = hoops.home / "leagues" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("name: tiny\n" + typed + others)
    for command in (["leagues", "show"], ["leagues", "check"], ["evaluate"]):
        told = hoops(*command, "tiny")
        assert (told.status, told.out) == (2, "")
        (message,) = told.err.splitlines()
        assert message.startswith(f"error: {file}, line {line}")
        assert said in message


def test_one_bad_league_file_does_not_hide_the_others(tmp_path: Path, hoops: Hoops) -> None:
    hoops.add("tiny", write(tmp_path / "games.csv", GOOD))
    (hoops.home / "leagues" / "broken.yaml").write_text("name: broken\n")
    said = hoops("leagues", "list", "--json")
    assert said.status == 2
    assert [row["name"] for row in said.json] == ["atlantic", "pacific", "tiny"]
    (message,) = said.err.splitlines()
    assert message.startswith(f"error: {hoops.home}/leagues/broken.yaml, line 1: field time_zone is missing")
    assert hoops("leagues", "check", "tiny").status == 0


def test_a_mapping_with_a_slip_is_told_by_file_line_and_field(tmp_path: Path, hoops: Hoops) -> None:
    said = hoops.add("tiny", write(tmp_path / "games.csv", GOOD), mapping=MAPPING.replace("home_score", "home_scor"))
    assert (said.status, said.out) == (2, "")
    (message,) = said.err.splitlines()
    assert f"{hoops.home}/mapping.yaml, line 2: unknown field columns.home_scor (did you mean 'home_score'?)" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source", "csv"], "--source csv needs --mapping FILE"),
        (["--source", "fivethirtyeigt"], "(did you mean 'fivethirtyeight'?)"),
        (["--source", "csv", "--mapping", "none.yaml"], "none.yaml: no such file"),
    ],
)
def test_a_league_that_cannot_be_made_says_why(arguments: list[str], said: str, tmp_path: Path, hoops: Hoops) -> None:
    told = hoops("leagues", "add", "tiny", "--games", write(tmp_path / "games.csv", GOOD), *arguments)
    assert (told.status, told.out) == (2, "")
    assert said in told.err


def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path: Path, hoops: Hoops) -> None:
    said = hoops.add("Tiny League", write(tmp_path / "games.csv", GOOD))
    assert (said.status, said.out) == (2, "")
    assert "field name: use lower-case letters, digits and _ only" in said.err


# -- FiveThirtyEight's files ------------------------------------------------------------------------------------------

FIVE_THIRTY_EIGHT = ["date", "season", "neutral", "playoff", "team1", "team2", "score1", "score2"]
NBA = [
    ["2019-04-09", "2019", "0", "", "BOS", "NYK", "110", "100"],
    ["2019-04-09", "2019", "0", "", "LAL", "MIA", "90", "95"],
    ["2019-04-10", "2019", "0", "", "NYK", "DET", "89", "115"],
]


def add_538(hoops: Hoops, *files: Path, options: tuple[str, ...] = ()) -> dict[str, object]:
    games = [argument for file in files for argument in ("--games", str(file))]
    said = hoops("leagues", "add", "nba", "--source", "fivethirtyeight", *games, *options, "--json")
    return {**said.json, "status": said.status, "err": said.err}


def test_a_snapshot_older_than_another_is_passed_over_and_said_so_in_whatever_order(
    tmp_path: Path, hoops: Hoops
) -> None:
    new = write(tmp_path / "a.csv", NBA, header=FIVE_THIRTY_EIGHT)
    old = write(tmp_path / "b.csv", [*NBA[:2], [*NBA[2][:6], "", ""]], header=FIVE_THIRTY_EIGHT)
    for order in ((new, old), (old, new)):
        told = add_538(hoops, *order, options=("--replace",))
        assert (told["status"], told["games"], told["rejected"]) == (0, 3, 0)
        assert any(str(old) in note and "older" in note for note in told["notes"])  # type: ignore[attr-defined]
        check = hoops("leagues", "check", "nba", "--json").json
        assert check["played"] == 3


def test_a_row_of_a_team_that_the_nba_never_had_is_refused(tmp_path: Path, hoops: Hoops) -> None:
    rows = [*NBA, ["2019-04-10", "2019", "0", "", "BOX", "NYK", "99", "98"]]
    told = add_538(hoops, write(tmp_path / "nba.csv", rows, header=FIVE_THIRTY_EIGHT))
    assert (told["status"], told["games"], told["rejected"]) == (3, 3, 1)
    assert f"{tmp_path}/nba.csv, line 5, field team1: 'BOX' is not a team of the league" in str(told["err"])
