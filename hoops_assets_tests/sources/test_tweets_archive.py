"""The tweets archive: files by row of the schedule, stamps before tip-off, and the real archive joined to its games."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.league import League
from hoops_assets.basketball.sentiment import team_sentiment
from hoops_assets.errors import SourceError
from hoops_assets.sources.contract import PostsRead
from hoops_assets.sources.leagues import new_league
from hoops_assets.sources.open import open_games, open_posts
from hoops_assets.sources.tweets_archive import TweetsArchive
from hoops_assets_tests.sources.leagues import league

HEADER = "Date,Start (ET),Visitor/Neutral,PTS,Home/Neutral,PTS,,,Attend.,Arena,Notes"
ROWS = [
    "Tue Oct 19 2021,7:30p,Boston Celtics,104,Toronto Raptors,127,Box Score,,17341,Forum,",
    "Tue Oct 19 2021,10:00p,New Orleans Pelicans,121,Los Angeles Lakers,114,Box Score,,18997,Center,",
]
EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
GOOD = {"home_train0.json": {"0": "newest", "1": "older"}, "away_train1.json": {"0": "we lost"}}


def write(folder: Path, files: dict[str, Any], rows: list[str] = ROWS, cut: int | None = None) -> League:
    (folder / "games.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    with tarfile.open(folder / "tweets.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(f"dataset/{name.split('.')[0].rstrip('0123456789')}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    if cut is not None:
        packed = (folder / "tweets.tar.gz").read_bytes()
        (folder / "tweets.tar.gz").write_bytes(packed[:cut])
    spec = {
        "kind": "tweets_archive",
        "archive": str(folder / "tweets.tar.gz"),
        "schedule": str(folder / "games.csv"),
    }
    return league(posts=spec)


def read(folder: Path, files: dict[str, Any] = GOOD, **more: Any) -> PostsRead:
    return TweetsArchive(write(folder, files, **more)).read(*EVER)


def test_a_file_belongs_to_the_side_and_row_of_its_name_and_is_stamped_before_tip_off(tmp_path: Path) -> None:
    found = read(tmp_path)
    posts = found.posts.set_index("post_id")
    assert posts.index.tolist() == ["tweets.0.home.0", "tweets.0.home.1", "tweets.1.away.0"]
    assert posts["team"].tolist() == ["TOR", "TOR", "NOP"]
    assert posts.loc["tweets.0.home.0", "created_at"] == pd.Timestamp("2021-10-19 11:30", tz="UTC")
    assert posts.loc["tweets.1.away.0", "created_at"] == pd.Timestamp("2021-10-19 14:00", tz="UTC")
    assert found.notes == [f"{tmp_path / 'tweets.tar.gz'}: 2 of 4 teams and games have no file of tweets"]


def test_the_window_chooses(tmp_path: Path) -> None:
    source = TweetsArchive(write(tmp_path, GOOD))
    noon = datetime(2021, 10, 19, 12, tzinfo=UTC)
    assert len(source.read(EVER[0], noon).posts) == 2
    assert len(source.read(noon, EVER[1]).posts) == 1


def test_the_order_of_the_files_in_the_archive_changes_nothing(tmp_path: Path) -> None:
    first = read(tmp_path).posts
    pd.testing.assert_frame_equal(read(tmp_path, dict(reversed(GOOD.items()))).posts, first)


@pytest.mark.parametrize(
    ("name", "content", "field", "said"),
    [
        ("home_train1.json", b'{"0": "cut', "file", "not whole JSON"),
        ("home_train1.json", ["a"], "file", "a list where an object is expected"),
        ("home_train1.json", {"0": 5}, "0", "5 is not a text"),
        ("home_train2.json", {"0": "a"}, "file", "row 2 is not in the schedule, which has rows 0 to 1"),
    ],
)
def test_a_bad_file_is_refused_and_the_others_go_on(
    tmp_path: Path, name: str, content: Any, field: str, said: str
) -> None:
    found = read(tmp_path, GOOD | {name: content})
    assert len(found.posts) == 3
    (refused,) = found.rejected
    assert refused.file.endswith(name)
    assert refused.field == field
    assert said in refused.reason


def test_a_schedule_row_that_cannot_be_read_stops_the_reading(tmp_path: Path) -> None:
    bad = ROWS[0].replace("Boston Celtics", "Bostn Celtics")
    with pytest.raises(SourceError, match=r"games\.csv, line 2.*numbered by the rows"):
        read(tmp_path, rows=[bad, ROWS[1]])
    with pytest.raises(SourceError, match="1 games have no time of tip-off"):
        read(tmp_path, rows=[ROWS[0], ROWS[1].replace("10:00p", "")])


def test_a_damaged_archive_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"tweets\.tar\.gz: the archive is damaged or cut off"):
        read(tmp_path, cut=60)
    with pytest.raises(SourceError, match="holds no file named like"):
        read(tmp_path, {"notes.json": {"0": "a"}})
    missing = write(tmp_path, GOOD)
    (tmp_path / "tweets.tar.gz").unlink()
    with pytest.raises(SourceError, match=r"tweets\.tar\.gz: no such file"):
        TweetsArchive(missing).read(*EVER)


@pytest.fixture(scope="module")
def real_league(real_data: Path) -> League:
    made, _ = new_league(
        "nba", "fivethirtyeight", [str(real_data / "nba" / "snapshots" / "nba_elo_latest_asof_2022-02-05.csv")]
    )
    data = made.model_dump()
    tweets = real_data / "sentiment" / "tweets"
    data["sources"]["posts"] = {
        "kind": "tweets_archive",
        "archive": str(tweets / "tweets_2021-22_to_2022-02-05.tar.gz"),
        "schedule": str(tweets / "training.csv"),
    }
    return League.model_validate(data)


def test_all_real_tweets_fall_to_the_795_played_games_and_none_after_their_tip_off(real_league: League) -> None:
    found = open_posts(real_league)
    assert found is not None
    read = found.read(*EVER)
    posts = read.posts
    assert (len(posts), read.rejected, read.notes) == (266_267, [], [])
    assert posts["post_id"].is_unique
    key = posts["post_id"].str.extract(r"tweets\.(?P<row>\d+)\.(?P<side>home|away)")
    sides = posts.assign(row=key["row"].astype(int), side=key["side"]).drop_duplicates(["row", "side"])
    wide = sides.pivot(index="row", columns="side", values="team")
    tip_off = sides.groupby("row")["created_at"].first() + pd.Timedelta(hours=12)
    day = tip_off.dt.tz_convert("America/New_York").dt.date
    games = open_games(real_league).read(EVER[1]).games
    played = games[games["home_score"].notna()]
    told = set(zip(day, wide["home"], wide["away"], strict=True))
    assert told == set(zip(played["day"], played["home"], played["away"], strict=True))
    assert len(wide) == 795


def test_the_real_duplicates_and_empty_texts_are_handed_on(real_league: League) -> None:
    source = open_posts(real_league)
    assert source is not None
    posts = source.read(*EVER).posts
    of_file = posts.assign(file=posts["post_id"].str.rsplit(".", n=1).str[0])
    assert of_file.duplicated(["file", "text"]).mean() == pytest.approx(0.0393, abs=1e-4)
    assert (posts["text"].str.strip() == "").sum() == 14


@pytest.mark.parametrize("timed", [False, True], ids=["from noon back", "from tip-off back"])
def test_each_of_the_795_games_is_joined_to_the_posts_of_its_window_and_to_no_later_one(
    real_league: League, timed: bool
) -> None:
    """Counted anew for every game and side, without the code under test."""
    source = open_posts(real_league)
    assert source is not None
    posts = source.read(*EVER).posts
    file = posts["post_id"].str.extract(r"tweets\.(?P<row>\d+)\.(?P<side>home|away)")
    posts = posts.assign(row=file["row"].astype(int), side=file["side"])
    tip_off = posts.groupby("row")["created_at"].first() + pd.Timedelta(hours=12)
    games = open_games(real_league).read(EVER[1]).games
    played = games[games["home_score"].notna()].reset_index(drop=True)
    assert played["tip_off"].isna().all(), "FiveThirtyEight gives no times"
    named = posts.drop_duplicates(["row", "side"]).pivot(index="row", columns="side", values="team")
    named = named.assign(day=tip_off.dt.tz_convert(real_league.zone).dt.date)
    key = ["day", "home", "away"]
    row_of = played[key].merge(named.reset_index(), on=key, how="left", validate="one_to_one")["row"]
    assert sorted(row_of) == list(range(795))
    if timed:
        played["tip_off"] = tip_off.loc[row_of].to_numpy()
        played["tip_off"] = played["tip_off"].astype("datetime64[us, UTC]")
    rows = team_sentiment(posts, played, lambda texts: np.zeros(len(texts)), real_league.zone)
    found = rows.set_index(["game_id", "team"])["volume"]
    noon = pd.to_datetime(played["day"]).dt.tz_localize(real_league.zone) + pd.Timedelta(hours=12)
    cuts = played["tip_off"] if timed else noon
    of_team = dict(iter(posts.groupby("team")))
    for game, row, cut in zip(played.to_dict("records"), row_of, cuts, strict=True):
        for side in ("home", "away"):
            own = of_team[game[side]]
            window = own[(own["created_at"] >= cut - pd.Timedelta(hours=72)) & (own["created_at"] < cut)]
            assert found[game["game_id"], game[side]] == len(window)
            assert tip_off[window["row"]].max() <= tip_off[row]
            assert ((own["row"] == row).sum() == (window["row"] == row).sum()) and (window["row"] == row).any()
    # No tweet names its author, so together they are one voice, and no crowd of them outvotes a named fan.
    assert set(rows["authors"]) == {1}
    assert (rows["votes"] <= 1 + 1e-9).all()
    assert (rows["posts"] > 1).all()
