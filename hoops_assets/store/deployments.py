"""What served when, and who decided it: the views of the record's table `deployments`.

What belongs here: appending a row and reading the rows. Nothing here changes what serves: that is
`services.prediction.rollout`, which appends a row only after the serving side confirmed the change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from hoops_assets.store.record import LaunchedFrom, Record

TABLE = "deployments"

Action = Literal["deploy", "traffic", "roll_back", "remove", "mark"]


@dataclass(frozen=True)
class Deployment:
    """One row of the record.

    Attributes:
        action: deploy (a version was brought up and got its share) | traffic (shares moved between versions that stood)
            | roll_back (`version` was withdrawn) | remove (`version`, or with None the endpoint, is gone) | mark
            (`version` is not to be deployed by automation; what serves did not change).
        version: the one that the action is about.
        traffic: {version: percent} after the change, only of versions that get any; empty when nothing serves.
        decided_by: user@host, or the name of the asset or sensor that decided.
        evidence: what it was decided on; JSON.
        reason: one sentence for people.
        at: aware, UTC; when the serving side had confirmed the change.
    """

    league: str
    action: Action
    version: int | None
    traffic: Mapping[int, int]
    decided_by: str
    reason: str
    provider: str
    launched_from: LaunchedFrom
    evidence: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    endpoint: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def append(record: Record, deployment: Deployment) -> None:
    """Appends one row; the endpoint is the league's unless given.

    Raises:
        StoreError: the record cannot be written.
        ValueError: an unknown action or origin, or evidence that is not JSON.
    """
    if deployment.action not in get_args(Action):
        raise ValueError(f"action {deployment.action!r} is none of {', '.join(get_args(Action))}")
    if deployment.launched_from not in get_args(LaunchedFrom):
        raise ValueError(f"launched_from {deployment.launched_from!r} is none of {', '.join(get_args(LaunchedFrom))}")
    row = {
        **{name: getattr(deployment, name) for name in _COLUMNS},
        "endpoint": deployment.endpoint or deployment.league,
        "traffic": json.dumps(_given(deployment.traffic)),
        "evidence": json.dumps(dict(deployment.evidence), allow_nan=False, default=str),
        "at": deployment.at,
    }
    record.append(TABLE, row)


def history(record: Record, league: str, until: datetime | None = None) -> list[Deployment]:
    """Every change of what served for a league with `at` <= `until` (aware; None is now), oldest first."""
    # `Record.rows` excludes its upper bound; a moment is stored to the microsecond.
    bound = until + timedelta(microseconds=1) if until else None
    rows = sorted(record.rows(TABLE, until=bound, league=league), key=lambda row: (row["at"], row["id"]))
    return [
        Deployment(
            **{name: row[name] for name in _COLUMNS},
            endpoint=row["endpoint"],
            traffic={int(version): percent for version, percent in json.loads(row["traffic"]).items()},
            evidence=json.loads(row["evidence"]),
            at=row["at"],
        )
        for row in rows
    ]


def serving_at(record: Record, league: str, at: datetime) -> dict[int, int]:
    """{version: percent} that served a league at a moment (aware); empty before the first deployment."""
    return _last_traffic(history(record, league, at))


def current(record: Record, league: str) -> dict[int, int]:
    """{version: percent} that serves a league now, as recorded; empty if nothing does."""
    return _last_traffic(history(record, league))


def rolled_back(record: Record, league: str) -> set[int]:
    """Versions that automation does not deploy again: withdrawn or marked, and not brought back since (by hand)."""
    marked: set[int] = set()
    before: Mapping[int, int] = {}
    for row in history(record, league):
        marked -= set(row.traffic) - set(before)
        before = row.traffic
        if row.action in ("roll_back", "mark") and row.version is not None:
            marked.add(row.version)
    return marked


def in_words(rows: list[Deployment]) -> list[dict[str, str]]:
    """The rows for people, newest first: at, action, version, traffic, decided_by, reason."""
    return [
        {
            "at": row.at.isoformat(sep=" ", timespec="seconds"),
            "action": row.action.replace("_", " "),
            "version": "-" if row.version is None else str(row.version),
            "traffic": ", ".join(f"{version}: {percent} %" for version, percent in row.traffic.items()) or "none",
            "decided_by": row.decided_by,
            "reason": row.reason,
        }
        for row in reversed(rows)
    ]


def _last_traffic(rows: list[Deployment]) -> dict[int, int]:
    return dict(rows[-1].traffic) if rows else {}


def _given(traffic: Mapping[int, int]) -> dict[int, int]:
    return {version: traffic[version] for version in sorted(traffic) if traffic[version]}


_COLUMNS = ("league", "action", "version", "provider", "decided_by", "launched_from", "run_id", "reason")
