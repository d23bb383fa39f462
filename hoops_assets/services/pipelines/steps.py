"""The one list of our training steps, from which the assets and every provider's pipeline are made.

What belongs here: which candidates there are, which steps each takes, and what a step needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

CANDIDATES = {
    "base_rate": "The share of home wins: the floor that every model must beat.",
    "elo": "The published Elo formula on team ratings, nothing fitted.",
    "logistic": "Logistic regression on ratings, rest and recent form.",
    "boosting": "Gradient boosting on the same features.",
    "ensemble": "Two Kalman filters on the margin and what is at stake in the standings.",
}
"""Learner -> what it is; every league trains them all."""

JUDGEMENT, HONEST, CHALLENGER, REFUSED = "judgement", "honest", "challenger", "refused"

Kind = Literal["train", "evaluate", "judge", "condition", "register", "refuse"]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: of the asset that it makes, where it makes one.
        needs: steps that must have succeeded before it begins.
        branch: outcome of the condition among `needs` that lets it begin; None for a step that always runs.
    """

    name: str
    kind: Kind
    needs: tuple[str, ...] = ()
    learner: str = ""
    branch: bool | None = None


def training_steps(learners: Iterable[str]) -> tuple[Step, ...]:
    """Train and evaluate each candidate side by side, judge them, and register the best if the judgement is honest."""
    candidates = tuple(learners)
    return (
        *(Step(name, "train", learner=name) for name in candidates),
        *(Step(evaluation_of(name), "evaluate", (name,), name) for name in candidates),
        Step(JUDGEMENT, "judge", tuple(evaluation_of(name) for name in candidates)),
        Step(HONEST, "condition", (JUDGEMENT,)),
        Step(CHALLENGER, "register", (HONEST,), branch=True),
        Step(REFUSED, "refuse", (HONEST,), branch=False),
    )


def evaluation_of(learner: str) -> str:
    """Name of a candidate's evaluation."""
    return f"{learner}_evaluation"
