"""Every change of what serves has its row, and no row stands for a change that did not happen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction import rollout as module
from hoops_assets.services.prediction.contract import Packed
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.prediction.rollout import Decision, Rollout, shared
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store import atomic, deployments
from hoops_assets.store import record as recording
from hoops_assets.store.record import Record
from hoops_assets.workloads.serve.bundle import bundle_folder
from hoops_assets_tests.contracts.conftest import Pack, frame, models, pack, registry

__all__ = ["frame", "models", "pack", "registry"]

LEAGUE = "sim"
ANN = Decision("ann@desk", "it is the best we have", evidence={"brier": 0.21})
SENSOR = Decision("sim/canary_verdict", "the verdict is green", launched_from="sensor", run_id="run-1")

Rows = Callable[[], "list[tuple[str, int | None, dict[int, int]]]"]


@pytest.fixture
def service(registry: LocalRegistry, tmp_path: Path) -> LocalPrediction:
    return LocalPrediction(registry, tmp_path)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "record.db")


@pytest.fixture
def rollout(service: LocalPrediction, record: Record, pack: Pack, tmp_path: Path) -> Rollout:
    return Rollout(LEAGUE, service, record, lambda version: pack(LEAGUE, version), tmp_path / "rollout.lock")


@pytest.fixture
def rows(record: Record) -> Rows:
    return lambda: [(one.action, one.version, dict(one.traffic)) for one in deployments.history(record, LEAGUE)]


def test_a_canary_that_becomes_champion_leaves_a_row_for_every_step(
    rollout: Rollout, rows: Rows, record: Record
) -> None:
    assert rollout.describe() is None
    assert rollout.serve({1: 100}, ANN).traffic == {1: 100}
    assert rollout.serve({1: 90, 2: 10}, SENSOR).traffic == {1: 90, 2: 10}
    assert rollout.serve({2: 100}, SENSOR).traffic == {2: 100}
    assert rows() == [("deploy", 1, {1: 100}), ("deploy", 2, {1: 90, 2: 10}), ("traffic", 2, {2: 100})]
    first, second, _ = deployments.history(record, LEAGUE)
    assert (first.decided_by, first.reason, first.evidence) == ("ann@desk", ANN.reason, {"brier": 0.21})
    assert (second.launched_from, second.run_id, second.provider) == ("sensor", "run-1", "local")


def test_asking_again_changes_nothing_and_leaves_no_row(rollout: Rollout, rows: Rows) -> None:
    made = rollout.serve({1: 100}, ANN)
    assert rollout.serve({1: 100, 2: 0}, SENSOR) == made
    rollout.serve({1: 90, 2: 10}, ANN)
    told = rows()
    assert rollout.serve({2: 10, 1: 90}, SENSOR).traffic == {1: 90, 2: 10}
    assert rows() == told


def test_several_versions_come_at_once(rollout: Rollout, rows: Rows) -> None:
    assert rollout.serve({1: 50, 2: 30, 3: 20}, ANN).traffic == {1: 50, 2: 30, 3: 20}
    assert [(action, version) for action, version, _ in rows()] == [("deploy", 1), ("deploy", 2), ("deploy", 3)]


def test_a_version_without_traffic_stays_loaded_until_the_change_after(rollout: Rollout) -> None:
    rollout.serve({1: 100}, ANN)
    assert [one.version for one in rollout.serve({2: 100}, ANN).variants] == [1, 2]
    assert [one.version for one in rollout.serve({2: 60, 3: 40}, ANN).variants] == [2, 3]


@pytest.mark.parametrize("traffic", [{1: 99}, {}, {1: 120, 2: -20}])
def test_traffic_that_is_none_is_refused_before_anything_is_done(
    rollout: Rollout, rows: Rows, traffic: dict[int, int]
) -> None:
    with pytest.raises(ServiceError) as refused:
        rollout.serve(traffic, ANN)
    assert refused.value.kind == "invalid"
    assert rollout.describe() is None
    assert rows() == []


def test_a_deployment_that_fails_leaves_no_row(
    service: LocalPrediction, record: Record, pack: Pack, tmp_path: Path, rows: Rows
) -> None:
    def half(version: int) -> Packed:
        whole = pack(LEAGUE, version)
        content = whole.onnx if version == 1 else whole.onnx[: len(whole.onnx) // 2]
        return Packed(whole.bundle, content, whole.fixtures)

    rollout = Rollout(LEAGUE, service, record, half, tmp_path / "lock")
    rollout.serve({1: 100}, ANN)
    with pytest.raises(ServiceError, match="ONNX"):
        rollout.serve({1: 90, 2: 10}, ANN)
    assert rollout.describe() is not None
    assert rows() == [("deploy", 1, {1: 100})]


# -- a process that dies between the change and its row -----------------------------------------------------------------


def die(rollout: Rollout, monkeypatch: pytest.MonkeyPatch, traffic: dict[int, int]) -> None:
    def killed(place: str) -> None:
        raise KeyboardInterrupt(place)

    with monkeypatch.context() as patched:
        patched.setattr(module, "fault_point", killed)
        with pytest.raises(KeyboardInterrupt, match=r"rollout\.before_record"):
            rollout.serve(traffic, SENSOR)


def test_the_same_decision_again_writes_the_missing_row(
    rollout: Rollout, rows: Rows, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout.serve({1: 100}, ANN)
    die(rollout, monkeypatch, {1: 90, 2: 10})
    assert rows() == [("deploy", 1, {1: 100})]
    before = rollout.describe()
    assert rollout.serve({1: 90, 2: 10}, SENSOR) == before
    assert rows()[1:] == [("deploy", 2, {1: 90, 2: 10})]
    assert deployments.history(record, LEAGUE)[-1].decided_by == SENSOR.decided_by


def test_another_decision_first_records_what_was_found_serving(
    rollout: Rollout, rows: Rows, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout.serve({1: 100}, ANN)
    die(rollout, monkeypatch, {1: 90, 2: 10})
    rollout.serve({1: 50, 2: 50}, ANN)
    assert rows()[1:] == [("deploy", 2, {1: 90, 2: 10}), ("traffic", 2, {1: 50, 2: 50})]
    assert [one.decided_by for one in deployments.history(record, LEAGUE)] == ["ann@desk", "repair", "ann@desk"]


def test_a_repair_alone_records_what_serves_and_only_once(
    rollout: Rollout, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(rollout, monkeypatch, {1: 100})
    found = rollout.repair()
    assert found is not None
    assert found.traffic == {1: 100}
    rollout.repair()
    assert rows() == [("deploy", 1, {1: 100})]


def test_an_endpoint_that_went_away_is_recorded_as_removed(
    rollout: Rollout, service: LocalPrediction, rows: Rows
) -> None:
    rollout.serve({1: 100}, ANN)
    service.remove(LEAGUE)
    assert rollout.repair() is None
    assert rows()[-1] == ("remove", None, {})


def test_a_bundle_that_was_damaged_is_deployed_again_though_nothing_else_changes(
    rollout: Rollout, rows: Rows, pack: Pack, tmp_path: Path
) -> None:
    made = rollout.serve({1: 100}, ANN)
    (bundle_folder(tmp_path, pack(LEAGUE, 1).bundle) / "model.onnx").write_bytes(b"")
    assert rollout.serve({1: 100}, SENSOR).variants == made.variants
    assert len(rows()) == 1


class Killed(BaseException):
    """Stands for the end of the process."""


def test_whenever_a_process_dies_asking_again_ends_in_the_same_state_with_the_same_rows(
    service: LocalPrediction, registry: LocalRegistry, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = []
    for last in itertools.count(1):
        home, passed = tmp_path / str(last), itertools.count(1)
        home.mkdir()
        record = Record(home / "record.db")

        def begin(home: Path = home, record: Record = record) -> Rollout:
            service = LocalPrediction(registry, home)
            return Rollout(LEAGUE, service, record, lambda version: pack(LEAGUE, version), home / "lock")

        def die_at_the_last(place: str, passed: Iterator[int] = passed, last: int = last) -> None:
            if next(passed) == last:
                raise Killed(place)

        begin().serve({1: 100}, ANN)
        with monkeypatch.context() as patched:
            for part in (module, atomic, recording):
                patched.setattr(part, "fault_point", die_at_the_last)
            try:
                begin().serve({1: 90, 2: 10}, SENSOR)
            except Killed as death:
                deaths.append(str(death).partition(":")[0])
            else:
                break
        assert begin().serve({1: 90, 2: 10}, SENSOR).traffic == {1: 90, 2: 10}
        told = [(one.action, one.version, dict(one.traffic)) for one in deployments.history(record, LEAGUE)]
        assert told == [("deploy", 1, {1: 100}), ("deploy", 2, {1: 90, 2: 10})]
    assert {"folder.before_rename", "file.before_rename", "file.after_rename", "rollout.before_record"} <= {*deaths}
    assert {"record.before_commit", "record.after_commit"} <= {*deaths}


def test_changes_at_once_come_one_after_the_other(
    service: LocalPrediction, pack: Pack, record: Record, tmp_path: Path
) -> None:
    asked = [{1: 100}, {2: 100}, {1: 50, 2: 50}, {3: 100}, {1: 10, 3: 90}, {2: 30, 3: 70}]

    def change(traffic: dict[int, int]) -> None:
        one = Rollout(LEAGUE, service, record, lambda version: pack(LEAGUE, version), tmp_path / "rollout.lock")
        assert one.serve(traffic, ANN).traffic == traffic

    with ThreadPoolExecutor(len(asked)) as pool:
        list(pool.map(change, asked))
    rows = deployments.history(record, LEAGUE)
    assert service.describe(LEAGUE).traffic == rows[-1].traffic
    assert {tuple(row.traffic.items()) for row in rows} == {tuple(traffic.items()) for traffic in asked}
    assert {row.decided_by for row in rows} == {ANN.decided_by}


# -- back ---------------------------------------------------------------------------------------------------------------


def test_a_canary_rolled_back_gives_its_share_back_and_automation_leaves_it_alone(
    rollout: Rollout, rows: Rows, record: Record
) -> None:
    rollout.serve({1: 100}, ANN)
    rollout.serve({1: 90, 2: 10}, SENSOR)
    assert rollout.roll_back(2, SENSOR).traffic == {1: 100}
    assert rows()[-1] == ("roll_back", 2, {1: 100})
    assert deployments.rolled_back(record, LEAGUE) == {2}
    with pytest.raises(ServiceError, match="version 2 of sim was rolled back") as refused:
        rollout.serve({1: 90, 2: 10}, SENSOR)
    assert refused.value.kind == "conflict"
    assert rollout.serve({1: 90, 2: 10}, ANN).traffic == {1: 90, 2: 10}
    assert deployments.rolled_back(record, LEAGUE) == set()


def test_a_champion_rolled_back_yields_to_what_served_before_it(rollout: Rollout, rows: Rows) -> None:
    for version in (1, 2, 3):
        rollout.serve({version: 100}, ANN)
    assert rollout.roll_back(3, SENSOR).traffic == {2: 100}
    assert rollout.roll_back(2, SENSOR).traffic == {1: 100}
    assert rows()[-2:] == [("roll_back", 3, {2: 100}), ("roll_back", 2, {1: 100})]


def test_a_roll_back_goes_to_the_version_that_is_pinned(rollout: Rollout) -> None:
    for version in (1, 2, 3):
        rollout.serve({version: 100}, ANN)
    assert rollout.roll_back(3, ANN, to=1).traffic == {1: 100}


def test_a_roll_back_again_changes_nothing_and_leaves_no_row(rollout: Rollout, rows: Rows) -> None:
    rollout.serve({1: 100}, ANN)
    rollout.serve({2: 100}, ANN)
    made = rollout.roll_back(2, SENSOR)
    told = rows()
    assert rollout.roll_back(2, SENSOR) == made
    assert rows() == told


def test_without_a_predecessor_a_roll_back_is_refused_and_the_version_serves_on(rollout: Rollout, rows: Rows) -> None:
    with pytest.raises(ServiceError, match="nothing serves") as missing:
        rollout.roll_back(1, ANN)
    assert missing.value.kind == "not_found"
    rollout.serve({1: 100}, ANN)
    with pytest.raises(ServiceError, match="no predecessor") as refused:
        rollout.roll_back(1, ANN)
    assert refused.value.kind == "conflict"
    with pytest.raises(ServiceError, match="cannot be withdrawn and serve"):
        rollout.roll_back(1, ANN, to=1)
    found = rollout.describe()
    assert found is not None
    assert found.traffic == {1: 100}
    assert len(rows()) == 1


def test_a_mark_keeps_automation_off_and_moves_nothing(rollout: Rollout, rows: Rows) -> None:
    made = rollout.serve({1: 100}, ANN)
    rollout.mark(2, ANN)
    rollout.mark(2, ANN)
    assert rollout.describe() == made
    assert rows()[1:] == [("mark", 2, {1: 100})]
    with pytest.raises(ServiceError, match="was rolled back"):
        rollout.serve({1: 90, 2: 10}, SENSOR)


def test_removals_are_recorded(rollout: Rollout, rows: Rows) -> None:
    rollout.serve({1: 100}, ANN)
    rollout.serve({2: 100}, ANN)
    rollout.remove(ANN, 1)
    rollout.remove(ANN, 1)
    rollout.remove(ANN)
    rollout.remove(ANN)
    assert rollout.describe() is None
    assert rows()[2:] == [("remove", 1, {2: 100}), ("remove", None, {})]


@given(st.dictionaries(st.integers(1, 50), st.integers(1, 100), min_size=1, max_size=20))
def test_shares_become_whole_percents_that_sum_to_100_and_stay_close(traffic: dict[int, int]) -> None:
    whole = shared(traffic)
    assert sum(whole.values()) == 100
    assert whole.keys() == traffic.keys()
    total = sum(traffic.values())
    assert all(abs(whole[version] - 100 * share / total) < 1 for version, share in traffic.items())
