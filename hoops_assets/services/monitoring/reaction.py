"""Which alarm asks for a training, and whether its time has come.

What belongs here: the rule, pure: edges of alarms, trainings asked for so far and a number of games in, one decision out.
Who watches and who starts a run is the sensor's affair (`defs.monitoring.sensors`).

One training answers every alarm that is red when it is asked for. An edge asks once; if that training fails, the same edge
asks again on a later day, `attempts` times in all. An alarm that turned green again before its time came asks for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from hoops_assets.settings import Reaction
from hoops_assets.store.alarms import Alarm

PREFIX = "drift/"
"""Of the names of alarms that signals of drift raise."""


@dataclass(frozen=True)
class Asked:
    """A training that was asked for.

    Attributes:
        edges: row ids of the alarms' edges that it is to answer.
        on: day on which it was asked for, league time.
    """

    edges: frozenset[int]
    on: date
    state: Literal["under way", "succeeded", "failed"]


@dataclass(frozen=True)
class Standing:
    """What the edges come to, before the calendar is asked.

    Attributes:
        pending: red edges that no training has answered, oldest first.
        settled: of every newer edge that asks for nothing, why: one sentence each.
        through: row id up to which every edge is settled.
    """

    pending: tuple[Alarm, ...]
    settled: tuple[str, ...]
    through: int


@dataclass(frozen=True)
class Ask:
    """A training is due because of these edges; `attempt` counts from 1."""

    edges: tuple[Alarm, ...]
    attempt: int

    @property
    def first(self) -> Alarm:
        return self.edges[0]


def standing(edges: Sequence[Alarm], asked: Sequence[Asked], rule: Reaction, through: int = 0) -> Standing:
    """Sorts the edges of a league's alarms.

    Args:
        edges: all of them, oldest first, with their row ids.
        through: row id up to which edges were settled before; they are not told of again.
    """
    last = {edge.alarm: edge for edge in edges}
    pending: list[Alarm] = []
    settled: list[str] = []
    for edge in edges:
        assert edge.id is not None
        if edge.id <= through or edge.state == "green":
            continue
        tries = [one for one in asked if edge.id in one.edges]
        if edge.alarm.removeprefix(PREFIX) not in rule.signals:
            settled.append(f"{edge.alarm} is red: no training is asked for by it")
        elif any(one.state == "succeeded" for one in tries):
            settled.append(f"{edge.alarm} was answered by a training")
        elif last[edge.alarm] is not edge:
            settled.append(f"{edge.alarm} turned green again by itself")
        elif sum(one.state == "failed" for one in tries) >= rule.attempts:
            settled.append(
                f"{edge.alarm} is given up: {rule.attempts} trainings failed; look at their runs, train by hand"
            )
        else:
            pending.append(edge)
    known = max((edge.id or 0 for edge in edges), default=0)
    done = (pending[0].id or 0) - 1 if pending else known
    return Standing(tuple(pending), tuple(settled), max(through, done))


def decide(pending: Sequence[Alarm], asked: Sequence[Asked], games: int, today: date, rule: Reaction) -> Ask | str:
    """Whether a training is due now; if not, why, in one sentence.

    Args:
        pending: as `standing` gives them, at least one.
        games: settled since the last training that made a version.
    """
    names = ", ".join(edge.alarm for edge in pending)
    if any(one.state == "under way" for one in asked):
        return f"{names} is red; a training is under way"
    own = {edge.id for edge in pending}
    failed = [one for one in asked if one.state == "failed" and one.edges & own]
    if any(one.on >= today for one in failed):
        return f"{names} is red; today's training failed, it is asked for again tomorrow"
    answered = max((one.on for one in asked if one.state == "succeeded"), default=None)
    if answered and today < answered + timedelta(days=rule.cooldown_days):
        until = answered + timedelta(days=rule.cooldown_days)
        return f"{names} is red; the last alarm was answered on {answered}, the next may be on {until}"
    if not failed and games < rule.minimum_games:
        return f"{names} is red; {games} games were settled since the last training, {rule.minimum_games} are needed"
    return Ask(tuple(pending), len(failed) + 1)
