"""Which alarm asks for a training, and when: the rule alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.services.monitoring.reaction import Ask, Asked, decide, standing
from hoops_assets.settings import Reaction
from hoops_assets.store.alarms import Alarm

RULE = Reaction(cooldown_days=14, minimum_games=100, attempts=3)
TODAY = date(2024, 12, 20)
YESTERDAY = TODAY - timedelta(days=1)


def edges(*told: tuple[str, str]) -> list[Alarm]:
    """Edges in their order, as (signal, state)."""
    return [
        Alarm("nba", f"drift/{signal}", state, "for a test", id=number)  # type: ignore[arg-type]
        for number, (signal, state) in enumerate(told, start=1)
    ]


def asked(state: Any, *ids: int, on: date = YESTERDAY) -> Asked:
    return Asked(frozenset(ids), on, state)


def due(told: Sequence[Alarm], tries: Sequence[Asked] = (), games: int = 200, rule: Reaction = RULE) -> Ask | str:
    return decide(standing(told, tries, rule).pending, tries, games, TODAY, rule)


def test_a_red_edge_asks_for_one_training_and_an_answered_one_for_none() -> None:
    red = edges(("residuals", "red"))
    found = due(red)
    assert isinstance(found, Ask)
    assert (found.first, found.attempt) == (red[0], 1)
    later = standing(red, [asked("succeeded", 1)], RULE)
    assert (later.pending, later.settled, later.through) == ((), ("drift/residuals was answered by a training",), 1)


def test_one_training_answers_all_that_is_red_when_it_is_asked_for() -> None:
    red = edges(("target", "red"), ("residuals", "red"))
    found = due(red)
    assert isinstance(found, Ask)
    assert [edge.id for edge in found.edges] == [1, 2]
    assert not standing(red, [asked("succeeded", 1, 2)], RULE).pending


@pytest.mark.parametrize("signal", ["late_posts", "missing_results", "skew", "totals", "inputs"])
def test_what_training_does_not_help_asks_for_nothing_and_says_so(signal: str) -> None:
    found = standing(edges((signal, "red")), [], RULE)
    assert (found.pending, found.through) == ((), 1)
    assert found.settled == (f"drift/{signal} is red: no training is asked for by it",)


def test_the_settings_say_which_signals_ask() -> None:
    assert not standing(edges(("residuals", "red")), [], Reaction(signals=())).pending
    assert standing(edges(("totals", "red")), [], Reaction(signals=("totals",))).pending


def test_an_alarm_that_turned_green_again_asks_for_nothing_and_a_new_edge_asks_anew() -> None:
    back = edges(("residuals", "red"), ("residuals", "green"))
    assert not standing(back, [], RULE).pending
    again = edges(("residuals", "red"), ("residuals", "green"), ("residuals", "red"))
    assert [edge.id for edge in standing(again, [asked("succeeded", 1)], RULE).pending] == [3]


def test_nothing_is_asked_for_while_a_training_is_under_way() -> None:
    assert "under way" in str(due(edges(("residuals", "red"), ("target", "red")), [asked("under way", 1)]))


def test_the_next_alarm_waits_for_the_cooldown_and_then_asks() -> None:
    red = edges(("residuals", "red"), ("target", "red"))
    for days, waits in ((13, True), (14, False)):
        found = due(red, [asked("succeeded", 1, on=TODAY - timedelta(days=days))])
        assert isinstance(found, str) == waits, days
    assert "may be on 2025-01-02" in str(due(red, [asked("succeeded", 1)]))


def test_too_few_new_games_wait_and_are_counted() -> None:
    assert "99 games were settled since the last training, 100 are needed" in str(
        due(edges(("concept", "red")), games=99)
    )
    assert isinstance(due(edges(("concept", "red")), games=100), Ask)


def test_a_training_that_failed_is_asked_for_again_by_the_same_edge_once_a_day_and_a_bounded_number_of_times() -> None:
    red = edges(("residuals", "red"))
    tries: list[Asked] = []
    attempts = []
    for day in range(6):
        today = TODAY + timedelta(days=day)
        for _ in range(3):  # several looks a day
            found = standing(red, tries, RULE)
            if not found.pending:
                continue
            decision = decide(found.pending, tries, 0 if tries else 200, today, RULE)
            if isinstance(decision, Ask):
                attempts.append((day, decision.attempt))
                tries.append(asked("failed", 1, on=today))
            else:
                assert "asked for again tomorrow" in decision
    assert attempts == [(0, 1), (1, 2), (2, 3)]
    (told,) = standing(red, tries, RULE).settled
    assert told.startswith("drift/residuals is given up: 3 trainings failed")


def test_what_was_settled_is_told_once() -> None:
    told = edges(("skew", "red"), ("residuals", "red"), ("concept", "red"), ("concept", "green"))
    first = standing(told, [], RULE)
    assert (first.through, len(first.settled)) == (1, 2), "the edge that waits keeps the later ones in view"
    assert len(standing(told, [], RULE, first.through).settled) == 1
    done = standing(told, [asked("succeeded", 2)], RULE, first.through)
    assert done.through == 4
    assert standing(told, [], RULE, done.through).settled == ()


@given(
    st.lists(st.tuples(st.sampled_from(["residuals", "target", "concept", "skew"]), st.booleans()), max_size=30),
    st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_no_edge_is_asked_for_twice_while_nothing_fails_and_none_is_forgotten(
    turns: list[tuple[str, bool]], succeeds: list[bool]
) -> None:
    """Edges arrive one a day; every training ends at once. Afterwards nothing that is red is left unasked."""
    state: dict[str, bool] = {}
    told: list[Alarm] = []
    for signal, red in turns:
        if state.get(signal, False) != red:
            told.append(Alarm("nba", f"drift/{signal}", "red" if red else "green", "", id=len(told) + 1))
            state[signal] = red
    tries: list[Asked] = []
    through, outcome = 0, iter(succeeds)
    for day in range(120):
        today, known = TODAY + timedelta(days=day), told[: day + 1]
        found = standing(known, tries, RULE, through)
        assert found.through >= through
        through = found.through
        if not found.pending:
            continue
        decision = decide(found.pending, tries, 1000, today, RULE)
        if isinstance(decision, Ask):
            asked_now = frozenset(edge.id for edge in decision.edges if edge.id)
            tries.append(Asked(asked_now, today, "succeeded" if next(outcome) else "failed"))
    for edge in told:
        times = [one.state for one in tries if edge.id in one.edges]
        assert times.count("succeeded") <= 1
        assert times.count("failed") <= RULE.attempts
        last = [one for one in told if one.alarm == edge.alarm][-1]
        if edge is last and edge.state == "red" and edge.alarm != "drift/skew":
            assert "succeeded" in times or times.count("failed") == RULE.attempts
    answered = sorted(one.on for one in tries if one.state == "succeeded")
    assert all(b - a >= timedelta(days=RULE.cooldown_days) for a, b in pairwise(answered))
