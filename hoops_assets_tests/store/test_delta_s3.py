"""Delta tables in a bucket: the same store, and writers at once lose nothing of what they were told is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date

import pytest

from hoops_assets.errors import StoreError
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.emulators.accounts import EmulatorProcess, account
from hoops_assets_tests.store.frames import results

SEASONS = [date(year, 1, 5) for year in range(2019, 2025)]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """In a process of its own: delta-rs waits for answers while it holds the interpreter's lock."""
    emulator = EmulatorProcess()
    try:
        bucket = account(emulator.environment).settings.bucket
        with pytest.MonkeyPatch.context() as patch:
            for name, value in emulator.environment.items():
                patch.setenv(name, value)
            yield bucket
    finally:
        emulator.close()


@pytest.fixture
def store(bucket: str, request: pytest.FixtureRequest) -> DeltaStore:
    return DeltaStore(f"s3://{bucket}/{request.node.name}")


def test_a_table_in_a_bucket_is_written_by_span_and_read_at_any_version(store: DeltaStore) -> None:
    assert store.version("l", "results") is None
    assert store.read("l", "results").empty
    first = store.overwrite("l", "results", results(SEASONS, 100))
    store.overwrite("l", "results", results(SEASONS[:1], 80), first=SEASONS[0], last=SEASONS[0])
    assert store.read("l", "results")["away_score"].tolist() == [80, 100, 100, 100, 100, 100]
    assert set(store.read("l", "results", version=first)["away_score"]) == {100}


def test_writers_at_once_lose_nothing(store: DeltaStore) -> None:
    store.overwrite("l", "results", results(SEASONS, 100))
    written, refused = [], []

    def write(day: date) -> None:
        try:
            store.overwrite("l", "results", results([day], 70), first=day, last=day)
            written.append(day)
        except StoreError:
            refused.append(day)

    writers = [threading.Thread(target=write, args=(day,)) for day in SEASONS]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    found = dict(zip((frame := store.read("l", "results"))["day"], frame["away_score"], strict=True))
    assert found == {day: 70 if day in written else 100 for day in SEASONS}
    assert written
    assert len(written) + len(refused) == len(SEASONS)
