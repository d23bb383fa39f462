"""kill -9 of a backfill leaves tables readable, and the same backfill run again ends as if nothing had happened.

A chain is one home in which the same command dies at one place after the other and is then left alone. Every place that
a backfill passes, each with a home of its own, is slow.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store.calendar import calendar_path
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.launch.driver import NOT_KILLED, PASSED, Driver

SPAN = {"start": small.FIRST.isoformat(), "end": small.LAST.isoformat()}
FIRST_SPAN = {**SPAN, "end": small.END_OF_FIRST_SPAN.isoformat()}

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Homes:
    """Homes to copy, and what an undisturbed backfill makes of them.

    Attributes:
        early: an early part of the first season is done, there is no model yet.
        trained: as `early`, with a model.
        half: as `trained`, and the first of the two spans of the backfill is done.
        whole: the backfill is done, undisturbed.
        tables, seen: of `whole`.
    """

    driver: Driver
    early: Path
    trained: Path
    half: Path
    whole: Path
    tables: Tables
    seen: small.Seen

    def do(self, home: Path, what: str, **options: str) -> None:
        number = self.driver.run(home, what, **options)
        assert number == NOT_KILLED, (home / "said.txt").read_text()[-4000:]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    root = tmp_path_factory.mktemp("homes")
    early, trained, half, whole = (root / name for name in ("early", "trained", "half", "whole"))
    with Driver(root / "server") as driver:
        homes = Homes(driver, early, trained, half, whole, {}, small.Seen({}, [], []))
        homes.do(small.make_home(early), "backfill", end=small.TRAINED_ON.isoformat(), now=small.TRAINED_AT)
        homes.do(shutil.copytree(early, trained), "train", now=small.TRAINED_AT)
        homes.do(shutil.copytree(trained, half), "backfill", **FIRST_SPAN)
        homes.do(shutil.copytree(half, whole), "backfill", **SPAN)
        yield Homes(driver, early, trained, half, whole, small.tables(whole), small.seen(whole))


CHAINS = {
    "half": [
        ["commit.before:fixtures", "event.after:ASSET_MATERIALIZATION:9", "commit.before:scored_predictions"],
        ["event.before:INDEX:11", "commit.after:results", "commit.after:team_form", "event.before:PIPELINE_SUCCESS"],
        ["commit.before:fan_posts", "event.before:HANDLED_OUTPUT:2", "commit.before:predictions", "event.after:PIPELINE_SUCCESS"],
    ],
    "trained": [
        ["file.before_rename", "file.after_rename", "commit.after:fan_sentiment", "event.before:ASSET_CHECK_EVALUATION",
         "commit.after:scored_predictions"],
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("start", "faults"), [pytest.param(start, faults, id=faults[0]) for start in CHAINS for faults in CHAINS[start]]
)
def test_a_backfill_killed_again_and_again_ends_as_if_undisturbed(
    homes: Homes, tmp_path: Path, start: str, faults: list[str]
) -> None:
    home = shutil.copytree(getattr(homes, start), tmp_path / "home")
    tables = small.tables(home)
    for fault in faults:
        tables = _kill(homes, home, tables, fault)
    homes.do(home, "backfill", **SPAN)
    _assert_undisturbed(homes, home)


def test_the_command_itself_may_be_killed(homes: Homes, tmp_path: Path) -> None:
    """As above, but nothing is spared: a process of its own, with every write flushed."""
    home = shutil.copytree(homes.half, tmp_path / "home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
    environment |= {"HOOPS_HOME": str(home), "HOOPS_NOW": small.NOW, "HOOPS_FAULT": "commit.after:game_features"}
    window = (f"--from={SPAN['start']}", f"--to={SPAN['end']}")
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "hoops_assets.cli", "backfill", small.NAME, *window],
        env=environment,
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert said.returncode == -signal.SIGKILL, said.stderr[-3000:]
    _assert_whole_spans(small.tables(homes.half), small.tables(home), homes.tables)
    homes.do(home, "backfill", **SPAN)
    _assert_undisturbed(homes, home)


def test_training_killed_again_and_again_registers_one_model(homes: Homes, tmp_path: Path) -> None:
    home = shutil.copytree(homes.early, tmp_path / "home")
    places = ["commit.before:training_set", "training.after_fit", "registry.before_register", "registry.after_register"]
    for fault in places:
        number = homes.driver.run(home, "train", fault=fault, now=small.TRAINED_AT)
        assert number == signal.SIGKILL, f"{fault} did not fire: {(home / 'said.txt').read_text()[-2000:]}"
        tables = small.tables(home)
        assert len(tables["training_set"]) in (0, len(homes.tables["training_set"]))
    homes.do(home, "train", now=small.TRAINED_AT)
    pd.testing.assert_frame_equal(small.tables(home)["training_set"], homes.tables["training_set"])
    (one,), (undisturbed,) = (LocalRegistry(path / "registry").list(small.NAME) for path in (home, homes.trained))
    assert (one.version, one.digest, one.metrics) == (undisturbed.version, undisturbed.digest, undisturbed.metrics)
    assert not small.unfinished(home)


def test_the_undisturbed_backfill_fills_every_table(homes: Homes) -> None:
    """Else the comparisons above would compare nothing. The league has no source of box scores and of odds."""
    no_source = {"box_scores", "closing_odds"}
    assert {name for name, frame in homes.tables.items() if frame.empty} == no_source
    assert not homes.seen.unfinished
    materialised = {frozenset(days) for name, days in homes.seen.partitions.items() if name not in no_source}
    assert len(materialised) == 1


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_backfill_killed_at_any_place_ends_as_if_undisturbed(homes: Homes, tmp_path: Path) -> None:
    """At each place that the backfill of the second season passes: the first time and the last time."""
    home = shutil.copytree(homes.half, tmp_path / "traced")
    homes.do(home, "trace", **SPAN)
    passed = Counter((home / PASSED).read_text().split())
    tables = small.tables(homes.half)
    assert len(passed) > 40
    for place, times in passed.items():
        for number in sorted({1, times}):
            shutil.rmtree(home)
            shutil.copytree(homes.half, home)
            _kill(homes, home, tables, f"{place}:{number}")
            homes.do(home, "backfill", **SPAN)
            _assert_undisturbed(homes, home)


def _kill(homes: Homes, home: Path, before: Tables, fault: str) -> Tables:
    """Kills a backfill of a home at a place; returns its tables as they stand then."""
    number = homes.driver.run(home, "backfill", fault=fault, **SPAN)
    assert number == signal.SIGKILL, f"{fault} did not fire: {(home / 'said.txt').read_text()[-2000:]}"
    after = small.tables(home)
    _assert_whole_spans(before, after, homes.tables)
    assert len(small.unfinished(home)) <= 1
    return after


def _assert_whole_spans(before: Tables, after: Tables, done: Tables) -> None:
    """Every season of every table is as it was before the backfill or as it has to be after it."""
    for name, frame in after.items():
        for season in sorted({*before[name]["season"], *frame["season"], *done[name]["season"]}):
            now, old, new = (_of(one, season) for one in (frame, before[name], done[name]))
            assert now.equals(old) or now.equals(new), f"{name} of season {season} is neither as it was nor done"


def _of(frame: pd.DataFrame, season: int) -> pd.DataFrame:
    return frame[frame["season"] == season].reset_index(drop=True)


def _assert_undisturbed(homes: Homes, home: Path) -> None:
    for name, frame in small.tables(home).items():
        pd.testing.assert_frame_equal(frame, homes.tables[name], check_exact=True, obj=name)
    assert small.seen(home) == homes.seen
    calendar, undisturbed = (calendar_path(one, small.NAME).read_bytes() for one in (home, homes.whole))
    assert calendar == undisturbed
