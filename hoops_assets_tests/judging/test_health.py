"""When bad answers withdraw a version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hoops_assets.judging.health import (
    DEFAULT_HEALTH,
    Counts,
    HealthRule,
    Look,
    Watch,
    ailments,
    read_counts,
    surely_apart,
    surely_more,
)
from hoops_assets.workloads.serve.metrics import Metrics

WELL = Counts(answers=1000, predictions=5000, degraded=2, slow=1)


def test_the_page_of_the_server_is_read_as_it_counted() -> None:
    metrics = Metrics()
    for seconds in (0.0004, 0.1, 0.1001, 2.0):
        metrics.answered("nba", 3, 5, 1, seconds)
    metrics.answered("nba", 31, 1, 0, 0.01)
    metrics.answered("wnba", 3, 1, 1, 9.0)
    found = read_counts(metrics.text([("hoops_endpoints", "gauge", "Leagues that are served.", 2.0)]), "nba", 3)
    assert found == Counts(answers=4, predictions=20, degraded=4, slow=2)
    assert read_counts(metrics.text([]), "nba", 99).answers == 0


# -- the rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts(100, 100, 12, 0), "12 of 100 forecasts were not the model's own"),
        (Counts(100, 100, 0, 12), "12 of 100 answers took longer than 0.1 s"),
        (Counts(20, 20, 20, 0), "20 of 20 forecasts were not the model's own"),
    ],
)
def test_a_share_that_is_surely_too_large_is_told_with_its_figures(counts: Counts, words: str) -> None:
    (told,) = ailments(Look(counts, Counts(900, 900, 0, 0)))
    assert told.startswith(words)


def test_a_version_that_does_well_or_of_which_too_little_is_known_stays() -> None:
    assert ailments(Look(WELL)) == []
    assert ailments(Look(Counts(19, 19, 19, 19))) == []
    assert ailments(Look(Counts(40, 40, 1, 0))) == [], "one in forty may be chance"


def test_what_the_champion_shows_as_well_withdraws_nobody() -> None:
    assert ailments(Look(Counts(50, 50, 50, 25), Counts(450, 450, 450, 225))) == []
    assert ailments(Look(Counts(50, 50, 50), Counts(1, 1, 1))), "one answer of the champion tells nothing"
    assert ailments(Look(Counts(50, 50, 50), Counts(450, 450, 20))), "the champion ails a little, the canary wholly"
    (told,) = ailments(Look(Counts(50, 50, 50, 50), Counts(450, 450, 450, 0)))
    assert "took longer" in told, "one ailment is shared, the other is its own"


def test_limits_are_the_rules() -> None:
    strict = HealthRule(degraded=0.0, least=1)
    assert ailments(Look(Counts(10, 10, 5, 0)), strict)


@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([0.01, 0.1, 0.5]))
def test_chance_alone_is_no_likelier_than_the_rule_says(bad: int, n: int, limit: float) -> None:
    if surely_more(min(bad, n), n, limit, 1e-4):
        assert binom.sf(min(bad, n) - 1, n, limit) <= 1e-4


def test_two_shares_are_apart_when_one_common_share_explains_neither() -> None:
    assert surely_apart(50, 50, 450, 900, 1e-4)
    assert not surely_apart(30, 50, 450, 900, 1e-4)
    assert not surely_apart(450, 900, 50, 50, 1e-4), "the second is the larger"
    assert not surely_apart(50, 50, 0, 0, 1e-4)


# -- what is remembered -----------------------------------------------------------------------------------------------


def look(answers: int, degraded: int = 0, champions: int = 0) -> Look:
    return Look(Counts(answers, answers, degraded), Counts(9 * answers, 9 * answers, champions))


def test_what_has_just_begun_is_seen_however_long_all_was_well_before() -> None:
    watch = Watch.begun("one", "server", look(500)).after("server", look(100_500))
    assert ailments(watch.last) == ailments(watch.whole) == []
    looks = 0
    while not ailments(watch.last):
        looks += 1
        watch = watch.after("server", look(100_500 + 3 * looks, 3 * looks))
    assert looks <= 20 and not ailments(watch.whole), "a minute at a canary's answer every ten seconds"


def test_a_little_too_much_is_seen_in_the_whole_trial() -> None:
    watch = Watch.begun("one", "server", look(0))
    for number in range(1, 101):
        watch = watch.after("server", look(50 * number, number))
    assert ailments(watch.whole) and not ailments(watch.last)


def test_counts_of_an_earlier_trial_do_not_matter_and_a_new_server_starts_from_nothing() -> None:
    watch = Watch.begun("one", "first", look(1000, 900)).after("first", look(1100, 900))
    assert watch.whole == look(100)
    assert watch.after("second", look(2000, 1)).whole == look(2000, 1), "more than the first had counted"


@given(st.lists(st.integers(0, 120), max_size=60))
def test_the_last_answers_are_fifty_or_those_since_the_look_before(gains: list[int]) -> None:
    watch, total = Watch.begun("one", "server", look(0)), 0
    for gain in gains:
        total += gain
        watch = watch.after("server", look(total))
        last = watch.last.canary.answers
        assert last >= min(total, DEFAULT_HEALTH.recent)
        assert len(watch.recent) <= DEFAULT_HEALTH.recent + 1
        assert last - (watch.recent[1].canary.answers - watch.recent[0].canary.answers if last else 0) < 50
    assert Watch.read(watch.text()) == watch


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"trial": "one", "counts": {"answers": 3, "failed": 0}}'])
def test_a_memory_that_cannot_be_read_begins_anew(text: str | None) -> None:
    assert Watch.read(text) is None
