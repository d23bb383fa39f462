"""A home with three models of a small league, and a trial in it of as many game days as a test wants.

The models are fitted on made-up games; what versions forecast of the trial's games is written straight into the tables, so
that its true gain is known.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.judging.scoring import brier_scores, log_losses
from hoops_assets.judging.simulation import TRUE_LOGIT
from hoops_assets.services.prediction.enter import Entered, Entrance
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.prediction.rollout import Decision, Rollout
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.training.contract import TrainingSet, train
from hoops_assets.services.training.local import LocalTraining
from hoops_assets.sources.leagues import get_league
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets.store.schemas import TABLES
from hoops_assets.workloads.evaluate import evaluation, judge
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.workloads.frames import job, training_frame

LEAGUE = small.NAME
LEARNERS = ("elo", "logistic", "base_rate")
"""Version 1, 2 and 3."""

ELO, LOGISTIC, BASE_RATE = 1, 2, 3
START = date(2024, 11, 4)
NOW = datetime(2024, 11, 4, 15, tzinfo=UTC)
"""Before the first game of START."""

PASSED: Mapping[str, bool | None] = {"results": True, "game_features": True}
ANN = Decision("ann@desk", "", launched_from="cli")
AUTOMATION = Decision("small/canary_endpoint", "", launched_from="sensor")


def make_models(home: Path) -> Path:
    """A home with the training set and the three models; logistic is the challenger."""
    small.make_home(home)
    frame = training_frame().astype({"season": "int32"})
    version = DeltaStore(str(home / "tables")).overwrite(
        LEAGUE, "training_set", frame[list(TABLES["training_set"].columns)]
    )
    reference = TrainingSet.of(frame, FEATURES, table=f"{LEAGUE}/training_set", table_version=version)
    service, registry = LocalTraining(home / "jobs"), LocalRegistry(home / "registry")
    evaluations = []
    for learner in LEARNERS:
        made = registry.register(train(service, job(frame, learner, league=LEAGUE, training_set=reference), frame))
        evaluations.append(evaluation(frame, LEAGUE, learner, made.version, {}, made.metrics))
    registry.name_challenger(LEAGUE, LOGISTIC, judge(evaluations).evidence)
    return home


@dataclass(frozen=True)
class Home:
    """What the tests ask of a home."""

    path: Path

    @classmethod
    def copy_of(cls, models: Path, to: Path) -> Home:
        shutil.copytree(models, to)
        return cls(to)

    @property
    def league(self) -> League:
        return get_league(self.path, LEAGUE)

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(str(self.path / "tables"))

    @property
    def record(self) -> Record:
        return Record(self.path / "record.db")

    @property
    def registry(self) -> LocalRegistry:
        return LocalRegistry(self.path / "registry")

    @property
    def prediction(self) -> LocalPrediction:
        return LocalPrediction(self.registry, self.path)

    @property
    def rollout(self) -> Rollout:
        from hoops_assets.services.prediction.bundle import pack

        return Rollout(
            LEAGUE, self.prediction, self.record,
            lambda version: pack(self.registry, self.store, self.league, version, NOW, 7), self.path / "rollout.lock",
        )  # fmt: skip

    def enter(
        self,
        version: int | None = None,
        share: int = 10,
        checks: Mapping[str, bool | None] = PASSED,
        decision: Decision = ANN,
    ) -> Entered:
        entrance = Entrance(self.league, self.registry, self.store, self.record, self.prediction, self.rollout, NOW)
        return entrance.enter(version=version, share=share, data_checks=checks, decision=decision)

    def on_trial(self, champion: int = ELO, canary: int = LOGISTIC) -> Home:
        """Serves a champion and a canary beside it."""
        assert self.enter(champion).endpoint
        assert self.enter(canary).endpoint
        return self

    def play(self, days: int, each: int = 8, worse: Mapping[int, float] | None = None, seed: int = 0) -> Home:
        """Settles `days` game days from START on; `worse`: version -> standard deviation of its error in log odds."""
        worse = {ELO: 0.15, LOGISTIC: 0.15} if worse is None else worse
        write_trial(self.store, made_up_trial(days, each, worse, seed))
        return self


def made_up_trial(days: int, each: int, worse: Mapping[int, float], seed: int = 0) -> pd.DataFrame:
    """Columns of `scored_predictions`, forecasts made before tip-off."""
    rng = np.random.default_rng(seed)
    n = days * each
    day = [START + timedelta(days=number // each) for number in range(n)]
    truth = rng.normal(*TRUE_LOGIT, size=n)
    won = rng.random(n) < 1 / (1 + np.exp(-truth))
    teams = [f"T{number % each}" for number in range(n)]
    games = pd.DataFrame({
        "game_id": [f"{one}.{home}.AWAY" for one, home in zip(day, teams, strict=True)],
        "season": 2025, "day": day, "tip_off": pd.to_datetime(pd.Series(day)).dt.tz_localize("UTC") + pd.Timedelta("23h"),
        "home": teams, "away": "AWAY", "neutral": False, "stage": "regular", "home_win": won,
    })  # fmt: skip
    forecasts = []
    for version, noise in worse.items():
        p = 1 / (1 + np.exp(-(truth + noise * rng.standard_normal(n))))
        made = games.assign(
            version=version, learner=LEARNERS[(version - 1) % len(LEARNERS)], home_win_probability=p, backfilled=False
        )
        made["degraded"] = ""
        made["made_at"] = made["tip_off"] - pd.Timedelta("8h")
        forecasts.append(made.assign(log_loss=log_losses(p, won), brier=brier_scores(p, won)))
    return _typed("scored_predictions", pd.concat(forecasts))


def write_trial(store: DeltaStore, scored: pd.DataFrame) -> None:
    """The trial's games, their results and their scored forecasts into the tables."""
    games = scored.drop_duplicates("game_id")
    store.overwrite(LEAGUE, "fixtures", _typed("fixtures", games))
    home, away = games["home_win"].map({True: 90, False: 80}), games["home_win"].map({True: 80, False: 90})
    store.overwrite(LEAGUE, "results", _typed("results", games.assign(home_score=home, away_score=away)))
    store.overwrite(LEAGUE, "scored_predictions", _typed("scored_predictions", scored))


def _typed(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    spec = TABLES[table]
    return frame[list(spec.columns)].astype(spec.columns).sort_values(["day", *spec.key]).reset_index(drop=True)
