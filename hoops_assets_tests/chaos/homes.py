"""The homes of the matrix of kills, and what must hold of one after a fault.

What belongs here: the undisturbed life of a home, everything of a home that a fault could cost, and the two comparisons:
after a fault everything is as before the step or as after it, and once the step was repeated everything is as after it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store import alarms, deployments
from hoops_assets.store.calendar import calendar_path
from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.bundle import DEPLOYMENTS, endpoint_folder
from hoops_assets_tests.chaos.driver import NOT_KILLED, Driver
from hoops_assets_tests.chaos.matrix import LIFE
from hoops_assets_tests.launch import small_league as small

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class State:
    """Everything of a home that a fault could cost.

    Attributes:
        versions: digest and metrics of every registered version; its files were compared with their digests.
        challengers: version of every naming.
        traffic: what really serves; None where nothing was ever deployed.
        changes: (action, version, traffic) of every row of `deployments`.
        told: how many rows of it the page for people has.
        alarms: name and state of every edge.
        served: request ids of the answers in the record.
    """

    tables: Tables
    calendar: bytes
    seen: small.Seen
    versions: dict[int, tuple[str, dict[str, float]]]
    challengers: list[int]
    traffic: dict[int, int] | None
    changes: list[tuple[str, int | None, dict[int, int]]]
    told: int
    alarms: list[tuple[str, str]]
    served: list[str]


def state_of(home: Path, record_url: str = "") -> State:
    """Raises whatever a torn table, model or bundle raises.

    Args:
        record_url: of a record that does not stand in the home.
    """
    registry, record = LocalRegistry(home / "registry"), Record(record_url or home / "record.db")
    versions = registry.list(small.NAME)
    for one in versions:
        registry.artefacts(small.NAME, one.version)
        registry.manifest(small.NAME, one.version)
    known = bool(record_url) or (home / "record.db").exists()
    rows = deployments.history(record, small.NAME) if known else []
    calendar = calendar_path(home, small.NAME)
    page = endpoint_folder(home, small.NAME) / DEPLOYMENTS
    return State(
        small.tables(home), calendar.read_bytes() if calendar.exists() else b"", _seen(home),
        {one.version: (one.digest, dict(one.metrics)) for one in versions},
        [event.version for event in registry.challengers(small.NAME)], _traffic(home, registry),
        [(row.action, row.version, dict(row.traffic)) for row in rows],
        page.read_text().count('"version"') if page.exists() else 0,
        [(one.alarm, one.state) for one in alarms.history(record, small.NAME)] if known else [],
        [row["request_id"] for row in record.rows("served_predictions")] if known else [],
    )  # fmt: skip


def _seen(home: Path) -> small.Seen:
    return small.seen(home) if (home / "dagster").exists() else small.Seen({}, [], [])


def _traffic(home: Path, registry: LocalRegistry) -> dict[int, int] | None:
    try:
        endpoint = LocalPrediction(registry, home).describe(small.NAME)
    except ServiceError as error:
        assert error.kind == "not_found", error
        return None
    assert not [one.broken for one in endpoint.variants if one.broken], endpoint
    return {version: percent for version, percent in endpoint.traffic.items() if percent}


class Homes:
    """Undisturbed homes, each made when it is first asked for."""

    def __init__(self, root: Path, driver: Driver) -> None:
        self._root, self._driver = root, driver
        self._states: dict[str, State] = {}

    def after(self, step: str) -> Path:
        """The home after a step of the life; "" before the first."""
        home = self._root / (step.replace(" ", "_") or "fresh")
        if not home.exists():
            if not step:
                return small.make_home(home)
            shutil.copytree(self.after(LIFE[step].after), home)
            try:
                self.do(home, step)
            except BaseException:
                shutil.rmtree(home)  # else the next test would take it for made
                raise
        return home

    def state(self, step: str) -> State:
        if step not in self._states:
            self._states[step] = state_of(self.after(step))
        return self._states[step]

    def do(self, home: Path, step: str, fault: str = "") -> int:
        """Takes a home through a step; without a fault it must come to its end. Returns what `Driver.run` does."""
        number = self._driver.run(home, LIFE[step].what, fault=fault, **LIFE[step].options)
        assert fault or number == NOT_KILLED, self.said(home)
        return number

    def said(self, home: Path) -> str:
        return (home / "said.txt").read_text()[-4000:]


def assert_old_or_new(before: State, now: State, done: State) -> None:
    """No table is torn, nothing stands twice, nothing serves that should not."""
    for name, frame in now.tables.items():
        old, new = before.tables[name], done.tables[name]
        for season in sorted({*old["season"], *frame["season"], *new["season"]}):
            here, was, will_be = (_of(one, season) for one in (frame, old, new))
            assert here.equals(was) or here.equals(will_be), f"{name} of season {season} is neither as it was nor done"
    assert now.calendar in (before.calendar, done.calendar)
    assert len(now.seen.unfinished) <= 1
    for name, days in now.seen.partitions.items():
        assert before.seen.partitions.get(name, set()) <= days <= done.seen.partitions[name], name
    _assert_within(before.versions, now.versions, done.versions)
    assert now.challengers in (before.challengers, done.challengers)
    assert now.traffic in (before.traffic, done.traffic), f"{now.traffic} serves"
    assert now.changes == done.changes[: len(now.changes)]
    assert len(now.changes) >= len(before.changes)
    assert now.alarms in (before.alarms, done.alarms)
    assert now.served == done.served[: len(now.served)]
    assert len(now.served) >= len(before.served)


def _of(frame: pd.DataFrame, season: int) -> pd.DataFrame:
    return frame[frame["season"] == season].reset_index(drop=True)


def _assert_within(before: Mapping[Any, Any], now: Mapping[Any, Any], done: Mapping[Any, Any]) -> None:
    assert before.items() <= now.items() or all(now[key] == value for key, value in before.items())
    assert all(done[key] == value for key, value in now.items()), "a model that an undisturbed run does not make"


def assert_undisturbed(now: State, done: State, *, runs: bool = True) -> None:
    """Row for row what an undisturbed step makes.

    Args:
        runs: whether also the same runs have succeeded, each once. A run killed after its success may be repeated where
            nothing says that it need not.
    """
    for name, frame in now.tables.items():
        pd.testing.assert_frame_equal(frame, done.tables[name], check_exact=True, obj=name)
    assert now.calendar == done.calendar
    assert now.seen.partitions == done.seen.partitions
    assert not now.seen.unfinished
    assert set(now.seen.succeeded) == set(done.seen.succeeded)
    if runs:
        assert now.seen.succeeded == done.seen.succeeded
    assert (now.versions, now.challengers) == (done.versions, done.challengers)
    assert (now.traffic, now.changes, now.told) == (done.traffic, done.changes, done.told)
    assert (now.alarms, now.served) == (done.alarms, done.served)


def assert_whole_pages(home: Path) -> None:
    """If there is a site about the tables, its first page leads to pages that stand; and no report is a part of one."""
    for report in (home / "reports").rglob("*"):
        if report.suffix == ".html":
            assert report.read_text().rstrip().endswith("</html>"), report
        elif report.suffix == ".json":
            json.loads(report.read_text())
    for index in (home / "data_docs").glob("*/index.html"):
        links = re.findall(r'href="([^"#:]+\.html)"', index.read_text())
        assert links
        assert not [link for link in links if not (index.parent / link).exists()]
