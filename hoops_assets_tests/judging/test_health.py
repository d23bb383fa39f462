"""When bad answers withdraw a version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.judging.health import Counts, HealthRule, ailments, lower_share, read_counts
from hoops_assets.judging.scoring import wilson_interval
from hoops_assets.workloads.serve.metrics import Metrics

WELL = Counts(answers=1000, predictions=5000, degraded=2, slow=1, responses=1200, failed=1)


def test_the_page_of_the_server_is_read_as_it_counted() -> None:
    metrics = Metrics()
    for seconds in (0.0004, 0.1, 0.1001, 2.0):
        metrics.answered("nba", 3, 5, 1, seconds)
    metrics.answered("nba", 31, 1, 0, 0.01)
    metrics.answered("wnba", 3, 1, 1, 9.0)
    for status in (200, 200, 404, 500, 503):
        metrics.responded("/predict", status)
    found = read_counts(metrics.text([("hoops_endpoints", "gauge", "Leagues that are served.", 2.0)]), "nba", 3)
    assert found == Counts(answers=4, predictions=20, degraded=4, slow=2, responses=5, failed=2)
    assert read_counts(metrics.text([]), "nba", 99).answers == 0


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts(100, 100, 12, 0, 100, 0), "12 of 100 forecasts were not the model's own"),
        (Counts(100, 100, 0, 12, 100, 0), "12 of 100 answers took longer than 0.1 s"),
        (Counts(100, 100, 0, 0, 100, 12), "12 of 100 responses of the server failed (5xx)"),
    ],
)
def test_a_share_that_is_surely_too_large_is_told_with_its_figures(counts: Counts, words: str) -> None:
    (told,) = ailments(counts)
    assert told.startswith(words)


def test_a_version_that_does_well_or_of_which_too_little_is_known_stays() -> None:
    assert ailments(WELL) == []
    assert ailments(Counts(19, 19, 19, 19, 19, 19)) == []
    assert ailments(Counts(40, 40, 1, 0, 40, 0)) == [], "one in forty may be chance"


def test_counts_of_an_earlier_trial_do_not_matter_and_a_new_server_starts_from_nothing() -> None:
    later = Counts(1100, 5500, 2, 1, 1300, 1)
    assert later.since(WELL) == Counts(100, 500, 0, 0, 100, 0)
    assert Counts(5, 5, 0, 0, 5, 0).since(WELL) == Counts(5, 5, 0, 0, 5, 0)


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_lower_share_is_wilsons(bad: int, n: int) -> None:
    bad = min(bad, n)
    low, _ = wilson_interval([bad], [n], z=2.326)
    assert lower_share(bad, n) == pytest.approx(float(low[0]), abs=1e-12)
    assert lower_share(bad, n) <= bad / n + 1e-12


def test_limits_are_the_rules() -> None:
    strict = HealthRule(degraded=0.0, least=1)
    assert ailments(Counts(10, 10, 5, 0, 10, 0), strict)
