"""The quarantine file: complete, repeatable, never stale."""

from __future__ import annotations

import csv
from pathlib import Path

from hoops_assets.sources.contract import Rejected
from hoops_assets.sources.quarantine import describe, summary, write_quarantine

ROWS = [
    Rejected("a.csv", 12, "team1", "'BSO' is not a team", '2019,"x",BSO'),
    Rejected("a.csv", 3, "score1/score2", "90-90 is a tie", "2019,é"),
    Rejected("b.csv", None, "row", "odd", ""),
]


def test_every_refused_row_is_kept_in_file_order(tmp_path: Path) -> None:
    path = write_quarantine(tmp_path / "q", "nba", ROWS)
    assert path == tmp_path / "q" / "nba.csv"
    with path.open(encoding="utf-8", newline="") as file:
        kept = list(csv.DictReader(file))
    assert [(r["file"], r["line"], r["field"]) for r in kept] == [
        ("a.csv", "3", "score1/score2"),
        ("a.csv", "12", "team1"),
        ("b.csv", "", "row"),
    ]
    assert kept[1]["row"] == '2019,"x",BSO'
    assert kept[0]["row"] == "2019,é"


def test_the_same_refusals_give_the_same_bytes(tmp_path: Path) -> None:
    one = write_quarantine(tmp_path, "one", ROWS)
    two = write_quarantine(tmp_path, "two", [*reversed(ROWS), ROWS[0]])
    assert one is not None
    assert two is not None
    assert one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.csv", "two.csv"]


def test_without_refusals_nothing_stays_in_quarantine(tmp_path: Path) -> None:
    write_quarantine(tmp_path, "nba", ROWS)
    assert write_quarantine(tmp_path, "nba", []) is None
    assert list(tmp_path.iterdir()) == []


def test_refusals_are_summed_up_in_one_line() -> None:
    assert summary([]) == "no row refused"
    assert summary(ROWS[:1]) == "1 row refused (1 for team1); first: a.csv, line 12, field team1: 'BSO' is not a team"
    assert summary(ROWS).startswith("3 rows refused (1 for team1, 1 for score1/score2, 1 for row); first: ")
    assert describe(ROWS[2]) == "b.csv, field row: odd"
