"""Small training sets and job folders for the tests of training and registry."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from hoops_assets.basketball.features import FEATURES
from hoops_assets.services.training.code import Code
from hoops_assets.services.training.contract import TrainingJob, TrainingSet
from hoops_assets.store import atomic
from hoops_assets.workloads.spec import TrainingSpec, training_set_digest, training_table

CODE = Code(commit="c" * 40, dirty=False, digest="d" * 64, lock_digest="e" * 64)


def training_frame(games: int = 600, seed: int = 0) -> pd.DataFrame:
    """Games with features that decide them in part, 60 % train, 20 % validation, 20 % test, five a day."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame(
        random.normal(size=(games, len(FEATURES))).astype("float32").astype("float64"), columns=list(FEATURES)
    )
    features["elo_difference"] *= 100
    features["home_court"] = 1.0
    days = [date(2015, 10, 1) + timedelta(days=number // 5) for number in range(games)]
    keys = pd.DataFrame({
        "game_id": [f"{day}.H{number % 5}.A" for number, day in enumerate(days)],
        "season": 2016,
        "day": days,
        "split": ["train" if n < games * 0.6 else "validation" if n < games * 0.8 else "test" for n in range(games)],
        "home_win": random.random(games) < 1 / (1 + np.exp(-features["elo_difference"] / 150)),
    })  # fmt: skip
    return pd.concat([keys, features], axis=1)


def job(frame: pd.DataFrame, learner: str = "elo", **changes: Any) -> TrainingJob:
    """A job on a frame in league `sim`."""
    given: dict[str, Any] = {
        "league": "sim",
        "learner": learner,
        "features": FEATURES,
        "code": CODE,
        "training_set": TrainingSet.of(
            frame, FEATURES, table="sim/training_set", table_version=7, filter="season <= 2016"
        ),
    }
    return TrainingJob(**{**given, **changes})


def job_folder(folder: Path, frame: pd.DataFrame, learner: str = "elo", **changes: Any) -> Path:
    """A job folder as a provider lays it out."""
    given: dict[str, Any] = {
        "league": "sim",
        "learner": learner,
        "features": FEATURES,
        "training_set_digest": training_set_digest(frame, FEATURES),
        "code_digest": CODE.digest,
    }
    atomic.write_json(folder / "input" / "spec.json", TrainingSpec(**{**given, **changes}).model_dump(mode="json"))
    pq.write_table(training_table(frame, FEATURES), folder / "input" / "training_set.parquet")
    return folder
