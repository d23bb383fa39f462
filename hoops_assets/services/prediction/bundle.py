"""What a server is given, made from the registry and the league's tables.

What belongs here: packing a version for deployment, and collecting the coming games' features. Imported when something is
deployed: it reads Delta tables.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from hoops_assets.basketball.league import League
from hoops_assets.errors import ModelError
from hoops_assets.judging.scoring import reliability
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import Packed
from hoops_assets.services.registry.contract import Registry
from hoops_assets.store.delta import DeltaStore
from hoops_assets.workloads.serve.bundle import Bundle, Fixture, Fixtures, ReliabilityBin, team_names
from hoops_assets.workloads.spec import HELD_OUT, ONNX

UNKNOWN_BASE_RATE = 0.5
"""Of a league without a game played on anybody's home ground: nothing speaks for either side."""

_FIXTURE = ("game_id", "day", "home", "away", "neutral", "stage", "season")


def pack(registry: Registry, store: DeltaStore, league: League, version: int, now: datetime, days_ahead: int) -> Packed:
    """A registered version with all that it needs to answer.

    Args:
        now: aware; when it is made.
        days_ahead: of coming games, after today.

    Raises:
        ServiceError: not_found, failed (its files are not what was registered), invalid (imported, without what serving
            needs).
        StoreError: a table cannot be read.
    """
    model = registry.get(league.name, version)
    if not model.deployable:
        raise ServiceError(
            "invalid",
            f"{model.name} cannot be deployed: it was imported without a model.onnx or without the names of its features."
            " Train it again here, or import it with both",
        )
    folder = registry.artefacts(league.name, version)
    bundle = Bundle(
        league=league.name, version=version, learner=model.learner, digest=model.digest, features=model.features,
        time_zone=league.time_zone, teams=team_names(league), base_rate=base_rate(store, league),
        ratings=latest_ratings(store, league), home_advantage=league.elo.home_advantage,
        reliability=_reliability(folder) if HELD_OUT in model.artefacts else (), made_at=now,
    )  # fmt: skip
    return Packed(bundle, (folder / ONNX).read_bytes(), coming_fixtures(store, league, now, days_ahead))


def base_rate(store: DeltaStore, league: League) -> float:
    """Share of the played games on home ground that the home side won."""
    columns = ["home_score", "away_score", "neutral"]
    games = pd.concat([store.read(league.name, table, columns=columns) for table in ("history", "results")])
    at_home = games[~games["neutral"].astype(bool)]
    return float((at_home["home_score"] > at_home["away_score"]).mean()) if len(at_home) else UNKNOWN_BASE_RATE


def latest_ratings(store: DeltaStore, league: League) -> dict[str, float]:
    """Elo of every team as its next game would see it: after its last game played, or before its first to come."""
    form = store.read(league.name, "team_form", columns=["team", "elo_before", "elo_after"])
    if form.empty:
        return {}
    last = form.groupby("team", sort=True).tail(1)
    elo = last["elo_after"].fillna(last["elo_before"])
    return {str(team): float(rating) for team, rating in zip(last["team"], elo, strict=True)}


def coming_fixtures(store: DeltaStore, league: League, now: datetime, days_ahead: int) -> Fixtures:
    """Features of the games from today (the league's day) through `days_ahead` days later, as materialised.

    Raises:
        StoreError: the table cannot be read.
    """
    today = now.astimezone(league.zone).date()
    last = today + timedelta(days=days_ahead)
    rows = store.read(league.name, "game_features", first=today, last=last)
    names = [name for name in rows.columns if name not in (*_FIXTURE, "tip_off")]
    fixtures = [
        Fixture(
            **{name: row[name] for name in _FIXTURE},
            tip_off=None if pd.isna(row["tip_off"]) else row["tip_off"].to_pydatetime(),
            features={name: row[name] for name in names},
        )
        for row in rows.to_dict("records")
    ]
    return Fixtures(
        league=league.name, made_at=now, first_day=today, last_day=last, teams=team_names(league),
        fixtures=tuple(fixtures),
    )  # fmt: skip


def _reliability(folder: Path) -> tuple[ReliabilityBin, ...]:
    held_out = pd.read_parquet(folder / HELD_OUT, columns=["probability", "home_win"])
    if held_out.empty:
        raise ModelError("the version has no held-out games; train it again")
    rows = reliability(held_out["probability"], held_out["home_win"].astype("float64"))
    return tuple(ReliabilityBin(**row) for row in rows.to_dict("records"))  # pyright: ignore[reportCallIssue]
