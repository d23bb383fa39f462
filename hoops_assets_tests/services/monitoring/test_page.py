"""The monitoring page says what moved, since when, how sure and what was done, and never passes off what it is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from hoops_assets.services.monitoring import performance as perf
from hoops_assets.services.monitoring.page import NAMES, Seen, Training, monitoring_page, trainings
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.deployments import Deployment
from hoops_assets.store.record import Record
from hoops_assets.workloads.drift import DriftReport, Series, Signal

DAY = date(2024, 1, 1)
STORY = "nba:drift/residuals:2024-02-01"


def settled(kind: str) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    n = 120
    p = draw.uniform(0.3, 0.9, n)
    return pd.DataFrame({
        "kind": kind, "forecaster": perf.LEAGUE, "learner": "", "game_id": [f"g{number}" for number in range(n)], "season": 2024,
        "day": [DAY + timedelta(days=number // 3) for number in range(n)], "probability": p, "home_win": draw.random(n) < p,
        "elo": np.clip(p + 0.05, 0, 1), "base_rate": 0.6, "market": float("nan"),
    })  # fmt: skip


def report() -> DriftReport:
    series = Series(label="log evidence", x=(str(DAY), str(DAY + timedelta(days=30))), y=(0.1, 3.4), threshold=3.0)
    moved = Signal(name="residuals", state="red", told="Home sides win less.", since=DAY, alarmed=DAY + timedelta(days=30),
                   statistic=3.4, threshold=3.0, p_value=0.0004, n=80, series=series)  # fmt: skip
    quiet = Signal(name="totals", state="green", told="No alarm.", n=80, p_value=0.5)
    early = Signal(name="inputs", state="not enough", told="too early to say", n=80)
    return DriftReport(
        league="nba", season=2024, through=DAY + timedelta(days=39), games=120, signals=(quiet, moved, early)
    )


def seen(kind: str = "forecast", counts: pd.DataFrame | None = None) -> Seen:
    own = settled(kind)
    nothing = pd.DataFrame(columns=["version", "degraded", "answers", "games"])
    return Seen(
        "NBA", ZoneInfo("America/New_York"), report(), perf.performance(own), own, nothing if counts is None else counts
    )


def test_what_moved_stands_first_with_since_when_and_how_sure() -> None:
    html = monitoring_page(seen())
    moved, quiet, early = (html.index(f"<td>{NAMES[name]}</td>") for name in ("residuals", "totals", "inputs"))
    assert moved < quiet < early
    assert "01 Jan 2024" in html and "below 0.1 %" in html and "50.0 %" in html
    assert "the forecasts lean to one side" in html and "Nothing has moved" not in html
    assert html.count("<img ") == 4  # rolling, gain, reliability, and the one signal with a series


def test_a_quiet_league_is_said_to_be_quiet() -> None:
    calm = report().model_copy(update={"signals": report().signals[:1]})
    assert "Nothing has moved" in monitoring_page(replace(seen(), report=calm))
    assert "nothing to watch" in monitoring_page(replace(seen(), report=None))


def test_what_was_done_is_joined_by_its_story() -> None:
    at = datetime(2024, 2, 1, 14, tzinfo=UTC)
    done = replace(
        seen(),
        alarms=[Alarm("nba", "drift/residuals", "red", "Home sides win less.", at=at),
                Alarm("nba", "drift/residuals", "green", "As before.", at=at + timedelta(days=3))],
        trainings=[Training(at, "elo, boosting", "succeeded", "8, 9", STORY)],
        deployments=[Deployment("nba", "deploy", 9, {9: 100}, "gate", "better", "local", "sensor", {"story": STORY}, at=at),
                     Deployment("nba", "roll_back", 9, {7: 100}, "verdict", "worse after all", "local", "sensor", at=at)],
    )  # fmt: skip
    html = monitoring_page(done)
    assert html.count(STORY) == 2
    assert "01 Feb 2024 09:00" in html, "league time"
    assert "quiet again" in html and "worse after all" in html and "roll back" in html
    assert html.index("quiet again") < html.index(">alarm<"), "newest first"


def test_what_was_computed_afterwards_is_never_passed_off_as_a_forecast() -> None:
    html = monitoring_page(seen("backfilled"))
    assert "computed after" in html and "Computed afterwards (no forecast)" in html
    assert "computed after" not in monitoring_page(seen())


def test_what_customers_were_told_is_told_by_version() -> None:
    counts = pd.DataFrame(
        [["7", "", 12, 8], ["-", "no model", 3, 2]], columns=["version", "degraded", "answers", "games"]
    )
    html = monitoring_page(seen(counts=counts))
    assert "no model" in html and ">12<" in html and "own answer" in html
    assert "No customer asked" in monitoring_page(seen())


def test_the_same_things_seen_give_the_same_page() -> None:
    assert monitoring_page(seen()) == monitoring_page(seen())


def test_trainings_are_one_row_a_run_with_the_story_of_the_run(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.sqlite")
    for run, learners in (("r1", ("elo", "boosting")), ("r2", ("elo",))):
        for number, learner in enumerate(learners):
            with record.launch("nba", "training", learner, run_id=run) as launch:
                launch.model_version = f"nba/{number + 1}"
    with record.launch("nba", "2024 to 2025: ingest", run_id="r3"):
        pass
    found = trainings(record, "nba", {"r1": STORY}.get)
    assert [(one.what, one.outcome, one.version, one.story) for one in found] == [
        ("elo", "succeeded", "1", ""), ("elo, boosting", "succeeded", "1, 2", STORY),
    ]  # fmt: skip
