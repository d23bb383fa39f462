"""The steps of a training pipeline that follow training.

What belongs here: their files. `evaluate` reads IN as a training job's input (spec.json, training_set.parquet) and the
model's metrics.json, and writes OUT/evaluation.json, an Evaluation whose version is 0: a number is given by the registry.
`judge` reads IN/LEARNER/evaluation.json of every candidate and writes OUT/judgement.json, a Judgement.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from hoops_assets.errors import LeakAlarm, ModelError
from hoops_assets.store import atomic
from hoops_assets.workloads import evaluate as judging
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads.evaluation import Evaluation
from hoops_assets.workloads.spec import Strict, TrainingSpec

EVALUATION = "evaluation.json"
JUDGEMENT = "judgement.json"
ARCHIVE = "model.tar.gz"


class Judgement(Strict):
    """Which candidate should challenge.

    Attributes:
        honest: whether the forecasts are such as an honest model can make; if not, nobody challenges.
        challenger: the learner; "" if not honest.
        told: why, in one sentence.
        evidence: for the record.
    """

    honest: bool
    challenger: str
    told: str
    evidence: dict[str, Any] = Field(default_factory=dict)


def evaluate(given: Path, metrics: dict[str, float]) -> Evaluation:
    """Walk-forward forecasts of the learner that IN describes. Raises ModelError."""
    try:
        spec = TrainingSpec.model_validate_json((given / layout.SPEC).read_bytes())
        frame: pd.DataFrame = pq.read_table(given / layout.TRAINING_SET).to_pandas()
    except (OSError, ValidationError, ValueError) as error:
        raise ModelError(f"{given} does not hold what a training job is given: {error}") from error
    return judging.evaluation(frame, spec.league, spec.learner, 0, spec.parameters, metrics)


def judge(evaluations: dict[str, Evaluation]) -> Judgement:
    """Chooses among candidates, by learner. Raises ModelError if there is none."""
    if not evaluations:
        raise ModelError("there is no evaluation to judge")
    numbered = [one.model_copy(update={"version": n}) for n, (_, one) in enumerate(sorted(evaluations.items()), 1)]
    try:
        judged = judging.judge(numbered)
    except LeakAlarm as alarm:
        return Judgement(honest=False, challenger="", told=str(alarm))
    best = judged.candidates.iloc[0]
    told = f"{judged.learner} has the lowest {judging.CHOSEN_BY.replace('_', ' ')}, {best[judging.CHOSEN_BY]:.4f}"
    return Judgement(honest=True, challenger=judged.learner, told=told, evidence=judged.evidence)


def metrics_of(folder: Path) -> dict[str, float]:
    """metrics.json of a model, from its folder or from the archive in it. Raises ModelError."""
    try:
        if (folder / ARCHIVE).is_file():
            with tarfile.open(folder / ARCHIVE, "r:gz") as archive:
                member = archive.extractfile(layout.METRICS)
                return json.loads(member.read() if member else b"")
        return json.loads((folder / layout.METRICS).read_bytes())
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise ModelError(f"{folder} holds no model with {layout.METRICS}: {error}") from error


def run_evaluate(given: Path, model: Path, out: Path) -> None:
    """The step `evaluate`, between folders. Raises ModelError."""
    found = evaluate(given, metrics_of(model))
    atomic.write_text(out / EVALUATION, found.model_dump_json())


def run_judge(given: Path, out: Path) -> None:
    """The step `judge`, between folders. Raises ModelError."""
    found = {
        path.parent.name: Evaluation.model_validate_json(path.read_bytes())
        for path in sorted(given.glob(f"*/{EVALUATION}"))
    }
    atomic.write_text(out / JUDGEMENT, judge(found).model_dump_json())
