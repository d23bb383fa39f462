"""The post buffer: bounded, durable, and every post is accounted for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.sentiment import POSTS
from hoops_assets.errors import SettingsError, StoreError
from hoops_assets.store.post_buffer import BufferMetrics, PostBuffer, metrics_text, read_metrics
from hoops_assets_tests.workloads.kills import die_at

START = pd.Timestamp("2026-01-10 12:00", tz="UTC")


def posts(first: int, stop: int, text: str = "good 🏀 game") -> pd.DataFrame:
    numbers = np.arange(first, stop)
    return pd.DataFrame(
        {
            "post_id": [f"p{number}" for number in numbers],
            "created_at": START + pd.to_timedelta(numbers, unit="s"),
            "team": [("ALD", "BRK")[number % 2] for number in numbers],
            "author": [None if number % 7 == 0 else f"fan {number % 5}" for number in numbers],
            "text": [f"{text} {number}" for number in numbers],
            "source": "test",
        }
    ).astype(POSTS)


def accounted(metrics: BufferMetrics) -> bool:
    return metrics.offered == metrics.repeated + metrics.sampled_out + metrics.committed + metrics.depth


def drain(buffer: PostBuffer, limit: int = 1_000) -> pd.DataFrame:
    batches = [buffer.read(0).posts]
    while len((batch := buffer.read(limit)).posts):
        batches.append(batch.posts)
        buffer.commit(batch)
    return pd.concat(batches, ignore_index=True)


def test_posts_come_out_as_they_went_in_and_in_their_order(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "new folder" / "posts.sqlite")
    written = posts(0, 30)
    written.loc[3, "text"] = None
    assert buffer.offer(written.iloc[:20]) == 20
    assert buffer.offer(written.iloc[20:]) == 10
    found = drain(PostBuffer(buffer.path), limit=7)
    pd.testing.assert_frame_equal(found[list(POSTS)], written)
    assert (found["weight"] == 1).all()
    assert buffer.read().place is None


def test_posts_stay_until_they_are_committed_and_a_second_commit_changes_nothing(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite")
    buffer.offer(posts(0, 10))
    first = buffer.read(4)
    assert buffer.read(4).posts["post_id"].tolist() == first.posts["post_id"].tolist() == ["p0", "p1", "p2", "p3"]
    buffer.commit(first)
    buffer.commit(first)
    assert buffer.read(2).posts["post_id"].tolist() == ["p4", "p5"]
    told = buffer.metrics()
    assert (told.offered, told.committed, told.depth) == (10, 4, 6)
    buffer.commit(buffer.read(0))
    assert buffer.metrics().depth == 6


def test_a_post_offered_twice_is_held_once_and_counted(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", high_water_posts=10)
    buffer.offer(posts(0, 10))
    assert buffer.offer(posts(0, 10)) == 10  # a full buffer still knows what it has
    told = buffer.metrics()
    assert (told.offered, told.repeated, told.depth) == (20, 10, 10)
    assert accounted(told)


def test_a_full_buffer_takes_the_first_posts_and_says_how_many(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", high_water_posts=25)
    assert buffer.offer(posts(0, 40)) == 25
    assert buffer.offer(posts(25, 40)) == 0
    buffer.commit(buffer.read(5))
    assert buffer.offer(posts(25, 40)) == 5
    told = buffer.metrics()
    assert (told.depth, told.offered, told.high_water_posts) == (25, 30, 25)
    assert accounted(told)
    assert drain(buffer)["post_id"].tolist() == [f"p{number}" for number in range(5, 30)]


def test_the_mark_in_bytes_holds_too_but_one_large_post_always_gets_through(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", high_water_bytes=1_000)
    large = posts(0, 2, "x" * 900)
    assert buffer.offer(large) == 1
    drain(buffer)
    assert buffer.offer(posts(2, 3, "x" * 5_000)) == 1
    assert buffer.offer(posts(3, 4)) == 0
    assert buffer.metrics().bytes > 5_000


def test_put_waits_for_the_reader(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", high_water_posts=50)
    taken: list[str] = []

    def reader() -> None:
        while len(taken) < 200:
            time.sleep(0.02)
            batch = buffer.read(30)
            taken.extend(batch.posts["post_id"])
            buffer.commit(batch)

    thread = threading.Thread(target=reader)
    thread.start()
    buffer.put(posts(0, 200), timeout=30)
    thread.join(30)
    assert taken == [f"p{number}" for number in range(200)]


def test_put_says_how_many_were_taken_when_nobody_reads(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", high_water_posts=50)
    with pytest.raises(StoreError, match=r"of 80 posts the first 50 were taken.*Offer the rest again"):
        buffer.put(posts(0, 80), timeout=0.1)


def test_sampling_keeps_the_buffer_bounded_and_counts_every_post(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", "sample", high_water_posts=2_000)
    for first in range(0, 20_000, 4_000):
        assert buffer.offer(posts(first, first + 4_000)) == 4_000
        assert buffer.metrics().depth <= 2_000
    told = buffer.metrics()
    assert accounted(told)
    assert told.sampled_out == 20_000 - told.depth > 0
    out = buffer.sampled_out()
    assert out["posts"].sum() == told.sampled_out
    assert set(out["hour"].dt.hour) == {12, 13, 14, 15, 16, 17}
    found = drain(buffer)
    # 20,000 posts at one in 16: a standard error of about 3.5 %
    assert found["weight"].sum() == pytest.approx(20_000, rel=0.15)
    assert found.groupby("team")["weight"].sum().tolist() == pytest.approx([10_000, 10_000], rel=0.2)
    exact = found.groupby("team").size() + out.groupby("team")["posts"].sum()
    assert exact.to_dict() == {"ALD": 10_000, "BRK": 10_000}
    early = found["post_id"].str[1:].astype(int) < 10_000
    assert found["weight"][early].sum() == pytest.approx(10_000, rel=0.2)


def test_weights_estimate_volumes_without_bias(tmp_path: Path) -> None:
    estimates = []
    for trial in range(16):
        buffer = PostBuffer(tmp_path / f"{trial}.sqlite", "sample", high_water_posts=60)
        estimates_of_trial = 0.0
        for step in range(4):
            first = trial * 1_000 + step * 150
            buffer.offer(posts(first, first + 150))
            if step == 1:  # the reader comes in between, so levels differ
                batch = buffer.read(100)
                estimates_of_trial += batch.posts["weight"].sum()
                buffer.commit(batch)
        estimates.append(estimates_of_trial + drain(buffer)["weight"].sum())
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - 600) < 4 * error
    assert error < 50


def test_the_sample_becomes_whole_again_when_the_reader_catches_up(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", "sample", high_water_posts=100)
    buffer.offer(posts(0, 1_000))
    assert buffer.metrics().level > 0
    for first in range(1_000, 1_200, 20):
        drain(buffer)
        buffer.offer(posts(first, first + 20))
    assert buffer.metrics().level == 0
    assert (drain(buffer)["weight"] == 1).all()


def test_posts_sampled_out_after_they_were_read_count_as_committed(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", "sample", high_water_posts=100)
    buffer.offer(posts(0, 100))
    batch = buffer.read(100)
    buffer.offer(posts(100, 300))
    buffer.commit(batch)
    told = buffer.metrics()
    assert told.committed == 100
    assert accounted(told)
    assert buffer.sampled_out()["posts"].sum() == told.sampled_out == 300 - 100 - told.depth


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("offer"), st.integers(0, 300), st.integers(1, 60)),
            st.tuples(st.just("read"), st.integers(1, 40), st.booleans()),
        ),
        max_size=14,
    ),
    st.sampled_from(("wait", "sample")),
)
def test_whatever_happens_every_post_is_accounted_for(tmp_path_factory, steps: list, policy: str) -> None:
    buffer = PostBuffer(tmp_path_factory.mktemp("buffer") / "posts.sqlite", policy, high_water_posts=50)
    out: list[str] = []
    taken: set[str] = set()
    for step, one, two in steps:
        if step == "offer":
            offered = posts(one, one + two)
            taken.update(offered["post_id"][: buffer.offer(offered)])
        else:
            batch = buffer.read(one)
            if two:
                buffer.commit(batch)
                out.extend(batch.posts["post_id"])
        told = buffer.metrics()
        assert accounted(told)
        assert told.depth <= 50
        assert buffer.sampled_out()["posts"].sum() == told.sampled_out
    out.extend(drain(buffer)["post_id"])
    assert buffer.metrics() == replace(buffer.metrics(), depth=0, bytes=0)
    if policy == "wait":
        assert set(out) == taken
    else:
        assert set(out) <= taken


def offer_in_three(folder: Path) -> None:
    buffer = PostBuffer(folder / "posts.sqlite")
    for first in range(0, 30, 10):
        buffer.offer(posts(first, first + 10))
        with (folder / "acknowledged").open("a") as file:
            file.write(f"{first + 10}\n")


def test_a_killed_producer_loses_nothing_acknowledged_and_leaves_whole_appends(tmp_path: Path) -> None:
    # Passing 1 is the creation of the tables, 2 to 4 are the appends.
    points = {
        f"buffer.{where}_commit:{number}": (number, where) for number in range(1, 5) for where in ("before", "after")
    }
    folders = {point: tmp_path / point.replace(":", "-") for point in points}
    for folder in folders.values():
        folder.mkdir()
    died = die_at(f"{__name__}:offer_in_three", folders)
    for point, (number, where) in points.items():
        assert died[point] == signal.SIGKILL
        told = folders[point] / "acknowledged"
        acknowledged = int(told.read_text().split()[-1]) if told.exists() else 0
        buffer = PostBuffer(folders[point] / "posts.sqlite")
        assert accounted(buffer.metrics())
        held = drain(buffer)["post_id"].tolist()
        assert held == [f"p{n}" for n in range(10 * (max(0, number - 2) if where == "before" else number - 1))]
        assert len(held) >= acknowledged
        # The producer offers again what was not acknowledged.
        buffer.offer(posts(acknowledged, 30))
        assert {*held, *drain(buffer)["post_id"]} == {f"p{number}" for number in range(30)}


def store_and_commit(folder: Path) -> None:
    buffer = PostBuffer(folder / "posts.sqlite")
    while len((batch := buffer.read(10)).posts):
        with (folder / "stored").open("a") as file:
            file.writelines(f"{post_id}\n" for post_id in batch.posts["post_id"])
        buffer.commit(batch)


def test_a_killed_reader_gets_every_post_at_least_once(tmp_path: Path) -> None:
    points = [f"buffer.{where}_commit:{number}" for number in (2, 3) for where in ("before", "after")]
    folders = {point: tmp_path / point.replace(":", "-") for point in points}
    for folder in folders.values():
        PostBuffer(folder / "posts.sqlite").offer(posts(0, 30))
    died = die_at(f"{__name__}:store_and_commit", folders)
    for point, folder in folders.items():
        assert died[point] == signal.SIGKILL
        store_and_commit(folder)
        stored = (folder / "stored").read_text().split()
        assert set(stored) == {f"p{number}" for number in range(30)}
        assert len(stored) == (40 if "before" in point else 30)  # only the batch in hand comes again
        assert PostBuffer(folder / "posts.sqlite").metrics().committed == 30


def test_a_producer_killed_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from hoops_assets_tests.store import test_post_buffer as t\n"
        "buffer = t.PostBuffer(Path(sys.argv[1]))\n"
        "for first in range(0, 10**9, 50):\n"
        "    buffer.offer(t.posts(first, first + 50)); print(first + 50, flush=True)\n"
    )
    path = tmp_path / "posts.sqlite"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as producer:
        assert producer.stdout is not None
        lines = [producer.stdout.readline() for _ in range(5)]
        os.kill(producer.pid, signal.SIGKILL)
        lines += producer.stdout.readlines()
    acknowledged = int([line for line in lines if line.endswith("\n")][-1])
    held = drain(PostBuffer(path))["post_id"].tolist()
    assert held == [f"p{number}" for number in range(len(held))]
    assert acknowledged <= len(held) <= acknowledged + 50


def test_two_producers_at_once_both_get_their_posts_in(tmp_path: Path) -> None:
    def produce(first: int) -> None:
        buffer = PostBuffer(tmp_path / "posts.sqlite")
        for start in range(first, first + 200, 20):
            buffer.offer(posts(start, start + 20))

    threads = [threading.Thread(target=produce, args=(first,)) for first in (0, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(drain(PostBuffer(tmp_path / "posts.sqlite"))["post_id"]) == {f"p{number}" for number in range(400)}


def test_the_depth_is_a_metric_readable_from_outside(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no post buffer"):
        read_metrics(tmp_path / "posts.sqlite")
    buffer = PostBuffer(tmp_path / "posts.sqlite", high_water_posts=500)
    assert read_metrics(buffer.path).oldest_seconds == 0
    buffer.offer(posts(0, 30))
    told = read_metrics(buffer.path)
    assert (told.depth, told.policy) == (30, "wait")
    assert 0 <= told.oldest_seconds < 60
    lines = metrics_text("nba", told).splitlines()
    assert 'hoops_post_buffer_depth{league="nba"} 30' in lines
    assert all(line.count(" ") == 1 for line in lines)


def test_wrong_settings_and_an_unusable_file_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="policy 'drop' is none of wait, sample"):
        PostBuffer(tmp_path / "posts.sqlite", "drop")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="must be 1 or more"):
        PostBuffer(tmp_path / "posts.sqlite", high_water_posts=0)
    (tmp_path / "text").write_text("no database at all, but a text that is long enough to be looked at")
    with pytest.raises(StoreError, match="cannot be used"):
        PostBuffer(tmp_path / "text")


def test_the_file_does_not_grow_with_what_passes_through(tmp_path: Path) -> None:
    buffer = PostBuffer(tmp_path / "posts.sqlite", high_water_posts=1_000)
    sizes = []
    for first in range(0, 10_000, 1_000):
        assert buffer.offer(posts(first, first + 1_000)) == 1_000
        drain(buffer)
        sizes.append(buffer.path.stat().st_size)
    assert sizes[-1] <= 1.5 * sizes[1]
