"""The real daemon on a small league, with nobody's hand: an alarm is answered, and a run that hangs is ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from hoops_assets.defs import story
from hoops_assets.defs.monitoring.sensors import EDGES
from hoops_assets.launch.instance import prepare_home
from hoops_assets.launch.limits import apply_limits
from hoops_assets.launch.servers import end_tree
from hoops_assets.services.prediction.trial import serving
from hoops_assets.store import alarms, deployments
from hoops_assets.store.alarms import Alarm
from hoops_assets_tests.conftest import REPOSITORY
from hoops_assets_tests.defs.test_deployment import key
from hoops_assets_tests.defs.test_reaction import play_on
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import ELO, LEAGUE, NOW, Home, make_models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE = 800.0


@contextmanager
def daemon(home: Home, **environment: str) -> Iterator[dg.DagsterInstance]:
    """The daemon of a home as `hoops up` configures it, but quick to look; ended afterwards, whatever happens."""
    settings = small.settings(home.path, NOW.isoformat())
    folder = prepare_home(settings)
    content = yaml.safe_load((folder / "dagster.yaml").read_text())
    content["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
    content["run_monitoring"]["poll_interval_seconds"] = 2
    (folder / "dagster.yaml").write_text(yaml.safe_dump(content))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
    given = {
        **kept, "HOOPS_HOME": str(home.path), "HOOPS_NOW": NOW.isoformat(), "HOOPS_MLFLOW_TRACKING_URI": "",
        "DAGSTER_HOME": str(folder), "PYTHONPATH": str(REPOSITORY), **environment,
    }  # fmt: skip
    apply_limits(settings)
    log = home.path / "daemon.log"
    with dg.DagsterInstance.from_config(str(folder)) as instance, log.open("wb") as sink:
        for table in ("results", "game_features"):
            passed = dg.AssetCheckEvaluation(asset_key=key(table), check_name="expectations", passed=True, metadata={})
            instance.report_runless_asset_event(passed)
        module = "hoops_assets_tests.launch.daemon_location"
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-m", module], env=given, cwd=home.path,
            stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield instance
        finally:
            end_tree(process.pid)


def wait(home: Home, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, (home.path / "daemon.log").read_text()[-3000:]
        time.sleep(1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Elo serves and nothing challenges it; 300 games later the residuals have just turned red."""
    home = Home(make_models(tmp_path / "home"))
    home.registry.name_challenger(LEAGUE, ELO, {})
    assert home.enter(ELO).endpoint
    play_on(home, 900)
    assert alarms.turn(home.record, Alarm(LEAGUE, "drift/residuals", "red", "for a test"))
    return home


def runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return [run for run in instance.get_runs() if EDGES in run.tags]


def test_a_red_alarm_leads_to_a_training_and_a_canary_with_nobodys_hand(home: Home) -> None:
    told = f"{LEAGUE}:drift/residuals:{datetime.now(UTC).astimezone(home.league.zone).date()}"
    with daemon(home) as instance:
        wait(home, lambda: serving(home.record, LEAGUE).canary is not None)
        challenger = home.registry.challenger(LEAGUE)
        assert challenger
        assert challenger.version > ELO
        assert deployments.current(home.record, LEAGUE) == {ELO: 90, challenger.version: 10}
        assert len(runs(instance)) == 1, "one training for the edge"
        wait(home, lambda: all(run.is_success for run in instance.get_runs(dg.RunsFilter(tags={story.TAG: told}))))
        chain = instance.get_runs(dg.RunsFilter(tags={story.TAG: told}))
        assert [run.tags["dagster/sensor_name"] for run in chain] == [f"{LEAGUE}_challenger", f"{LEAGUE}_drift"]
        assert deployments.history(home.record, LEAGUE)[-1].evidence["story"] == told


def test_a_run_that_hangs_is_ended_after_its_steps_time_and_what_served_serves_on(home: Home) -> None:
    (home.path / "settings.yaml").write_text("steps: {training: {max_runtime_seconds: 10, retries: 0}}\n")
    with daemon(home, TRAINING_HANGS="1") as instance:
        wait(home, lambda: bool(runs(instance)) and runs(instance)[0].is_finished)
        (run,) = runs(instance)
        assert not run.is_success
        assert run.tags["dagster/max_runtime"] == "10"
        record = instance.get_run_record_by_id(run.run_id)
        assert record
        assert record.start_time, [entry.message for entry in instance.all_logs(run.run_id)]
        assert record.end_time
        assert 9 <= record.end_time - record.start_time < 120
        assert deployments.current(home.record, LEAGUE) == {ELO: 100}
