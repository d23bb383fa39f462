"""SageMaker's built-in XGBoost as a container: `python -P .../xgboost.py train`.

What belongs here: the algorithm's side of the contract (hyper-parameters as text, CSV with the label first and no header,
one line of losses a round, xgboost-model in the model folder), around the real XGBoost. Extra `emulators`.
https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

IMAGE = "/sagemaker-xgboost:"
COMMAND = ("python", "-P", __file__)
"""By its file, so that the container does not import the whole emulator; -P, so that it does not import itself."""
METRICS = [
    {"Name": f"{channel}:logloss", "Regex": rf".*\[[0-9]+\].*#011{channel}-logloss:([-+]?[0-9]*\.?[0-9]+).*"}
    for channel in ("train", "validation")
]
"""What SageMaker defines for the algorithm itself."""

_INTEGERS = ("num_round", "max_depth", "seed", "nthread", "early_stopping_rounds", "max_leaves")
_FRACTIONS = (
    "eta", "gamma", "min_child_weight", "max_delta_step", "subsample", "colsample_bytree", "colsample_bylevel",
    "colsample_bynode", "lambda", "alpha", "base_score", "scale_pos_weight",
)  # fmt: skip
_WORDS = ("objective", "eval_metric", "booster", "tree_method", "grow_policy", "verbosity")


def main(arguments: list[str]) -> int:
    """Trains; the exit status is 1 with the reason in output/failure if that cannot be done."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
    if arguments != ["train"]:
        sys.stderr.write("usage: xgboost.py train\n")
        return 2
    try:
        train(base)
    except (ValueError, KeyError, OSError, ImportError) as error:
        (base / "output" / "failure").write_text(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def train(base: Path) -> None:
    """Raises ValueError for hyper-parameters or data that the algorithm refuses."""
    import xgboost

    given = json.loads((base / "input" / "config" / "hyperparameters.json").read_text())
    parameters = dict(_typed(name, value) for name, value in given.items())
    if "num_round" not in parameters:
        raise ValueError("Required hyperparameter num_round is missing")
    rounds, patience = parameters.pop("num_round"), parameters.pop("early_stopping_rounds", None)
    data = {channel.name: _matrix(xgboost, channel) for channel in sorted((base / "input" / "data").iterdir())}
    if "train" not in data:
        raise ValueError("Required channel train is missing")
    booster = xgboost.train(
        {"nthread": 1, **parameters, "verbosity": 0}, data["train"], rounds,
        evals=[(data[name], name) for name in ("train", "validation") if name in data],
        early_stopping_rounds=patience, verbose_eval=False, callbacks=[_lines(xgboost)],
    )  # fmt: skip
    booster.save_model(base / "model" / "xgboost-model")


def _typed(name: str, value: str) -> tuple[str, Any]:
    for names, kind in ((_INTEGERS, int), (_FRACTIONS, float), (_WORDS, str)):
        if name in names:
            return name, kind(value)
    raise ValueError(f"Extraneous hyperparameter found: {name}")


def _matrix(xgboost: Any, channel: Path) -> Any:
    import numpy as np

    rows = np.concatenate([np.loadtxt(file, delimiter=",", ndmin=2) for file in sorted(channel.glob("*.csv"))])
    return xgboost.DMatrix(rows[:, 1:], label=rows[:, 0])


def _lines(xgboost: Any) -> Any:
    class Lines(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            told = "".join(
                f"#011{data}-{metric}:{values[-1]:.5f}"
                for data, metrics in evals_log.items()
                for metric, values in metrics.items()
            )
            sys.stdout.write(f"[{epoch}]{told}\n")
            return False

    return Lines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
