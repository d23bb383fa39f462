"""Whether a version answers well while it serves: bad answers are counted, a share too large withdraws it at once.

What belongs here: the rule over counts, what is remembered from look to look, and reading the counts from Prometheus text.
Only the standard library.

A canary is judged on the whole of its trial and on its last answers: the whole shows what is a little too much, the last
ones what has just begun, however long all was well before. A fault that the champion shows in the same time, no less than
the canary, is the server's or the fixtures' and withdraws nobody. Responses with status 5xx are not counted here for the
same reason: whatever a model does, the server answers by the fall-back ladder, so they are never one version's doing.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, replace

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class HealthRule:
    """When a version is withdrawn.

    Attributes:
        degraded, slow: largest share of forecasts that the model did not make itself (it broke: ratings or the base rate
            answered), and of answers slower than `seconds` (so that p99 <= seconds).
        least: answers without which nothing is said.
        recent: how many of its last answers a version is judged on besides all of them.
        alpha: probability at most with which a version at the largest share is found to be above it, at one look.
    """

    degraded: float = 0.01
    slow: float = 0.01
    seconds: float = 0.1
    least: int = 20
    recent: int = 50
    alpha: float = 1e-4


DEFAULT_HEALTH = HealthRule()


@dataclass(frozen=True)
class Counts:
    """What a server has counted of one version since it started."""

    answers: int = 0
    predictions: int = 0
    degraded: int = 0
    slow: int = 0

    def since(self, before: Counts) -> Counts:
        """What was counted after `before`, by the same server."""
        return Counts(**{name: value - getattr(before, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Look:
    """The counts of both versions at one moment."""

    canary: Counts = Counts()
    champion: Counts = Counts()

    def since(self, before: Look) -> Look:
        return Look(self.canary.since(before.canary), self.champion.since(before.champion))


@dataclass(frozen=True)
class Watch:
    """What is remembered of a trial.

    Attributes:
        trial: which one. server: the process that counts; another one has begun from nothing.
        first: the look when the trial, or in it the server, began.
        recent: looks, oldest first, from the last one that is at least HealthRule.recent answers ago to now.
    """

    trial: str
    server: str
    first: Look
    recent: tuple[Look, ...]

    @classmethod
    def begun(cls, trial: str, server: str, look: Look) -> Watch:
        return cls(trial, server, look, (look,))

    @classmethod
    def read(cls, text: str | None) -> Watch | None:
        """What `text` wrote; None without it, and if another release wrote it."""
        try:
            told = json.loads(text or "")
            first, *recent = (
                Look(**{role: Counts(**own) for role, own in one.items()}) for one in (told["first"], *told["recent"])
            )
            return cls(told["trial"], told["server"], first, tuple(recent)) if recent else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def text(self) -> str:
        return json.dumps(asdict(self))

    def after(self, server: str, look: Look, rule: HealthRule = DEFAULT_HEALTH) -> Watch:
        """The same trial after one more look."""
        if server != self.server:
            return Watch(self.trial, server, Look(), (Look(), look))
        kept = list(self.recent)
        if look.canary.answers > kept[-1].canary.answers:
            kept.append(look)
        while len(kept) > 2 and kept[-1].canary.answers - kept[1].canary.answers >= rule.recent:
            kept.pop(0)
        return replace(self, recent=tuple(kept))

    @property
    def whole(self) -> Look:
        """What was counted since the first look."""
        return self.recent[-1].since(self.first)

    @property
    def last(self) -> Look:
        """What was counted of the last answers."""
        return self.recent[-1].since(self.recent[0])


def read_counts(text: str, league: str, version: int, rule: HealthRule = DEFAULT_HEALTH) -> Counts:
    """The counts of one version from a server's /metrics page."""
    answers = predictions = degraded = quick = 0
    bounds: dict[float, int] = {}
    for sample in _SAMPLE.finditer(text):
        labels, value = dict(_LABEL.findall(sample["labels"])), int(float(sample["value"]))
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
    return Counts(answers, predictions, degraded, max(bounds.values(), default=0) - quick)


def surely_more(bad: int, n: int, limit: float, alpha: float) -> bool:
    """Whether so many bad ones of n have a probability of at most alpha if each is bad with probability `limit`.

    By Chernoff's bound on the binomial tail, exp(-n KL(bad/n || limit)), which holds for every n. Chernoff (1952).
    """
    return bad > n * limit and n * _divergence(bad / n, limit) >= -math.log(alpha)


def surely_apart(bad: int, n: int, other_bad: int, other_n: int, alpha: float) -> bool:
    """Whether the first share is larger than the second, by their likelihood ratio against one common share."""
    if not n or not other_n or bad * other_n <= other_bad * n:
        return False
    common = (bad + other_bad) / (n + other_n)
    ratio = n * _divergence(bad / n, common) + other_n * _divergence(other_bad / other_n, common)
    return ratio >= -math.log(alpha)


def ailments(look: Look, rule: HealthRule = DEFAULT_HEALTH) -> list[str]:
    """Why the canary must be withdrawn, one sentence each; empty while it does well, while too little is known, and where
    the champion ails as much."""
    if look.canary.answers < rule.least:
        return []
    told = {
        "degraded": ("predictions", "forecasts were not the model's own", rule.degraded),
        "slow": ("answers", f"answers took longer than {rule.seconds:g} s", rule.slow),
    }
    found = []
    for bad_of, (n_of, what, limit) in told.items():
        bad, n = getattr(look.canary, bad_of), getattr(look.canary, n_of)
        other_bad, other_n = getattr(look.champion, bad_of), getattr(look.champion, n_of)
        if not surely_more(bad, n, limit, rule.alpha):
            continue
        shared = surely_more(other_bad, other_n, limit, rule.alpha)
        if shared and not surely_apart(bad, n, other_bad, other_n, rule.alpha):
            continue
        found.append(f"{bad} of {n} {what}, surely more than {limit:.0%} (the champion's: {other_bad} of {other_n})")
    return found


def _divergence(share: float, limit: float) -> float:
    """Kullback and Leibler's, of two shares; natural logarithm."""
    parts = ((share, limit), (1 - share, 1 - limit))
    return sum(p * (math.log(p / q) if q > 0 else math.inf) for p, q in parts if p > 0)
