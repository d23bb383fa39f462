"""Faults on demand: what a cloud does to its customers now and then.

What belongs here: which there are and how long each lasts. A fault is taken by the next call or resource that it fits.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, get_args

from hoops_assets.emulators.aws.errors import Refused, invalid

CallFault = Literal["throttling", "expired_credentials", "access_denied", "internal_error", "limit_exceeded"]
ResourceFault = Literal[
    "capacity_error",
    "spot_interruption",
    "slow_start",
    "silent_roll_back",
    "stalled_update",
    "not_yet_visible",
    "damaged_upload",
    "damaged_model",
]

ANSWERS: dict[str, tuple[str, str, int]] = {
    "throttling": ("ThrottlingException", "Rate exceeded", 400),
    "expired_credentials": ("ExpiredTokenException", "The security token included in the request is expired", 400),
    "access_denied": ("AccessDeniedException", "User is not authorized to perform this action", 400),
    "internal_error": ("InternalFailure", "The request processing has failed because of an unknown error", 500),
    "limit_exceeded": ("ResourceLimitExceeded", "The account-level service limit is 0 Instances", 400),
}
OF_S3 = {
    "ThrottlingException": ("SlowDown", 503), "ExpiredTokenException": ("ExpiredToken", 400),
    "AccessDeniedException": ("AccessDenied", 403), "InternalFailure": ("InternalError", 500),
}  # fmt: skip
"""The same as S3 says it; a HEAD has no body, so there only the status tells."""

RESOURCE_FAULTS: tuple[str, ...] = get_args(ResourceFault)


@dataclass
class Fault:
    """One fault.

    Attributes:
        kind: a CallFault, answered by the call itself; or a ResourceFault, met by the job or endpoint that the call makes.
        action: SageMaker's action or "*"; for S3 its own, as PutObject; for damaged_model a part of the model's name.
        times: how many calls or resources meet it; of not_yet_visible, how many looks at the one that does are in vain.
        after: how many that fit pass unharmed before.
        seconds: of a slow start; how long after the start of training an interruption comes; how long a stalled update
            goes on before AWS's own time limit rolls it back.
    """

    kind: str
    action: str = "*"
    times: int = 1
    seconds: float = 1.0
    after: int = 0


class Faults:
    """Those that are waiting."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        if fault.kind not in (*ANSWERS, *RESOURCE_FAULTS):
            raise invalid(f"no fault {fault.kind!r}; there are {', '.join((*ANSWERS, *RESOURCE_FAULTS))}")
        with self._lock:
            self._waiting.append(fault)

    def of(self, told: dict[str, Any]) -> Fault:
        """A fault from JSON."""
        unknown = set(told) - {field.name for field in fields(Fault)}
        if unknown or "kind" not in told:
            raise invalid(f"a fault has kind, action, times, seconds and after, not {', '.join(sorted(told))}")
        return Fault(**told)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, kind: str, action: str, name: str = "") -> Fault | None:
        """The fault of that kind waiting for the action, or for what has that in its name, used once."""
        with self._lock:
            for fault in self._waiting:
                if fault.kind == kind and (fault.action in ("*", action) or fault.action in name):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    if fault.times <= 0 or fault.kind == "not_yet_visible":
                        self._waiting.remove(fault)
                    return fault
        return None

    def refuse(self, action: str) -> None:
        """Raises the answer that waits for a call of that action, if any."""
        for kind, (code, message, status) in ANSWERS.items():
            if self.take(kind, action):
                raise Refused(code, message, status)


class Hideable(Protocol):
    """What may not be visible yet."""

    hidden: Fault | None


def is_unseen(one: Hideable) -> bool:
    """Whether a look at it is in vain; every look counts."""
    if one.hidden is None:
        return False
    one.hidden.times -= 1
    if one.hidden.times < 0:
        one.hidden = None
    return True


def of_s3(refused: Refused) -> Refused:
    """The answer in S3's own words."""
    code, status = OF_S3.get(refused.code, (refused.code, refused.status))
    return Refused(code, refused.message, status)
