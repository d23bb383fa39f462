"""kill -9 of a run leaves everything readable, and the same command run again ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hoops_assets_tests.chaos.homes import Homes, assert_old_or_new, assert_undisturbed, assert_whole_pages, state_of
from hoops_assets_tests.chaos.matrix import LIFE, QUICK, SLOW, kills
from hoops_assets_tests.chaos.tally import Tally
from hoops_assets_tests.launch import small_league as small

pytestmark = pytest.mark.timeout(900)

CHAINS = [
    pytest.param(step, chain, id=f"{step}: {chain[0]}", marks=[pytest.mark.slow] if slow else [])
    for part, slow in ((QUICK, False), (SLOW, True))
    for step in LIFE
    for chain in part.get(step, [])
]

KINDS = {"alarm": "alarm killed", "drain": "drain of answers killed"}
"""Of what is no run."""

KNOWN_TO_BE_DONE = {"first backfill", "second season"}
"""Steps that `hoops backfill` skips when they have succeeded."""


def test_the_list_is_long_enough() -> None:
    assert kills() >= 200


@pytest.mark.parametrize(("step", "chain"), CHAINS)
def test_a_run_killed_again_and_again_ends_as_if_undisturbed(
    homes: Homes, tally: Tally, tmp_path: Path, step: str, chain: list[str]
) -> None:
    home = shutil.copytree(homes.after(LIFE[step].after), tmp_path / "home")
    before, done = homes.state(LIFE[step].after), homes.state(step)
    for fault in chain:
        number = homes.do(home, step, fault)
        assert number == signal.SIGKILL, f"{fault} did not fire: {homes.said(home)}"
        tally.strike(KINDS.get(step, "run killed"))
        now = state_of(home)
        assert_old_or_new(before, now, done)
        assert_whole_pages(home)
        before = now
    homes.do(home, step)
    assert_undisturbed(state_of(home), done, runs=step in KNOWN_TO_BE_DONE)
    assert_whole_pages(home)
    tally.survived()


@pytest.mark.slow
def test_the_command_itself_may_be_killed(homes: Homes, tally: Tally, tmp_path: Path) -> None:
    """As above, but nothing is spared: a process of its own, with every write flushed."""
    home = shutil.copytree(homes.after("first season"), tmp_path / "home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
    environment |= {"HOOPS_HOME": str(home), "HOOPS_NOW": small.NOW, "HOOPS_FAULT": "commit.after:game_features"}
    window = (f"--from={small.FIRST}", f"--to={small.LAST}")
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "hoops_assets.cli", "backfill", small.NAME, *window],
        env=environment,
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert said.returncode == -signal.SIGKILL, said.stderr[-3000:]
    tally.strike("run killed")
    assert_old_or_new(homes.state("first season"), state_of(home), homes.state("second season"))
    homes.do(home, "second season")
    assert_undisturbed(state_of(home), homes.state("second season"))
    tally.survived()


def test_the_undisturbed_backfill_fills_every_table(homes: Homes) -> None:
    """Else the comparisons above would compare nothing. The league has no source of box scores and of odds."""
    done, no_source = homes.state("second season"), {"box_scores", "closing_odds"}
    assert {name for name, frame in done.tables.items() if frame.empty} == no_source | {"model_performance"}
    assert len({frozenset(days) for days in done.seen.partitions.values() if days}) == 1
    assert len([days for days in done.seen.partitions.values() if days]) == 9
