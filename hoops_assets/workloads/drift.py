"""Has a league's season moved away from what its models were trained on: `python -m hoops_assets.workloads.drift IN OUT`.

What belongs here: which games each test of `judging.drift` is given, and what its answer says in basketball's units. The
folder IN holds

    spec.json           DriftSpec
    games.parquet       GAMES_NEEDED and the inputs: played games of the reference seasons and of this one
    forecasts.parquet   game_id, home_win_probability: what was forecast before the game; may be missing
    coming.parquet      day, home, away: fixtures ahead; may be missing
    arrivals.parquet    day, season, and a share of missing or late things per column, null where unknown, also of days after
                        the last settled one; may be missing
    served.parquet      game_id, name, trained, served: values that should be equal; may be missing

and OUT gets report.json, a DriftReport. The same folder always gives the same report.
"""

from __future__ import annotations

import calendar
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, JsonValue, ValidationError

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES, SENTIMENT_FEATURES, SIMPLE
from hoops_assets.basketball.league import Strict
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.judging import drift
from hoops_assets.judging.walkforward import MIN_TRAINING_ROWS, WINDOW, fit, probabilities
from hoops_assets.store import atomic

SPEC, REPORT = "spec.json", "report.json"
GAMES, FORECASTS, COMING, ARRIVALS, SERVED = "games", "forecasts", "coming", "arrivals", "served"
GAMES_NEEDED = ("game_id", "season", "day", "home", "away", "neutral", "home_score", "away_score")

State = Literal["red", "green", "not enough"]

INPUTS = tuple(name for name in SIMPLE if name not in SENTIMENT_FEATURES)
"""Inputs whose distribution is compared; how much fans write differs from season to season without harm."""

TOTALS_TOLERANCE = 0.05
"""Size of a shift of total points that is not worth an alarm, in standard deviations of one game: one point."""

INPUT_DAYS, INPUT_LOOKS = 30, 6
"""Inputs are looked at after every so many game days of a season, so many times at most, and share alpha."""

INPUT_PERMUTATIONS = 1999
"""Enough for the least p-value that 9 inputs at 6 looks need."""

USUAL_SHARE = 0.02
"""Of missing or late things, where earlier seasons had fewer or nothing is known of them."""

TOO_USUAL = 0.9
"""Above this share nothing more can be told."""

ANSWERED = "home_win_probability"
"""Name in served.parquet of an answer given to a customer, beside the names of features."""

ANSWER_TOLERANCE = 1e-4


class DriftSpec(Strict):
    """What is to be judged.

    Attributes:
        season: the one under watch; every earlier one in `games` is reference, at most `window` of them.
        through: last day of which every game is settled; later games are not looked at.
        watch_from: day on which the watch begins, so that earlier games of the season are reference too; by default its
            first. After an alarm that a newly trained version answers, the day after its last training game.
        trained_through: last day that the serving version was fitted on; teams first seen later are unseen.
        inputs: features compared by distribution.
    """

    league: str
    season: int
    through: date
    watch_from: date | None = None
    trained_through: date | None = None
    inputs: tuple[str, ...] = INPUTS
    window: int = WINDOW


class Series(Strict):
    """What a picture of a signal shows: values over days (or by input) and the line at which it alarms."""

    kind: Literal["line", "bar"] = "line"
    label: str
    x: tuple[str, ...]
    y: tuple[float, ...]
    threshold: float


class Signal(Strict):
    """What one question says.

    Attributes:
        since: day from which the change most likely dates. alarmed: the day on which it was first known.
        statistic, threshold: an alarm is `statistic >= threshold` on some day; of a past alarm the greatest statistic.
        p_value: always valid where the test is sequential: it holds whenever one looks.
        n: games, or days for what is missing or late.
        told: one sentence for people.
    """

    name: str
    state: State
    told: str
    n: int = 0
    since: date | None = None
    alarmed: date | None = None
    statistic: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    details: dict[str, JsonValue] = Field(default_factory=dict)
    series: Series | None = None


class DriftReport(Strict):
    """What every question says of a season through a day."""

    league: str
    season: int
    through: date
    games: int
    signals: tuple[Signal, ...]

    @property
    def red(self) -> tuple[Signal, ...]:
        return tuple(one for one in self.signals if one.state == "red")

    def signal(self, name: str) -> Signal:
        """Raises KeyError for a name that is none."""
        return {one.name: one for one in self.signals}[name]


def judge(spec: DriftSpec, frames: Mapping[str, pd.DataFrame]) -> DriftReport:
    """Asks every question.

    Args:
        frames: by the names of the files, without their suffix; all but `games` may be missing.

    Raises:
        ModelError: a column or all games of the season are missing.
    """
    games = _games(spec, frames)
    watched = (games["season"] == spec.season) & (games["day"] >= (spec.watch_from or date.min))
    past = games[~watched & (games["season"] >= spec.season - spec.window)]
    now = games[watched]
    refitted = _refitted(past, now)
    signals = [
        _inputs(spec, games),
        _target(past, now),
        _home_advantage(past, now),
        _totals(spec, games, now),
        _residuals(past, now, refitted),
        _concept(now, refitted, frames.get(FORECASTS)),
        _skew(frames.get(SERVED)),
        *_arrivals(spec, frames.get(ARRIVALS)),
        _unseen(spec, games, frames.get(COMING)),
    ]
    played = games["season"] == spec.season
    return DriftReport(
        league=spec.league, season=spec.season, through=spec.through, games=int(played.sum()), signals=tuple(signals)
    )


def _games(spec: DriftSpec, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    if GAMES not in frames:
        raise ModelError(f"the frame {GAMES} is missing")
    games = frames[GAMES]
    missing = [name for name in (*GAMES_NEEDED, *FEATURES, *spec.inputs) if name not in games.columns]
    if missing:
        raise ModelError(f"{GAMES} lacks the columns {', '.join(dict.fromkeys(missing))}")
    games = games[(games["day"] <= spec.through) & (games["season"] <= spec.season)]
    games = games.sort_values(["day", "game_id"], kind="stable").reset_index(drop=True)
    home, away = games["home_score"].astype("float64"), games["away_score"].astype("float64")
    if (home.isna() | away.isna()).any():
        raise ModelError(
            f"{GAMES} holds {int((home.isna() | away.isna()).sum())} games without a score; leave them out"
        )
    return games.assign(home_win=home > away, margin=home - away, total=home + away)


# -- means ------------------------------------------------------------------------------------------------------------


def _date(day: Any) -> str:
    """A day for people; the months' names do not depend on the machine's language."""
    return f"{day.day} {calendar.month_abbr[day.month]} {day.year}"


def _not_enough(name: str, why: str, n: int = 0) -> Signal:
    return Signal(name=name, state="not enough", told=why, n=n)


def _shifted(name: str, found: drift.Shift, unit: float, said: str, more: tuple[str, str]) -> Signal:
    """The signal of a sequential test.

    Args:
        unit: of one standard deviation, in the unit of `said`.
        more: the words for a shift upwards and downwards.
        said: with the places {size} and {more}.
    """
    if not found.games or found.shift is None or found.low is None or found.high is None:
        return _not_enough(name, "no game has been played yet")
    peak = float(found.evidence.max())
    told = said.format(size=abs(found.shift * unit), more=more[found.shift < 0])
    told += f" ({found.low * unit:+.1f} to {found.high * unit:+.1f})"
    if found.alarm is None:
        told = f"No alarm: {told}"
    else:
        told = f"Alarm on {_date(found.alarm)}: {told}; the change most likely dates from {_date(found.since)}"
    return Signal(
        name=name, state="green" if found.alarm is None else "red", told=told + ".", n=found.games,
        since=found.since, alarmed=found.alarm, statistic=peak, threshold=found.needed,
        p_value=float(min(1.0, np.exp(-peak))),
        details={"shift": found.shift * unit, "low": found.low * unit, "high": found.high * unit},
        series=Series(
            label="log evidence", x=tuple(map(str, found.looks)),
            y=tuple(found.evidence.tolist()), threshold=found.needed,
        ),
    )  # fmt: skip


def _against(past: pd.DataFrame, now: pd.DataFrame, column: str, tolerance: float) -> tuple[drift.Shift, float] | None:
    """The test of a column against its mean in the past, and the standard deviation; None without a usable past."""
    values = past[column].astype("float64")
    if len(values) < MIN_TRAINING_ROWS or values.nunique() < 2:
        return None
    reference = drift.Reference.of(values, past["day"].tolist())
    z = reference.standardised(now[column].astype("float64"))
    return drift.mean_shift(
        z, now["day"].tolist(), reference_variance=reference.n, tolerance=tolerance
    ), reference.sd  # fmt: skip


_NUMBER, _SIZE = ("more", "fewer"), ("greater", "smaller")
_TOO_FEW = "fewer than {least} earlier games to compare with"


def _target(past: pd.DataFrame, now: pd.DataFrame) -> Signal:
    found = _against(
        past[~past["neutral"].astype(bool)], now[~now["neutral"].astype(bool)], "home_win", drift.TOLERANCE
    )
    if found is None:
        return _not_enough("target", _TOO_FEW.format(least=MIN_TRAINING_ROWS), len(now))
    said = "home sides win {size:.1f} games in 100 {more} than in the seasons before"
    return _shifted("target", found[0], 100 * found[1], said, _NUMBER)


def _home_advantage(past: pd.DataFrame, now: pd.DataFrame) -> Signal:
    found = _against(past[~past["neutral"].astype(bool)], now[~now["neutral"].astype(bool)], "margin", drift.TOLERANCE)
    if found is None:
        return _not_enough("home_advantage", _TOO_FEW.format(least=MIN_TRAINING_ROWS), len(now))
    said = "the home side's margin is {size:.1f} points a game {more} than in the seasons before"
    return _shifted("home_advantage", found[0], found[1], said, _SIZE)


def _totals(spec: DriftSpec, games: pd.DataFrame, now: pd.DataFrame) -> Signal:
    last = games[games["season"] == spec.season - 1]
    found = _against(last, now, "total", TOTALS_TOLERANCE)
    if found is None:
        return _not_enough("totals", f"{_TOO_FEW.format(least=MIN_TRAINING_ROWS)} in the season before", len(now))
    said = "both sides together score {size:.1f} points a game {more} than last season"
    return _shifted("totals", found[0], found[1], said, _NUMBER)


@dataclass(frozen=True)
class Refitted:
    """The logistic regression fitted on the past.

    Attributes:
        p: P(home win) of each game now.
        sd: of a residual in the past. It is fixed before the watch begins, so that no later game moves an earlier alarm.
    """

    p: np.ndarray
    sd: float


def _refitted(past: pd.DataFrame, now: pd.DataFrame) -> Refitted | None:
    """None if the past is too short."""
    if len(past) < MIN_TRAINING_ROWS or past["home_win"].nunique() < 2:
        return None
    names = list(FEATURES)
    fitted = fit("logistic", LEARNERS["logistic"], past[names], past["home_win"])
    before = probabilities(fitted, past[names])
    return Refitted(probabilities(fitted, now[names]), float(np.sqrt((before * (1 - before)).mean())))


def _residuals(past: pd.DataFrame, now: pd.DataFrame, refitted: Refitted | None) -> Signal:
    if refitted is None:
        return _not_enough("residuals", _TOO_FEW.format(least=MIN_TRAINING_ROWS), len(now))
    if not len(now):
        return _not_enough("residuals", "no game has been played yet")
    p, sd = refitted.p, refitted.sd
    variance = p * (1 - p)
    residuals = (now["home_win"].to_numpy(dtype=np.float64) - p) / sd
    found = drift.mean_shift(
        residuals, now["day"].tolist(), variances=variance / sd**2, reference_variance=len(past)
    )  # fmt: skip
    said = "home sides win {size:.1f} games in 100 {more} than a model expects that was refitted before the watch"
    return _shifted("residuals", found, 100 * sd, said, _NUMBER)


# -- inputs and concept -----------------------------------------------------------------------------------------------


def _inputs(spec: DriftSpec, games: pd.DataFrame) -> Signal:
    """The season's first 30, 60, ... game days against the same part of the season before, in whole days."""
    last, now = (games[games["season"] == season] for season in (spec.season - 1, spec.season))
    then_days, now_days = sorted(last["day"].unique()), sorted(now["day"].unique())
    if not len(then_days):
        return _not_enough("inputs", "no season before to compare with", len(now))
    looks = [INPUT_DAYS * (number + 1) for number in range(INPUT_LOOKS)]
    done = [count for count in looks if count <= min(len(now_days), len(then_days))]
    if not done:
        return _not_enough("inputs", f"inputs are first looked at after {INPUT_DAYS} game days", len(now))
    found: list[drift.InputDrift] = []
    seen, alarmed = 0, None
    for count in done:
        then, current = last[last["day"] <= then_days[count - 1]], now[now["day"] <= now_days[count - 1]]
        found = drift.input_drift(
            {name: then[name] for name in spec.inputs}, {name: current[name] for name in spec.inputs},
            then["day"].tolist(), current["day"].tolist(), alpha=drift.ALPHA / INPUT_LOOKS,
            permutations=INPUT_PERMUTATIONS,
        )  # fmt: skip
        seen = len(current)
        if any(one.moved for one in found):
            alarmed = now_days[count - 1]
            break
    moved = [one for one in found if one.moved]
    greatest = max(found, key=lambda one: one.psi)
    many = "s" if len(done) > 1 else ""
    told = (
        f"Alarm on {_date(alarmed)}: not distributed as in the same part of the season before: "
        + ", ".join(f"{one.name} (index {one.psi:.2f})" for one in moved)
        + "."
        if moved
        else f"No alarm at {len(done)} look{many}: the greatest index is {greatest.psi:.2f} ({greatest.name})."
    )
    by_size = sorted(found, key=lambda one: -one.psi)
    return Signal(
        name="inputs", state="red" if moved else "green", told=told, n=seen, alarmed=alarmed,
        since=now_days[0] if moved else None,
        statistic=max(one.psi for one in moved) if moved else greatest.psi, threshold=drift.LEAST_PSI,
        p_value=float(min(1.0, min(one.p_value for one in found) * len(found))),
        details={"moved": [one.name for one in moved], "p_values": {one.name: one.p_value for one in found}},
        series=Series(
            kind="bar", label="population stability index", x=tuple(one.name for one in by_size),
            y=tuple(one.psi for one in by_size), threshold=drift.LEAST_PSI,
        ),
    )  # fmt: skip


ROLLING = 200
"""Games of the rolling mean shown of the loss."""


def _concept(now: pd.DataFrame, refitted: Refitted | None, forecasts: pd.DataFrame | None) -> Signal:
    """ADWIN on the Brier scores of what was forecast; of the refitted logistic where too little was."""
    rows, whose = now.iloc[:0].assign(p=0.0), "what was forecast"
    if forecasts is not None and len(forecasts):
        known = forecasts[["game_id", "home_win_probability"]].rename(columns={"home_win_probability": "p"})
        rows = now.merge(known, on="game_id", how="inner", validate="one_to_one").sort_values(["day", "game_id"])
    if 2 * len(rows) < len(now) and refitted is not None:
        rows, whose = now.assign(p=refitted.p), "the refitted logistic regression"
    if len(rows) < drift.MIN_LOOKS:
        return _not_enough("concept", f"fewer than {drift.MIN_LOOKS} games were forecast", len(rows))
    loss = ((rows["p"] - rows["home_win"]) ** 2).to_numpy(dtype=np.float64)
    found = drift.concept_drift(loss, rows["day"].tolist())
    mean = pd.Series(loss).rolling(ROLLING, min_periods=drift.MIN_LOOKS).mean()
    by_day = (
        pd.DataFrame({"day": rows["day"].to_numpy(), "mean": mean.to_numpy()}).groupby("day")["mean"].last().dropna()
    )
    level = float(loss.mean())
    if found:
        one = found[0]
        told = f"Alarm on {_date(one.look)}: the Brier score of {whose} rose from {one.before:.4f} to {one.after:.4f}."
    else:
        told = f"No alarm: the Brier score of {whose} keeps its level, {level:.4f}."
    return Signal(
        name="concept", state="red" if found else "green", told=told, n=len(rows),
        since=found[0].look if found else None, alarmed=found[0].look if found else None, statistic=level,
        details={"changes": [{"day": str(one.look), "before": one.before, "after": one.after} for one in found]},
        series=Series(
            label=f"Brier score, last {ROLLING} games", x=tuple(map(str, by_day.index)),
            y=tuple(by_day.tolist()), threshold=level,
        ),
    )  # fmt: skip


# -- what arrives and what is served ----------------------------------------------------------------------------------


def _skew(served: pd.DataFrame | None) -> Signal:
    if served is None or served.empty:
        return _not_enough("skew", "nothing is served that could be compared")
    found: list[drift.Skew] = []
    for name, rows in served.groupby("name", sort=True):
        tolerance = ANSWER_TOLERANCE if name == ANSWERED else 1e-6
        found += drift.serving_skew(
            {str(name): rows["trained"].to_numpy()}, {str(name): rows["served"].to_numpy()}, tolerance=tolerance
        )
    games = int(served["game_id"].nunique())
    found.sort(key=lambda one: (-one.differing, one.name))
    told = (
        "Serving does not see what training would: "
        + ", ".join(f"{one.name} in {one.differing} of {one.games} games" for one in found[:5])
        + "."
        if found
        else f"Serving sees what training would see, in {games} games and {served['name'].nunique()} values of each."
    )
    counts = {one.name: one.differing for one in found}
    return Signal(
        name="skew", state="red" if found else "green", told=told, n=games,
        statistic=float(max(counts.values(), default=0)), threshold=1.0, details={"differing_games": dict(counts)},
    )  # fmt: skip


def _arrivals(spec: DriftSpec, arrivals: pd.DataFrame | None) -> list[Signal]:
    if arrivals is None:
        return []
    rows = arrivals.sort_values("day")
    return [_arrival(spec, rows, str(name)) for name in arrivals.columns if name not in ("day", "season")]


def _arrival(spec: DriftSpec, rows: pd.DataFrame, name: str) -> Signal:
    known = rows[rows[name].notna()]
    before, now = known[known["season"] < spec.season], known[known["season"] == spec.season]
    usual = float(max(before[name].astype("float64").mean(), USUAL_SHARE)) if len(before) else USUAL_SHARE
    words = name.replace("_", " ")
    if now.empty or usual > TOO_USUAL:
        why = "no day to look at" if now.empty else f"{usual:.0%} are usual, more could not be told"
        return _not_enough(name, f"{words}: {why}", len(now))
    days, shares = now["day"].tolist(), now[name].to_numpy(dtype=np.float64)
    evidence = drift.excess_evidence(shares[None, :], usual)[0]
    found = drift.excess(shares, days, expected=usual)
    needed, peak = float(np.log(1 / drift.ALPHA)), float(evidence.max())
    since = None
    if found.alarm is not None:
        until = days.index(found.alarm)
        good = [place for place in range(until + 1) if shares[place] <= usual]
        since = days[good[-1] + 1] if good and good[-1] < until else days[0]
    head = f"Alarm on {_date(found.alarm)}" if found.alarm is not None else "No alarm"
    told = f"{head}: {words}, {found.share:.1%} on a mean day where {usual:.1%} are usual."
    return Signal(
        name=name, state="green" if found.alarm is None else "red", told=told, n=len(days), since=since,
        alarmed=found.alarm, statistic=peak, threshold=needed, p_value=float(min(1.0, np.exp(-peak))),
        details={"share": found.share, "usual": usual},
        series=Series(
            label="log evidence", x=tuple(map(str, days)),
            y=tuple(evidence.tolist()), threshold=needed,
        ),
    )  # fmt: skip


def _unseen(spec: DriftSpec, games: pd.DataFrame, coming: pd.DataFrame | None) -> Signal:
    known = games[(games["season"] >= spec.season - spec.window) & (games["season"] < spec.season)]
    if spec.trained_through is not None:
        known = games[(games["season"] >= spec.season - spec.window) & (games["day"] <= spec.trained_through)]
    now = games.loc[games["season"] == spec.season, ["day", "home", "away"]]
    if coming is not None and len(coming):
        now = pd.concat([now, coming[["day", "home", "away"]]], ignore_index=True)
    if known.empty or now.empty:
        return _not_enough("unseen", "nothing to compare with", len(now))
    teams = drift.unseen([*now["home"], *now["away"]], [*known["home"], *known["away"]])
    if not teams:
        return Signal(name="unseen", state="green", told="Every team was seen in training.", n=len(now), statistic=0.0,
                      threshold=1.0)  # fmt: skip
    first = now.loc[now["home"].isin(teams) | now["away"].isin(teams), "day"].min()
    return Signal(
        name="unseen", state="red", told=f"No version was trained on {', '.join(teams)}, first game {_date(first)}.",
        n=len(now), since=first, alarmed=first, statistic=float(len(teams)), threshold=1.0, details={"teams": [*teams]},
    )  # fmt: skip


# -- as a program -----------------------------------------------------------------------------------------------------


def write_inputs(folder: Path, spec: DriftSpec, frames: Mapping[str, pd.DataFrame]) -> None:
    """Writes the folder that `run` reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    atomic.write_json(folder / SPEC, spec.model_dump(mode="json"))


def run(given: Path, out: Path) -> DriftReport:
    """Reads a folder, judges, and writes OUT/report.json.

    Raises:
        ModelError: the folder is incomplete or a file unreadable.
    """
    given = Path(given)
    try:
        spec = DriftSpec.model_validate_json((given / SPEC).read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{given / SPEC} is missing; the folder needs {SPEC} and {GAMES}.parquet") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(f"{given / SPEC}, field {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    frames = {}
    for name in (GAMES, FORECASTS, COMING, ARRIVALS, SERVED):
        path = given / f"{name}.parquet"
        if path.exists():
            try:
                frames[name] = pd.read_parquet(path)
            except (OSError, ValueError) as error:
                raise ModelError(f"{path} is not a readable Parquet file: {error}") from error
    report = judge(spec, frames)
    atomic.write_json(Path(out) / REPORT, report.model_dump(mode="json"))
    return report


def main(arguments: list[str]) -> int:
    """Runs one job; prints one line a signal. Exit status 1 if it failed, 0 else, alarms or none."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m hoops_assets.workloads.drift IN OUT\n")
        return 2
    try:
        report = run(Path(arguments[0]), Path(arguments[1]))
    except HoopsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for one in report.signals:
        sys.stdout.write(f"signal {one.name}={one.state}: {one.told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
