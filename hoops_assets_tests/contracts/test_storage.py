"""What every place for tables keeps: the same store, and writers at once lose nothing of what they were told is written."""

from __future__ import annotations

import threading
from datetime import date

import pytest

from hoops_assets.clouds.aws import Aws, split
from hoops_assets.errors import StoreError
from hoops_assets.services.lineage.games import find_games, parse_filter
from hoops_assets.settings import AwsSettings
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.contracts import live
from hoops_assets_tests.contracts.providers import Provider
from hoops_assets_tests.store.frames import results

SEASONS = [date(year, 1, 5) for year in range(2019, 2025)]


@pytest.fixture(scope="module")
def store(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> DeltaStore:
    return DeltaStore(provider.tables(tmp_path_factory.mktemp("tables")))


def test_a_table_is_written_by_span_and_read_at_any_version(store: DeltaStore) -> None:
    assert store.version("spans", "results") is None
    assert store.read("spans", "results").empty
    first = store.overwrite("spans", "results", results(SEASONS, 100))
    store.overwrite("spans", "results", results(SEASONS[:1], 80), first=SEASONS[0], last=SEASONS[0])
    assert store.read("spans", "results")["away_score"].tolist() == [80, 100, 100, 100, 100, 100]
    assert set(store.read("spans", "results", version=first)["away_score"]) == {100}


def test_leagues_stand_apart(store: DeltaStore) -> None:
    store.overwrite("east", "results", results(SEASONS[:2], 90))
    store.overwrite("west", "results", results(SEASONS[:1], 70))
    assert [len(store.read(league, "results")) for league in ("east", "west")] == [2, 1]


def test_writers_at_once_lose_nothing(store: DeltaStore) -> None:
    store.overwrite("many", "results", results(SEASONS, 100))
    written, refused = [], []

    def write(day: date) -> None:
        try:
            store.overwrite("many", "results", results([day], 70), first=day, last=day)
            written.append(day)
        except StoreError:
            refused.append(day)

    writers = [threading.Thread(target=write, args=(day,)) for day in SEASONS]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    found = dict(zip((frame := store.read("many", "results"))["day"], frame["away_score"], strict=True))
    assert found == {day: 70 if day in written else 100 for day in SEASONS}
    assert written
    assert len(written) + len(refused) == len(SEASONS)


@pytest.mark.slow
@pytest.mark.skipif(live.wanted(), reason="the key is one of the emulator's")
def test_every_object_in_a_bucket_has_the_key_of_the_settings_and_its_games_are_found(bucket: str) -> None:
    aws = AwsSettings(region="us-east-1", kms_key="alias/hoops")
    DeltaStore(bucket, aws).overwrite("keyed", "results", results(SEASONS[:1], 100))
    assert len(find_games(bucket, "keyed", parse_filter("season=2019", dict), aws).matching) == 1
    account = Aws(aws)
    name, _ = split(bucket)
    for key in account.keys(f"{bucket}/keyed/"):
        assert account.s3.head_object(Bucket=name, Key=key)["SSEKMSKeyId"] == "alias/hoops"
