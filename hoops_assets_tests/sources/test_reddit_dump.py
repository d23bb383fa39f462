"""Reddit dumps: bodies of several lines, texts that are gone, teams by subreddit or flair, and the real game thread."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import PostsRead
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.reddit_dump import RedditDump, team_of_flair
from hoops_assets_tests.sources.leagues import league

HEADER = ["body", "author", "author_flair_text", "created_utc", "id", "subreddit"]
EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def row(**more: str) -> list[str]:
    good = {
        "body": 'GAME 7\n\n"let\'s go", they said',
        "author": "fan",
        "author_flair_text": "[LAL] Kobe Bryant",
        "created_utc": "1466377215",
        "id": "d4fw19x",
        "subreddit": "lakers",
    }
    return [(good | more)[name] for name in HEADER]


def read(folder: Path, *rows: list[str], header: list[str] = HEADER, **options: Any) -> PostsRead:
    with (folder / "dump.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    spec = {
        "kind": "reddit_dump",
        "files": [str(folder / "dump.csv")],
        "subreddits": {"bostonceltics": "BOS"},
        **options,
    }
    return RedditDump(league(posts=spec)).read(*EVER)


def test_a_body_of_several_lines_is_one_post(tmp_path: Path) -> None:
    posts = read(tmp_path, row(), row(id="b", subreddit="bostonceltics")).posts
    assert posts["text"].tolist() == ['GAME 7\n\n"let\'s go", they said'] * 2
    assert posts["team"].tolist() == ["BOS", "LAL"]
    assert posts["created_at"].iat[0] == pd.Timestamp(1466377215, unit="s", tz="UTC")
    assert posts["post_id"].tolist() == ["reddit.b", "reddit.d4fw19x"]


def test_deleted_and_removed_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, row(), row(id="b", body="[deleted]"), row(id="c", body="[removed]"))
    assert len(found.posts) == 1
    assert found.notes == ["reddit: 2 posts were deleted or removed: left out"]


def test_a_bad_row_is_refused_with_the_line_on_which_it_begins(tmp_path: Path) -> None:
    found = read(tmp_path, row(), row(id="b", created_utc="noon"), ["short", "row"], row(id="c"))
    assert len(found.posts) == 2
    assert [(r.line, r.field) for r in found.rejected] == [(5, "created_at"), (8, "row")]


def test_an_unknown_subreddit_is_refused_and_an_unknown_flair_left_out(tmp_path: Path) -> None:
    assert [r.field for r in read(tmp_path, row(subreddit="nba")).rejected] == ["subreddit"]
    found = read(tmp_path, row(subreddit="nba"), row(id="b", subreddit="nba", author_flair_text="NBA"), team_by="flair")
    assert found.posts["team"].tolist() == ["LAL"]
    assert found.notes == ["reddit: 1 posts are of no team of the league: left out"]


@pytest.mark.parametrize(
    ("flair", "team"),
    [("Lakers", "Lakers"), ("[LAL] Kobe Bryant", "LAL"), ("Cavaliers Bandwagon", "Cavaliers"), ("", "")],
)
def test_what_a_flair_says(flair: str, team: str) -> None:
    assert team_of_flair(flair) == team


def test_files_that_cannot_be_read_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"line 1: column missing: 'body' \(did you mean 'boddy'\?\)"):
        read(tmp_path, row(), header=["boddy", *HEADER[1:]])
    before = csv.field_size_limit()
    (tmp_path / "dump.csv").write_text(",".join(HEADER) + '\n"' + "x" * (2 << 20))
    spec = {"kind": "reddit_dump", "files": [str(tmp_path / "dump.csv")]}
    with pytest.raises(SourceError, match=r"line 2: .*is a quotation mark not closed"):
        RedditDump(league(posts=spec)).read(*EVER)
    assert csv.field_size_limit() == before
    packed = gzip.compress(b"body,author\n" * 1000)
    (tmp_path / "dump.csv").write_bytes(packed[:-20])
    with pytest.raises(SourceError, match=r"dump\.csv, line 1"):
        RedditDump(league(posts=spec)).read(*EVER)
    with pytest.raises(SettingsError, match="names XXX"):
        RedditDump(league(posts=spec | {"subreddits": {"x": "XXX"}}))


def test_the_real_game_thread_is_read_whole_and_cut_at_tip_off(real_data: Path) -> None:
    made, _ = new_league(
        "nba", "fivethirtyeight", [str(real_data / "nba" / "snapshots" / "nba_elo_latest_asof_2022-02-05.csv")]
    )
    file = str(real_data / "sentiment" / "reddit_gamethreads" / "rNBA1stHalf.csv.gz")
    data = made.model_dump()
    data["sources"]["posts"] = {"kind": "reddit_dump", "files": [file], "subreddits": {"nba": "GSW"}}
    source = RedditDump(type(made).model_validate(data))
    whole = source.read(*EVER)
    assert not whole.rejected
    assert len(whole.posts) == 15_546 - 1_138
    before = source.read(EVER[0], datetime(2016, 6, 20, 0, 6, 15, tzinfo=UTC))
    assert 1_500 < len(before.posts) < 1_822
    data["sources"]["posts"] = {"kind": "reddit_dump", "files": [file], "team_by": "flair"}
    by_flair = RedditDump(type(made).model_validate(data)).read(*EVER)
    assert by_flair.posts["team"].value_counts().index[:2].tolist() == ["CLE", "GSW"]
    assert len(by_flair.posts) > 8_000
