"""Dagster's event log on PostgreSQL, with one plan of a check a run.

What belongs here: what needs `dagster_postgres`, which only the extra `server` installs.
"""

from __future__ import annotations

from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import PostgresEventLogStorage
from dagster_postgres.utils import pg_url_from_config

from hoops_assets.launch.event_log import OnePlan


class ServerEventLog(OnePlan, PostgresEventLogStorage):  # type: ignore[misc]
    """The event log of an instance that several machines share; see `event_log.EventLog` for why."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> ServerEventLog:
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
        )
