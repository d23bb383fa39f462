"""Dagster's SQLite event log, with one plan of a check a run, and a batch of events stored in one transaction.

What belongs here: the storages that events are written through. The files are those of `SqliteEventLogStorage`.

`EventLog` is that of the UI, the daemon and the runs that they launch. Of a check over a range of days the stock class
plans one evaluation a day, each with the whole calendar in it, and none of them is ever filled in: 21 MB for a daily run of
the NBA with ten seasons in its calendar, where all else takes 2 (benchmarks/event_log.py).

`BatchingEventLog` is that of runs launched by `hoops`, which hold thousands of days. The stock class opens six
connections and flushes four times for every day of every asset, which cost more than all else a backfill does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import EventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

from hoops_assets.store.faults import fault_point


class OnePlan(EventLogStorage):
    """Plans one evaluation of a check over a range of days, which is what the check gives; to be mixed in."""

    def store_event(self, event: EventLogEntry) -> None:
        super().store_event(_planned_once(event))  # type: ignore[safe-super]

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        super().store_event_batch([_planned_once(event) for event in events])


def _planned_once(event: EventLogEntry) -> EventLogEntry:
    told = event.dagster_event
    planned: Any = told.event_specific_data if told else None
    if not isinstance(planned, AssetCheckEvaluationPlanned) or not planned.partitions_subset:
        return event
    if len(planned.partitions_subset) < 2:
        return event
    whole = AssetCheckEvaluationPlanned(asset_key=planned.asset_key, check_name=planned.check_name)
    return event._replace(dagster_event=told._replace(event_specific_data=whole))  # type: ignore[union-attr]


class EventLog(OnePlan, SqliteEventLogStorage):  # type: ignore[misc]
    """The event log of one instance."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> EventLog:
        return cls(inst_data=inst_data, **config_value)


class BatchingEventLog(EventLog):
    """The event log of one instance, for one process that writes much.

    Connections to the index and to the run in hand stay open between events.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Any] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Any]:
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Any:
        if shard not in self._engines:
            for other in [name for name in self._engines if name != INDEX_SHARD_NAME]:
                self._engines.pop(other).dispose()
            engine = create_engine(
                self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            )
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        return self._engines[shard]

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
        super().dispose()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events of assets of one run: one transaction in the run's file, one in the index."""
        if {event.dagster_event_type for event in events} - ASSET_EVENTS or len({event.run_id for event in events}) > 1:
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        for row in rows:
            fault_point(f"event.before:{row['dagster_event_type']}")
        insert = SqlEventLogStorageTable.insert()
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            returning = insert.returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
            ids = connection.execute(returning, rows).scalars().all()
            self._store_asset_event_tags(connection, events, ids)
            # Of an asset only its last event is kept beside its key.
            last = {event.get_dagster_event().asset_key: (event, id) for event, id in zip(events, ids, strict=True)}
            for event, id in last.values():
                self._store_asset_event(connection, event, id)
        for row in rows:
            fault_point(f"event.after:{row['dagster_event_type']}")
