"""Alarms of a league: which are red, since when, and the edges at which they turned.

What belongs here: the view of the record's tables `alarms` and `alerts`. Who looks decides what is an alarm; here only
edges are kept, so that the same red told a hundred times is one row, and of which of them people are still to be told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from hoops_assets.store.record import Record

TABLE = "alarms"
ALERTS = "alerts"

State = Literal["red", "green"]


@dataclass(frozen=True)
class Alarm:
    """One edge: at that moment the alarm turned into that state.

    Attributes:
        alarm: its name within the league, for example "drift/residuals".
        text: one sentence for people: what moved, how sure.
        at: aware, UTC; None before it is recorded.
        id: number of its row, ascending; None before it is recorded.
    """

    league: str
    alarm: str
    state: State
    text: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    at: datetime | None = None
    id: int | None = None


def turn(record: Record, alarm: Alarm) -> bool:
    """Records an alarm's state if it is an edge; says whether it was. An alarm never seen before counts as green."""
    last = current(record, alarm.league).get(alarm.alarm)
    if alarm.state == (last.state if last else "green"):
        return False
    row = {name: getattr(alarm, name) for name in ("league", "alarm", "state", "text", "run_id")}
    record.append(TABLE, {**row, "evidence": json.dumps(dict(alarm.evidence), allow_nan=False, default=str)})
    return True


def history(record: Record, league: str) -> list[Alarm]:
    """Every edge, oldest first."""
    names = ("league", "alarm", "state", "text", "run_id", "at", "id")
    return [
        Alarm(**{name: row[name] for name in names}, evidence=json.loads(row["evidence"]))
        for row in record.rows(TABLE, league=league)
    ]


def due(record: Record, edge: Alarm) -> None:
    """Records that people are to be told of a recorded edge."""
    record.append(ALERTS, {"alarm_id": edge.id, "event": "due"})


def told(record: Record, edge: Alarm) -> None:
    """Records that people were told of it."""
    record.append(ALERTS, {"alarm_id": edge.id, "event": "told"})


def is_due(record: Record, edge: Alarm) -> bool:
    """Whether people were to be told of a recorded edge and were not."""
    return {row["event"] for row in record.rows(ALERTS, alarm_id=edge.id)} == {"due"}


def current(record: Record, league: str) -> dict[str, Alarm]:
    """The last edge of every alarm that was ever red, by its name."""
    return {edge.alarm: edge for edge in history(record, league)}
