"""Whether a version answers well while it serves: bad answers are counted, a share too large withdraws it at once.

What belongs here: the rule over counts, and reading the counts from Prometheus text. Only the standard library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Z_99 = 2.326
"""One-sided 99 % quantile of the normal distribution."""


@dataclass(frozen=True)
class HealthRule:
    """When a version is withdrawn.

    Attributes:
        degraded, slow, failed: largest share of forecasts that the model did not make itself (it broke: ratings or the
            base rate answered), of answers slower than `seconds` (so that p99 <= seconds), of responses with status 5xx.
        least: answers without which nothing is said.
    """

    degraded: float = 0.01
    slow: float = 0.01
    failed: float = 0.01
    seconds: float = 0.1
    least: int = 20


DEFAULT_HEALTH = HealthRule()


@dataclass(frozen=True)
class Counts:
    """What a server has counted of one version since it started; `responses` and `failed` are of the whole server."""

    answers: int = 0
    predictions: int = 0
    degraded: int = 0
    slow: int = 0
    responses: int = 0
    failed: int = 0

    def since(self, before: Counts) -> Counts:
        """What was counted after `before`; everything, if the server has started anew in between."""
        less = {name: value - getattr(before, name) for name, value in vars(self).items()}
        return self if min(less.values()) < 0 else Counts(**less)


def read_counts(text: str, league: str, version: int, rule: HealthRule = DEFAULT_HEALTH) -> Counts:
    """The counts of one version from a server's /metrics page."""
    answers = predictions = degraded = quick = responses = failed = 0
    bounds: dict[float, int] = {}
    for sample in _SAMPLE.finditer(text):
        labels, value = dict(_LABEL.findall(sample["labels"])), int(float(sample["value"]))
        if sample["name"] == "hoops_requests_total":
            responses += value
            failed += value if labels["status"].startswith("5") else 0
        if (labels.get("league"), labels.get("version")) != (league, str(version)):
            continue
        match sample["name"]:
            case "hoops_answers_total":
                answers = value
            case "hoops_predictions_total":
                predictions = value
            case "hoops_degraded_total":
                degraded = value
            case "hoops_answer_seconds_bucket":
                bounds[math.inf if labels["le"] == "+Inf" else float(labels["le"])] = value
    if bounds:
        quick = bounds[min(bound for bound in bounds if bound >= rule.seconds)]
    return Counts(answers, predictions, degraded, max(bounds.values(), default=0) - quick, responses, failed)


def lower_share(bad: int, n: int) -> float:
    """Lower end of Wilson's one-sided 99 % interval of a share; 0 without trials. Wilson (1927)."""
    if not n:
        return 0.0
    z2 = Z_99 * Z_99
    centre = (bad + z2 / 2) / (n + z2)
    half = Z_99 / (n + z2) * math.sqrt(bad * (n - bad) / n + z2 / 4)
    return max(0.0, centre - half)


def ailments(counts: Counts, rule: HealthRule = DEFAULT_HEALTH) -> list[str]:
    """Why a version must be withdrawn, one sentence each; empty while it does well or too little is known."""
    if counts.answers < rule.least:
        return []
    shares: Mapping[str, tuple[int, int, float]] = {
        "forecasts were not the model's own": (counts.degraded, counts.predictions, rule.degraded),
        f"answers took longer than {rule.seconds:g} s": (counts.slow, counts.answers, rule.slow),
        "responses of the server failed (5xx)": (counts.failed, counts.responses, rule.failed),
    }
    return [
        f"{bad} of {n} {what}, surely more than {limit:.0%}"
        for what, (bad, n, limit) in shares.items()
        if lower_share(bad, n) > limit
    ]
