"""The errors that every service of every provider answers with: a small closed set.

What belongs here: the kinds. A provider maps its own errors to them (for a cloud, in `clouds`).
"""

from __future__ import annotations

from typing import Literal

from hoops_assets.errors import HoopsError

ErrorKind = Literal["not_found", "conflict", "quota", "throttled", "permission", "invalid", "failed", "timed_out"]


TRANSIENT = ("quota", "throttled", "timed_out")
"""Kinds that may go away by themselves."""


class ServiceError(HoopsError):
    """A service could not do what was asked.

    Attributes:
        kind: not_found (no such name) | conflict (not in the state that this needs) | quota | throttled (ask again
            later) | permission | invalid (the request can never succeed) | failed (the job itself failed; the message
            is its reason) | timed_out.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.transient = kind in TRANSIENT
