"""What a training job is told, and how its folder is laid out.

What belongs here: the typed content of `input/spec.json` and the names of the files of a job, which every provider's
folder shares. A job folder is

    input/spec.json             TrainingSpec
    input/training_set.parquet  game_id, season, day, split, home_win, and the features
    model/                      appears whole, by one rename:
        model.skops model.onnx  the fitted model, twice
        metrics.json            flat: validation_log_loss, test_brier, ...
        held_out.parquet        game_id, home_win, probability, and the features, of the test split
        games.json              game ids of each split
        history.json            losses after each step, of a learner that learns in steps
        spec.json               as read
        result.json             TrainingOutcome: digest, seconds, files
    output/failure              one line, if it failed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from pydantic import Field, JsonValue

from hoops_assets.basketball.league import Strict
from hoops_assets.errors import ModelError

SPEC = "spec.json"
TRAINING_SET = "training_set.parquet"
SKOPS = "model.skops"
ONNX = "model.onnx"
METRICS = "metrics.json"
HELD_OUT = "held_out.parquet"
GAMES = "games.json"
HISTORY = "history.json"
RESULT = "result.json"
FAILURE = "failure"
ONNX_PARITY = "onnx_parity"
"""The check that the exported model answers as the fitted one; its figure is the greatest difference."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
KEYS = ("game_id", "season", "day", "split", "home_win")
"""Columns of a training set before its features."""


class TrainingSpec(Strict):
    """What is to be fitted.

    Attributes:
        learner: a name of `basketball.estimators.LEARNERS`.
        parameters: keyword arguments of the learner; empty means its defaults.
        features: names and order of the model's inputs.
        seed: of the learner's random numbers, if it draws any.
        fit_on: splits that the exported model is fitted on; never "test".
        training_set_digest: of the frame in `input/`, see `training_set_digest`.
        code_digest: of the source that defines learner and features.
    """

    league: str
    learner: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    features: tuple[str, ...]
    seed: int = 0
    fit_on: tuple[Literal["train", "validation"], ...] = ("train", "validation")
    training_set_digest: str
    code_digest: str


def training_rows(frame: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """The columns of a training set, in order, sorted by (day, game_id): what a job is given.

    Raises:
        ModelError: a column is missing, or a game has no result.
    """
    wanted = [*KEYS, *features]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise ModelError(
            f"the training set lacks the columns {', '.join(missing)}; materialise game_features and training_set again"
        )
    if frame["home_win"].isna().any():
        unplayed = frame.loc[frame["home_win"].isna(), "game_id"]
        raise ModelError(
            f"the training set holds {len(unplayed)} games without a result, first {unplayed.iloc[0]}; leave them out"
        )
    types = {"season": "int32", "home_win": "bool", **dict.fromkeys(features, "float64")}
    return frame[wanted].sort_values(["day", "game_id"], kind="stable").reset_index(drop=True).astype(types)


def training_table(frame: pd.DataFrame, features: Sequence[str]) -> pa.Table:
    """`training_rows` as Arrow with a declared schema."""
    rows = training_rows(frame, features)
    schema = pa.schema([
        ("game_id", pa.string()), ("season", pa.int32()), ("day", pa.date32()), ("split", pa.string()),
        ("home_win", pa.bool_()),
        *((name, pa.float64()) for name in features),
    ])  # fmt: skip
    return pa.Table.from_pandas(rows, schema=schema, preserve_index=False).replace_schema_metadata(None)


def training_set_digest(frame: pd.DataFrame, features: Sequence[str]) -> str:
    """sha256 in hex over the rows; independent of the frame's row order and of further columns."""
    table = training_table(frame, features).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


class FileDigest(Strict):
    """sha256 in hex and size in bytes of one file."""

    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> FileDigest:
        content = Path(path).read_bytes()
        return cls(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


class TrainingOutcome(Strict):
    """What a finished job says of itself.

    Attributes:
        digest: of the model: `model.onnx` and the spec. The same inputs give the same digest.
        seconds: wall time of reading, fitting, exporting and checking.
        parity: greatest |difference in probability| between model.onnx and the fitted model on the held-out rows.
        files: digests of every other file of the folder.
        packages: versions of the libraries that made the model.
    """

    digest: str
    seconds: float
    parity: float
    files: dict[str, FileDigest]
    packages: dict[str, str]


def canonical(value: Any) -> bytes:
    """One spelling of a JSON value, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def model_digest(onnx: bytes, spec: TrainingSpec) -> str:
    """sha256 in hex over the ONNX model and the spec."""
    return hashlib.sha256(hashlib.sha256(onnx).digest() + canonical(spec.model_dump(mode="json"))).hexdigest()
