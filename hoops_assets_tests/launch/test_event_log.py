"""The batching event log stores what Dagster's own stores, and plans one evaluation of a range."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import dagster as dg
import pytest

from hoops_assets.launch.instance import open_instance
from hoops_assets.launch.lanes import RANGE_END, RANGE_START
from hoops_assets.settings import Settings

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-08")
FIRST, LAST = "2024-01-02", "2024-01-06"


def definitions() -> dg.Definitions:
    options = {"partitions_def": DAYS, "backfill_policy": dg.BackfillPolicy.single_run(), "code_version": "3"}

    @dg.asset(**options, tags={"stage": "one"})
    def games(context) -> None:
        for key in context.partition_keys:
            context.add_asset_metadata({"rows": int(key[-2:])}, partition_key=key)

    @dg.asset(**options, deps=[games])
    def form() -> None: ...

    @dg.asset_check(asset=games, blocking=True)
    def whole() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True, metadata={"rows": 20})

    return dg.Definitions(assets=[games, form], asset_checks=[whole])


def run(instance: dg.DagsterInstance, first: str = FIRST, last: str = LAST) -> str:
    job = definitions().resolve_implicit_global_asset_job_def()
    tags = {RANGE_START: first, RANGE_END: last}
    return job.execute_in_process(instance=instance, tags=tags).run_id


@pytest.fixture
def ours(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "set by open_instance")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "3")
    monkeypatch.setenv("DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS", "1")
    with open_instance(Settings(home=tmp_path / "ours")) as instance:
        yield instance


@pytest.fixture
def stock(tmp_path, ours):
    home = tmp_path / "stock"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def seen(instance: dg.DagsterInstance, run_id: str) -> dict[str, object]:
    """All that the UI asks of an event log about the two assets, without times and ids."""
    out: dict[str, object] = {"log": [event.dagster_event_type for event in instance.all_logs(run_id)]}
    for name in ("games", "form"):
        key = dg.AssetKey(name)
        records = instance.fetch_materializations(key, limit=100).records
        latest = instance.get_latest_materialization_event(key)
        assert latest and latest.asset_materialization
        tags = instance.get_event_tags_for_asset(key, filter_tags=None)
        out[name] = {
            "days": instance.get_materialized_partitions(key),
            "records": [(one.partition_key, one.asset_materialization.metadata) for one in records],
            "latest": (latest.asset_materialization.partition, latest.asset_materialization.metadata),
            "code": sorted(str(tag.get("dagster/code_version")) for tag in tags),
            "known": instance.has_asset_key(key),
        }
    return out


def test_it_is_read_like_the_stock_one(ours, stock):
    mine, theirs = (seen(instance, run(instance)) for instance in (ours, stock))
    assert mine == theirs
    assert mine["games"]["days"] == {f"2024-01-0{day}" for day in range(2, 7)}
    mine, theirs = (seen(instance, run(instance, "2024-01-04", "2024-01-07")) for instance in (ours, stock))
    assert mine == theirs
    assert len(mine["games"]["records"]) == 9


def test_what_it_writes_the_stock_one_reads(ours):
    run_id = run(ours)
    with dg.DagsterInstance.from_config(str(ours.root_directory)) as ui:
        assert type(ui.event_log_storage) is not type(ours.event_log_storage)
        assert [(one.run_id, one.status) for one in ui.get_runs()] == [(run_id, dg.DagsterRunStatus.SUCCESS)]
        assert seen(ui, run_id) == seen(ours, run_id)


@pytest.mark.parametrize("whose", ["hoops", "daemon"])
def test_a_range_plans_one_evaluation_of_a_check_and_fills_it_in(ours, whose):
    instance = ours if whose == "hoops" else dg.DagsterInstance.from_config(str(ours.root_directory))
    run(instance)
    history = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("games"), "whole"), limit=100
    )
    assert [(one.status.value, one.partition) for one in history] == [("SUCCEEDED", None)]
    assert history[0].event.dagster_event.asset_check_evaluation_data.metadata["rows"].value == 20


def test_what_a_check_plans_does_not_hold_the_calendar(ours):
    with dg.DagsterInstance.from_config(str(ours.root_directory)) as ui:
        events = ui.all_logs(run(ui), of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED)
    assert [event.dagster_event.asset_check_planned_data.partitions_subset for event in events] == [None]


def test_a_home_that_moved_keeps_its_events(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "set by open_instance")
    with open_instance(Settings(home=tmp_path / "here")) as instance:
        run_id = run(instance)
    (tmp_path / "here").rename(tmp_path / "there")
    open_instance(Settings(home=tmp_path / "there")).dispose()
    with dg.DagsterInstance.from_config(str(tmp_path / "there" / "dagster")) as ui:
        assert len(ui.all_logs(run_id)) > 10
    assert not (tmp_path / "here").exists()


def test_a_batch_that_cannot_be_stored_is_told_event_by_event(ours, monkeypatch, capsys):
    monkeypatch.setattr(type(ours.event_log_storage), "_store_asset_event_tags", _fails_for_many)
    run_id = run(ours)
    assert seen(ours, run_id)["form"]["days"] == {f"2024-01-0{day}" for day in range(2, 7)}
    assert "Falling back" in capsys.readouterr().err


def _fails_for_many(self, connection, events, ids):
    if len(events) > 1:
        raise RuntimeError("no batches today")


def test_a_chosen_storage_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "set by open_instance")
    settings = Settings(home=tmp_path)
    settings.dagster_home.mkdir(parents=True)
    (settings.dagster_home / "dagster.yaml").write_text(f"storage: {{sqlite: {{base_dir: {tmp_path / 'mine'}}}}}\n")
    with open_instance(settings) as instance:
        run(instance)
    with closing(sqlite3.connect(tmp_path / "mine" / "history" / "runs" / "index.db")) as index:
        assert index.execute("SELECT count(*) FROM event_logs").fetchone()[0] > 0
