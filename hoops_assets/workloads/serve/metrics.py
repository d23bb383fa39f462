"""What the server counts, in Prometheus' text format.

What belongs here: counters and their printing; the few lines that the format needs cost less than a library.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the latency histogram, seconds."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Version:
    __slots__ = ("answers", "buckets", "degraded", "predictions", "seconds")

    def __init__(self) -> None:
        self.answers = self.predictions = self.degraded = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)


class Metrics:
    """Counts of one process since its start; used from one thread."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], _Version] = {}
        self._requests: dict[tuple[str, int, str], int] = {}

    def answered(self, league: str, version: int, predictions: int, degraded: int, seconds: float) -> None:
        """Counts an answer of one version; one of several versions is counted for each."""
        found = self._versions.get((league, version))
        if found is None:
            found = self._versions[league, version] = _Version()
        found.answers += 1
        found.predictions += predictions
        found.degraded += degraded
        found.seconds += seconds
        found.buckets[bisect_left(BUCKETS, seconds)] += 1

    def responded(self, route: str, status: int, league: str = "") -> None:
        """Counts a response; `league` is the one whose endpoint was asked, empty where none was."""
        key = (route, status, league)
        self._requests[key] = self._requests.get(key, 0) + 1

    def text(self, gauges: Iterable[tuple[str, str, str, float]]) -> str:
        """The page for Prometheus.

        Args:
            gauges: (name, type, help, value) of what is measured elsewhere.
        """
        lines = _headed("hoops_requests_total", "counter", "Responses by route, status and the league that was asked.")
        for (route, status, league), count in sorted(self._requests.items()):
            asked = f',league="{_label(league)}"' if league else ""
            lines.append(f'hoops_requests_total{{route="{_label(route)}",status="{status}"{asked}}} {count}')
        counters = (
            ("hoops_answers_total", "Answers by version.", "answers"),
            ("hoops_predictions_total", "Forecasts by version.", "predictions"),
            ("hoops_degraded_total", "Forecasts that are not the model's own, by version.", "degraded"),
        )
        for name, help_text, attribute in counters:
            lines += _headed(name, "counter", help_text)
            for key, version in sorted(self._versions.items()):
                lines.append(f"{name}{{{_version_labels(key)}}} {getattr(version, attribute)}")
        name = "hoops_answer_seconds"
        lines += _headed(name, "histogram", "Time to an answer, without a wait for room in the log, by version.")
        for key, version in sorted(self._versions.items()):
            labels, total = _version_labels(key), 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), version.buckets, strict=True):
                total += count
                lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
            lines.append(f"{name}_sum{{{labels}}} {version.seconds:.6f}")
            lines.append(f"{name}_count{{{labels}}} {total}")
        for name, kind, help_text, value in gauges:
            lines += [*_headed(name, kind, help_text), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _headed(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _version_labels(key: tuple[str, int]) -> str:
    return f'league="{_label(key[0])}",version="{key[1]}"'


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
