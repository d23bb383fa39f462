"""Delta tables: typed reads and atomic overwrites of a span of game days.

What belongs here: everything that knows Delta Lake. Tables are created from their declared schema, partitioned on disk
by season, and written by predicate, one commit a write. delta-rs casts silently (1.5 becomes 1 in an integer column), so
this module compares every frame with the declared schema itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from hoops_assets.errors import StoreError
from hoops_assets.settings import AwsSettings
from hoops_assets.store.faults import fault_point
from hoops_assets.store.schemas import TABLES, TableSpec


class DeltaStore:
    """All tables under one root, a folder or an object-store URI; one Delta table per league and table name.

    Args:
        aws: where the root's bucket is, and the key of its objects; of no matter to a folder.
    """

    def __init__(self, root: str, aws: AwsSettings | None = None) -> None:
        self.root = root.rstrip("/")
        self.storage_options = storage_options(root, aws)

    def uri(self, league: str, table: str) -> str:
        return f"{self.root}/{league}/{table}"

    def exists(self, league: str, table: str) -> bool:
        return DeltaTable.is_deltatable(self.uri(league, table), self.storage_options)

    def version(self, league: str, table: str) -> int | None:
        """The table's present version, or None if it has never been written."""
        return self._open(league, table).version() if self.exists(league, table) else None

    def read(
        self,
        league: str,
        table: str,
        *,
        first: date | None = None,
        last: date | None = None,
        before: date | None = None,
        columns: list[str] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """Reads the rows with first <= day <= last and day < before, in the declared types, sorted by day and key.

        A table that does not exist yet reads as empty. `version` reads the table as it was.

        Raises:
            StoreError: the table or that version cannot be read (a damaged file, a version already vacuumed).
        """
        spec = TABLES[table]
        if not self.exists(league, table):
            if version is not None:
                raise StoreError(f"{self.uri(league, table)}: there is no such table, so no version {version} of it")
            return spec.empty() if columns is None else spec.empty()[columns]
        filters: list[tuple[str, str, Any]] = []
        filters += [("day", ">=", first)] if first else []
        filters += [("day", "<=", last)] if last else []
        filters += [("day", "<", before)] if before else []
        wanted = list(spec.columns) if columns is None else columns
        extra = [name for name in ("day", *spec.key) if name not in wanted]
        stored = self._as_declared(self._open(league, table, version), league, spec)
        try:
            arrow = stored.to_pyarrow_table(columns=[*wanted, *extra], filters=filters or None)
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{self.uri(league, table)}: cannot be read ({_first_line(error)}); {self._remedy(league, table)}"
            ) from error
        frame = from_arrow(arrow, spec).sort_values(["day", *spec.key], kind="stable", ignore_index=True)
        return frame[wanted]

    def overwrite(
        self,
        league: str,
        table: str,
        frame: pd.DataFrame,
        *,
        first: date | None = None,
        last: date | None = None,
        note: dict[str, str] | None = None,
    ) -> int:
        """Replaces the rows with first <= day <= last (all rows without bounds) by `frame`, in one commit.

        Args:
            frame: exactly the declared columns; every day within the bounds.
            note: stands in the table's history (run id, source).

        Returns:
            The version that the commit made.

        Raises:
            StoreError: the frame does not fit the declared schema, a key stands twice, a day lies outside the bounds, or
                another process wrote the same days at the same time. What stood before still stands.
        """
        spec = TABLES[table]
        arrow = to_arrow(frame, spec, self.uri(league, table))
        _check_key(frame, spec, self.uri(league, table))
        _check_days(frame, first, last, self.uri(league, table))
        bounds = [f"day >= '{first}'"] if first else []
        bounds += [f"day <= '{last}'"] if last else []
        properties = CommitProperties(custom_metadata=note) if note else None
        try:
            self._create(league, spec)
            stored = self._as_declared(self._open(league, table), league, spec)
            fault_point(f"commit.before:{table}")
            write_deltalake(
                stored,
                arrow,
                mode="overwrite",
                predicate=" AND ".join(bounds) or None,
                commit_properties=properties,
            )
        except CommitFailedError as error:
            raise StoreError(
                f"{self.uri(league, table)}: another process wrote the same days, or days in the same file, at the"
                " same time; nothing of this write was taken, run it again"
            ) from error
        except (DeltaError, OSError) as error:
            raise StoreError(
                f"{self.uri(league, table)}: cannot be written ({_first_line(error)}); what stood before still stands;"
                f" {self._remedy(league, table)}"
            ) from error
        fault_point(f"commit.after:{table}")
        return stored.version()

    def history(self, league: str, table: str) -> list[dict[str, Any]]:
        """Every commit of the table, newest first: version, timestamp in milliseconds, operation and note."""
        return list(self._open(league, table).history())

    def vacuum(self, league: str, table: str, older_than: timedelta, keep: Sequence[int]) -> tuple[int, int]:
        """Deletes the files that no version needs which is younger or is in `keep`; the newest version always stays.

        Returns:
            How many files went, and their bytes as far as this machine can see them.

        Raises:
            StoreError: the table cannot be opened or its files cannot be deleted.
        """
        opened = self._open(league, table)
        hours = int(older_than.total_seconds() // 3600)
        versions = sorted({version for version in keep if version <= opened.version()})
        options: dict[str, Any] = {
            "retention_hours": hours,
            "enforce_retention_duration": False,
            "keep_versions": versions,
        }
        root = self.uri(league, table)
        try:
            files = opened.vacuum(dry_run=True, full=True, **options)
            if "://" not in root:
                files = [
                    name for name in files if (Path(root) / name).exists()
                ]  # those that went before are told again
            size = sum(path.stat().st_size for name in files if (path := Path(root) / name).is_file())
            if files:
                opened.vacuum(dry_run=False, full=True, **options)
        except (DeltaError, OSError) as error:
            raise StoreError(f"{root}: old files cannot be deleted ({_first_line(error)}); run it again") from error
        return len(files), size

    def _open(self, league: str, table: str, version: int | None = None) -> DeltaTable:
        try:
            return DeltaTable(self.uri(league, table), version=version, storage_options=self.storage_options)
        except (TableNotFoundError, DeltaError, OSError) as error:
            which = "" if version is None else f" at version {version}"
            raise StoreError(
                f"{self.uri(league, table)}{which}: cannot be opened ({_first_line(error)}); "
                + ("only the versions in its history can be read" if which else self._remedy(league, table))
            ) from error

    def _as_declared(self, stored: DeltaTable, league: str, spec: TableSpec) -> DeltaTable:
        """Refuses a table with other columns than the declared ones; delta-rs would cast or drop what differs."""
        found = {field.name: field.type for field in pa.schema(stored.schema().to_arrow())}
        declared = {field.name: field.type for field in spec.schema}
        if found != declared:
            other = sorted(name for name in {*found, *declared} if found.get(name) != declared.get(name))
            raise StoreError(
                f"{self.uri(league, spec.name)}: was written by another version of the platform, columns"
                f" {', '.join(other)} differ; move it away and run: {_command(league, spec.name)}"
            )
        return stored

    def _remedy(self, league: str, table: str) -> str:
        # An overwrite reads what it replaces, so a damaged table cannot be mended in place.
        told = (
            f"if a file of it is damaged or missing, move {self.uri(league, table)} away and run:"
            f" {_command(league, table)}"
        )
        if table == "predictions":
            told += "; its old forecasts are then made anew and marked as such, so a backup is better if there is one"
        return told

    def _create(self, league: str, spec: TableSpec) -> None:
        uri = self.uri(league, spec.name)
        if DeltaTable.is_deltatable(uri, self.storage_options):
            return
        if "://" not in uri:
            Path(uri).mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            uri,
            schema=spec.schema,
            mode="ignore",
            partition_by=["season"],
            name=spec.name,
            description=spec.description,
            # A training set names a version; the log that leads to it would be gone after 30 days.
            configuration={"delta.enableExpiredLogCleanup": "false"},
            storage_options=self.storage_options,
        )


def storage_options(root: str, aws: AwsSettings | None) -> dict[str, str] | None:
    """What delta-rs must be told to reach a bucket; address and credentials it takes from AWS's own variables, and the
    region where the settings name none.

    Commits are conditional puts, so that two writers need no table of locks.
    """
    if not root.startswith(("s3://", "s3a://")):
        return None
    options = {"aws_conditional_put": "etag"}
    if aws and aws.region:
        options["aws_region"] = aws.region
    if aws and aws.kms_key:
        options |= {"aws_server_side_encryption": "aws:kms", "aws_sse_kms_key_id": aws.kms_key}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint:
        options |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": str(endpoint.startswith("http://")).lower()}
    return options


def to_arrow(frame: pd.DataFrame, spec: TableSpec, where: str) -> pa.Table:
    """The frame as Arrow in exactly the declared schema.

    Raises:
        StoreError: a column is missing, unexpected, of another kind (a number is no bool, a moment is no day) or cannot
            be cast without losing a value, or has a null where none is allowed; the message names the column.
    """
    missing = [name for name in spec.columns if name not in frame.columns]
    unexpected = [name for name in frame.columns if name not in spec.columns]
    if missing or unexpected:
        raise StoreError(
            f"{where}: columns missing {missing}, unexpected {unexpected}; the table's are {list(spec.columns)}"
        )
    arrays = []
    for field in spec.schema:
        _check_kind(frame[field.name], field, where)
        try:
            array = pa.Array.from_pandas(frame[field.name], type=field.type, safe=True)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise StoreError(
                f"{where}: column {field.name!r} does not fit {field.type}: {_first_line(error)}"
            ) from error
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if not field.nullable and array.null_count:
            raise StoreError(f"{where}: column {field.name!r} has {array.null_count} empty values, none is allowed")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=spec.schema)


def _check_kind(column: pd.Series, field: pa.Field, where: str) -> None:
    """Refuses what Arrow would cast although its meaning changes: 0.5 to True, 19:30 to its day, local time to UTC."""
    allowed = next(kinds for is_type, kinds in _KINDS if is_type(field.type))
    found = pd.api.types.infer_dtype(column, skipna=True)
    if found == "datetime64" and not isinstance(column.dtype, pd.DatetimeTZDtype):
        found = "zoneless time"
    if found == "date" and any(isinstance(day, datetime) for day in column):
        found = "time"
    if found not in allowed and len(column):
        raise StoreError(f"{where}: column {field.name!r} has {found} values, they do not fit {field.type}")


_NUMBERS = {"integer", "floating", "mixed-integer-float", "empty"}
_KINDS = (
    (pa.types.is_boolean, {"boolean", "empty"}),
    (pa.types.is_integer, _NUMBERS),
    (pa.types.is_floating, _NUMBERS),
    (pa.types.is_string, {"string", "empty"}),
    (pa.types.is_date, {"date", "empty"}),
    (pa.types.is_timestamp, {"datetime64", "empty"}),
)
"""For each type of column, the kinds of values (as pandas infers them) that may be written to it."""


def from_arrow(arrow: pa.Table, spec: TableSpec) -> pd.DataFrame:
    """The Arrow table as a frame in the declared pandas types, whatever columns of the table it has."""
    out: dict[str, Any] = {}
    for name in arrow.column_names:
        column = arrow.column(name)
        dtype = spec.columns[name]
        if dtype in {"Int32", "Int64", "boolean"}:
            out[name] = column.to_pandas(types_mapper=_NULLABLE.get)
        else:
            series = column.to_pandas()
            out[name] = series if str(series.dtype) == dtype else series.astype(dtype)  # type: ignore[call-overload]
    return pd.DataFrame(out)


_NULLABLE = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def _check_key(frame: pd.DataFrame, spec: TableSpec, where: str) -> None:
    twice = frame.duplicated(list(spec.key), keep=False)
    if twice.any():
        example = frame.loc[twice, list(spec.key)].iloc[0].to_dict()
        raise StoreError(f"{where}: {int(twice.sum())} rows share a key, for example {example}; a key stands once")


def _check_days(frame: pd.DataFrame, first: date | None, last: date | None, where: str) -> None:
    days: Iterable[date] = frame["day"]
    outside = sorted({day for day in days if (first and day < first) or (last and day > last)})
    if outside:
        raise StoreError(
            f"{where}: rows of {outside[0]} do not belong to the days {first} to {last} that are being written"
        )


def _command(league: str, table: str) -> str:
    """What makes a table anew."""
    return f"hoops train {league}" if table == "training_set" else f"hoops backfill {league} --force"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
