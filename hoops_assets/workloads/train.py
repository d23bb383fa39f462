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

PACKAGES = ("numpy", "pandas", "scikit-learn", "skops", "skl2onnx", "onnx", "onnxruntime")


def run(job_folder: Path) -> TrainingOutcome:
    """Trains as FOLDER/input says and writes FOLDER/model.

    A folder that holds its model already is not trained again.

    Raises:
        ModelError: the inputs are incomplete or overlap in time, the learner is unknown or refuses its parameters, or
            the exported model does not answer as the fitted one. No `model` folder is left.
    """
    started = time.monotonic()
    folder = Path(job_folder)
    spec = _read_spec(folder / "input" / layout.SPEC)
    final = folder / "model"
    if final.exists():
        return _finished(final, spec)
    rows = _read_training_set(folder / "input" / layout.TRAINING_SET, spec)
    fault_point("training.before_fit")

    by_split = {split: rows[rows["split"] == split] for split in layout.SPLITS}
    first = _fit(spec, by_split["train"])
    metrics = _metrics("validation", by_split["validation"], _forecast(first, spec, by_split["validation"]))
    fitted = first if spec.fit_on == ("train",) else _fit(spec, rows[rows["split"].isin(spec.fit_on)])
    held_out = by_split["test"]
    probability = _forecast(fitted, spec, held_out)
    metrics |= _metrics("test", held_out, probability)
    fault_point("training.after_fit")

    pipeline = exportable(fitted)
    skops, onnx = export.to_skops(pipeline), export.to_onnx_bytes(pipeline, spec.features)
    values = export.model_input(held_out, spec.features)
    read_back = export.home_win_probability(export.from_skops(skops), values)
    export.check_parity(probability, read_back, layout.SKOPS, f"the fitted {spec.learner}", held_out)
    answered = export.OnnxModel(onnx).home_win_probability(values)
    parity = export.check_parity(probability, answered, layout.ONNX, f"the fitted {spec.learner}", held_out)

    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".model-"))
    try:
        atomic.write_bytes(temporary / layout.SKOPS, skops)
        atomic.write_bytes(temporary / layout.ONNX, onnx)
        atomic.write_json(temporary / layout.METRICS, metrics)
        atomic.write_json(temporary / layout.SPEC, spec.model_dump(mode="json"))
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
    for name, value in metrics.items():
        sys.stdout.write(f"metric {name}={value:.10g}\n")
    sys.stdout.flush()
    return outcome


def _finished(final: Path, spec: TrainingSpec) -> TrainingOutcome:
    if _read_spec(final / layout.SPEC) != spec:
        raise ModelError(
            f"{final} holds the model of another spec than {final.parent / 'input' / layout.SPEC}; use a new job folder"
        )
    return TrainingOutcome.model_validate_json(inputs.read(final, layout.RESULT))


def _read_spec(path: Path) -> TrainingSpec:
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
    if spec.learner not in LEARNERS:
        raise ModelError(f"{path}, field learner: {spec.learner!r} is none of {', '.join(LEARNERS)}")
    if spec.features != FEATURES:
        raise ModelError(f"{path}, field features: this code's learners take {', '.join(FEATURES)}; make the job again")
    return spec


def _read_training_set(path: Path, spec: TrainingSpec) -> pd.DataFrame:
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


def _fit(spec: TrainingSpec, rows: pd.DataFrame) -> Any:
    try:
        learner: Any = LEARNERS[spec.learner](**spec.parameters)
        learner.set_params(**{name: spec.seed for name in learner.get_params() if name.endswith("random_state")})
        # Then no sum depends on the number of cores; a league's games are too few to gain from more threads.
        with threadpool_limits(1):
            return learner.fit(_values(spec, rows), rows["home_win"].to_numpy(dtype="int64"))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"learner {spec.learner} cannot be fitted on {len(rows)} games with {spec.parameters}: {error}"
        ) from error


def _values(spec: TrainingSpec, rows: pd.DataFrame) -> np.ndarray:
    return export.model_input(rows, spec.features).astype("float64")


def _forecast(fitted: Any, spec: TrainingSpec, rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(fitted.predict_proba(_values(spec, rows)), dtype="float64")[:, 1]


def _metrics(split: str, rows: pd.DataFrame, probability: np.ndarray) -> dict[str, float]:
    scores = scoring.scores(probability, rows["home_win"].to_numpy(dtype="float64"))
    return {f"{split}_{name}": float(value) for name, value in scores.items()}


def _held_out_table(rows: pd.DataFrame, probability: np.ndarray, spec: TrainingSpec) -> pd.DataFrame:
    features = pd.DataFrame(export.model_input(rows, spec.features), columns=list(spec.features))
    home_win = rows["home_win"].to_numpy(dtype="int8")
    head = pd.DataFrame({"game_id": rows["game_id"].to_numpy(), "home_win": home_win, "probability": probability})
    return pd.concat([head, features], axis=1)


def main(arguments: list[str]) -> int:
    """Runs one job; a failure's reason goes to FOLDER/output/failure and to stderr, and the exit status is 1."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m hoops_assets.workloads.train FOLDER\n")
        return 2
    folder = Path(arguments[0])
    try:
        run(folder)
    except Exception as error:  # whatever it is, the provider needs a reason it can show
        reason = str(error) if isinstance(error, HoopsError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, HoopsError):
            traceback.print_exc()
        sys.stderr.write(reason + "\n")
        if folder.is_dir():
            atomic.write_text(folder / "output" / layout.FAILURE, reason + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
