"""Two simulated seasons with and without automation: it notices, trains, swaps by its own rule, and loses less by it.

`benchmarks/reaction.py` prints the same of many leagues; here are few, and what must hold of each.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.settings import Reaction
from hoops_assets.workloads import drift as watch
from hoops_assets_tests.simulated_seasons import (
    FOLLOWING,
    SHOCKED,
    Life,
    World,
    features_of,
    foreseen_alarm,
    live,
    true_shift,
)

EMPTY_ARENAS = World("home advantage 3 -> -3", home_advantage=-3.0)
QUIET = World("nothing moves")
SIMPLE = ("base_rate", "elo", "logistic")


@pytest.fixture(scope="module")
def shocked() -> Life:
    return live(EMPTY_ARENAS, 1, learners=SIMPLE)


def test_a_lost_home_advantage_is_noticed_trained_for_tried_and_swapped_by_the_rule(shocked: Life) -> None:
    noticed = [day for day, signal in shocked.edges if signal in Reaction().signals]
    assert shocked.since_shock(noticed[0]) < 250
    assert noticed[0] <= shocked.trained[0]
    assert shocked.since_shock(shocked.trained[0]) >= Reaction().minimum_games
    assert shocked.swapped, "through the gate and the verdict"
    assert shocked.swapped[0] > shocked.trained[0]
    ends = [one.ends for one in shocked.trials if one.ends]
    assert ends == sorted(ends), "one trial at a time"
    days = sorted(shocked.trained)
    assert all(b - a >= timedelta(days=Reaction().cooldown_days) for a, b in pairwise(days))


def test_in_the_following_season_automation_loses_less(shocked: Life) -> None:
    assert shocked.gain(FOLLOWING) > 0.003


def test_before_the_first_swap_both_lives_are_the_same(shocked: Life) -> None:
    before = shocked.games["day"] <= shocked.swapped[0]
    assert np.array_equal(shocked.games["on"][before], shocked.games["off"][before])
    assert not np.array_equal(shocked.games["on"], shocked.games["off"])


def test_with_automation_off_nothing_happens_but_alarms() -> None:
    off = live(EMPTY_ARENAS, 1, Reaction(signals=()), SIMPLE)
    assert off.edges
    assert not off.trained
    assert np.array_equal(off.games["on"], off.games["off"])


def test_looking_every_day_alarms_on_the_day_that_one_look_at_the_whole_season_names() -> None:
    """What lets a simulated season be judged at once."""
    rows = features_of(EMPTY_ARENAS, 2)
    rows = rows[rows["season"] <= SHOCKED]
    days = sorted(rows.loc[rows["season"] == SHOCKED, "day"].unique())

    def alarmed(through: object) -> dict[str, object]:
        spec = watch.DriftSpec(league="simulated", season=SHOCKED, through=through, inputs=("home_court",))  # type: ignore[arg-type]
        signals = watch.judge(spec, {watch.GAMES: rows}).signals
        return {one.name: one.alarmed for one in signals if one.name in ("residuals", "target", "home_advantage")}

    whole = alarmed(days[-1])
    assert whole["residuals"] is not None
    place = days.index(whole["residuals"])
    assert alarmed(days[place - 1])["residuals"] is None
    assert alarmed(days[place])["residuals"] == alarmed(days[place + 5])["residuals"] == whole["residuals"]


def test_the_power_of_the_rule_foresees_a_strong_shift_and_hardly_any_where_nothing_moved() -> None:
    assert -0.5 < true_shift(EMPTY_ARENAS) < -0.25
    strong = foreseen_alarm(true_shift(EMPTY_ARENAS), past=2480, before=0, after=497)
    none = foreseen_alarm(0.0, past=2480, before=0, after=497)
    assert np.isfinite(strong).mean() > 0.99
    assert np.isfinite(none).mean() <= 0.05


@pytest.mark.slow
def test_over_several_leagues_automation_pays_where_the_home_advantage_moved_and_harms_nowhere_else() -> None:
    seeds = range(11, 16)
    moved = [live(EMPTY_ARENAS, seed) for seed in seeds]
    gains = [life.gain(FOLLOWING) for life in moved]
    assert np.mean(gains) > 0
    assert sum(gain > 0 for gain in gains) >= 4
    foreseen = foreseen_alarm(true_shift(EMPTY_ARENAS), past=2480, before=0, after=497)
    seen = [life.since_shock(day) for life in moved for day, signal in life.edges[:4] if signal == "residuals"]
    assert np.quantile(foreseen, 0.01) <= np.median(seen) <= np.quantile(foreseen, 0.99)
    quiet = [live(QUIET, seed, learners=tuple(LEARNERS)) for seed in seeds]
    assert abs(np.mean([life.gain(FOLLOWING) for life in quiet])) < 0.003
    asked = [life.alarmed(season, Reaction().signals) for life in quiet for season in (SHOCKED, FOLLOWING)]
    assert sum(bool(edges) for edges in asked) <= 2, "of ten seasons; each signal alarms in 5 % at most"
