"""The way of posts into their table: bounded, in order, nothing twice and nothing lost uncounted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.sentiment import POSTS
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.fan_posts import TABLE, FanPosts, Intake, as_sampled, tell_metrics
from hoops_assets.store.post_buffer import PostBuffer, draw
from hoops_assets.store.schemas import TABLES
from hoops_assets_tests.defs.stated import league
from hoops_assets_tests.workloads.kills import die_at

DAYS = [date(2023, 11, 1), date(2023, 11, 4), date(2023, 11, 5)]
FIRST, LAST = date(2023, 10, 25), DAYS[-1]
NOW = datetime(2023, 11, 10, 12, tzinfo=UTC)
LEAGUE = league()


def posts(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Posts of (moment in UTC, team, text)."""
    frame = pd.DataFrame(rows, columns=["created_at", "team", "text"])
    frame["created_at"] = pd.to_datetime(frame["created_at"], utc=True)
    ids = [f"p{number}" for number in range(len(frame))]
    return frame.assign(post_id=ids, author="ann", source="test").astype(POSTS)[list(POSTS)]


def many(first: int, stop: int) -> pd.DataFrame:
    """Posts a minute from the evening of 1 November on."""
    numbers = np.arange(first, stop)
    return pd.DataFrame(
        {
            "post_id": [f"p{number}" for number in numbers],
            "created_at": pd.Timestamp("2023-11-02 06:00", tz="UTC") + pd.to_timedelta(numbers, unit="min"),
            "team": [("ANT", "BEE")[number % 2] for number in numbers],
            "author": "",
            "text": [f"text {number}" for number in numbers],
            "source": "test",
        }
    ).astype(POSTS)


class Home:
    """A table and a buffer in a folder."""

    def __init__(self, folder: Path, policy: str = "wait", mark: int = 1_000) -> None:
        self.store = DeltaStore(str(folder / "tables"))
        self.buffer = PostBuffer(folder / "posts.sqlite", policy, mark)  # type: ignore[arg-type]

    def take(self, *parts: pd.DataFrame, first: date = FIRST, last: date = LAST, days: list = DAYS) -> Intake:
        return FanPosts(self.store, self.buffer, LEAGUE, days, NOW).take_in(parts, first, last)

    def table(self) -> pd.DataFrame:
        return self.store.read(LEAGUE.name, TABLE)

    def commits(self) -> int:
        return sum(entry["operation"] == "WRITE" for entry in self.store.history(LEAGUE.name, TABLE))


def test_every_post_stands_on_the_game_day_that_it_belongs_to_with_the_moment_it_came_in(tmp_path: Path) -> None:
    home = Home(tmp_path)
    written = posts(
        ("2023-11-02 03:59", "ANT", "the evening of the 1st"),
        ("2023-11-02 04:00", "ANT", "after it"),
        ("2023-11-05 03:00", "BEE", "the evening of the 4th"),
        ("2023-11-05 18:00", "BEE", "on the 5th"),
    )
    told = home.take(written)
    table = home.table()
    assert table.dtypes.astype(str).to_dict() == TABLES[TABLE].columns
    assert dict(zip(table["text"], table["day"], strict=True)) == dict(
        zip(written["text"], [DAYS[0], DAYS[1], DAYS[1], DAYS[2]], strict=True)
    )
    assert (table["ingested_at"] == pd.Timestamp(NOW)).all()
    assert (table["weight"] == 1).all()
    assert told == Intake(taken=4, stored=4, by_day={DAYS[0]: 1, DAYS[1]: 2, DAYS[2]: 1})
    assert home.commits() == 1


def test_a_run_without_posts_makes_the_empty_table(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.take() == Intake()
    assert home.table().empty
    assert home.commits() == 1


def test_a_post_that_comes_again_stays_as_it_came_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    written = posts(("2023-11-04 18:00", "ANT", "first words"), ("2023-11-04 18:00", "BEE", "others"))
    home.take(written)
    before = home.table()
    edited = written.assign(text="edited after the game")
    assert home.take(edited) == Intake(taken=2, known=2)
    pd.testing.assert_frame_equal(home.table(), before)


def test_one_post_of_two_teams_stands_once_for_each(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.take(posts(("2023-11-04 18:00", "ANT", "a"), ("2023-11-04 18:00", "BEE", "a")).assign(post_id="same"))
    assert list(home.table()["team"]) == ["ANT", "BEE"]


def test_more_than_the_mark_goes_through_the_buffer_in_several_commits(tmp_path: Path) -> None:
    home = Home(tmp_path, mark=30)
    deepest = []

    def parts() -> Iterator[pd.DataFrame]:
        for first in range(0, 200, 50):
            yield many(first, first + 50)
            deepest.append(home.buffer.metrics().depth)

    told = FanPosts(home.store, home.buffer, LEAGUE, DAYS, NOW).take_in(parts(), FIRST, LAST)
    assert max(deepest) <= 30
    assert (told.taken, told.stored) == (200, 200)
    assert set(home.table()["post_id"]) == {f"p{number}" for number in range(200)}
    assert home.commits() == 7
    counts = home.buffer.metrics()
    assert (counts.offered, counts.committed, counts.depth, counts.sampled_out) == (200, 200, 0, 0)


def test_a_sample_carries_weights_and_the_rest_is_counted(tmp_path: Path) -> None:
    home = Home(tmp_path, "sample", mark=500)
    told = home.take(many(0, 4_000))
    counts, table = home.buffer.metrics(), home.table()
    assert len(table) == told.stored <= 500
    assert counts.offered == 4_000 == counts.committed + counts.sampled_out
    assert set(table["weight"]) <= {8.0, 16.0}
    assert table["weight"].sum() == pytest.approx(4_000, rel=0.25)


def test_a_sampled_span_offered_again_changes_nothing_whatever_the_mark_is_then(tmp_path: Path) -> None:
    Home(tmp_path, "sample", mark=500).take(many(0, 4_000))
    before = Home(tmp_path).table()
    for mark in (500, 100_000, 2_000):
        home = Home(tmp_path, "sample", mark=mark)
        told = home.take(many(0, 4_000))
        assert told.stored == 0
        assert told.taken == told.known + told.thinned
        pd.testing.assert_frame_equal(home.table(), before)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 400))
def test_a_day_once_sampled_keeps_one_uniform_sample(stored_level: int, level: int, later: int) -> None:
    def sample(frame: pd.DataFrame, level: int) -> pd.DataFrame:
        draws = np.array([draw(post_id) for post_id in frame["post_id"]])
        return frame.assign(day=DAYS[1], weight=2.0**level)[draws < 2.0**-level]

    stored = sample(many(0, 400), stored_level)
    new = sample(many(400, 400 + later), level)
    kept = as_sampled(new, stored)
    expected = sample(many(400, 400 + later), max(level, stored_level))
    has_sample = set(stored["team"])
    here = kept["team"].isin(has_sample)
    assert list(kept[here]["post_id"]) == list(expected[expected["team"].isin(has_sample)]["post_id"])
    assert (kept[here]["weight"] == 2.0 ** max(level, stored_level)).all()


def test_what_a_producer_left_in_the_buffer_is_stored_on_its_own_day_too(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.take(posts(("2023-11-01 18:00", "ANT", "stored")), last=DAYS[0])
    home.buffer.offer(
        posts(
            ("2023-11-01 19:00", "ANT", "an earlier day"),
            ("2023-11-20 19:00", "BEE", "no known game day yet"),
            ("2021-01-05 19:00", "BEE", "long before the first"),
        ).assign(post_id=["left 0", "left 1", "left 2"])
    )
    told = home.take(first=date(2023, 11, 2))
    days = home.table().set_index("text")["day"]
    assert told.stored == 3
    assert days.to_dict() == {
        "stored": DAYS[0],
        "an earlier day": DAYS[0],
        "no known game day yet": date(2023, 11, 20),
        "long before the first": date(2021, 1, 5),
    }
    later = [*DAYS, date(2023, 11, 21)]
    home.take(first=date(2023, 11, 6), last=later[-1], days=later)
    assert home.table().set_index("text")["day"]["no known game day yet"] == later[-1]


def test_a_new_game_day_before_stored_posts_stores_none_of_them_twice(tmp_path: Path) -> None:
    home = Home(tmp_path)
    written = posts(("2023-11-03 18:00", "ANT", "on the 3rd"))
    home.take(written)
    days = sorted([*DAYS, date(2023, 11, 3)])
    assert home.take(written, first=date(2023, 11, 2), last=date(2023, 11, 3), days=days).known == 1
    assert home.take(written, first=date(2023, 11, 4), days=days).known == 1
    assert len(home.table()) == 1


def test_posts_of_games_forecast_and_begun_are_counted_late(tmp_path: Path) -> None:
    home = Home(tmp_path)
    spec = TABLES["predictions"]
    made = pd.DataFrame(
        {
            "game_id": ["a", "b"], "season": 2024, "day": DAYS[1:], "tip_off": pd.to_datetime(pd.Series([None, None]), utc=True),
            "home": "ANT", "away": "BEE",
            "neutral": False, "stage": "regular", "version": 1, "learner": "elo", "home_win_probability": 0.5,
            "made_at": pd.Timestamp("2023-11-04", tz="UTC"), "backfilled": [False, True],
            "degraded": "",
        }
    ).astype({name: kind for name, kind in spec.columns.items() if name != "day"})  # fmt: skip
    home.store.overwrite(LEAGUE.name, "predictions", made)
    told = home.take(posts(*[(f"2023-11-0{day} 18:00", "ANT", str(day)) for day in (1, 4, 5)]))
    assert (told.stored, told.late) == (3, 1)


def take_in_three(folder: Path) -> None:
    Home(folder, mark=40).take(*(many(first, first + 40) for first in (0, 40, 80)))


@pytest.mark.slow
def test_a_kill_anywhere_loses_no_post_and_stores_none_twice(tmp_path: Path) -> None:
    points = [
        *(f"buffer.{where}_commit:{number}" for where in ("before", "after") for number in (2, 3, 4)),
        *(f"commit.{where}:{TABLE}:{number}" for where in ("before", "after") for number in (1, 3)),
    ]
    folders = {point: tmp_path / point.replace(":", "-") for point in points}
    for folder in folders.values():
        folder.mkdir()
    died = die_at(f"{__name__}:take_in_three", folders)
    take_in_three(tmp_path / "whole")
    expected = Home(tmp_path / "whole").table()
    assert len(expected) == 120
    for point, folder in folders.items():
        assert died[point] == signal.SIGKILL, point
        take_in_three(folder)
        pd.testing.assert_frame_equal(Home(folder).table(), expected, obj=point)
        counts = Home(folder).buffer.metrics()
        assert counts.depth == 0
        assert counts.offered == counts.repeated + counts.sampled_out + counts.committed


def test_the_counts_stand_in_a_file_for_collectors(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.take(many(0, 20))
    path = tell_metrics(tmp_path, "nba", home.buffer.metrics())
    lines = path.read_text().splitlines()
    assert path == tmp_path / "metrics" / "nba_post_buffer.prom"
    assert 'hoops_post_buffer_depth{league="nba"} 0' in lines
    assert 'hoops_post_buffer_committed{league="nba"} 20' in lines
