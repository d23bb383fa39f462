"""Pruning what Dagster and Delta Lake never prune: old runs and their logs, old files of tables, old training
jobs and batches.

What belongs here: what may go. A run goes when it has ended, is older than the retention, and nothing that it told is
still the last word: of no partition the last materialisation, of no check the last evaluation. A table keeps every
version younger than the retention and every version that a registered model names, so that a training set can always be
read again.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from hoops_assets.launch.instance import open_instance
from hoops_assets.services.registry.contract import IMPORTED
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.settings import Settings
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.schemas import TABLES

Tell = Callable[[str], None]

FREE_SHARE = 0.25
"""Share of an SQLite file's pages that must be free before it is written anew without them."""


@dataclass
class Tidied:
    """What went, or would go.

    Attributes:
        runs: Dagster runs with all their events and logs.
        jobs: folders of training jobs; what they made stands in the registry.
        batches: finished batches of forecasts; what was asked for stands in the tables.
        files: of tables, "league/table" -> how many.
        bytes: of files, job folders and run logs, as far as this machine can see them.
    """

    runs: int = 0
    jobs: int = 0
    batches: int = 0
    files: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


def tidy(settings: Settings, leagues: list[str], older_than: timedelta, tell: Tell = lambda text: None) -> Tidied:
    """Prunes everything older than a span of time that nothing needs. A kill leaves what was not yet reached.

    Raises:
        StoreError: a table cannot be pruned; what was pruned before stays pruned.
    """
    before = datetime.now(UTC) - older_than  # runs and files carry the real time, whatever HOOPS_NOW pretends
    done = Tidied()
    tell("runs")
    with open_instance(settings) as instance:
        done.runs, done.bytes = _tidy_runs(instance, before)
    tell("training jobs")
    for folder in _old_jobs(settings.home / "jobs", before):
        done.bytes += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
        done.jobs += 1
    for file in _old_batches(settings.home / "batches", before):
        done.bytes += file.stat().st_size
        file.unlink()
        done.batches += 1
    store = DeltaStore(settings.tables_root, settings.aws)
    registry = LocalRegistry(settings.home / "registry")
    for league in leagues:
        named = _named_versions(registry, league)
        for table in TABLES:
            if store.exists(league, table):
                tell(f"{league}/{table}")
                files, size = store.vacuum(league, table, older_than, named.get(table, []))
                done.bytes += size
                if files:
                    done.files[f"{league}/{table}"] = files
    return done


def _named_versions(registry: LocalRegistry, league: str) -> dict[str, list[int]]:
    """Table -> its versions that registered models were trained on; of an imported model nobody knows any."""
    named: dict[str, list[int]] = {}
    for version in registry.list(league):
        if version.provider == IMPORTED:
            continue
        training_set = registry.manifest(league, version.version).training_set
        # A manifest names its table as LEAGUE/TABLE.
        named.setdefault(training_set.table.rpartition("/")[2], []).append(training_set.table_version)
    return named


def _tidy_runs(instance: dg.DagsterInstance, before: datetime) -> tuple[int, int]:
    """Deletes old runs that nothing needs; returns how many, and the bytes that this freed."""
    needed = _runs_with_the_last_word(instance)
    ended = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        updated_before=before,
    )
    old = [run.run_id for run in instance.get_runs(ended) if run.run_id not in needed]
    size = 0
    for run_id in old:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
        size += _delete_leavings(instance, run_id)
    return len(old), size + sum(_shrink(path) for path in sorted(Path(instance.root_directory).rglob("*.db")))


def _delete_leavings(instance: dg.DagsterInstance, run_id: str) -> int:
    """Deletes what Dagster leaves of a deleted run: evaluations of checks, and on SQLite its file of events."""
    from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as connection:
        connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id == run_id))
    if not isinstance(storage, SqliteEventLogStorage):
        return 0
    size = 0
    for end in ("", "-wal", "-shm"):
        path = Path(f"{storage.path_for_shard(run_id)}{end}")
        if path.exists():
            size += path.stat().st_size
            path.unlink()
    return size


def _shrink(path: Path) -> int:
    """Gives the free pages of an SQLite file back, if they are many and nobody is writing; returns the bytes freed."""
    size = path.stat().st_size
    try:
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as opened:
            free, pages = (opened.execute(f"PRAGMA {what}").fetchone()[0] for what in ("freelist_count", "page_count"))
            if free < FREE_SHARE * pages:
                return 0
            opened.execute("VACUUM")
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError:
        return 0  # in use: the pages are filled again, and the next tidying may succeed
    return max(0, size - path.stat().st_size)


def _runs_with_the_last_word(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold the last event of a kind of an asset's partition, or the last evaluation of a check."""
    import sqlalchemy as sa
    from dagster._core.storage.event_log import SqlEventLogStorage
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable

    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    last_events = (
        sa.select(sa.func.max(events.id))
        .where(events.asset_key.is_not(None))
        .group_by(events.asset_key, events.partition, events.dagster_event_type)
    )
    last_checks = sa.select(sa.func.max(checks.id)).group_by(checks.asset_key, checks.check_name, checks.partition)
    with storage.index_connection() as connection:
        told = connection.execute(sa.select(events.run_id).distinct().where(events.id.in_(last_events)))
        judged = connection.execute(sa.select(checks.run_id).distinct().where(checks.id.in_(last_checks)))
        return {*told.scalars(), *judged.scalars()}


def _old_jobs(root: Path, before: datetime) -> Iterator[Path]:
    """Folders of training jobs that have ended and were last touched before a moment."""
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        ended = folder / "model" / "result.json", folder / "output" / "failure", folder / "cancelled"
        touched = [datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in ended if path.exists()]
        if touched and max(touched) < before:
            yield folder


def _old_batches(root: Path, before: datetime) -> Iterator[Path]:
    """Batches that were finished before a moment; one that is not finished has no file of this name yet."""
    for file in sorted(root.glob("*/hoops-*.json")):
        if datetime.fromtimestamp(file.stat().st_mtime, UTC) < before:
            yield file
