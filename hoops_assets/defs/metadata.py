"""What every asset tells people about a materialisation.

What belongs here: metadata per game day, and pictures on unpartitioned assets. Plots and schemas never ride on a
day-partitioned materialisation, because Dagster copies them to every day.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from hoops_assets.store.record import LaunchedFrom

if TYPE_CHECKING:
    from hoops_assets.store.fan_posts import Intake
    from hoops_assets.store.post_buffer import BufferMetrics


def days_of(context: dg.AssetExecutionContext) -> list[date]:
    """The game days that this run materialises, ascending."""
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def tell_rows(context: dg.AssetExecutionContext, frame: pd.DataFrame) -> pd.DataFrame:
    """Puts each day's number of rows on that day's materialisation; returns the frame."""
    counts = frame["day"].value_counts()
    for day in days_of(context):
        context.add_asset_metadata(
            {"dagster/partition_row_count": int(counts.get(day, 0))}, partition_key=day.isoformat()
        )
    return frame


def tell_intake(context: dg.AssetExecutionContext, intake: Intake, buffer: BufferMetrics) -> None:
    """Puts on each day how many posts are new, and on the run's last day the counts of the post buffer."""
    days = days_of(context)
    for day in days:
        context.add_asset_metadata({"new_posts": intake.by_day.get(day, 0)}, partition_key=day.isoformat())
    told = {f"run_posts_{name}": getattr(intake, name) for name in ("taken", "stored", "known", "thinned", "late")}
    told |= {f"buffer_{name}": value for name, value in asdict(buffer).items()}
    context.add_asset_metadata(told, partition_key=days[-1].isoformat())


def tell_reading(context: dg.AssetExecutionContext, notes: Sequence[str], refused: int) -> None:
    """Puts on the materialisation, the last day's if there are days, what a person should know of a reading."""
    told: dict[str, Any] = {"refused_rows": refused} if refused else {}
    if notes:
        told["notes"] = list(notes)
    for note in notes:
        context.log.info(note)
    if refused:
        context.log.warning(f"{refused} rows refused, see the quarantine")
    if told:
        last = days_of(context)[-1].isoformat() if context.has_partition_key_range else None
        context.add_asset_metadata(told, partition_key=last)


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG that the UI shows in the asset's metadata."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def table(frame: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A small frame as a Markdown table. Columns named in words break into lines where the UI has no room."""
    names = [str(name).replace("_", " ") for name in frame.columns]
    rows: list[list[Any]] = [names, ["---"] * frame.shape[1], *frame.values.tolist()]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) > 1 else f"{value:.4f}"
    return str(value)


def launched_from(context: dg.AssetExecutionContext) -> LaunchedFrom:
    """Where the run was asked for, for the ledger: a schedule, a sensor, a backfill, the command line or the UI."""
    tags = context.run.tags
    if "dagster/schedule_name" in tags:
        return "schedule"
    if "dagster/sensor_name" in tags:
        return "sensor"
    if "dagster/backfill" in tags:
        return "backfill"
    return tags.get("hoops/launched_from", "ui")  # type: ignore[return-value]
