"""The prediction server dies while it is asked, and runs die while it serves: no answer is lost, no wrong version answers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from hoops_assets.launch.servers import prediction_server
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store import deployments
from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.client import RunningServer
from hoops_assets.workloads.serve.drain import drain
from hoops_assets_tests.chaos.asking import Asking
from hoops_assets_tests.chaos.driver import ENDED, NOT_KILLED, Driver
from hoops_assets_tests.chaos.homes import Homes
from hoops_assets_tests.chaos.tally import Tally
from hoops_assets_tests.launch import small_league as small

pytestmark = pytest.mark.timeout(900)

PLACES = (
    "event.before:PIPELINE_START", "file.before_rename:endpoint.json", "file.after_rename:endpoint.json",
    "rollout.before_record", "record.before_commit:deployments", "record.after_commit:deployments",
    "file.before_rename:deployments.json",
)  # fmt: skip


def serves(home: Path) -> dict[int, int]:
    traffic = LocalPrediction(LocalRegistry(home / "registry"), home).describe(small.NAME).traffic
    return {version: percent for version, percent in traffic.items() if percent}


def kill(server: RunningServer, *, with_drain: bool) -> None:
    process = psutil.Process(server.pid)
    doomed = [process, *(process.children(recursive=True) if with_drain else [])]
    for one in doomed:
        os.kill(one.pid, signal.SIGKILL)
    psutil.wait_procs(doomed, timeout=10)


def assert_nothing_lost(home: Path, asking: Asking) -> None:
    """Every answer that was given as logged stands in the record, once."""
    record = Record(home / "record.db")
    deadline = time.monotonic() + 20
    while True:  # a drain that outlived its server may have the last segment in hand
        drain(home, record)
        rows = Counter(row["request_id"] for row in record.rows("served_predictions"))
        if asking.answered.keys() <= rows.keys() or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert {name: rows[name] for name in asking.answered} == asking.answered
    assert max(rows.values()) == max(asking.answered.values())  # also of answers that nobody received


KILLS = 8


@pytest.mark.slow
def test_a_server_killed_under_load_serves_the_same_again_and_has_lost_no_answer(
    homes: Homes, tally: Tally, tmp_path: Path
) -> None:
    home = shutil.copytree(homes.after("canary"), tmp_path / "home")
    traffic = homes.state("canary").traffic
    with Asking(home, small.NAME) as asking:
        for number in range(KILLS):
            with prediction_server(home) as server:
                asking.more(10 * (1 + number % 4))
                assert serves(home) == traffic
                kill(server, with_drain=number % 2 == 1)
            tally.strike("prediction server killed")
        with prediction_server(home):
            asking.more(200)
            assert serves(home) == traffic
    assert traffic is not None
    assert asking.versions.keys() <= traffic.keys()  # one customer always hears the same version
    assert not asking.degraded
    assert_nothing_lost(home, asking)
    tally.survived()


@pytest.mark.slow
def test_a_change_killed_while_the_server_is_asked_loses_no_answer_and_asking_again_finishes_it(
    driver: Driver, homes: Homes, tally: Tally, tmp_path: Path
) -> None:
    """To and fro between two versions; each change is a run that dies on the way and is then repeated."""
    home = shutil.copytree(homes.after("swap"), tmp_path / "home")
    record = Record(home / "record.db")
    with prediction_server(home), Asking(home, small.NAME) as asking:
        for number, place in enumerate(PLACES):
            now, wanted = (2, 1) if number % 2 == 0 else (1, 2)
            rows = len(deployments.history(record, small.NAME))
            assert driver.run(home, "pin", fault=place, version=wanted) == signal.SIGKILL, place
            tally.strike("run killed")
            assert serves(home) in ({now: 100}, {wanted: 100})
            assert driver.run(home, "pin", version=wanted) == NOT_KILLED, (home / "said.txt").read_text()
            assert serves(home) == deployments.current(record, small.NAME) == {wanted: 100}
            assert len(deployments.history(record, small.NAME)) == rows + 1
            asking.more(10)
        asking.versions.clear()
        asking.more(20)
        assert set(asking.versions) == {wanted}
    assert not asking.unanswered
    assert not asking.degraded
    assert_nothing_lost(home, asking)
    tally.survived()


@pytest.mark.slow
def test_a_server_killed_within_a_change_serves_afterwards_what_the_record_says(
    driver: Driver, homes: Homes, tally: Tally, tmp_path: Path
) -> None:
    """The run that asks for the change goes on or fails; once it was repeated, all is as asked."""
    home = shutil.copytree(homes.after("swap"), tmp_path / "home")
    record = Record(home / "record.db")
    for number in range(4):
        wanted = 1 if number % 2 == 0 else 2
        with prediction_server(home) as server:
            # The run's process kills the server at that place and goes on.
            driver.run(home, "pin", fault="file.after_rename:endpoint.json", ends=server.pid, version=wanted)
            (home / ENDED).unlink()  # the fault has struck
            tally.strike("prediction server killed")
        assert driver.run(home, "pin", version=wanted) == NOT_KILLED, (home / "said.txt").read_text()
        with prediction_server(home):
            assert serves(home) == deployments.current(record, small.NAME) == {wanted: 100}
    tally.survived()
