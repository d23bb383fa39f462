"""The ledger of models: a row per model and day, what was done to it and who decided.

What belongs here: joining what the registry says (trained, named challenger) with the record's deployments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from hoops_assets.errors import SettingsError
from hoops_assets.services.lineage import stored
from hoops_assets.services.lineage.questions import Places


@dataclass(frozen=True)
class Act:
    """One thing done to a model: `what` in a few words, who did or decided it, and on what; `at` is aware, UTC."""

    at: datetime
    what: str
    by: str
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelDay:
    """What happened to one model on one day of its league's time zone; each list oldest first."""

    day: date
    league: str
    model: str
    learner: str
    trained: list[Act] = field(default_factory=list)
    judged: list[Act] = field(default_factory=list)
    deployed: list[Act] = field(default_factory=list)


def model_days(places: Places, since: datetime, league: str | None = None) -> list[ModelDay]:
    """A row for every model and day since a moment (aware) on which it was trained, judged or deployed; newest day first.

    Raises:
        HoopsError: a file of the registry or the record cannot be read.
    """
    rows: list[ModelDay] = []
    for name in [league] if league else _leagues(places):
        try:
            zone = stored.zone_of(places.home, name)
        except SettingsError:
            if league:
                raise
            continue  # a league whose file is gone or broken does not hide the others
        days: dict[tuple[date, int], ModelDay] = {}
        learners = {
            number: stored.read_version(places.registry, name, number)
            for number in stored.numbers(places.registry, name)
        }
        for kind, number, act in _acts(places, name, learners):
            if act.at < since:
                continue
            day = act.at.astimezone(zone).date()
            learner = learners[number]["learner"] if number in learners else ""
            row = days.setdefault((day, number), ModelDay(day, name, f"{name}/{number}", learner))
            getattr(row, kind).append(act)
        rows += [days[key] for key in sorted(days)]
    return sorted(rows, key=lambda row: row.day, reverse=True)


def _acts(places: Places, league: str, versions: dict[int, dict[str, Any]]) -> list[tuple[str, int, Act]]:
    """(trained | judged | deployed, version, act), oldest first."""
    acts = [
        ("trained", number, Act(
            datetime.fromisoformat(version["created_at"]), f"trained ({version['provider']})", version["created_by"],
            evidence=version["metrics"],
        ))
        for number, version in versions.items()
    ]  # fmt: skip
    acts += [
        ("judged", int(event["version"]), Act(event["at"], "named challenger", event["named_by"], evidence=event["evidence"]))
        for event in stored.challenger_events(places.registry, league)
    ]  # fmt: skip
    before: dict[int, int] = {}
    for change in stored.deployments(places.record, league):
        acts += _changes(change, before)
        before = change["traffic"]
    return sorted(acts, key=lambda act: act[2].at)


def _changes(change: dict[str, Any], before: dict[int, int]) -> list[tuple[str, int, Act]]:
    """What one row of `deployments` did to each model whose share it changed, and to the one it is about."""
    after, about = change["traffic"], change["version"]
    moved = {number for number in {*before, *after} if before.get(number, 0) != after.get(number, 0)}
    acts = []
    for number in sorted(moved | ({about} if about is not None else set())):
        share = f"{before.get(number, 0)} % to {after.get(number, 0)} %" if number in moved else "share unchanged"
        action = change["action"].replace("_", " ") if number == about else "traffic"
        kind = "judged" if change["action"] == "mark" else "deployed"
        acts.append((
            kind, number, Act(change["at"], f"{action}, {share}", change["decided_by"], change["reason"], change["evidence"])
        ))  # fmt: skip
    return acts


def _leagues(places: Places) -> list[str]:
    folders = {path.name for path in places.registry.iterdir() if path.is_dir()} if places.registry.exists() else set()
    return sorted(folders | {row["league"] for row in stored.rows(places.record, "deployments")})
