"""Counting faults, and what was lost by them.

A test names each fault that it has struck, and says at its end that nothing was lost: a test that fails on the way has
lost all that it had struck. The counts travel with the reports of the tests, so that workers of pytest-xdist add up too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

STRUCK, SURVIVED = "fault", "survived"


class Tally:
    """Of one test.

    Args:
        properties: the test's own, which stand in its report.
    """

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties
        self._open: list[str] = []

    def strike(self, kind: str, number: int = 1) -> None:
        """A fault of a kind ("run killed", "disk full", ...) has struck."""
        self._properties += [(STRUCK, kind)] * number
        self._open += [kind] * number

    def survived(self) -> None:
        """Whatever has struck so far was looked at, and nothing is lost."""
        self._properties += [(SURVIVED, kind) for kind in self._open]
        self._open.clear()


def summary(reports: Iterable[Any]) -> list[str]:
    """Lines for people; none if no fault has struck."""
    told = [one for report in reports for one in getattr(report, "user_properties", ())]
    struck, survived = (Counter(str(kind) for name, kind in told if name == wanted) for wanted in (STRUCK, SURVIVED))
    if not struck:
        return []
    lines = [
        f"{number:4} {kind}" + (f", {lost} LOST" if (lost := number - survived[kind]) else "")
        for kind, number in sorted(struck.items())
    ]
    return [*lines, f"{struck.total():4} faults, {struck.total() - survived.total()} losses"]
