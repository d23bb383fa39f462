"""How values travel between assets: frames through Delta tables, small typed references through JSON files.

What belongs here: the two IO managers. Delta Lake itself is imported when a table is first used.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
from pydantic import BaseModel, ValidationError

from hoops_assets.errors import StoreError
from hoops_assets.settings import AwsSettings
from hoops_assets.store.schemas import TABLES

if TYPE_CHECKING:
    from hoops_assets.store.delta import DeltaStore


class TablesResource(dg.ConfigurableResource):
    """The Delta tables of all leagues under one root. Args: region, kms_key: of its bucket and objects, see AwsSettings."""

    root: str
    region: str = ""
    kms_key: str = ""

    @property
    def store(self) -> "DeltaStore":
        from hoops_assets.store.delta import DeltaStore

        return DeltaStore(self.root, AwsSettings(region=self.region, kms_key=self.kms_key))


class TableIOManager(dg.ConfigurableIOManager):
    """Frames of the asset [league, table] as the Delta table of that name.

    A partition owns its own day and the days without a partition before it, so that games which were cancelled or moved
    away disappear when the days around them are materialised. A range of partitions is one commit.
    """

    tables: dg.ResourceDependency[TablesResource]

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame) -> None:
        league, table = context.asset_key.path
        first, last = _span(context) if context.has_asset_partitions else (None, None)
        version = self.tables.store.overwrite(
            league, table, obj, first=first, last=last, note={"dagster/run_id": context.run_id}
        )
        if not context.has_asset_partitions:
            context.add_output_metadata({"dagster/row_count": len(obj), "table_version": version})

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        league, table = context.asset_key.path
        if not context.has_asset_partitions:
            return self.tables.store.read(league, table)
        keys = sorted(context.asset_partition_keys)
        if not keys:
            return TABLES[table].empty()
        return self.tables.store.read(
            league, table, first=date.fromisoformat(keys[0]), last=date.fromisoformat(keys[-1])
        )


def _span(context: dg.OutputContext) -> tuple[date | None, date]:
    days: Any = context.asset_partitions_def
    keys = sorted(context.asset_partition_keys)
    earlier = days.get_prev_partition_window(days.start_time_for_partition_key(keys[0]))
    return (earlier.start.date() + timedelta(days=1) if earlier else None), date.fromisoformat(keys[-1])


class ValueIOManager(dg.ConfigurableIOManager):
    """Small typed references (pydantic models) as one JSON file per asset, replaced atomically."""

    folder: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if obj is None:
            return
        from hoops_assets.store.atomic import write_text

        if not isinstance(obj, BaseModel):
            raise StoreError(
                f"{context.asset_key.to_user_string()}: only tables and typed references travel between assets"
            )
        write_text(self._path(context.asset_key), obj.model_dump_json(indent=1))

    def load_input(self, context: dg.InputContext) -> BaseModel:
        path = self._path(context.asset_key)
        kind = context.dagster_type.typing_type
        try:
            return kind.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise StoreError(f"{path}: not there; materialise {context.asset_key.to_user_string()} first") from None
        except ValidationError as error:
            raise StoreError(
                f"{path}: written by another version of the platform; materialise {context.asset_key.to_user_string()} again"
            ) from error

    def _path(self, key: dg.AssetKey) -> Path:
        return Path(self.folder).joinpath(*key.path).with_suffix(".json")
