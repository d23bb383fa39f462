"""Fits one learner on one training set: `python -m hoops_assets.workloads.train FOLDER`.

What belongs here: the training program that runs in this process, in a child process or in a cloud's container alike.
It reads FOLDER/input, writes FOLDER/model by one rename, and prints one line `metric NAME=VALUE` a metric, which clouds
read by regular expression. Validation metrics come from a model fitted on the train split alone; the exported model is
fitted on the splits in `spec.fit_on`, and its test metrics on games it never saw.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from hoops_assets.basketball.estimators import LEARNERS, exportable
from hoops_assets.basketball.features import FEATURES
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.judging import scoring
from hoops_assets.store import atomic
from hoops_assets.store.faults import fault_point
from hoops_assets.workloads import export, inputs
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads.spec import FileDigest, TrainingOutcome, TrainingSpec, model_digest
from hoops_assets.workloads.steps import History, fit_in_steps, learns_in_steps
from hoops_assets.workloads.telling import Listener, current

PACKAGES = ("numpy", "pandas", "scikit-learn", "skops", "skl2onnx", "onnx", "onnxruntime")


def run(job_folder: Path, listener: Listener | None = None) -> TrainingOutcome:
    """Trains as FOLDER/input says and writes FOLDER/model.

    A folder that holds its model already is not trained again.

    Args:
        listener: by default whoever listens in this process; is told how far it is, the metrics as soon as they are known,
            and the check `onnx_parity`.

    Raises:
        ModelError: the inputs are incomplete or overlap in time, the learner is unknown or refuses its parameters, or
            the exported model does not answer as the fitted one. No `model` folder is left.
    """
    started = time.monotonic()
    folder, told = Path(job_folder), listener or current()
    spec = read_spec(folder / "input" / layout.SPEC)
    final = folder / "model"
    if final.exists():
        return _finished(final, spec)
    rows = read_training_set(folder / "input" / layout.TRAINING_SET, spec)
    fault_point("training.before_fit")

    by_split = {split: rows[rows["split"] == split] for split in layout.SPLITS}
    told.log(f"fitting {spec.learner} on {len(by_split['train'])} games of {spec.league}")
    first, history = _fit_first(spec, by_split, told)
    metrics = metrics_of("validation", by_split["validation"], _forecast(first, spec, by_split["validation"]))
    told.log(f"{spec.learner}: log loss {metrics['validation_log_loss']:.4f} on the validation games")
    told.metrics(metrics)
    trees = {"max_iter": history.best} if history and history.stopped else {}
    fitted = first if spec.fit_on == ("train",) else _fit(spec, rows[rows["split"].isin(spec.fit_on)], **trees)
    held_out = by_split["test"]
    probability = _forecast(fitted, spec, held_out)
    tested = metrics_of("test", held_out, probability)
    told.metrics(tested)
    metrics |= tested
    fault_point("training.after_fit")

    outcome = leave(folder, spec, exportable(fitted), by_split, metrics, probability, told, started, history)
    for name, value in metrics.items():
        sys.stdout.write(f"metric {name}={value:.10g}\n")
    sys.stdout.flush()
    fitted_on = sum(len(by_split[split]) for split in spec.fit_on)
    told.metadata({"fitted_on_games": fitted_on, "fitting_seconds": round(outcome.seconds, 2), **_versions(outcome)})
    return outcome


def leave(
    folder: Path, spec: TrainingSpec, pipeline: Any, by_split: Mapping[str, pd.DataFrame],
    metrics: dict[str, float], probability: np.ndarray, told: Listener, started: float, history: History | None = None,
) -> TrainingOutcome:  # fmt: skip
    """Writes FOLDER/model by one rename.

    Args:
        pipeline: the fitted model as it is exported.
        probability: float64, of the fitted model for the test split's rows in their order.
        started: on the monotonic clock.
        history: losses after each step, of a learner that learns in steps.

    Raises:
        ModelError: one of the two files does not answer as the fitted model.
    """
    held_out, final = by_split["test"], folder / "model"
    skops, onnx = export.to_skops(pipeline), export.to_onnx_bytes(pipeline, spec.features)
    values = export.model_input(held_out, spec.features)
    read_back = export.home_win_probability(export.from_skops(skops), values)
    export.check_parity(probability, read_back, layout.SKOPS, f"the fitted {spec.learner}", held_out)
    answered = export.OnnxModel(onnx).home_win_probability(values)
    parity = export.check_parity(probability, answered, layout.ONNX, f"the fitted {spec.learner}", held_out)
    told.check(layout.ONNX_PARITY, True, {"greatest_difference": parity, "held_out_games": len(held_out)})

    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".model-"))
    try:
        atomic.write_bytes(temporary / layout.SKOPS, skops)
        atomic.write_bytes(temporary / layout.ONNX, onnx)
        atomic.write_json(temporary / layout.METRICS, metrics)
        atomic.write_json(temporary / layout.SPEC, spec.model_dump(mode="json"))
        if history:
            atomic.write_json(temporary / layout.HISTORY, history.json())
        atomic.write_json(
            temporary / layout.GAMES, {split: list(by_split[split]["game_id"]) for split in layout.SPLITS}
        )
        _held_out_table(held_out, probability, spec).to_parquet(temporary / layout.HELD_OUT, index=False)
        outcome = TrainingOutcome(
            digest=model_digest(onnx, spec),
            seconds=time.monotonic() - started,
            parity=parity,
            files={path.name: FileDigest.of(path) for path in sorted(temporary.iterdir())},
            packages={"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        )
        atomic.write_json(temporary / layout.RESULT, outcome.model_dump(mode="json"))
        temporary.chmod(0o755)
        atomic.commit_folder(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return outcome


def _versions(outcome: TrainingOutcome) -> dict[str, str]:
    return {f"package_{name}": outcome.packages[name] for name in ("python", "scikit-learn", "onnx")}


def _finished(final: Path, spec: TrainingSpec) -> TrainingOutcome:
    if read_spec(final / layout.SPEC) != spec:
        raise ModelError(
            f"{final} holds the model of another spec than {final.parent / 'input' / layout.SPEC}; use a new job folder"
        )
    return TrainingOutcome.model_validate_json(inputs.read(final, layout.RESULT))


def read_spec(path: Path, learners: Collection[str] | None = LEARNERS) -> TrainingSpec:
    """What a job is told. Args: learners: those that this program has; None: it is fitted elsewhere.

    Raises:
        ModelError: the file is missing or wrong.
    """
    try:
        spec = TrainingSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(
            f"{path} is missing; a job folder needs input/{layout.SPEC} and input/{layout.TRAINING_SET}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(
            f"{path}, field {'.'.join(map(str, first['loc'])) or '(whole file)'}: {first['msg']}"
        ) from error
    if not spec.fit_on:
        raise ModelError(f"{path}, field fit_on: name at least one split to fit the exported model on")
    if learners is not None and spec.learner not in learners:
        raise ModelError(f"{path}, field learner: {spec.learner!r} is none of {', '.join(learners)}")
    if spec.features != FEATURES:
        raise ModelError(f"{path}, field features: this code's learners take {', '.join(FEATURES)}; make the job again")
    return spec


def read_training_set(path: Path, spec: TrainingSpec) -> pd.DataFrame:
    """Rows sorted as they came, checked: all splits filled, later splits later in time, both outcomes to learn from."""
    try:
        rows = pq.read_table(path).to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise ModelError(f"{path} is not a readable Parquet file: {error}") from error
    missing = [name for name in (*layout.KEYS, *spec.features) if name not in rows.columns]
    if missing:
        raise ModelError(f"{path} lacks the columns {', '.join(missing)}")
    digest = layout.training_set_digest(rows, spec.features)
    if digest != spec.training_set_digest:
        raise ModelError(
            f"{path} has digest {digest[:12]}, not {spec.training_set_digest[:12]}; the rows changed on the way"
        )
    odd = sorted(set(rows["split"]) - set(layout.SPLITS))
    if odd:
        raise ModelError(f"{path}, column split: {odd[0]!r} is none of {', '.join(layout.SPLITS)}")
    if rows["game_id"].duplicated().any():
        twice = rows.loc[rows["game_id"].duplicated(), "game_id"].iloc[0]
        raise ModelError(f"{path}, column game_id: {twice} stands twice")
    last: Any = None
    for split in layout.SPLITS:
        days = rows.loc[rows["split"] == split, "day"]
        if days.empty:
            raise ModelError(f"{path} has no games in the {split} split; each of {', '.join(layout.SPLITS)} needs some")
        if last is not None and not last < days.min():
            raise ModelError(
                f"{path}: the {split} split begins on {days.min()}, not after {last}, where the split before it ends"
            )
        last = days.max()
    if rows.loc[rows["split"] == "train", "home_win"].nunique() < 2:
        raise ModelError(f"{path}: all games of the train split have the same outcome; give more games")
    return rows


def _fit_first(
    spec: TrainingSpec, by_split: Mapping[str, pd.DataFrame], told: Listener
) -> tuple[Any, History | None]:  # fmt: skip
    """The model of the train split, watched on the validation split while it learns if it learns in steps."""
    learner = _learner(spec)
    if not learns_in_steps(learner):
        return _fit(spec, by_split["train"]), None
    train, later = (
        (_values(spec, by_split[split]), by_split[split]["home_win"].to_numpy(dtype="int64"))
        for split in ("train", "validation")
    )
    patience = spec.parameters.get("patience", 0)
    try:
        return fit_in_steps(learner, train, later, told, patience if isinstance(patience, int) else 0)
    except (TypeError, ValueError) as error:
        raise _cannot(spec, by_split["train"], error) from error


def _learner(spec: TrainingSpec, **other: Any) -> Any:
    try:
        learner: Any = LEARNERS[spec.learner](**{**spec.parameters, **other})
    except (TypeError, ValueError) as error:
        raise ModelError(f"learner {spec.learner} cannot be fitted with {spec.parameters}: {error}") from error
    return learner.set_params(**{name: spec.seed for name in learner.get_params() if name.endswith("random_state")})


def _fit(spec: TrainingSpec, rows: pd.DataFrame, **other: Any) -> Any:
    """Args: other: parameters instead of the spec's."""
    learner = _learner(spec, **other)
    try:
        # Then no sum depends on the number of cores; a league's games are too few to gain from more threads.
        with threadpool_limits(1):
            return learner.fit(_values(spec, rows), rows["home_win"].to_numpy(dtype="int64"))
    except (TypeError, ValueError) as error:
        raise _cannot(spec, rows, error) from error


def _cannot(spec: TrainingSpec, rows: pd.DataFrame, error: Exception) -> ModelError:
    return ModelError(f"learner {spec.learner} cannot be fitted on {len(rows)} games with {spec.parameters}: {error}")


def _values(spec: TrainingSpec, rows: pd.DataFrame) -> np.ndarray:
    return export.model_input(rows, spec.features).astype("float64")


def _forecast(fitted: Any, spec: TrainingSpec, rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(fitted.predict_proba(_values(spec, rows)), dtype="float64")[:, 1]


def metrics_of(split: str, rows: pd.DataFrame, probability: np.ndarray) -> dict[str, float]:
    scores = scoring.scores(probability, rows["home_win"].to_numpy(dtype="float64"))
    return {f"{split}_{name}": float(value) for name, value in scores.items()}


def _held_out_table(rows: pd.DataFrame, probability: np.ndarray, spec: TrainingSpec) -> pd.DataFrame:
    features = pd.DataFrame(export.model_input(rows, spec.features), columns=list(spec.features))
    home_win = rows["home_win"].to_numpy(dtype="int8")
    head = pd.DataFrame({"game_id": rows["game_id"].to_numpy(), "home_win": home_win, "probability": probability})
    return pd.concat([head, features], axis=1)


def main(arguments: list[str], listener: Listener | None = None) -> int:
    """Runs one job; a failure's reason goes to FOLDER/output/failure and to stderr, and the exit status is 1."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m hoops_assets.workloads.train FOLDER\n")
        return 2
    folder = Path(arguments[0])
    try:
        run(folder, listener)
    except Exception as error:  # whatever it is, the provider needs a reason it can show
        reason = str(error) if isinstance(error, HoopsError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, HoopsError):
            traceback.print_exc()
        sys.stderr.write(reason + "\n")
        if listener is not None:
            listener.log(f"failed: {reason}")
        if folder.is_dir():
            atomic.write_text(folder / "output" / layout.FAILURE, reason + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
