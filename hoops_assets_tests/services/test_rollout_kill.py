"""A kill in the middle of a change, with the server running and asked all the time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hoops_assets.launch.servers import prediction_server
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.prediction.rollout import Decision
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store import deployments
from hoops_assets.store.record import Record
from hoops_assets_tests.conftest import REPOSITORY
from hoops_assets_tests.contracts.conftest import GAMES, frame, registry
from hoops_assets_tests.services.rollout_driver import LEAGUE, begin

__all__ = ["frame", "registry"]

PLACES = (
    "folder.before_rename", "folder.after_rename", "file.before_rename", "file.after_rename", "rollout.before_record",
    "record.before_commit", "record.after_commit",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_change_loses_no_answer_and_asking_again_finishes_it(
    tmp_path: Path, registry: LocalRegistry, place: str
) -> None:
    home, service = tmp_path / "home", LocalPrediction(registry, tmp_path / "home")
    decision = Decision("driver", "it was asked for")
    with prediction_server(home):
        begin(home, registry).serve({1: 100}, decision)
        done, versions = threading.Event(), set()

        def ask() -> None:
            while not done.is_set():
                versions.update((one.version, one.degraded) for one in service.invoke(LEAGUE, GAMES))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            killed = subprocess.run(
                [sys.executable, "-m", "hoops_assets_tests.services.rollout_driver", str(home), str(registry.root),
                 json.dumps({2: 100})],
                cwd=REPOSITORY, env={**os.environ, "HOOPS_FAULT": place}, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            assert service.describe(LEAGUE).traffic in ({1: 100}, {2: 100})
            assert begin(home, registry).serve({2: 100}, decision).traffic == {2: 100}
        finally:
            done.set()
            asking.join()
        assert versions <= {(1, None), (2, None)}
        assert {one.version for one in service.invoke(LEAGUE, GAMES)} == {2}
    rows = [(one.version, dict(one.traffic)) for one in deployments.history(Record(home / "record.db"), LEAGUE)]
    assert rows == [(1, {1: 100}), (2, {2: 100})]
