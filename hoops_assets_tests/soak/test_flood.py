"""Three leagues correct every score of two seasons and their fans write a million posts at once: the queue stays short,
nothing is lost, the days around today do not wait, and memory stays bounded. The daemon's own queue, on loopback.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import psutil
import pytest
import yaml

from hoops_assets.basketball.games import on_days, stale_days
from hoops_assets.defs.ingest.sensors import GAME_DAYS_TAG, LATE_AT_ONCE, LATE_TAG
from hoops_assets.launch.lanes import Lanes
from hoops_assets.settings import SETTINGS_FILE, Settings
from hoops_assets.sources.leagues import get_league
from hoops_assets.sources.simulated import SimulatedGames, SimulatedPosts
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.post_buffer import read_metrics
from hoops_assets_tests.conftest import Tell
from hoops_assets_tests.soak.platform import Platform, platform
from hoops_assets_tests.soak.world import TEAMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NOW = datetime(2025, 1, 15, 17, tzinfo=UTC)
LEAGUES = ("one", "two", "three")
POSTS_A_GAME = 650.0
"""Of each side's fans: about a million posts in all."""

BUFFER = 50_000
"""Posts that the buffer before the table may hold."""

UNSTARTED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]
MAX_QUEUED_A_LEAGUE = 3
"""A range of late days, one of the days around today, and the daily run."""

MOST_A_TICK = 2
"""Runs that a sensor asks for at once: over the days around today, and over late ones."""

MAX_MIB = 900.0
"""Of a process that takes posts in; an idle one that has loaded the platform has 250."""

PATIENCE = 2400.0


def write_league(home: Path, name: str, home_advantage: float, posts_a_game: float) -> None:
    file = {
        "name": name, "time_zone": "America/New_York", "first_season": 2024, "season_starts": "07-01",
        "sources": {
            "games": {
                "kind": "simulated", "seed": 100 + len(name), "simulated_from": 2024, "regular_from": "10-14",
                "regular_to": "05-10", "meetings": 6, "game_days": 110, "direct_qualifiers": 8,
                "home_advantage": home_advantage,
            },
            "posts": {"kind": "simulated", "posts_per_game": posts_a_game},
        },
        "teams": {code: {"name": team} for code, team in TEAMS.items()},
    }  # fmt: skip
    (home / "leagues").mkdir(parents=True, exist_ok=True)
    (home / "leagues" / f"{name}.yaml").write_text(yaml.safe_dump(file, sort_keys=False))


def settings_of(home: Path) -> Settings:
    return Settings(home=home, **yaml.safe_load((home / SETTINGS_FILE).read_text()))


@dataclass
class Watched:
    """What was seen of the platform while it worked.

    Attributes:
        deepest: most runs that waited at once, by league.
        mib: most resident memory of a run's process.
    """

    deepest: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEAGUES, 0))
    mib: float = 0.0

    def look(self, instance: dg.DagsterInstance, runs: Platform) -> None:
        waiting = [run.tags.get(GAME_DAYS_TAG) for run in instance.get_runs(dg.RunsFilter(statuses=UNSTARTED))]
        for league in LEAGUES:
            self.deepest[league] = max(self.deepest[league], waiting.count(league))
        assert runs.process is not None
        for process in psutil.Process(runs.process.pid).children(recursive=True):
            try:
                if "execute_run" in " ".join(process.cmdline()):
                    self.mib = max(self.mib, process.memory_info().rss / 2**20)
            except psutil.NoSuchProcess:
                continue


def stale(home: Path, league: str) -> list[date]:
    """Days on which what is stored is not what the source says."""
    store, read = DeltaStore(settings_of(home).tables_root), SimulatedGames(get_league(home, league)).read(NOW).games
    stored = [store.read(league, name) for name in ("fixtures", "results")]
    days = set(stored[0]["day"])
    return stale_days(on_days(read, days), *stored)


def at_rest(instance: dg.DagsterInstance) -> bool:
    """Whether no run is under way and no sensor keeps late days behind its cursor."""
    if any(not run.is_finished for run in instance.get_runs(limit=20)):
        return False
    states = [one for one in instance.all_instigator_state() if one.name.endswith("_results")]
    cursors = [getattr(one.instigator_data, "cursor", None) for one in states]
    return len(cursors) == len(LEAGUES) and set(cursors) == {"null"}


def test_a_flood_of_late_days_and_posts_is_taken_in_without_loss_and_today_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOOPS_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", "set by open_instance")
    for league in LEAGUES:
        write_league(home, league, home_advantage=2.6, posts_a_game=0)
    (home / SETTINGS_FILE).write_text(
        yaml.safe_dump({"now": NOW.isoformat(), "mlflow_tracking_uri": "", "post_buffer_posts": BUFFER})
    )
    for league in LEAGUES:
        assert not Lanes(settings_of(home), league).backfill(stages=("ingest", "features")).failed
    for league in LEAGUES:
        write_league(home, league, home_advantage=4.1, posts_a_game=POSTS_A_GAME)
    late = {league: stale(home, league) for league in LEAGUES}
    assert sum(map(len, late.values())) >= 500

    watched = Watched()
    with (
        platform(home, "hoops_assets_tests.soak.flood_location") as runs,
        dg.DagsterInstance.from_config(str(home / "dagster")) as instance,
    ):
        deadline, looked = time.monotonic() + PATIENCE, 0
        while not at_rest(instance) or any(stale(home, league) for league in LEAGUES):
            assert time.monotonic() < deadline, runs.told()
            for _ in range(10):
                watched.look(instance, runs)
                looked += 1
                time.sleep(0.5)
        judge_queue(instance, watched, late, tell)
    judge_posts(home, tell)
    tell(f"{watched}, seen {looked} times; late days: { ({name: len(days) for name, days in late.items()}) }")
    assert watched.mib < MAX_MIB


def judge_queue(instance: dg.DagsterInstance, watched: Watched, late: dict[str, list[date]], tell: Tell) -> None:
    records = [one for one in instance.get_run_records() if one.dagster_run.tags.get(GAME_DAYS_TAG)]
    assert {one.dagster_run.status for one in records} == {dg.DagsterRunStatus.SUCCESS}
    assert max(watched.deepest.values()) <= MAX_QUEUED_A_LEAGUE, watched
    for sensor in instance.all_instigator_state():
        ticks = instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id)
        assert max((len(tick.run_ids) for tick in ticks), default=0) <= MOST_A_TICK, sensor.name
    of_late_days = [one for one in records if LATE_TAG in one.dagster_run.tags]
    ranges = sum(-(-len(days) // LATE_AT_ONCE) for days in late.values())
    assert ranges <= len(of_late_days) <= ranges + 2 * len(LEAGUES)
    daily = [one for one in records if ":daily:" in one.dagster_run.tags.get("dagster/run_key", "")]
    assert len(daily) == len(LEAGUES)
    waited = []
    for one in daily:
        assert one.start_time
        created = one.create_timestamp.timestamp()
        overtaken = [other for other in of_late_days if created < (other.start_time or 0) < one.start_time]
        assert len(overtaken) <= 1, "late days were taken before the daily run"
        waited.append(round(one.start_time - created))
    tell(f"{len(of_late_days)} runs over late days; daily runs waited {waited} s")


def judge_posts(home: Path, tell: Tell) -> None:
    """Every post that was offered stands in the table, or is counted with its weight."""
    store, offered, weight = DeltaStore(settings_of(home).tables_root), 0, 0.0
    for league in LEAGUES:
        posts = store.read(league, "fan_posts", columns=["post_id", "team", "weight", "day"])
        told = read_metrics(home / "posts" / f"{league}.sqlite")
        assert told.depth == 0
        assert told.offered == told.repeated + told.sampled_out + told.committed
        assert told.sampled_out == 0
        assert not posts.duplicated(["post_id", "team"]).any()
        offered += told.offered
        weight += posts["weight"].sum()
        if league == LEAGUES[0]:
            first, last = (pd.Timestamp(day, tz="America/New_York") for day in (posts["day"].min(), posts["day"].max()))
            window = first - timedelta(days=7), min(last + timedelta(days=1), pd.Timestamp(NOW))
            came = SimulatedPosts(get_league(home, league)).read(*window).posts
            assert set(came["post_id"]) == set(posts["post_id"])
            assert posts["weight"].sum() == len(came)
    assert weight > 1_000_000
    tell(f"{weight:,.0f} posts stand in the tables, offered {offered:,} times")
