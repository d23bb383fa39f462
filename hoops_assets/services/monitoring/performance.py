"""How good the forecasts were: what was forecast before the game, what was only computed after it, and what was served.

What belongs here: collecting a league's settled forecasts with the benchmarks on the same games, and their scores by
season, month and version. Forecasts made after the game never count as forecasts: they are another kind, shown apart.
Benchmarks know nothing of the day either: Elo from the ratings before it, the base rate from earlier seasons, and where
the league names a source the market's closing line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from hoops_assets.basketball.performance import KINDS, MODEL_PERFORMANCE
from hoops_assets.basketball.ratings import LOGIT_PER_POINT
from hoops_assets.judging import scoring
from hoops_assets.judging.comparison import paired_difference
from hoops_assets.services.prediction.trial import TRIAL_FROM
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record

WINDOW = 15
"""Earlier seasons from which the base rate comes."""

UNKNOWN_BASE_RATE = 0.5

LEAGUE = "league"
"""The forecaster "whoever served at that moment": one forecast a game."""

SETTLED = [
    "kind", "forecaster", "learner", "game_id", "season", "day", "probability", "home_win", "elo", "base_rate", "market",
]  # fmt: skip
"""Columns of a settled forecast; market is NaN where there is no closing line."""


@dataclass(frozen=True)
class Answers:
    """Answers given to customers about games that are settled.

    Attributes:
        settled: columns SETTLED; of each version the last answer about a game, of degraded answers likewise.
        counts: version ("-" where no model answered), degraded, answers, games; one row a version and reason.
    """

    settled: pd.DataFrame
    counts: pd.DataFrame


def benchmarks(store: DeltaStore, league: str) -> pd.DataFrame:
    """What Elo, the base rate and the market said of every settled game of the league's partitions.

    Returns:
        Columns game_id, season, day, home_win, elo, base_rate, market, in order of time.
    """
    columns = ["game_id", "season", "day", "neutral", "home_score", "away_score"]
    results = store.read(league, "results", columns=columns)
    earlier = store.read(league, "history", columns=columns)
    features = store.read(league, "game_features", columns=["game_id", "elo_difference"])
    games = results.merge(features, on="game_id", how="inner", validate="one_to_one")
    won = games["home_score"] > games["away_score"]
    odds = store.read(league, "closing_odds", columns=["game_id", "home_win_probability"])
    market = odds.dropna().drop_duplicates("game_id").set_index("game_id")["home_win_probability"]
    rates = base_rates(pd.concat([earlier, results], ignore_index=True))
    at_home = games["season"].map(rates).fillna(UNKNOWN_BASE_RATE)
    out = games[["game_id", "season", "day"]].assign(
        home_win=won.astype(bool),
        elo=1 / (1 + np.exp(-LOGIT_PER_POINT * games["elo_difference"].astype("float64"))),
        base_rate=at_home.where(~games["neutral"].astype(bool), UNKNOWN_BASE_RATE),
        market=games["game_id"].map(market).astype("float64"),
    )
    return out.sort_values(["day", "game_id"]).reset_index(drop=True)


def base_rates(games: pd.DataFrame) -> pd.Series:
    """Share of home wins in the WINDOW seasons before each season, on home ground; by season, NaN before the first.

    Args:
        games: season, neutral, home_score, away_score of played games.
    """
    at_home = games[~games["neutral"].astype(bool)]
    won = (at_home["home_score"] > at_home["away_score"]).astype("float64")
    by_season = won.groupby(at_home["season"]).agg(["sum", "count"])
    seasons = sorted(games["season"].unique())
    rates = {}
    for season in seasons:
        past = by_season[(by_season.index < season) & (by_season.index >= season - WINDOW)]
        rates[season] = float(past["sum"].sum() / past["count"].sum()) if past["count"].sum() else float("nan")
    return pd.Series(rates, dtype="float64")


def forecasts(store: DeltaStore, record: Record, league: str, games: pd.DataFrame) -> pd.DataFrame:
    """Settled forecasts of every version, and as LEAGUE one a game: that of the version that served when it was made.

    Args:
        games: as `benchmarks` returns them.

    Returns:
        Columns SETTLED; kind is forecast, forecast degraded (ratings answered for the model) or backfilled. What ratings
        computed after the game is none of these and left out.
    """
    scored = store.read(league, "scored_predictions")
    scored = scored[(scored["degraded"] == "") | ~scored["backfilled"].astype(bool)]
    own = pd.DataFrame(
        {
            "kind": _kind(scored),
            "forecaster": "version " + scored["version"].astype(str),
            "version": scored["version"].astype("int64"),
            "learner": scored["learner"],
            "made_at": scored["made_at"],
            "game_id": scored["game_id"],
            "probability": scored["home_win_probability"].astype("float64"),
        }
    )
    counted = _one_a_game(own, champions(record, league)).assign(forecaster=LEAGUE, learner="")
    both = pd.concat([part for part in (counted, own) if len(part)], ignore_index=True) if len(own) else own
    return _joined(both, games)


def _kind(scored: pd.DataFrame) -> pd.Series:
    kind = pd.Series("forecast", index=scored.index, dtype="object")
    kind = kind.mask(scored["backfilled"].astype(bool), "backfilled")
    return kind.mask(scored["degraded"] != "", "forecast degraded")


def champions(record: Record, league: str) -> list[tuple[datetime, int]]:
    """From when on which version served most, oldest first; a canary only beside nobody."""
    found: list[tuple[datetime, int]] = []
    for row in deployments.history(record, league):
        if not row.traffic:
            continue
        began = datetime.fromisoformat(row.evidence[TRIAL_FROM]) if TRIAL_FROM in row.evidence else row.at
        known = found[-1][1] if found else None
        best = max(row.traffic, key=lambda version: (row.traffic[version], version == known))
        if best != known:
            found.append((began, best))
    return found


def _one_a_game(own: pd.DataFrame, served: Sequence[tuple[datetime, int]]) -> pd.DataFrame:
    """Of a game's forecasts the last by a version that served when it was made, else the lowest version's; by kind."""
    champion = pd.Series(-1, index=own.index, dtype="int64")
    for began, version in served:
        champion[own["made_at"] >= pd.Timestamp(began)] = version
    other = own["version"] != champion
    ranked = own.assign(other=other, age=-own["made_at"].astype("int64").where(~other, 0))
    ranked = ranked.sort_values(["game_id", "kind", "other", "age", "version"])
    return ranked.drop_duplicates(["game_id", "kind"]).drop(columns=["other", "age"])


def _joined(own: pd.DataFrame, games: pd.DataFrame) -> pd.DataFrame:
    joined = own.merge(games, on="game_id", how="inner", validate="many_to_one")
    return joined[SETTLED].sort_values(["kind", "forecaster", "day", "game_id"]).reset_index(drop=True)


def answers(record: Record, league: str, games: pd.DataFrame) -> Answers:
    """What customers were told of games that are settled: by the version that really answered, degraded answers apart."""
    rows = pd.DataFrame(
        record.last_rows("served_predictions", ["game_id", "version", "degraded"], league=league),
        columns=["id", "game_id", "version", "learner", "home_win_probability", "degraded", "rows"],
    )
    rows = rows[rows["game_id"].isin(games["game_id"])]
    told = rows.assign(
        degraded=rows["degraded"].fillna("").astype(str),
        version=[str(int(one)) if pd.notna(one) else "-" for one in rows["version"]],
    )
    own = pd.DataFrame(
        {
            "kind": np.where(told["degraded"] != "", "served degraded", "served"),
            "forecaster": np.where(told["version"] == "-", "no model", "version " + told["version"].astype(str)),
            "learner": told["learner"].fillna(""),
            "id": told["id"],
            "game_id": told["game_id"],
            "probability": told["home_win_probability"].astype("float64"),
        }
    )
    last = own.sort_values("id").drop_duplicates(["kind", "forecaster", "game_id"], keep="last")
    anybody = own.sort_values("id").drop_duplicates(["kind", "game_id"], keep="last")
    both = pd.concat([anybody.assign(forecaster=LEAGUE, learner=""), last], ignore_index=True)
    counts = told.groupby(["version", "degraded"], as_index=False).agg(
        answers=("rows", "sum"), games=("game_id", "nunique")
    )
    return Answers(_joined(both, games), counts)


def performance(settled: pd.DataFrame) -> pd.DataFrame:
    """Scores of settled forecasts over everything, by season and by month.

    Args:
        settled: columns SETTLED.

    Returns:
        Columns MODEL_PERFORMANCE, one row per kind, forecaster, scope and period. Differences are forecast minus benchmark
        in log loss on the same games, so that a negative one is better, with the interval of
        `judging.comparison.paired_difference`.
    """
    rows = [
        _scored(group, kind, forecaster, scope, period)
        for (kind, forecaster), own in settled.groupby(["kind", "forecaster"], sort=True)
        for scope, period, group in _periods(own)
    ]
    frame = pd.DataFrame(rows, columns=list(MODEL_PERFORMANCE))
    return frame.astype(MODEL_PERFORMANCE)


def _periods(own: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    yield "all", "all", own
    for season, group in own.groupby("season", sort=True):
        yield "season", str(season), group
    month = pd.Series([f"{day:%Y-%m}" for day in own["day"]], index=own.index, dtype="object")
    for name, group in own.groupby(month, sort=True):
        yield "month", str(name), group


def _scored(own: pd.DataFrame, kind: object, forecaster: object, scope: str, period: str) -> dict[str, object]:
    won, days = own["home_win"].to_numpy(dtype=bool), own["day"]
    scores = scoring.scores(own["probability"], won)
    intercept, slope = scoring.calibration_line(own["probability"], won)
    learners = sorted(set(own["learner"]) - {""})
    row: dict[str, object] = {
        "season": int(own["season"].max()), "day": days.max(), "kind": kind, "forecaster": forecaster,
        "learner": ", ".join(learners), "scope": scope, "period": period, "first_day": days.min().isoformat(),
        "games": int(scores["n"]), "log_loss": scores["log_loss"], "brier": scores["brier"],
        "accuracy": scores["accuracy"], "calibration_error": scores["calibration_error"],
        "calibration_intercept": intercept, "calibration_slope": slope,
    }  # fmt: skip
    for name in ("elo", "base_rate", "market"):
        row |= _against(own, name)
    return row


def _against(own: pd.DataFrame, name: str) -> dict[str, object]:
    both = own[own[name].notna()]
    nothing: dict[str, object] = dict.fromkeys(
        (f"{name}_log_loss", f"{name}_difference", f"{name}_low", f"{name}_high"), float("nan")
    )
    if both.empty:
        return {f"{name}_games": 0, **nothing}
    loss, other = (scoring.log_losses(both[column], both["home_win"]) for column in ("probability", name))
    found = paired_difference(loss, other, both["day"])
    return {
        f"{name}_games": found.n, f"{name}_log_loss": float(other.mean()), f"{name}_difference": found.mean,
        f"{name}_low": float("nan") if found.low is None else found.low,
        f"{name}_high": float("nan") if found.high is None else found.high,
    }  # fmt: skip


def shown_kind(settled: pd.DataFrame, least: int = 30) -> str:
    """Which kind pictures show: forecasts made before the game, or backfilled ones where there are too few."""
    counts = settled.loc[settled["forecaster"] == LEAGUE, "kind"].value_counts()
    enough = counts.get("forecast", 0) >= least or not counts.get("backfilled", 0)
    return "forecast" if enough else "backfilled"


def losses(settled: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Log losses of the league's forecasts and of the benchmarks on the same games, in order of time.

    Returns:
        Columns day, season, forecast, elo, base_rate, market (NaN where there is none).
    """
    own = settled[(settled["kind"] == kind) & (settled["forecaster"] == LEAGUE)].sort_values(["day", "game_id"])
    out = own[["day", "season"]].reset_index(drop=True)
    won = own["home_win"].to_numpy(dtype=bool)
    for name, column in (("forecast", "probability"), ("elo", "elo"), ("base_rate", "base_rate"), ("market", "market")):
        values = own[column].to_numpy(dtype=np.float64)
        known = np.isfinite(values)
        loss = np.full(len(values), np.nan)
        loss[known] = scoring.log_losses(values[known], won[known])
        out[name] = loss
    return out


def summary(table: pd.DataFrame, kinds: Iterable[str] = KINDS) -> list[list[object]]:
    """One row a forecaster over all its games, for people: see SUMMARY."""
    whole = table[table["scope"] == "all"]
    return [
        [row[name] for name in SUMMARY] for kind in kinds for row in whole[whole["kind"] == kind].to_dict("records")
    ]


SUMMARY = (
    "kind", "forecaster", "learner", "games", "log_loss", "brier", "accuracy", "calibration_error", "elo_log_loss",
    "elo_difference", "elo_low", "elo_high",
)  # fmt: skip
