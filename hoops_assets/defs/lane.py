"""What every asset of a league's lane has in common: its key, group, tags and owner.

What belongs here: the one place that names stages and applies policy. A new league is a new YAML file, never new code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg

from hoops_assets.basketball.calendar import Calendar
from hoops_assets.basketball.league import League

OWNERS = {
    "ingest": "team:data",
    "features": "team:data",
    "training": "team:models",
    "prediction": "team:models",
    "monitoring": "team:models",
}
"""Who answers for the assets of a stage; the keys are the stages of the lane in order."""

SOURCES, TABLE_IO, VALUE_IO = "sources", "table_io", "io_manager"


@dataclass(frozen=True)
class Lane:
    """One league and its partitions; hands out the options that all its assets share."""

    league: League
    calendar: Calendar | None
    days: dg.DailyPartitionsDefinition

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.league.name, name])

    def asset(
        self, stage: str, name: str, kinds: set[str], description: str, code_version: str = "1"
    ) -> dict[str, Any]:
        """Options of an unpartitioned asset, for `dg.asset(**options)`."""
        return {
            "name": name,
            "key_prefix": [self.league.name],
            "group_name": f"{self.league.name}_{stage}",
            "kinds": kinds,
            "owners": [OWNERS[stage]],
            "tags": {"hoops/league": self.league.name, "hoops/step": stage},
            "description": description,
            "code_version": code_version,
        }

    def table(self, stage: str, name: str, description: str, code_version: str = "1") -> dict[str, Any]:
        """Options of an asset that is a Delta table with a partition per game day."""
        return {
            **self.asset(stage, name, {"deltalake", "pandas"}, description, code_version),
            "partitions_def": self.days,
            "backfill_policy": dg.BackfillPolicy.single_run(),
            "io_manager_key": TABLE_IO,
        }

    def input(self, name: str, **options: Any) -> dg.AssetIn:
        return dg.AssetIn(key=self.key(name), **options)
