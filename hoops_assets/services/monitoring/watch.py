"""What the watch over a league is given: its tables, what serves, and what was answered, as `workloads.drift` wants them.

What belongs here: reading. Which test is asked and what its answer means is in `workloads.drift`; alarms are raised by
`edges` alone, once for each turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.errors import ModelError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.monitoring.alerts import raise_alarm
from hoops_assets.services.monitoring.performance import LEAGUE
from hoops_assets.services.prediction.trial import serving
from hoops_assets.services.registry.contract import Registry
from hoops_assets.store import alarms, deployments
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets.workloads import drift
from hoops_assets.workloads.drift import DriftReport, DriftSpec, Signal
from hoops_assets.workloads.serve.bundle import endpoint_folder, read_fixtures

PREFIX = "drift/"

LATE_AFTER = timedelta(hours=36)
"""A post that comes in later than this after it was written is late: a source that is asked every morning takes a day."""


@dataclass(frozen=True)
class Watch:
    """What is to be judged, and the frames it is judged on."""

    spec: DriftSpec
    frames: dict[str, pd.DataFrame]


def gather(
    store: DeltaStore, record: Record, registry: Registry, league: League, home: Path, settled: pd.DataFrame,
    today: date,
) -> Watch | None:  # fmt: skip
    """What is known of a league as of its last settled game day; None while no game is settled.

    Args:
        settled: what was forecast, as `performance.forecasts` returns it.
        today: in the league's zone; of the days before it results should have arrived.
    """
    name = league.name
    fixtures = store.read(name, "fixtures", columns=["game_id", "season", "day", "home", "away"])
    results = store.read(name, "results")
    games = results.merge(
        store.read(name, "game_features", columns=["game_id", *FEATURES]),
        on="game_id",
        how="inner",
        validate="one_to_one",
    )
    if games.empty:
        return None
    unsettled = set(fixtures.loc[~fixtures["game_id"].isin(results["game_id"]), "day"])
    days = sorted(set(games["day"]) - unsettled) or sorted(set(games["day"]))
    through = days[-1]
    season = int(games["season"].to_numpy()[games["day"].to_numpy() == through].max())
    champion = serving(record, name).champion
    trained = _trained_through(registry, name, champion)
    spec = DriftSpec(
        league=name, season=season, through=through, watch_from=_watch_from(record, name, games, season, champion, trained),
        trained_through=trained,
    )  # fmt: skip
    played = games[(games["season"] >= season - spec.window) & (games["day"] <= through)]
    genuine = settled[
        (settled["kind"] == "forecast") & (settled["forecaster"] == LEAGUE) & (settled["season"] == season)
    ]
    frames = {
        drift.GAMES: played[[*drift.GAMES_NEEDED, *FEATURES]],
        drift.FORECASTS: genuine[["game_id", "probability"]].rename(columns={"probability": "home_win_probability"}),
        drift.COMING: fixtures.loc[fixtures["day"] > through, ["day", "home", "away"]],
        drift.ARRIVALS: arrivals(store, league, fixtures, results, max(through, today - timedelta(days=1))),
        drift.SERVED: pd.concat(
            [bundled(store, league, home), answered(store, record, name, season)], ignore_index=True
        ),
    }
    return Watch(spec, frames)


def _trained_through(registry: Registry, league: str, version: int | None) -> date | None:
    if version is None:
        return None
    try:
        return registry.get(league, version).trained_through
    except ServiceError:
        return None


def _watch_from(
    record: Record, league: str, games: pd.DataFrame, season: int, champion: int | None, trained: date | None
) -> date | None:
    """The day after the champion's last training game if it answered an alarm of this season: it was deployed after the
    alarm and trained on games since the change. Else the season's first day, which is None."""
    if trained is None or trained < games.loc[games["season"] == season, "day"].min():
        return None
    came = [one.at for one in deployments.history(record, league) if one.version == champion and one.action == "deploy"]
    answered = [
        edge
        for edge in alarms.history(record, league)
        if edge.state == "red" and edge.alarm.startswith(PREFIX) and edge.evidence.get("season") == season
        if edge.at and any(at > edge.at for at in came)
        if edge.evidence.get("since") and date.fromisoformat(str(edge.evidence["since"])) <= trained
    ]
    return trained + timedelta(days=1) if answered else None


# -- what arrives -----------------------------------------------------------------------------------------------------


def arrivals(
    store: DeltaStore, league: League, fixtures: pd.DataFrame, results: pd.DataFrame, through: date
) -> pd.DataFrame:
    """Shares of what is missing or late on each game day through one: also after the last settled day, when results stop.

    Returns:
        day, season, missing_results; for a league with a source of posts missing_posts (of sides that nobody wrote about)
        and late_posts. NaN where it cannot be known: seasons without any post, days that were filled in afterwards.
    """
    known = fixtures[fixtures["day"] <= through]
    lacking = (~known["game_id"].isin(results["game_id"])).groupby(known["day"]).mean()
    out = pd.DataFrame({"day": lacking.index, "missing_results": lacking.to_numpy(dtype=np.float64)})
    out.insert(1, "season", out["day"].map(known.groupby("day")["season"].first()).astype("int64"))
    if league.sources.posts is None:
        return out
    sides = store.read(league.name, "fan_sentiment", columns=["season", "day", "posts"])
    sides = sides[sides["day"] <= through]
    silent = (sides["posts"] == 0).groupby(sides["day"]).mean()
    with_posts = sides.groupby("season")["posts"].sum()
    out["missing_posts"] = out["day"].map(silent).where(out["season"].map(with_posts).fillna(0) > 0)
    return out.assign(late_posts=out["day"].map(_late(store, league.name)).astype("float64"))


def _late(store: DeltaStore, league: str) -> pd.Series:
    """Share of late posts by day, of days that were forecast before their games; posts of others came in long after."""
    forecast = store.read(league, "predictions", columns=["day", "backfilled"])
    live = set(forecast.loc[~forecast["backfilled"].astype(bool), "day"])
    if not live:
        return pd.Series(dtype="float64")
    posts = store.read(
        league, "fan_posts", first=min(live), last=max(live), columns=["day", "created_at", "ingested_at"]
    )
    posts = posts[posts["day"].isin(live)]
    return ((posts["ingested_at"] - posts["created_at"]) > LATE_AFTER).groupby(posts["day"]).mean()


# -- what is served ---------------------------------------------------------------------------------------------------


def bundled(store: DeltaStore, league: League, home: Path) -> pd.DataFrame:
    """The features of the coming games that the endpoint answers from, beside those of the table that training reads.

    Returns:
        game_id, name, trained, served.
    """
    try:
        served = read_fixtures(endpoint_folder(home, league.name))
    except ModelError:
        return _nothing()
    if not served.fixtures:
        return _nothing()
    rows = pd.DataFrame([{"game_id": one.game_id, **one.features} for one in served.fixtures]).set_index("game_id")
    table = store.read(
        league.name, "game_features", first=served.first_day, last=served.last_day, columns=["game_id", *FEATURES]
    ).set_index("game_id")
    both = table.index.intersection(rows.index)
    names = [name for name in FEATURES if name in rows.columns]
    parts = [
        pd.DataFrame({"game_id": both, "name": name, "trained": table.loc[both, name].to_numpy(dtype=np.float64),
                      "served": rows.loc[both, name].to_numpy(dtype=np.float64)})
        for name in names
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True) if parts and len(both) else _nothing()


def answered(store: DeltaStore, record: Record, league: str, season: int) -> pd.DataFrame:
    """What customers were told by a version itself of games since a season began, after its last forecast of the game,
    beside that forecast.

    Returns:
        game_id, name (`drift.ANSWERED`), trained, served; the last answer of a game and version.
    """
    rows = [
        {
            "game_id": row["game_id"],
            "version": int(row["version"]),
            "at": row["at"],
            "served": row["home_win_probability"],
        }
        for row in record.last_rows("served_predictions", ["game_id", "version"], league=league, degraded=None)
        if row["game_id"] is not None and row["version"] is not None
    ]
    if not rows:
        return _nothing()
    last = pd.DataFrame(rows)
    columns = ["game_id", "season", "version", "home_win_probability", "made_at", "degraded"]
    forecast = store.read(league, "predictions", columns=columns).astype({"version": "int64"})
    own = forecast[(forecast["degraded"] == "") & (forecast["season"] >= season)].drop(columns=["degraded", "season"])
    both = last.merge(own, on=["game_id", "version"], how="inner")
    both = both[both["at"] > both["made_at"]]
    return both.assign(name=drift.ANSWERED, trained=both["home_win_probability"])[_SERVED].reset_index(drop=True)


_SERVED = ["game_id", "name", "trained", "served"]


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series(dtype="object" if name in ("game_id", "name") else "float64") for name in _SERVED}
    )


# -- alarms -----------------------------------------------------------------------------------------------------------


def edges(record: Record, report: DriftReport, run_id: str | None) -> list[tuple[str, str, str]]:
    """Raises what turned red and lowers what turned green; the same report twice turns nothing.

    A signal that has not enough to say is no alarm.

    Returns:
        (alarm, state, what became of it: see `raise_alarm`) of every alarm that turned.
    """
    turned = []
    for one in report.signals:
        alarm = alarm_of(report, one, run_id)
        told = raise_alarm(record, alarm)
        if told:
            turned.append((alarm.alarm, alarm.state, told))
    return turned


def alarm_of(report: DriftReport, signal: Signal, run_id: str | None) -> Alarm:
    """The alarm that a signal stands for."""
    evidence = signal.model_dump(mode="json", exclude={"series", "told", "name"})
    return Alarm(
        report.league, PREFIX + signal.name, "red" if signal.state == "red" else "green", signal.told,
        {**evidence, "season": report.season, "through": report.through.isoformat()}, run_id,
    )  # fmt: skip


def signal_names(posts: bool) -> tuple[str, ...]:
    """The names of a league's signals, in the order of the report."""
    of_posts = ("missing_posts", "late_posts") if posts else ()
    return (
        "inputs", "target", "home_advantage", "totals", "residuals", "concept", "skew", "missing_results", *of_posts,
        "unseen",
    )  # fmt: skip
