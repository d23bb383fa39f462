"""What the watch is given is what the tables and the record say, and an alarm turns once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.services.monitoring import performance as perf
from hoops_assets.services.monitoring import watch
from hoops_assets.services.monitoring.page import MEANS, NAMES
from hoops_assets.services.registry.contract import Registry
from hoops_assets.store import alarms, deployments
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.deployments import Deployment
from hoops_assets.store.record import Record
from hoops_assets.workloads import drift
from hoops_assets.workloads.drift import DriftReport, Signal
from hoops_assets.workloads.serve.bundle import Fixture, Fixtures, endpoint_folder, write_fixtures
from hoops_assets_tests.services.monitoring.test_performance import answer, rows

FIRST = date(2023, 11, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(10)]
LEAGUE = League.model_validate({
    "name": "small", "time_zone": "America/New_York", "first_season": 2024,
    "sources": {"games": {"kind": "csv"}, "posts": {"kind": "csv"}}, "teams": {code: {"name": code} for code in ("ANT", "BEE")},
})  # fmt: skip


def games() -> pd.DataFrame:
    """Two games on each of ten days."""
    return pd.DataFrame({
        "game_id": [f"g{number:02d}" for number in range(20)], "season": 2024, "day": [day for day in DAYS for _ in range(2)],
        "home": "ANT", "away": "BEE", "home_score": 100, "away_score": 90, "elo_difference": 50.0,
    })  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    """Seven days are played and settled, of the eighth one game, the last two are to come."""
    found = DeltaStore(str(tmp_path / "tables"))
    whole = games()
    found.overwrite("small", "fixtures", rows("fixtures", whole))
    found.overwrite("small", "results", rows("results", whole.head(15)))
    found.overwrite("small", "game_features", rows("game_features", whole))
    return found


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "record.sqlite")


def registry(trained_through: date) -> Registry:
    return cast(Registry, SimpleNamespace(get=lambda league, version: SimpleNamespace(trained_through=trained_through)))


def gathered(
    store: DeltaStore, record: Record, tmp_path: Path, trained: date = date(2023, 5, 1), today: date = DAYS[7]
) -> watch.Watch:
    settled = perf.forecasts(store, record, "small", perf.benchmarks(store, "small"))
    found = watch.gather(store, record, registry(trained), LEAGUE, tmp_path, settled, today)
    assert found
    return found


def test_only_wholly_settled_days_are_looked_at(store: DeltaStore, record: Record, tmp_path: Path) -> None:
    found = gathered(store, record, tmp_path)
    assert (found.spec.through, found.spec.season) == (DAYS[6], 2024)
    assert sorted(found.frames[drift.GAMES]["game_id"]) == [f"g{number:02d}" for number in range(14)]
    assert set(found.frames[drift.COMING]["day"]) == set(DAYS[7:])
    assert not drift.judge(found.spec, found.frames).red


def test_results_that_never_come_are_missed_although_no_later_day_is_settled(
    store: DeltaStore, record: Record, tmp_path: Path
) -> None:
    found = gathered(store, record, tmp_path, today=DAYS[9] + timedelta(days=1))
    assert found.spec.through == DAYS[6]
    missing = drift.judge(found.spec, found.frames).signal("missing_results")
    assert found.frames[drift.ARRIVALS]["missing_results"].tolist() == [0.0] * 7 + [0.5, 1.0, 1.0]
    assert (missing.n, missing.state) == (10, "red")
    assert missing.since == DAYS[7]


def test_nothing_is_watched_before_a_game_is_played(tmp_path: Path, record: Record) -> None:
    nothing = DeltaStore(str(tmp_path / "tables"))
    settled = perf.forecasts(nothing, record, "small", perf.benchmarks(nothing, "small"))
    assert watch.gather(nothing, record, registry(FIRST), LEAGUE, tmp_path, settled, FIRST) is None


def test_missing_results_and_silent_and_late_fans_are_shares_of_their_day(store: DeltaStore) -> None:
    fixtures, results = (store.read("small", name) for name in ("fixtures", "results"))
    results = results[results["game_id"] != "g03"]
    sides = pd.concat([games().assign(team=team, posts=[count] * 20) for team, count in (("ANT", 5), ("BEE", 0))])
    store.overwrite("small", "fan_sentiment", rows("fan_sentiment", sides.head(22)))
    store.overwrite(
        "small", "predictions", rows("predictions", games().assign(version=1, backfilled=[True] * 4 + [False] * 16))
    )
    noon = pd.Timestamp("2023-11-03 17:00", tz="UTC")
    posts = pd.DataFrame({
        "post_id": ["a", "b", "c", "d"], "team": "ANT", "season": 2024, "day": [DAYS[2]] * 3 + [DAYS[0]], "created_at": noon,
        "ingested_at": [noon, noon + timedelta(hours=35), noon + timedelta(hours=37), noon + timedelta(days=400)],
    })  # fmt: skip
    store.overwrite("small", "fan_posts", rows("fan_posts", posts))
    found = watch.arrivals(store, LEAGUE, fixtures, results, DAYS[2])
    assert found["missing_results"].tolist() == [0.0, 0.5, 0.0]
    silent, late = found["missing_posts"].tolist(), found["late_posts"].tolist()
    assert (silent[0], silent[2]) == (0.5, 0.0), "nobody wrote about BEE on the first day; later only ANT's rows stand"
    assert late[2] == pytest.approx(1 / 3)
    assert late[0] != late[0], "a day that was filled in afterwards says nothing"


def test_the_endpoints_features_are_held_against_the_table(store: DeltaStore, tmp_path: Path) -> None:
    assert watch.bundled(store, LEAGUE, tmp_path).empty
    table = store.read("small", "game_features", first=DAYS[8], last=DAYS[9])
    own = [
        Fixture(game_id=row["game_id"], day=row["day"], home="ANT", away="BEE", stage="regular", season=2024,
                features={name: float(row[name]) + (name == "elo_difference" and row["game_id"] == "g17") for name in FEATURES})
        for row in table.to_dict("records")
    ]  # fmt: skip
    served = Fixtures(
        league="small", made_at=datetime.now(UTC), first_day=DAYS[8], last_day=DAYS[9], fixtures=tuple(own)
    )
    write_fixtures(endpoint_folder(tmp_path, "small"), served)
    found = watch.bundled(store, LEAGUE, tmp_path)
    assert len(found) == len(table) * len(FEATURES)
    wrong = found[found["trained"] != found["served"]]
    assert wrong[["game_id", "name"]].values.tolist() == [["g17", "elo_difference"]]


def test_answers_are_held_against_the_last_forecast_before_them(store: DeltaStore, record: Record) -> None:
    made, later = pd.Timestamp("2023-10-01", tz="UTC"), pd.Timestamp("2199-01-01", tz="UTC")
    forecast = games().head(5).assign(version=1, home_win_probability=0.6, made_at=[made] * 3 + [later, made],
                                      degraded=["", "", "by Elo ratings", "", ""],
                                      season=[2024] * 4 + [2023])  # fmt: skip
    store.overwrite("small", "predictions", rows("predictions", forecast))
    record.append_many("served_predictions", [
        answer("g00", 1, 0.5, 0), answer("g00", 1, 0.7, 1), answer("g01", 1, 0.1, 2, "the model failed"),
        answer("g01", 2, 0.9, 3), answer("g02", 1, 0.9, 4), answer("g03", 1, 0.9, 5), answer(None, 1, 0.9, 6),
        answer("g04", 1, 0.9, 7),
    ])  # fmt: skip
    found = watch.answered(store, record, "small", 2024)
    assert found.values.tolist() == [["g00", drift.ANSWERED, 0.6, 0.7]]


def report(state: str) -> DriftReport:
    signal = Signal(name="residuals", state=cast(Any, state), told="told", since=DAYS[1], alarmed=DAYS[3])
    return DriftReport(league="small", season=2024, through=DAYS[6], games=14, signals=(signal,))


def test_the_same_report_turns_an_alarm_once(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_URLS", raising=False)
    states = ("not enough", "green", "red", "red", "green", "not enough", "red")
    turned = [watch.edges(record, report(state), "run") for state in states]
    red, green = ("drift/residuals", "red", "recorded"), ("drift/residuals", "green", "recorded")
    assert turned == [[], [], [red], [], [green], [], [red]]
    first = alarms.history(record, "small")[0]
    assert (first.text, first.run_id) == ("told", "run")
    assert first.evidence["alarmed"] == str(DAYS[3]) and first.evidence["season"] == 2024
    assert "series" not in first.evidence


def deployed(record: Record, version: int, at: datetime) -> None:
    deployments.append(record, Deployment("small", "deploy", version, {version: 100}, "t", "r", "local", "cli", at=at))


@pytest.mark.parametrize(
    ("came", "trained", "begins"),
    [
        ("after", DAYS[4], DAYS[5]),
        ("before", DAYS[4], None),  # it served already when the alarm came
        ("after", DAYS[0], None),  # it has not learned from the games since the change
        ("after", date(2023, 5, 1), None),
    ],
)
def test_the_watch_begins_anew_when_a_version_answers_the_alarm(
    store: DeltaStore, record: Record, tmp_path: Path, came: str, trained: date, begins: date | None
) -> None:
    now = datetime.now(UTC)
    evidence = {"season": 2024, "since": DAYS[2].isoformat(), "alarmed": DAYS[3].isoformat()}
    alarms.turn(record, Alarm("small", "drift/residuals", "red", "told", evidence))
    deployed(record, 2, now + timedelta(hours=1 if came == "after" else -1))
    assert gathered(store, record, tmp_path, trained).spec.watch_from == begins


def test_every_signal_has_a_name_and_a_meaning_for_people(store: DeltaStore, record: Record, tmp_path: Path) -> None:
    found = gathered(store, record, tmp_path)
    told = [one.name for one in drift.judge(found.spec, found.frames).signals]
    assert set(told) == set(watch.signal_names(posts=True)) == set(NAMES) == set(MEANS)
