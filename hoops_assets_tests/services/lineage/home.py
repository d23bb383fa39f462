"""A home with many versions, games and answers, made fast: the files and rows that the platform writes, written directly."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hoops_assets.services.lineage.questions import Places
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.deployments import Deployment, append
from hoops_assets.store.record import Record

LEAGUE = "atlantic"  # an embedded one, in New York's zone
TEAMS = ("ALD", "BRK", "CAP", "DUN", "EAS", "FAI", "GRE", "HOL")
CUSTOMER = "acme"
SERVED_ON = date(2026, 5, 12)


@dataclass(frozen=True)
class Home:
    """Where it is, and the games it was made of: columns game_id, season, day, home, away, stage, home_win, true."""

    places: Places
    games: pd.DataFrame


def make_home(
    home: Path, *, games: int = 600, versions: int = 12, answers: int = 400, test: int = 200, settings: int = 3
) -> Home:
    """A home of one league.

    The versions take turns through the parameters c = 1 to `settings`, and forecast their test games (the last `test`)
    with an error that grows with c modulo 3: those of c = 1, 4, ... are the best.
    """
    frame = schedule(games)
    DeltaStore(str(home / "tables")).overwrite(LEAGUE, "results", results(frame))
    root = home / "registry" / LEAGUE
    for number in range(1, versions + 1):
        write_version(root / f"{number:06d}", number, frame, test, settings=settings)
    record = Record(f"sqlite:///{home / 'record.db'}")
    deploy(record, versions)
    serve(record, home / "record.db", frame, answers)
    return Home(Places(home, str(home / "tables"), record.url), frame)


def schedule(games: int) -> pd.DataFrame:
    """Eight games a day that end in May 2026, a season each year; the last days of a season are its finals."""
    draw = np.random.default_rng(5)
    last = date(2026, 5, 20)
    days = [
        last - timedelta(days=number)
        for number in range(40 * 365)
        if (last - timedelta(days=number)).month not in (6, 7, 8, 9)
    ]
    rows = []
    for day in reversed(days[: (games + 3) // 4]):
        order = [TEAMS[place] for place in draw.permutation(len(TEAMS))]
        stage = (
            "regular"
            if day.month != 5
            else "quarter-final"
            if day.day < 10
            else "semi-final"
            if day.day < 18
            else "final"
        )
        rows += [
            {"game_id": f"{day}.{home}.{away}", "season": day.year + (day.month > 6), "day": day, "home": home,
             "away": away, "stage": stage}
            for home, away in zip(order[::2], order[1::2], strict=True)
        ]  # fmt: skip
    frame = pd.DataFrame(rows[-games:]).sort_values(["day", "game_id"], ignore_index=True)
    true = 1 / (1 + np.exp(-draw.normal(0.3, 0.8, len(frame))))
    return frame.assign(true=true, home_win=(draw.random(len(frame)) < true).astype("int8"))


def results(frame: pd.DataFrame) -> pd.DataFrame:
    """The games as the table `results` holds them."""
    table = frame.assign(
        tip_off=pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]"), neutral=False,
        home_score=100 + frame["home_win"], away_score=100 + (1 - frame["home_win"]),
    )  # fmt: skip
    columns = ["game_id", "season", "day", "tip_off", "home", "away", "neutral", "stage", "home_score", "away_score"]
    return table[columns].astype({"season": "int32", "home_score": "int32", "away_score": "int32"})


def write_version(
    folder: Path, number: int, frame: pd.DataFrame, test: int, dirty: bool = False, settings: int = 3
) -> None:
    """The files of one version as the registry writes them, but for those that no question reads."""
    c = 1 + (number - 1) % settings
    tested, before = frame.tail(test), frame.head(len(frame) - test)
    draw = np.random.default_rng(number)
    logit = np.log(tested["true"] / (1 - tested["true"])) + draw.normal(0, 0.05 + 0.8 * ((c - 1) % 3), len(tested))
    folder.mkdir(parents=True)
    held_out = pd.DataFrame(
        {"game_id": tested["game_id"], "home_win": tested["home_win"], "probability": 1 / (1 + np.exp(-logit))}
    )
    features = pd.DataFrame(np.zeros((len(tested), 30), dtype="float32"), index=tested.index).add_prefix("feature_")
    pd.concat([held_out, features], axis=1).to_parquet(folder / "held_out.parquet", index=False)
    cut = int(len(before) * 0.8)
    ids = list(before["game_id"])
    manifest = {
        "league": LEAGUE, "training_job": f"hoops-{LEAGUE}-{number}", "learner": "logistic", "parameters": {"c": c},
        "metrics": {}, "features": [], "seed": 0, "fit_on": ["train", "validation"],
        "training_set": {"table": f"{LEAGUE}/training_set", "table_version": 3, "filter": "", "digest": "d" * 64,
                         "trained_through": str(before["day"].max()), "games": len(frame)},
        "games": {"train": ids[:cut], "validation": ids[cut:], "test": list(tested["game_id"])},
        "code": {"commit": f"{number:040x}", "dirty": dirty, "digest": "a" * 64, "lock_digest": "b" * 64},
        "packages": {"numpy": "2"},
    }  # fmt: skip
    content = json.dumps(manifest, indent=1).encode()
    (folder / "manifest.json").write_bytes(content)
    stored = (folder / "held_out.parquet").read_bytes()
    version: dict[str, Any] = {
        "league": LEAGUE, "version": number, "learner": "logistic", "parameters": {"c": c}, "features": [],
        "metrics": {"test_log_loss": 0.6}, "commit": f"{number:040x}", "dirty": dirty, "lock_digest": "b" * 64,
        "created_at": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=6 * number)).isoformat(),
        "created_by": "me@here", "trained_through": str(before["day"].max()), "training_job": f"hoops-{LEAGUE}-{number}",
        "provider": "local", "digest": hashlib.sha256(str(number).encode()).hexdigest(),
        "manifest_digest": hashlib.sha256(content).hexdigest(), "parity": 0.0,
        "artefacts": {"held_out.parquet": {"sha256": hashlib.sha256(stored).hexdigest(), "size": len(stored)}},
    }  # fmt: skip
    (folder / "version.json").write_text(json.dumps(version, indent=1))


def deploy(record: Record, versions: int) -> None:
    """Version 1 serves alone; from 20:00 UTC of SERVED_ON the newest is its canary; a day later it serves alone."""

    def change(at: datetime, traffic: dict[int, int], version: int, reason: str) -> None:
        append(record, Deployment(
            league=LEAGUE, action="deploy" if len(traffic) > 1 else "traffic", version=version, traffic=traffic,
            decided_by="canary_verdict", reason=reason, provider="local", launched_from="sensor",
            evidence={"gain": 0.01}, at=at,
        ))  # fmt: skip

    noon = datetime(SERVED_ON.year, SERVED_ON.month, SERVED_ON.day, 20, tzinfo=UTC)
    change(noon - timedelta(days=30), {1: 100}, 1, "the first")
    change(noon, {1: 90, versions: 10}, versions, "passed the gate")
    change(noon + timedelta(days=1), {versions: 100}, versions, "better")


def serve(record: Record, path: Path, frame: pd.DataFrame, answers: int) -> None:
    """Answers to 50 customers, one every few minutes, the last of them on the day after SERVED_ON."""
    record.rows("served_predictions", datetime(2100, 1, 1, tzinfo=UTC))  # makes the table
    end = datetime(SERVED_ON.year, SERVED_ON.month, SERVED_ON.day, tzinfo=UTC) + timedelta(days=2)
    step = timedelta(days=30) / answers
    games = frame.tail(8)
    rows = []
    for number in range(answers):
        at = end - number * step
        game = games.iloc[number % 8] if answers < 1000 else None
        game_id = game["game_id"] if game is not None else f"2026-05-20.{TEAMS[number % 8]}.{TEAMS[(number + 1) % 8]}"
        customer = CUSTOMER if number % 10 == 0 else f"customer-{number % 50}"
        rows.append((
            at.strftime("%Y-%m-%d %H:%M:%S.%f"), f"r{number}", customer, LEAGUE, game_id, "2026-05-20",
            "Aldermouth", "Breakwater", 1, "logistic", 0.6, None, json.dumps({"1": 100}),
        ))  # fmt: skip
    names = (
        "at, request_id, customer, league, game_id, day, home, away, version, learner, home_win_probability, degraded,"
        " traffic"
    )
    with sqlite3.connect(path) as connection:
        connection.executemany(f"INSERT INTO served_predictions ({names}) VALUES ({', '.join('?' * 13)})", rows)
    connection.close()
