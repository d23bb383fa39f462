"""The scores of a league over time are those that an independent calculation gives, and nothing counts that should not."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from hoops_assets.basketball.performance import MODEL_PERFORMANCE
from hoops_assets.judging.scoring import calibration_line
from hoops_assets.services.monitoring import performance as perf
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.deployments import Deployment
from hoops_assets.store.record import Record
from hoops_assets.store.schemas import TABLES

FIRST = date(2023, 11, 1)
GAMES = 240


def rows(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with all columns of a table; what the test does not say is empty."""
    empty = {"object": "", "bool": False, "datetime64[us, UTC]": pd.NaT}
    spec = TABLES[table].columns
    given = {
        name: pd.Series(frame[name] if name in frame else empty.get(kind, 0), frame.index)
        for name, kind in spec.items()
    }
    given = {name: pd.to_datetime(own, utc=True) if spec[name][:4] == "date" else own for name, own in given.items()}
    return pd.DataFrame(given, index=frame.index)[list(spec)].astype(spec)


def played(seed: int = 3) -> pd.DataFrame:
    """240 games on 80 days of two seasons, every tenth on neutral ground."""
    draw = np.random.default_rng(seed)
    days = [FIRST + timedelta(days=number // 3 + (250 if number >= GAMES // 2 else 0)) for number in range(GAMES)]
    elo = draw.normal(80, 120, GAMES)
    won = draw.random(GAMES) < 1 / (1 + 10 ** (-elo / 400))
    return pd.DataFrame({
        "game_id": [f"g{number:03d}" for number in range(GAMES)],
        "season": [2024 if number < GAMES // 2 else 2025 for number in range(GAMES)], "day": days,
        "home": "ANT", "away": "BEE", "neutral": np.arange(GAMES) % 10 == 0,
        "home_score": np.where(won, 100, 90), "away_score": np.where(won, 90, 100), "elo_difference": elo,
    })  # fmt: skip


def made(games: pd.DataFrame, version: int, at: datetime, noise: float, backfilled: bool = False) -> pd.DataFrame:
    draw = np.random.default_rng(version)
    p = 1 / (1 + np.exp(-(games["elo_difference"] / 174 + draw.normal(0, noise, len(games)))))
    won = games["home_score"] > games["away_score"]
    loss = -np.log(np.where(won, p, 1 - p))
    return rows("scored_predictions", games.assign(
        version=version, learner=f"learner{version}", home_win_probability=p, made_at=pd.Timestamp(at),
        backfilled=backfilled, degraded="", home_win=won, log_loss=loss, brier=(p - won) ** 2,
    ))  # fmt: skip


@pytest.fixture(scope="module")
def games() -> pd.DataFrame:
    return played()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, games: pd.DataFrame) -> DeltaStore:
    """Version 1 forecast all games; version 2, computed afterwards, the first season, and before the games the second."""
    found = DeltaStore(str(tmp_path_factory.mktemp("tables")))
    earlier = games.head(100).assign(
        game_id=[f"h{number}" for number in range(100)], season=2023, day=date(2023, 1, 1), neutral=False,
        home_score=[110] * 61 + [80] * 39, away_score=95,
    )  # fmt: skip
    found.overwrite("small", "history", rows("history", earlier))
    found.overwrite("small", "results", rows("results", games))
    found.overwrite("small", "game_features", rows("game_features", games))
    first, second = games[games["season"] == 2024], games[games["season"] == 2025]
    scored = [
        made(games, 1, datetime(2023, 10, 1, tzinfo=UTC), 0.2),
        made(first, 2, datetime(2025, 9, 1, tzinfo=UTC), 0.6, backfilled=True),
        made(second, 2, datetime(2024, 12, 1, tzinfo=UTC), 0.6),
    ]
    found.overwrite("small", "scored_predictions", pd.concat(scored, ignore_index=True))
    return found


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "record.sqlite")


def served(record: Record, traffic: dict[int, int], at: datetime) -> None:
    deployments.append(
        record, Deployment("small", "deploy", max(traffic), traffic, "test", "because", "local", "cli", at=at)
    )


class Scores:
    """`model_performance`, asked by its key."""

    def __init__(self, settled: pd.DataFrame) -> None:
        self.table = perf.performance(settled)
        self._rows: dict[tuple[str, ...], Any] = {
            (row["kind"], row["forecaster"], row["scope"], row["period"]): row for row in self.table.to_dict("records")
        }

    def __call__(self, kind: str, forecaster: str, scope: str = "all", period: str = "all") -> dict[str, Any]:
        return self._rows[kind, forecaster, scope, period]

    def has(self, *key: str) -> bool:
        return key in self._rows


def scores(store: DeltaStore, record: Record) -> Scores:
    return Scores(perf.forecasts(store, record, "small", perf.benchmarks(store, "small")))


def test_every_figure_is_that_of_an_independent_calculation(
    store: DeltaStore, record: Record, games: pd.DataFrame
) -> None:
    row = scores(store, record)("forecast", "version 1", "season", "2025")
    own = store.read("small", "scored_predictions")
    own = own[(own["version"] == 1) & (own["season"] == 2025)].merge(games[["game_id", "elo_difference"]], on="game_id")
    won, p = own["home_win"].to_numpy(), own["home_win_probability"].to_numpy()
    elo = 1 / (1 + 10 ** (-own["elo_difference"].to_numpy() / 400))
    assert row["games"] == len(own) == 120
    assert row["log_loss"] == pytest.approx(log_loss(won, p))
    assert row["brier"] == pytest.approx(brier_score_loss(won, p))
    assert row["accuracy"] == pytest.approx(accuracy_score(won, p > 0.5))
    assert row["elo_log_loss"] == pytest.approx(log_loss(won, elo))
    gains = -np.log(np.where(won, p, 1 - p)) + np.log(np.where(won, elo, 1 - elo))
    assert row["elo_difference"] == pytest.approx(gains.mean())
    # A percentile bootstrap over whole game days gives about the same interval.
    draw, by_day = np.random.default_rng(0), pd.Series(gains).groupby(own["day"].to_numpy()).agg(["sum", "count"])
    picks = draw.integers(0, len(by_day), (4000, len(by_day)))
    means = by_day["sum"].to_numpy()[picks].sum(1) / by_day["count"].to_numpy()[picks].sum(1)
    assert row["elo_low"] == pytest.approx(np.quantile(means, 0.025), abs=0.15 * means.std() * 4)
    assert row["elo_high"] == pytest.approx(np.quantile(means, 0.975), abs=0.15 * means.std() * 4)
    line = LogisticRegression(C=1e9, tol=1e-10, max_iter=500).fit(np.log(p / (1 - p))[:, None], won)
    assert row["calibration_slope"] == pytest.approx(line.coef_[0, 0], abs=1e-4)
    assert row["calibration_intercept"] == pytest.approx(line.intercept_[0], abs=1e-4)


def test_the_base_rate_comes_from_earlier_seasons_and_is_a_coin_on_neutral_ground(
    store: DeltaStore, record: Record, games: pd.DataFrame
) -> None:
    told = perf.benchmarks(store, "small").set_index("game_id")["base_rate"]
    first = games[(games["season"] == 2024) & ~games["neutral"]]
    won = int((first["home_score"] > first["away_score"]).sum())
    assert told["g001"] == pytest.approx(0.61)
    assert told["g121"] == pytest.approx((61 + won) / (100 + len(first)))
    assert told["g000"] == told["g120"] == 0.5


def test_months_and_seasons_add_up_to_the_whole(store: DeltaStore, record: Record) -> None:
    table = scores(store, record).table
    own = table[(table["kind"] == "forecast") & (table["forecaster"] == "version 1")]
    for scope in ("season", "month"):
        part = own[own["scope"] == scope]
        assert part["games"].sum() == GAMES
        whole = own.loc[own["scope"] == "all", "log_loss"].iloc[0]
        assert np.average(part["log_loss"], weights=part["games"]) == pytest.approx(whole)


def test_what_was_computed_after_the_game_is_no_forecast(store: DeltaStore, record: Record) -> None:
    table = scores(store, record)
    assert table("forecast", "version 2", "all", "all")["games"] == 120
    assert table("backfilled", "version 2", "all", "all")["games"] == 120
    assert not table.has("forecast", "version 2", "season", "2024")
    assert table("forecast", "league", "season", "2024")["log_loss"] == pytest.approx(
        table("forecast", "version 1", "season", "2024")["log_loss"]
    )


def test_forecasts_by_ratings_in_a_models_place_are_scored_apart(
    store: DeltaStore, record: Record, games: pd.DataFrame, tmp_path: Path
) -> None:
    lane = DeltaStore(str(tmp_path / "tables"))
    for name in ("history", "results", "game_features"):
        lane.overwrite("small", name, store.read("small", name))
    own = made(games, 1, datetime(2023, 10, 1, tzinfo=UTC), 0.2)
    number = np.arange(len(own))
    own.loc[number >= 200, "degraded"] = "by Elo ratings: the model could not be asked"
    own.loc[number >= 230, "backfilled"] = True
    lane.overwrite("small", "scored_predictions", own)
    table = scores(lane, record)
    for forecaster in ("version 1", "league"):
        assert table("forecast", forecaster)["games"] == 200
        degraded = table("forecast degraded", forecaster)
        assert degraded["games"] == 30
        assert degraded["log_loss"] == pytest.approx(own["log_loss"].iloc[200:230].mean())
    assert "backfilled" not in set(table.table["kind"]), "ratings after the game are nobody's forecast"


def test_the_league_is_forecast_by_whoever_served_when_the_forecast_was_made(store: DeltaStore, record: Record) -> None:
    served(record, {1: 100}, datetime(2023, 9, 1, tzinfo=UTC))
    served(record, {1: 90, 2: 10}, datetime(2024, 10, 1, tzinfo=UTC))  # a canary counts for nobody
    served(record, {2: 100}, datetime(2024, 11, 1, tzinfo=UTC))
    table = scores(store, record)
    for season, version in (("2024", 1), ("2025", 2)):
        league = table("forecast", "league", "season", season)
        own = table("forecast", f"version {version}", "season", season)
        assert (league["games"], league["log_loss"], league["learner"]) == (120, own["log_loss"], "")


def test_the_market_is_compared_on_the_games_that_have_a_closing_line(
    store: DeltaStore, record: Record, games: pd.DataFrame, tmp_path: Path
) -> None:
    priced = DeltaStore(str(tmp_path / "tables"))
    for name in ("history", "results", "game_features", "scored_predictions"):
        priced.overwrite("small", name, store.read("small", name))
    lines = games.head(50).assign(home_win_probability=[float("nan")] * 10 + [0.6] * 40)
    priced.overwrite("small", "closing_odds", rows("closing_odds", lines))
    row = scores(priced, record)("forecast", "version 1", "all", "all")
    won = (games["home_score"] > games["away_score"]).to_numpy()[10:50]
    assert row["market_games"] == 40
    assert row["market_log_loss"] == pytest.approx(log_loss(won, np.full(40, 0.6), labels=[False, True]))
    without = scores(store, record)("forecast", "version 1", "all", "all")
    assert without["market_games"] == 0 and math.isnan(without["market_difference"])


def answer(
    game: str | None, version: int | None, p: float, number: int, degraded: str | None = None
) -> dict[str, object]:
    return {
        "request_id": f"r{number}", "customer": "fan", "league": "small", "game_id": game, "version": version,
        "learner": "elo", "home_win_probability": p, "degraded": degraded, "traffic": "{}",
    }  # fmt: skip


def test_what_was_served_is_scored_by_the_version_that_answered_and_degraded_answers_apart(
    store: DeltaStore, record: Record, games: pd.DataFrame
) -> None:
    record.append_many(
        "served_predictions",
        [
            answer("g000", 1, 0.2, 0), answer("g000", 1, 0.8, 1), answer("g000", 2, 0.7, 2),
            answer("g001", 1, 0.4, 3, "the model failed"), answer("g002", None, 0.6, 4, "no model"),
            answer("not settled", 1, 0.9, 5), answer(None, 1, 0.9, 6), answer("g001", 1, 0.3, 7, "no fixtures"),
        ],
    )  # fmt: skip
    told = perf.answers(record, "small", perf.benchmarks(store, "small"))
    won = (games["home_score"] > games["away_score"]).tolist()
    own = {(row["kind"], row["forecaster"], row["game_id"]): row for row in told.settled.to_dict("records")}
    assert set(own) == {
        ("served", "league", "g000"), ("served", "version 1", "g000"), ("served", "version 2", "g000"),
        ("served degraded", "league", "g001"), ("served degraded", "league", "g002"),
        ("served degraded", "version 1", "g001"), ("served degraded", "no model", "g002"),
    }  # fmt: skip
    assert own["served", "version 1", "g000"]["probability"] == 0.8
    assert own["served", "league", "g000"]["probability"] == 0.7
    assert own["served degraded", "version 1", "g001"]["probability"] == 0.3, "the last, whatever its reason"
    table = Scores(told.settled)
    expected = -math.log(0.7 if won[0] else 0.3)
    assert table("served", "version 2", "all", "all")["log_loss"] == pytest.approx(expected)
    assert told.counts.values.tolist() == [["-", "no model", 1, 1], ["1", "", 2, 1], ["1", "no fixtures", 1, 1],
                                           ["1", "the model failed", 1, 1], ["2", "", 1, 1]]  # fmt: skip


def test_a_league_without_forecasts_has_an_empty_table_of_the_declared_types(tmp_path: Path, record: Record) -> None:
    nothing = DeltaStore(str(tmp_path / "tables"))
    games = perf.benchmarks(nothing, "small")
    settled = perf.forecasts(nothing, record, "small", games)
    table = perf.performance(settled)
    assert table.empty and {name: str(kind) for name, kind in table.dtypes.items()} == MODEL_PERFORMANCE
    assert perf.answers(record, "small", games).settled.empty
    assert perf.losses(settled, perf.shown_kind(settled)).empty


def test_the_table_can_be_stored_and_read_again(store: DeltaStore, record: Record, tmp_path: Path) -> None:
    table = scores(store, record).table
    kept = DeltaStore(str(tmp_path / "tables"))
    kept.overwrite("small", "model_performance", table)
    key = list(TABLES["model_performance"].key)
    pd.testing.assert_frame_equal(
        kept.read("small", "model_performance").sort_values(key, ignore_index=True),
        table.sort_values(key, ignore_index=True),
    )


def test_a_line_is_not_drawn_where_it_is_not_determined() -> None:
    p = np.linspace(0.1, 0.9, 40)
    for nothing in (
        calibration_line(p[:20], np.arange(20) % 2),
        calibration_line(p, np.zeros(40)),
        calibration_line(np.full(40, 0.6), np.arange(40) % 2),
        calibration_line(p, p > 0.5),
    ):
        assert all(math.isnan(one) for one in nothing)


def test_a_forecast_that_is_too_sure_has_a_slope_below_one() -> None:
    draw = np.random.default_rng(1)
    logit = draw.normal(0, 1, 4000)
    won = draw.random(4000) < 1 / (1 + np.exp(-(logit + 0.5)))
    intercept, slope = calibration_line(1 / (1 + np.exp(-2 * logit)), won)
    assert slope == pytest.approx(0.5, abs=0.06) and intercept == pytest.approx(0.5, abs=0.1)
