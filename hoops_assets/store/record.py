"""The record: append-only tables of who did what and when, in one SQL database.

What belongs here: the tables of the record and their views. A table is `append_only(NAME, columns...)`; each is created
at first use and guarded by triggers that refuse UPDATE and DELETE, and on SQLite a replacing INSERT.

`launches`: one row when something starts and one when it ends, under one launch_id; `Record.ledger` merges the two. A
launch without its end row is `unfinished`: it runs, or it was killed.

`alarms`: one row whenever an alarm turns red or green; `alerts`: one row when people are to be told of such a turn, and
one when they were. Their view is `store.alarms`.

`deployments`: one row for every change of what serves, written after the serving side confirmed it; its views are in
`store.deployments`. `served_predictions`: one row for every answer given to a customer, with the version that the
serving side itself named (null where no model answered).
"""

from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from hoops_assets.errors import StoreError
from hoops_assets.store.faults import fault_point

if TYPE_CHECKING:
    import sqlalchemy as sa

LaunchedFrom = Literal["cli", "ui", "schedule", "sensor", "notebook", "backfill"]
LaunchStatus = Literal["succeeded", "failed", "unfinished"]

_DAMAGED = ("malformed", "not a database")
"""In SQLite's words."""

BUSY_SECONDS = 30.0
"""How long an append waits for another process's before it gives up."""


@dataclass
class Launch:
    """A launch under way; what is set here before it ends is written with its end."""

    launch_id: str
    provider: str
    run_id: str | None = None
    job: str | None = None
    model_version: str | None = None
    billed_seconds: float | None = None


@dataclass(frozen=True)
class LedgerEntry:
    """One launch.

    Attributes:
        what: the step: an asset's name, "backfill", "evaluate", ...
        started_at: aware, UTC.
        seconds: wall time; None while unfinished.
        billed_seconds: what the provider bills for; None when unknown.
        launched_by: user@host.
        run_id: Dagster's run.
        job: the provider's name of the job.
        model_version: "LEAGUE/NUMBER" of the version it made or moved.
        error: class and message if it failed.
    """

    launch_id: str
    league: str | None
    what: str
    learner: str | None
    provider: str
    status: LaunchStatus
    started_at: datetime
    seconds: float | None
    billed_seconds: float | None
    launched_by: str
    launched_from: str
    run_id: str | None
    job: str | None
    model_version: str | None
    error: str | None


def who() -> str:
    """user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _metadata() -> sa.MetaData:
    """The tables of the record. A new one is one more call of `append_only`."""
    import sqlalchemy as sa

    metadata = sa.MetaData()

    def append_only(name: str, *columns: sa.Column[Any] | sa.Index) -> None:
        at = sa.Column("at", sa.DateTime, nullable=False, index=True)  # UTC
        sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=True), at, *columns)

    append_only(
        "launches",
        sa.Column("launch_id", sa.String(32), nullable=False, index=True),
        sa.Column("event", sa.String(8), nullable=False),  # start, end
        sa.Column("league", sa.String(40)),
        sa.Column("what", sa.String(200), nullable=False),
        sa.Column("learner", sa.String(80)),
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("status", sa.String(10)),
        sa.Column("seconds", sa.Float),
        sa.Column("billed_seconds", sa.Float),
        sa.Column("launched_by", sa.String(200), nullable=False),
        sa.Column("launched_from", sa.String(20), nullable=False),
        sa.Column("run_id", sa.String(80)),
        sa.Column("job", sa.String(200)),
        sa.Column("model_version", sa.String(80)),
        sa.Column("error", sa.Text),
    )
    append_only(
        "deployments",
        sa.Column("league", sa.String(40), nullable=False, index=True),
        sa.Column("endpoint", sa.String(80), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),  # deploy, traffic, roll_back, remove, mark
        sa.Column("version", sa.Integer),
        sa.Column("traffic", sa.Text, nullable=False),  # JSON {version: percent} after the change
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("decided_by", sa.String(200), nullable=False),
        sa.Column("launched_from", sa.String(20), nullable=False),
        sa.Column("run_id", sa.String(80)),
        sa.Column("evidence", sa.Text, nullable=False),  # JSON
        sa.Column("reason", sa.Text, nullable=False),
    )
    append_only(
        "alarms",
        sa.Column("league", sa.String(40), nullable=False),
        sa.Column("alarm", sa.String(120), nullable=False),
        sa.Column("state", sa.String(5), nullable=False),  # red, green
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),  # JSON
        sa.Column("run_id", sa.String(80)),
        sa.Index("alarms_league_alarm", "league", "alarm"),
    )
    append_only(
        "alerts",
        sa.Column("alarm_id", sa.Integer, nullable=False, index=True),
        sa.Column("event", sa.String(8), nullable=False),  # due, told
    )
    append_only(
        "served_predictions",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("customer", sa.String(80), nullable=False),
        sa.Column("league", sa.String(40), nullable=False),
        sa.Column("game_id", sa.String(120)),
        sa.Column("day", sa.Date),
        sa.Column("home", sa.String(120)),
        sa.Column("away", sa.String(120)),
        sa.Column("version", sa.Integer),
        sa.Column("learner", sa.String(80)),
        sa.Column("home_win_probability", sa.Float, nullable=False),
        sa.Column("degraded", sa.Text),  # the reason; null if the model itself answered
        sa.Column("traffic", sa.Text),  # JSON {version: percent} of that moment
        sa.Index("served_predictions_customer_at", "customer", "at"),
        sa.Index("served_predictions_league_game", "league", "game_id"),
    )
    return metadata


def _guards(table: str) -> list[str]:
    refuse = f"SELECT RAISE(ABORT, '{table} is append-only')"
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_update BEFORE UPDATE ON {table} BEGIN {refuse}; END",
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table} BEGIN {refuse}; END",
        # INSERT OR REPLACE deletes without firing the delete trigger.
        (
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_replace BEFORE INSERT ON {table}"
            f" WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) BEGIN {refuse}; END"
        ),
    ]


_CREATING = 5_102_038_921
"""Key of PostgreSQL's advisory lock under which the tables are made; any number that nobody else uses."""


def _postgres_guards(table: str) -> list[str]:
    return [
        (
            "CREATE OR REPLACE FUNCTION hoops_append_only() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION '%% is append-only', TG_TABLE_NAME; END $$"
        ),
        f"DROP TRIGGER IF EXISTS {table}_append_only ON {table}",
        (
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION hoops_append_only()"
        ),
    ]


class Record:
    """The record of one HOOPS_HOME. Safe to use from several threads and processes; opened at first use.

    Args:
        url: an SQLAlchemy URL, or the path of an SQLite file (created with its folder).
    """

    def __init__(self, url: str | Path) -> None:
        text = str(url)
        # A bare postgresql:// means psycopg 3 to SQLAlchemy 2.1; the client that Dagster brings is psycopg2.
        text = text.replace("postgresql://", "postgresql+psycopg2://", 1)
        self.url = text if "://" in text else f"sqlite:///{Path(text).absolute()}"
        self._opened: tuple[sa.Engine, sa.MetaData] | None = None

    def append(self, table: str, row: Mapping[str, Any]) -> None:
        """Appends one row; `at` (aware) is now unless given. It is on disk when this returns.

        Raises:
            StoreError: the database cannot be written; nothing was appended.
        """
        self.append_many(table, [row])

    def append_many(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends rows in one transaction: all or none. Raises StoreError as `append` does."""
        now = datetime.now(UTC)
        values = [{**row, "at": _naive(row.get("at", now))} for row in rows]
        with self._connection() as (connection, metadata):
            fault_point(f"record.before_commit:{table}")
            _insert(connection, metadata.tables[table], values)
            connection.commit()
            fault_point(f"record.after_commit:{table}")

    def rows(
        self, table: str, since: datetime | None = None, until: datetime | None = None, **equal: Any
    ) -> list[dict[str, Any]]:
        """Rows of a table in the order of their appending.

        Args:
            since: aware; rows with `at` on or after it.
            until: aware; rows with `at` before it.
            equal: column=value, all of which must hold.

        Returns:
            One dictionary a row; `at` is aware, UTC.
        """
        with self._connection() as (connection, metadata):
            found = metadata.tables[table]
            query = found.select().order_by(found.c.id)
            if since is not None:
                query = query.where(found.c.at >= _naive(since))
            if until is not None:
                query = query.where(found.c.at < _naive(until))
            for name, value in equal.items():
                query = query.where(found.c[name] == value)
            return [{**row, "at": row["at"].replace(tzinfo=UTC)} for row in connection.execute(query).mappings()]

    def last_rows(self, table: str, by: Sequence[str], **equal: Any) -> list[dict[str, Any]]:
        """Of the rows of a table that agree in some columns the last one, and as `rows` how many there are.

        The database groups them, so that the answers of years are not read.

        Args:
            by: columns; null is a value of its own.
            equal: column=value, all of which must hold.

        Returns:
            One dictionary a group, in the order of the rows' appending; `at` is aware, UTC.
        """
        import sqlalchemy as sa

        with self._connection() as (connection, metadata):
            found = metadata.tables[table]
            groups = sa.select(sa.func.max(found.c.id).label("last"), sa.func.count().label("rows"))
            for name, value in equal.items():
                groups = groups.where(found.c[name] == value)
            last = groups.group_by(*(found.c[name] for name in by)).subquery()
            query = sa.select(found, last.c.rows).join(last, found.c.id == last.c.last).order_by(found.c.id)
            return [{**row, "at": row["at"].replace(tzinfo=UTC)} for row in connection.execute(query).mappings()]

    @contextmanager
    def launch(
        self,
        league: str | None,
        what: str,
        learner: str | None = None,
        *,
        provider: str = "local",
        launched_from: LaunchedFrom = "cli",
        run_id: str | None = None,
    ) -> Iterator[Launch]:
        """Writes a launch's start, and at the end of the `with` block its end with status and seconds.

        An exception of the block is recorded and raised again. Raises StoreError if the record cannot be written: what
        nobody recorded is not started.
        """
        if launched_from not in get_args(LaunchedFrom):
            raise ValueError(f"launched_from={launched_from!r} is none of {', '.join(get_args(LaunchedFrom))}")
        launch = Launch(uuid.uuid4().hex, provider=provider, run_id=run_id)
        fixed = {
            "launch_id": launch.launch_id, "league": league, "what": what, "learner": learner,
            "launched_by": who(), "launched_from": launched_from,
        }  # fmt: skip
        self.append("launches", {**fixed, "event": "start", "provider": provider, "run_id": run_id})
        started = time.monotonic()

        def end(status: str, error: str | None) -> None:
            told = {
                name: getattr(launch, name) for name in ("provider", "run_id", "job", "model_version", "billed_seconds")
            }
            seconds = time.monotonic() - started
            self.append(
                "launches", {**fixed, **told, "event": "end", "status": status, "seconds": seconds, "error": error}
            )

        try:
            yield launch
        except BaseException as error:
            try:
                end("failed", f"{type(error).__name__}: {error}"[:4000])
            except StoreError as unrecorded:
                error.add_note(f"its end was not recorded: {unrecorded}")
            raise
        end("succeeded", None)

    def ledger(
        self, since: datetime | None = None, until: datetime | None = None, *, league: str | None = None
    ) -> list[LedgerEntry]:
        """Launches started in [since, until), in the order of their start."""
        starts = self.rows("launches", since, until, event="start", **({"league": league} if league else {}))
        ends = {row["launch_id"]: row for row in self.rows("launches", since, event="end")}
        names = {field.name for field in fields(LedgerEntry)}
        entries = []
        for start in starts:
            end = {name: value for name, value in ends.get(start["launch_id"], {}).items() if value is not None}
            merged = {**start, **end, "status": end.get("status", "unfinished"), "started_at": start["at"]}
            entries.append(LedgerEntry(**{name: merged[name] for name in names}))
        return entries

    @contextmanager
    def _connection(self) -> Iterator[tuple[sa.Connection, sa.MetaData]]:
        import sqlalchemy as sa
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if self._opened is None:
                self._opened = self._open()
            engine, metadata = self._opened
            with engine.connect() as connection:
                yield connection, metadata
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            shown = sa.make_url(self.url).render_as_string(hide_password=True)
            if any(word in str(cause) for word in _DAMAGED):
                file = sa.make_url(self.url).database
                raise StoreError(
                    f"the record {file} is damaged: {cause}. Restore it from a backup; or save what can be read with"
                    f" sqlite3 {file} .recover | sqlite3 {file}.saved and put that in its place; or move it away: then"
                    " the next change or deployment records again what serves, and all older rows are missing"
                ) from error
            raise StoreError(
                f"the record at {shown} cannot be used: {cause}; what was recorded before still stands."
                " Check the folder's permissions and free space, or the database's address, and run again"
            ) from error

    def _open(self) -> tuple[sa.Engine, sa.MetaData]:
        import sqlalchemy as sa
        from sqlalchemy import event

        metadata = _metadata()
        if not self.url.startswith("sqlite"):
            engine = sa.create_engine(self.url, pool_pre_ping=True)
            with engine.begin() as connection:
                # Two processes may create the record at once: the second waits here and finds all done.
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATING})")
                metadata.create_all(connection)
                for table in metadata.sorted_tables:
                    for guard in _postgres_guards(table.name):
                        connection.exec_driver_sql(guard)
            return engine, metadata

        path = sa.make_url(self.url).database
        if not path or path == ":memory:":
            raise StoreError(f"the record at {self.url} would be forgotten; give a file")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # A connection per use: none is inherited by a forked process.
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        with engine.connect() as connection:
            # Two processes may create the record at once: the first takes the write lock, the second finds all done.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for table in metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
                for guard in _guards(table.name):
                    connection.exec_driver_sql(guard)
            connection.commit()
        return engine, metadata


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Inserts rows that all have the same columns."""
    if connection.dialect.name != "sqlite" or len(rows) == 1:
        connection.execute(table.insert(), rows)
        return
    # The driver's own executemany: what SQLAlchemy does for each row costs more than SQLite's part of the work. (For
    # PostgreSQL it is the other way round: SQLAlchemy sends many rows at once, its driver one by one.)
    compiled = table.insert().compile(dialect=connection.dialect, column_keys=list(rows[0]))
    columns = []
    for name in compiled.positiontup or ():
        written = table.c[name].type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
        values = [row[name] for row in rows]
        columns.append(values if written is None else [written(value) for value in values])
    connection.exec_driver_sql(str(compiled), list(zip(*columns, strict=True)))


def _prepare_sqlite(connection: Any, _: Any) -> None:
    import sqlite3

    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    deadline = time.monotonic() + BUSY_SECONDS
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:  # the switch does not wait for other connections by itself
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    cursor.close()


def _naive(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone; give an aware time")
    return at.astimezone(UTC).replace(tzinfo=None)
