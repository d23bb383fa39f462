"""The polite client: pace, patience, answers kept on disk, and clear errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.errors import SourceError
from hoops_assets.sources.http import Cache, Client, Clock, TokenBucket, retry_after, secret
from hoops_assets_tests.sources.loopback import Answer, FakeClock, Request, provider

KEY = "very-secret-key-0815"


def in_turn(answers: Sequence[Answer]) -> Any:
    left: Iterator[Answer] = iter(answers)
    return lambda request: next(left)


def client(clock: FakeClock, cache: Path | None = None, **more: Any) -> Client:
    times = Clock(clock.now, clock.sleep)
    return Client(
        source="tested",
        per_minute=6000,
        cache=Cache(cache) if cache else None,
        headers={"Authorization": KEY},
        clock=times,
        bucket=TokenBucket(6000, 100, times),
        **more,
    )


def test_an_answer_is_json_and_the_key_goes_with_it() -> None:
    with provider(lambda request: Answer({"page": request.query})) as there:
        found = client(FakeClock()).get_json(there.url + "/games", [("seasons[]", "2023"), ("seasons[]", "2024")])
    assert found == {"page": {"seasons[]": ["2023", "2024"]}}
    assert there.requests[0].headers["authorization"] == KEY
    assert there.requests[0].headers["user-agent"].startswith("hoops_assets/")


def test_429_waits_at_least_as_long_as_the_provider_asks() -> None:
    clock = FakeClock()
    date = format_datetime(datetime.fromtimestamp(clock.at + 100, UTC), usegmt=True)
    answers = [Answer(status=429, headers={"Retry-After": "17"}), Answer(status=429, headers={"Retry-After": date})]
    with provider(in_turn([*answers, Answer([1])])) as there:
        assert client(clock).get_json(there.url) == [1]
    assert clock.slept[0] >= 17
    assert clock.at - 1_700_000_000.0 >= 100


def test_a_wait_that_is_too_long_ends_the_fetch_and_says_how_long() -> None:
    with (
        provider(lambda _: Answer(status=429, headers={"Retry-After": "4000"})) as there,
        pytest.raises(SourceError, match="status 429, asks to wait 4000 s; run it again after that"),
    ):
        client(FakeClock()).get_json(there.url)
    assert len(there.requests) == 1


def test_5xx_and_cut_and_broken_answers_are_asked_again_with_growing_jittered_waits() -> None:
    clock = FakeClock()
    answers = [Answer(status=503), Answer([1, 2, 3], cut=4), Answer('{"data": [1, 2'), Answer({"ok": True})]
    with provider(in_turn(answers)) as there:
        assert client(clock).get_json(there.url) == {"ok": True}
    assert len(clock.slept) == 3
    assert all(2**n <= wait <= 2**n + 1 for n, wait in enumerate(clock.slept))
    assert any(wait != 2**n for n, wait in enumerate(clock.slept))


def test_a_slow_answer_is_given_up_and_asked_again() -> None:
    clock = FakeClock()
    with provider(in_turn([Answer([1], delay=0.5), Answer([2])])) as there:
        assert client(clock, timeout=0.1).get_json(there.url) == [2]
    assert len(clock.slept) == 1


def test_what_never_gets_better_ends_after_the_attempts_and_says_so_without_the_key() -> None:
    clock = FakeClock()
    with provider(lambda _: Answer(status=500)) as there, pytest.raises(SourceError) as error:
        client(clock, attempts=3).get_json(there.url + "/games")
    assert len(there.requests) == 3
    assert f"tested: {there.url}/games: status 500 after 3 attempts; run it again later" in str(error.value)
    assert KEY not in str(error.value)


@pytest.mark.parametrize(("status", "said"), [(401, "mend the key"), (404, "check `base_url`"), (302, "status 302")])
def test_what_asking_again_cannot_mend_is_not_asked_again(status: int, said: str) -> None:
    answer = Answer(status=status, headers={"Location": "http://127.0.0.1:9/"})
    with provider(lambda _: answer) as there, pytest.raises(SourceError, match=said) as error:
        client(FakeClock(), remedies={401: "mend the key"}).get_json(there.url)
    assert len(there.requests) == 1
    assert KEY not in str(error.value)
    assert KEY not in repr(client(FakeClock()))


def test_nobody_there_is_said() -> None:
    with provider(lambda _: Answer()) as there:
        pass
    with pytest.raises(SourceError, match=r"no whole answer .* after 2 attempts"):
        client(FakeClock(), attempts=2).get_json(there.url)


def test_an_answer_too_large_is_refused() -> None:
    with (
        provider(lambda _: Answer("[" + "1," * 5000 + "1]")) as there,
        pytest.raises(SourceError, match="larger than 1000 bytes"),
    ):
        client(FakeClock(), max_bytes=1000).get_json(there.url)


@pytest.mark.parametrize(("given_by", "asked_by"), [("ETag", "if-none-match"), ("Last-Modified", "if-modified-since")])
def test_what_has_not_changed_is_not_sent_again(tmp_path: Path, given_by: str, asked_by: str) -> None:
    def answer(request: Request) -> Answer:
        if request.headers.get(asked_by) == "mark":
            return Answer(status=304)
        return Answer({"n": 1}, headers={given_by: "mark"})

    with provider(answer) as there:
        for _ in range(3):
            assert client(FakeClock(), tmp_path).get_json(there.url + "/games") == {"n": 1}
    assert [asked_by in request.headers for request in there.requests] == [False, True, True]


def test_a_kept_answer_is_taken_while_it_is_young_and_never_by_a_damaged_file(tmp_path: Path) -> None:
    clock = FakeClock()
    with provider(lambda _: Answer({"n": 1})) as there:
        tested = client(clock, tmp_path)
        tested.get_json(there.url, max_age=60)
        clock.at += 59
        tested.get_json(there.url, max_age=60)
        assert len(there.requests) == 1
        tested.get_json(there.url, [("cursor", "2")], max_age=60)
        clock.at += 2
        tested.get_json(there.url, max_age=60)
        assert len(there.requests) == 3
        for file in tmp_path.iterdir():
            file.write_text(file.read_text()[:-9])
        tested.get_json(there.url, max_age=60)
        assert len(there.requests) == 4


def test_the_key_stands_in_no_file(tmp_path: Path) -> None:
    with provider(lambda _: Answer({"n": 1})) as there:
        client(FakeClock(), tmp_path).get_json(there.url)
    assert [KEY in file.read_text() for file in tmp_path.iterdir()] == [False]


@given(per_minute=st.floats(1, 600), burst=st.integers(1, 5), pauses=st.lists(st.floats(0, 20), max_size=40))
def test_no_window_holds_more_requests_than_the_bucket_allows(
    per_minute: float, burst: int, pauses: list[float]
) -> None:
    clock = FakeClock(0.0)
    bucket = TokenBucket(per_minute, burst, Clock(clock.now, clock.sleep))
    taken: list[float] = []
    for pause in pauses:
        clock.at += pause
        bucket.take()
        taken.append(clock.at)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = burst + (taken[last] - taken[first]) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6


def test_an_unreadable_retry_after_counts_as_none() -> None:
    assert [retry_after(value, 0.0) for value in (None, "", "soon", "-3")] == [0.0] * 4


def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TESTED_KEY", raising=False)
    with pytest.raises(SourceError, match="set the environment variable TESTED_KEY"):
        secret("TESTED_KEY", "tested", "league x")
    monkeypatch.setenv("TESTED_KEY", f"{KEY}\x07")
    with pytest.raises(SourceError, match="TESTED_KEY holds characters") as error:
        secret("TESTED_KEY", "tested", "league x")
    assert KEY not in str(error.value)
