"""What every registry keeps.

- A version is immutable and numbered from 1 within its league, in the order of registration; a number is never given
  twice. What happens to a version later is an event, appended.
- `register` is idempotent by the model's digest: the same model again gives the version that exists.
- It refuses (ServiceError invalid) a model whose ONNX and skops answers on the held-out rows differ by more than 1e-5
  from each other or from what the training job recorded: it asks both files again itself.
- The challenger is the version of the last `challenger` event, never the newest by date.
- Errors are `ServiceError`; not_found for an unknown league or version, failed for a file that is no longer what was
  registered (the message names it).
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, JsonValue

from hoops_assets.services.training.code import Code
from hoops_assets.services.training.contract import TrainedModel, TrainingSet
from hoops_assets.workloads.spec import FileDigest, Split, Strict

Status = Literal["registered", "challenger"]
"""`challenger` is the one version that the last challenger event names; every other is `registered`."""

IMPORTED = "imported"
"""Provider of a version that came from a spreadsheet: it has the sheet's facts and its file, but no manifest."""

HIGHER_IS_BETTER = ("accuracy",)
"""Metrics of which more is better; of all others less is."""


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("give an aware time")
    return at.astimezone(UTC)


Utc = Annotated[datetime, AfterValidator(_utc)]


class Manifest(Strict):
    """What a version was made from, in full; read on its own, since it is long.

    Attributes:
        training_set: table, its version, filter, digest: enough to read the very rows again.
        games: game ids of each split.
    """

    league: str
    training_job: str
    learner: str
    parameters: dict[str, JsonValue]
    metrics: dict[str, float]
    features: tuple[str, ...]
    seed: int
    fit_on: tuple[str, ...]
    training_set: TrainingSet
    games: dict[Split, tuple[str, ...]]
    code: Code
    packages: dict[str, str]


class ModelVersion(Strict):
    """One registered model.

    Attributes:
        version: from 1.
        metrics: flat, as in TrainedModel: validation_log_loss, test_brier, ...
        commit: 40 hex digits, or "unknown"; `dirty` is None when unknown.
        lock_digest: sha256 of constraints.txt, or "unknown".
        created_by: user@host.
        trained_through: last day of the games it was fitted on.
        digest: of the model, see `workloads.spec.model_digest`.
        manifest_digest: sha256 of the manifest as stored.
        parity: greatest |difference in probability| between its two files on the held-out rows; None if imported.
        artefacts: digest of each file of the version; model.onnx and model.skops among them, unless imported.
        uri: of the folder that holds them.
    """

    league: str
    version: int
    learner: str
    parameters: dict[str, JsonValue]
    features: tuple[str, ...]
    metrics: dict[str, float]
    commit: str
    dirty: bool | None
    lock_digest: str
    created_at: Utc
    created_by: str
    trained_through: date
    training_job: str
    provider: str
    digest: str
    manifest_digest: str
    parity: float | None
    artefacts: dict[str, FileDigest]
    uri: str
    status: Status = "registered"

    @property
    def name(self) -> str:
        """LEAGUE/NUMBER."""
        return f"{self.league}/{self.version}"

    @property
    def deployable(self) -> bool:
        """Whether it can serve: it has a model.onnx and says what goes into it. False for most imported versions."""
        return "model.onnx" in self.artefacts and bool(self.features)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.artefacts.values())


class ChallengerEvent(Strict):
    """At that time that version became the challenger, on that evidence."""

    at: Utc
    version: int
    named_by: str
    evidence: dict[str, JsonValue]


@dataclass
class MirrorReport:
    """What a repair did.

    Attributes:
        added: our numbers of the versions that were missing and now are there.
        present: how many were there already.
        problem: why it stopped, or what was refused of single versions, or None; the next repair goes on from there.
    """

    added: list[int] = field(default_factory=list)
    present: int = 0
    problem: str | None = None


class Registry(Protocol):
    """Keeps versions of models. See the module's docstring for what each call means."""

    provider: str

    def register(self, trained: TrainedModel) -> ModelVersion:
        """The version of a trained model, made if it does not exist.

        Raises:
            ServiceError: invalid (parity, or its files are not what the job wrote).
        """
        ...

    def get(self, league: str, version: int) -> ModelVersion:
        """One version. Raises ServiceError not_found."""
        ...

    def list(self, league: str) -> builtins.list[ModelVersion]:
        """All versions of a league, oldest first; empty for a league without any."""
        ...

    def manifest(self, league: str, version: int) -> Manifest:
        """What a version was made from. Raises ServiceError not_found, failed."""
        ...

    def artefacts(self, league: str, version: int) -> Path:
        """A local folder with the version's files, digests checked. Raises ServiceError not_found, failed."""
        ...

    def name_challenger(self, league: str, version: int, evidence: dict[str, Any]) -> ChallengerEvent:
        """Appends that the version is the challenger; the same version on the same evidence again appends nothing."""
        ...

    def challenger(self, league: str) -> ModelVersion | None:
        """The version that challenges now, or None."""
        ...

    def challengers(self, league: str) -> builtins.list[ChallengerEvent]:
        """Every naming of a challenger, oldest first."""
        ...


def search(
    versions: list[ModelVersion], metric: str, *, learner: str | None = None,
    at_least: float | None = None, at_most: float | None = None,
) -> list[ModelVersion]:  # fmt: skip
    """Versions that have a metric, best first; ties by version.

    Args:
        metric: for example "test_log_loss".
        learner: only this one's.
        at_least: only versions whose metric is no less.
        at_most: only versions whose metric is no more.
    """
    sign = -1 if metric.endswith(HIGHER_IS_BETTER) else 1
    found = [
        version
        for version in versions
        if metric in version.metrics
        and (learner is None or version.learner == learner)
        and (at_least is None or version.metrics[metric] >= at_least)
        and (at_most is None or version.metrics[metric] <= at_most)
    ]
    return sorted(found, key=lambda version: (sign * version.metrics[metric], version.version))
