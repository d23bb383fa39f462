"""A league small enough to be backfilled often, a home for it, and what a test wants to see of a home."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pandas as pd
import sqlalchemy as db

from hoops_assets.settings import Settings
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.schemas import TABLES

NAME = "small"
TRAINED_AT = "2023-12-05T17:00:00+00:00"
TRAINED_ON = date(2023, 12, 4)
"""When the model is trained in the first season, and on which game days."""

NOW = "2024-11-13T17:00:00+00:00"
FIRST, LAST = date(2023, 12, 5), date(2024, 11, 15)
END_OF_FIRST_SPAN = date(2024, 6, 1)
"""Game days across the end of one season and the beginning of the next, some of them still to come."""

TEAMS = {
    "ANT": "Anthill", "BEE": "Beeford", "CAT": "Catwick", "DOE": "Doewater",
    "ELK": "Elkmoor", "FOX": "Foxley", "GNU": "Gnutown", "HEN": "Henbury",
}  # fmt: skip

LEAGUE = f"""\
name: {NAME}
time_zone: America/New_York
first_season: 2024
sources:
  games: {{kind: simulated, seed: 7, simulated_from: 2023, regular_from: "11-01", regular_to: "12-04", meetings: 2,
    game_days: 14, direct_qualifiers: 8}}
  posts: {{kind: simulated, posts_per_game: 2}}
home_rules: {{neutral_stages: [final]}}
teams:
""" + "".join(f"  {code}: {{name: {name}}}\n" for code, name in TEAMS.items())


def make_home(home: Path) -> Path:
    """A home with the league in it and nothing done yet."""
    (home / "leagues").mkdir(parents=True)
    (home / "leagues" / f"{NAME}.yaml").write_text(LEAGUE)
    return home


def tables(home: Path, league: str = NAME) -> dict[str, pd.DataFrame]:
    """Every table of the league as it stands, empty where it was never written."""
    store = DeltaStore(str(home / "tables"))
    return {name: store.read(league, name) for name in TABLES}


@dataclass(frozen=True)
class Seen:
    """What the Dagster instance of a home says.

    Attributes:
        partitions: partitioned asset -> its materialised partitions.
        unfinished: ids of runs that have neither succeeded nor failed.
        succeeded: for each successful run the span of days that it had in hand.
    """

    partitions: dict[str, set[str]]
    unfinished: list[str]
    succeeded: list[str]


def instance(home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(home / "dagster"))


def seen(home: Path, league: str = NAME) -> Seen:
    with instance(home) as one:
        names = [name for name in TABLES if name not in {"history", "training_set"}]
        partitions = {name: one.get_materialized_partitions(dg.AssetKey([league, name])) for name in names}
        runs = one.get_runs()
        return Seen(
            partitions,
            [run.run_id for run in runs if not run.is_finished],
            sorted(
                json.dumps([run.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end")])
                for run in runs
                if run.is_success
            ),
        )


def unfinished(home: Path) -> list[str]:
    """Ids of the runs that have neither succeeded nor failed."""
    with instance(home) as one:
        return [run.run_id for run in one.get_runs() if not run.is_finished]


def settings(home: Path, now: str = NOW) -> Settings:
    return Settings(home=home, now=pd.Timestamp(now).to_pydatetime(), mlflow_tracking_uri="")


@contextmanager
def without_flushing() -> Iterator[None]:
    """What a kill leaves does not depend on flushing to disk, only on the order of writes; flushing costs seconds."""

    def connected(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    db.event.listen(db.Engine, "connect", connected)
    try:
        with mock.patch("os.fsync"):
            yield
    finally:
        db.event.remove(db.Engine, "connect", connected)
