"""Game day after game day with the real daemons running and faults injected: every day is settled, forecast and scored,
nothing grows without bound, and tidying keeps what a registered model rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.launch.lanes import Lanes
from hoops_assets.launch.tidy import tidy
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.client import running_server
from hoops_assets_tests.conftest import Tell
from hoops_assets_tests.soak.growth import Size, size_of, slope
from hoops_assets_tests.soak.platform import ROLES, Platform, platform, wait
from hoops_assets_tests.soak.world import KEY_VARIABLE, NAME, World, world

BEGIN = date(2024, 12, 1)
RELOAD_AFTER = timedelta(days=10)
"""The location knows the game days of the fortnight after it was loaded, by the pretended clock."""

PATIENCE = 600.0
"""Seconds until a game day must be settled; on a machine with nothing else to do it takes twenty."""

WARM_UP = 0.4
"""Share of the steps before memory is judged, in which processes still fill their caches."""

MIB_A_STEP = 1.0
"""By how much the memory of a server may grow from one step to the next, two game days, after the warm-up."""

LOG_A_DAY = 2 * 2**20, 1000
"""Bytes and rows that a game day may add to the Dagster instance, run files included."""


@dataclass
class Soaked:
    """What was seen.

    Attributes:
        days: the game days that were played.
        memory: MiB of every server, one value a step since it was last started.
        sizes: of the Dagster instance, before the first step and after each.
        restarts: of the platform, because a part of it was killed.
        answered: request ids of all answers that customers were given.
    """

    days: list[date] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)
    sizes: list[Size] = field(default_factory=list)
    restarts: int = 0
    answered: set[str] = field(default_factory=set)


def prepare(made: World) -> None:
    """What `hoops up` does before it serves."""
    lanes = Lanes(made.settings(), NAME)
    assert not lanes.backfill(stages=("ingest", "features")).failed
    lanes.train()
    lanes.deploy()
    assert not lanes.backfill(stages=("prediction", "monitoring")).failed


def soak(made: World, runs: Platform, steps: Sequence[int], faults: dict[int, str]) -> Soaked:
    """Plays game days, `steps[i]` of them at once in step i, with the fault of that step on the way."""
    seen = Soaked(sizes=[size_of(made.home)])
    store = DeltaStore(made.settings().tables_root)
    loaded = made.now.date()
    for number, count in enumerate(steps):
        played = made.game_days(made.now.date(), count)
        seen.answered.add(answer_question(made, played[0]))
        if played[-1] + timedelta(days=1) - loaded > RELOAD_AFTER:
            loaded = played[-1] + timedelta(days=1)
            made.tell_clock_of(loaded)
            runs.reload()
        inflict(made, runs, faults.get(number))
        made.move_to(played[-1] + timedelta(days=1))
        if runs.restart_if_ended():
            seen.restarts += 1
            seen.memory.clear()
        await_settled(made, runs, store, played)
        seen.days += played
        for role, mib in runs.memory().items():
            seen.memory.setdefault(role, []).append(mib)
        seen.sizes.append(size_of(made.home))
    return seen


def inflict(made: World, runs: Platform, fault: str | None) -> None:
    if fault is None:
        return
    if fault.isdigit():
        made.refuse += [int(fault)] * 3
    elif fault == "outage":
        made.refuse += [503] * 12
    else:
        runs.kill(fault)
        wait(lambda: runs.ended, 60, lambda: f"the platform lives on without its {fault}")


def answer_question(made: World, day: date) -> str:
    """A customer asks for the first game of a day; returns the id of the answer."""
    server = running_server(made.home)
    assert server is not None
    games = made.games()
    game = games[games["day"] == day].iloc[0]
    told = server.predict({"league": NAME, "home": game["home"], "away": game["away"], "date": str(day)})
    assert 0 < told["predictions"][0]["home_win_probability"] < 1
    assert told["predictions"][0]["degraded"] is None
    return told["request_id"]


def await_settled(made: World, runs: Platform, store: DeltaStore, days: Sequence[date]) -> None:
    wait(lambda: settled(store, days) and idle(made.home), PATIENCE, lambda: why(runs, made, days), every=1.0)


def settled(store: DeltaStore, days: Sequence[date]) -> bool:
    first, last = days[0], days[-1]
    scored = store.read(NAME, "scored_predictions", first=first, last=last, columns=["day"])
    return set(days) <= set(scored["day"])


def idle(home: Path) -> bool:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return all(run.is_finished for run in instance.get_runs(limit=8))


def why(runs: Platform, made: World, days: Sequence[date]) -> str:
    with dg.DagsterInstance.from_config(str(made.home / "dagster")) as instance:
        last = [(run.job_name, run.status.value, run.tags) for run in instance.get_runs(limit=5)]
    return f"{days} are not settled; the last runs: {last}; {runs.told()}"


def judge(made: World, seen: Soaked) -> None:
    """Every game day has results, forecasts made before the games, and scores; every answer stands in the record."""
    store, games = DeltaStore(made.settings().tables_root), made.games()
    first, last = seen.days[0], seen.days[-1]
    expected = games[games["day"].isin(seen.days)]
    results = store.read(NAME, "results", first=first, last=last)
    assert len(results) == len(expected)
    assert not results["game_id"].duplicated().any()
    pd.testing.assert_series_equal(
        results.set_index("game_id")["home_score"].sort_index().astype(int),
        expected.set_index("game_id")["home_score"].sort_index().astype(int),
    )
    predictions = store.read(NAME, "predictions", first=first, last=last)
    scored = store.read(NAME, "scored_predictions", first=first, last=last)
    assert set(expected["game_id"]) == set(predictions["game_id"]) == set(scored["game_id"])
    assert not predictions["backfilled"].any()
    wait(lambda: seen.answered <= set(recorded(made)), 60, lambda: f"{seen.answered - set(recorded(made))} got lost")
    assert len(recorded(made)) == len(set(recorded(made)))


def recorded(made: World) -> list[str]:
    """Request ids of the answers in the record; the prediction server brings them there every few seconds."""
    return [row["request_id"] for row in Record(made.settings().record).rows("served_predictions")]


def grown(seen: Soaked, tell: Tell) -> tuple[float, float]:
    """Bytes and rows that a game day added to the Dagster instance; told with the slopes of memory."""
    days = len(seen.days)
    bytes_a_day = (seen.sizes[-1].bytes - seen.sizes[0].bytes) / days
    rows_a_day = (seen.sizes[-1].all_rows - seen.sizes[0].all_rows) / days
    tell(
        f"{days} game days, {seen.restarts} restarts: a game day adds {bytes_a_day / 1024:.0f} KiB and {rows_a_day:.0f} rows"
    )
    for role, values in seen.memory.items():
        late = values[int(len(values) * WARM_UP) :]
        grows = f"; {slope(late):+.2f} MiB a step after the warm-up" if len(late) > 1 else ""
        tell(f"{role}: {values[0]:.0f} to {values[-1]:.0f} MiB{grows}")
    return bytes_a_day, rows_a_day


@pytest.mark.timeout(600)
def test_five_game_days_with_the_daemons_running_and_a_killed_daemon_and_a_failing_provider(
    tmp_path: Path, key: None, tell: Tell
) -> None:
    with world(tmp_path / "home", BEGIN) as made:
        prepare(made)
        with platform(made.home) as runs:
            seen = soak(made, runs, [2, 3], {0: "500", 1: "daemon"})
            judge(made, seen)
        bytes_a_day, rows_a_day = grown(seen, tell)
        assert seen.restarts == 1
        assert made.refused[500] == 3
        assert bytes_a_day < LOG_A_DAY[0] and rows_a_day < LOG_A_DAY[1]


FAULTS = {
    2: "500", 4: "daemon", 6: "429", 8: "prediction server", 10: "outage", 14: "503", 18: "429", 22: "500", 26: "outage",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_game_days_with_faults_leave_nothing_out_and_nothing_grows(tmp_path: Path, key: None, tell: Tell) -> None:
    steps = [*[1] * 10, *[2] * 20]
    assert sum(steps) == 50
    with world(tmp_path / "home", BEGIN) as made:
        prepare(made)
        oldest = LocalRegistry(made.home / "registry").manifest(NAME, 1).training_set
        store = DeltaStore(made.settings().tables_root)
        rows = store.read(NAME, "training_set", version=oldest.table_version)
        with platform(made.home) as runs:
            seen = soak(made, runs, steps, FAULTS)
            judge(made, seen)
            bytes_a_day, rows_a_day = grown(seen, tell)
            # A newer training set, so that the oldest is no longer the table's present.
            Lanes(made.settings(), NAME).train()
            before = size_of(made.home)
            done = tidy(made.settings(), [NAME], timedelta(0))
            after = size_of(made.home)
        tell(f"tidied: {done}; {before.bytes / 2**20:.1f} to {after.bytes / 2**20:.1f} MiB of events and runs")
        assert seen.restarts == 2
        assert min(made.refused[status] for status in (429, 500, 503)) >= 3
        assert bytes_a_day < LOG_A_DAY[0] and rows_a_day < LOG_A_DAY[1]
        assert set(seen.memory) == set(ROLES)
        for role, values in seen.memory.items():
            assert slope(values[int(len(values) * WARM_UP) :]) < MIB_A_STEP, (role, values)
        assert done.runs > 0 and done.jobs > 0 and done.files
        assert after.bytes < before.bytes
        pd.testing.assert_frame_equal(store.read(NAME, "training_set", version=oldest.table_version), rows)
        judge(made, seen)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The provider's key, and the home for what reads it from the environment."""
    monkeypatch.setenv(KEY_VARIABLE, "none")
    monkeypatch.setenv("HOOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "set by open_instance")


@pytest.mark.parametrize(
    ("values", "growth"), [([5, 5, 5, 5], 0), ([1, 2, 3, 4], 1), ([9, 9, 9, 9, 9, 9, 9, 9, 9, 30], 0)]
)
def test_the_slope_of_a_series_is_its_growth_a_step_whatever_one_jump_does(values: list[float], growth: float) -> None:
    assert slope(values) == growth
