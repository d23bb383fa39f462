"""Every change of what serves a league, and its row in the record.

What belongs here: `Rollout`, the one way by which anybody (an asset, a sensor, a command) changes what serves. It asks the
prediction service, and appends to `deployments` only after the serving side confirmed. If a process dies between the two,
the next call finds that what serves is not what was recorded, and writes the missing row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import Endpoint, Packed, PredictionService, Traffic, check_traffic
from hoops_assets.store import atomic, deployments
from hoops_assets.store.deployments import Action, Deployment
from hoops_assets.store.faults import fault_point
from hoops_assets.store.record import LaunchedFrom, Record

BY_HAND: tuple[LaunchedFrom, ...] = ("cli", "ui", "notebook")


@dataclass(frozen=True)
class Decision:
    """Who or what decided a change, and why.

    Attributes:
        decided_by: user@host, or the name of the asset or sensor.
        reason: one sentence for people.
        evidence: what it was decided on; JSON.
        run_id: Dagster's run.
    """

    decided_by: str
    reason: str
    launched_from: LaunchedFrom = "cli"
    evidence: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None

    @property
    def by_hand(self) -> bool:
        """Whether a person decided: only a person brings back a version that was rolled back."""
        return self.launched_from in BY_HAND


class Rollout:
    """Changes what serves one league.

    Args:
        pack: makes what is deployed of a version's number; asked only for versions that are not deployed yet.
        lock: a file; one process at a time changes what serves.
        tell: gets all rows of the league, oldest first, after one was appended or was found to stand.
    """

    def __init__(
        self, league: str, prediction: PredictionService, record: Record, pack: Callable[[int], Packed], lock: Path,
        tell: Callable[[list[Deployment]], None] = lambda rows: None,
    ) -> None:  # fmt: skip
        self.league = league
        self._prediction = prediction
        self._record = record
        self._pack = pack
        self._lock = lock
        self._tell = tell

    def describe(self) -> Endpoint | None:
        """What really serves; None before the first deployment."""
        try:
            return self._prediction.describe(self.league)
        except ServiceError as error:
            if error.kind == "not_found":
                return None
            raise

    def serve(self, traffic: Traffic, decision: Decision) -> Endpoint:
        """Makes exactly this traffic ({version: percent}) serve, deploying what is missing; idempotent.

        A version that loses its last percent stays loaded at 0 until the change after, so that going back is quick.

        Raises:
            ServiceError: as `deploy` and `set_traffic`; conflict if a version was rolled back and nobody decided by hand.
        """
        with self._changing():
            return self._serve(_positive(check_traffic(traffic, list(traffic))), decision, None, None)

    def stage(self, version: int) -> Endpoint | None:
        """Makes a version stand by without traffic, so that it can be asked by its number before any customer is.

        Not a change of what serves, so nothing is recorded. Does nothing, and returns None, before the first deployment.

        Raises:
            ServiceError: as `deploy`.
        """
        with self._changing():
            found = self.describe()
            if found is None or not found.traffic or found.variant(version):
                return found
            return self._prediction.deploy(self.league, self._pack(version), found.traffic)

    def roll_back(self, withdrawn: int, decision: Decision, to: int | None = None) -> Endpoint:
        """Takes all traffic from a version and marks it, so that automation does not deploy it again; idempotent.

        Args:
            to: the version that gets all traffic. None: those that serve beside the withdrawn one share it in
                proportion; if none does, what served last before it came does.

        Raises:
            ServiceError: conflict (nothing to go back to), and as `serve`.
        """
        if withdrawn == to:
            raise ServiceError("invalid", f"version {to} of {self.league} cannot be withdrawn and serve; name another")
        with self._changing():
            found = self.describe()
            if found is None:
                raise ServiceError("not_found", f"nothing serves {self.league}; there is nothing to roll back")
            traffic = {to: 100} if to is not None else self._without(withdrawn, found)
            if found.traffic == traffic and withdrawn in deployments.rolled_back(self._record, self.league):
                self._repair(found, None)
                self._tell_all()
                return found
            return self._serve(traffic, decision, "roll_back", withdrawn)

    def mark(self, version: int, decision: Decision) -> None:
        """Marks a version that does not serve: automation does not deploy it. Nothing else changes; idempotent."""
        with self._changing():
            self._repair(self.describe(), None)
            if version not in deployments.rolled_back(self._record, self.league):
                self._append("mark", version, deployments.current(self._record, self.league), decision)

    def remove(self, decision: Decision, version: int | None = None) -> None:
        """Removes a version without traffic, or with None the endpoint. Raises ServiceError as the provider does."""
        with self._changing():
            found = self.describe()
            self._repair(found, None)
            if found is None or (version is not None and found.variant(version) is None):
                return
            self._prediction.remove(self.league, version)
            traffic = found.traffic if version is not None else {}
            self._append("remove", version, traffic, decision)

    def repair(self) -> Endpoint | None:
        """Writes the row of a change that serves but was never recorded; returns what serves."""
        with self._changing():
            found = self.describe()
            self._repair(found, None)
            return found

    def _serve(self, traffic: dict[int, int], decision: Decision, action: Action | None, about: int | None) -> Endpoint:
        found = self.describe()
        self._repair(found, traffic)
        recorded = deployments.current(self._record, self.league)
        before = found.traffic if found else {}
        self._refuse_rolled_back(set(traffic) - set(before), decision)
        whole = found is not None and not any(one.broken for one in found.variants if one.traffic)
        endpoint = found if found and whole and before == traffic else self._change(found, traffic)
        fault_point("rollout.before_record")
        if action is not None:
            self._append(action, about, traffic, decision)
        elif recorded == traffic:
            self._tell_all()  # whoever recorded it may have died before it was told
        else:
            come = sorted(set(traffic) - set(recorded))
            for version in come:
                self._append("deploy", version, traffic, decision)
            if not come:
                gains = {version: percent - recorded.get(version, 0) for version, percent in traffic.items()}
                self._append("traffic", max(gains, key=lambda version: gains[version]), traffic, decision)
        return endpoint

    def _change(self, found: Endpoint | None, traffic: dict[int, int]) -> Endpoint:
        stand = {one.version for one in found.variants if not one.broken} if found else set()
        missing = sorted(set(traffic) - stand)
        now = found.traffic if found else {}
        for version in missing[:-1]:
            now = now or {version: 100}
            self._prediction.deploy(self.league, self._pack(version), now)
        if missing:
            endpoint = self._prediction.deploy(self.league, self._pack(missing[-1]), traffic)
        else:
            endpoint = self._prediction.set_traffic(self.league, traffic)
        stale = [one.version for one in found.variants if not one.traffic] if found else []
        for version in sorted(set(stale) - set(traffic)):
            self._prediction.remove(self.league, version)
        return self._prediction.describe(self.league) if stale else endpoint

    def _without(self, withdrawn: int, found: Endpoint) -> dict[int, int]:
        marked = deployments.rolled_back(self._record, self.league) | {withdrawn}
        left = {version: percent for version, percent in found.traffic.items() if version not in marked}
        if left:
            return shared(left)
        for row in reversed(deployments.history(self._record, self.league)):
            left = {version: percent for version, percent in row.traffic.items() if version not in marked}
            if left:
                return shared(left)
        raise ServiceError(
            "conflict",
            f"version {withdrawn} of {self.league} has no predecessor to go back to; name the version that shall serve"
            " instead, or remove the endpoint",
        )

    def _refuse_rolled_back(self, versions: set[int], decision: Decision) -> None:
        refused = versions & deployments.rolled_back(self._record, self.league)
        if refused and not decision.by_hand:
            raise ServiceError(
                "conflict",
                f"version {min(refused)} of {self.league} was rolled back and is not deployed again by automation;"
                " deploy it by hand if that was wrong",
            )

    def _repair(self, found: Endpoint | None, asked: dict[int, int] | None) -> None:
        """Records what serves if the record says otherwise, unless it is what is being asked for and recorded next."""
        serves = found.traffic if found else {}
        recorded = deployments.current(self._record, self.league)
        if serves in (recorded, asked):
            return
        come = sorted(set(serves) - set(recorded))
        told = Decision("repair", "it serves, but the row of its change was missing: the process that made it had died")
        action: Action = "remove" if not serves else "deploy" if come else "traffic"
        for version in come or [None]:
            self._append(action, version, serves, replace(told, evidence={"recorded": recorded}))

    def _append(self, action: Action, version: int | None, traffic: Traffic, decision: Decision) -> None:
        deployments.append(
            self._record,
            Deployment(
                league=self.league, action=action, version=version, traffic=_positive(traffic),
                decided_by=decision.decided_by, reason=decision.reason, provider=self._prediction.provider,
                launched_from=decision.launched_from, evidence=decision.evidence, run_id=decision.run_id,
            ),
        )  # fmt: skip
        self._tell_all()

    def _tell_all(self) -> None:
        rows = deployments.history(self._record, self.league)
        if rows:
            self._tell(rows)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with atomic.locked(self._lock):
            yield


def shared(traffic: Traffic) -> dict[int, int]:
    """The same proportions as integers summing to 100, by largest remainders; ties to the lower version.

    Args:
        traffic: positive shares of any sum.
    """
    total = sum(traffic.values())
    exact = {version: 100 * traffic[version] / total for version in sorted(traffic)}
    whole = {version: int(percent) for version, percent in exact.items()}
    for version in sorted(exact, key=lambda one: whole[one] - exact[one])[: 100 - sum(whole.values())]:
        whole[version] += 1
    return whole


def _positive(traffic: Traffic) -> dict[int, int]:
    return {version: traffic[version] for version in sorted(traffic) if traffic[version] != 0}
