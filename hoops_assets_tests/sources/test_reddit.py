"""Reddit through PRAW, against a loopback server: pages, the archive, waits, and clear refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.http import Clock
from hoops_assets.sources.reddit import Archive, Reddit
from hoops_assets_tests.sources.leagues import league
from hoops_assets_tests.sources.loopback import Answer, FakeClock, Provider, Request, provider

START = datetime(2023, 11, 1, tzinfo=UTC)
END = datetime(2023, 12, 1, tzinfo=UTC)
NOW = 1_700_000_000.0  # 2023-11-14 22:13 UTC
TOKEN = {"access_token": "t", "token_type": "bearer", "expires_in": 86400, "scope": "*"}
SECRET = "app-secret-0815"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOOPS_HOME", str(tmp_path))
    monkeypatch.setenv("REDDIT_CLIENT_ID", "app-id")
    monkeypatch.setenv("REDDIT_CLIENT_SECRET", SECRET)


@pytest.fixture
def praw() -> None:
    pytest.importorskip("praw", reason="the extra `reddit` is not installed")


def comment(number: int, **more: Any) -> dict[str, Any]:
    data = {
        "id": f"k{number}",
        "name": f"t1_k{number}",
        "body": f"said {number}",
        "author": "fan",
        "created_utc": NOW - 10_000 + number,
        "subreddit": "lakers",
    }
    return {"kind": "t1", "data": data | more}


def submission(number: int) -> dict[str, Any]:
    data = {
        "id": f"s{number}",
        "name": f"t3_s{number}",
        "title": "Game thread",
        "selftext": "who wins?",
        "author": "[deleted]",
        "created_utc": NOW - 10_000 + number,
    }
    return {"kind": "t3", "data": data}


def listing(*children: dict[str, Any], after: str | None = None) -> dict[str, Any]:
    return {"kind": "Listing", "data": {"after": after, "dist": len(children), "children": list(children)}}


def reddit(there: Provider, clock: FakeClock | None = None, **options: Any) -> Reddit:
    clock = clock or FakeClock(NOW)
    spec = {
        "kind": "reddit",
        "subreddits": {"lakers": "LAL"},
        "listings": ["comments"],
        "reddit_url": there.url,
        "oauth_url": there.url,
        **options,
    }
    return Reddit(league(posts=spec), Clock(clock.now, clock.sleep))


def answering(pages: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    return lambda request: Answer(TOKEN) if "access_token" in request.path else pages(request)


def asked(there: Provider) -> list[Request]:
    return [request for request in there.requests if "access_token" not in request.path]


@pytest.mark.usefixtures("praw")
def test_comments_and_submissions_become_posts_page_by_page() -> None:
    def pages(request: Request) -> Answer:
        if request.path.endswith("/new"):
            return Answer(listing(submission(5)))
        assert request.path == "/r/lakers/comments/"
        assert request.headers["authorization"] == "bearer t"
        if "after" in request.query:
            return Answer(listing(comment(1), comment(0, author="[deleted]")))
        return Answer(listing(comment(3), comment(2), after="t1_k2"))

    with provider(answering(pages)) as there:
        found = reddit(there, listings=["comments", "submissions"]).read(START, END)
    assert found.posts["post_id"].tolist() == [f"reddit.t1_k{n}" for n in range(4)] + ["reddit.t3_s5"]
    assert found.posts["text"].tolist()[-1] == "Game thread\nwho wins?"
    assert found.posts["author"].tolist() == ["", "fan", "fan", "fan", ""]
    assert set(found.posts["team"]) == {"LAL"}
    assert (found.rejected, found.notes) == ([], [])


@pytest.mark.usefixtures("praw")
def test_what_was_read_stays_when_reddit_no_longer_gives_it_and_a_past_window_asks_nothing() -> None:
    shown = [listing(comment(2), comment(1)), listing(comment(7000), comment(6999))]
    clock = FakeClock(NOW)
    with provider(answering(lambda _: Answer(shown[0]))) as there:
        reddit(there, clock).read(START, END)
        reddit(there, clock).read(START, END)
        assert len(asked(there)) == 1
        clock.at += 7200
        shown.pop(0)
        found = reddit(there, clock).read(START, END)
        assert len(found.posts) == 4
        assert "Reddit no longer gives what was written between 2023-11-14 19:26 UTC" in found.notes[0]
        before = len(asked(there))
        assert len(reddit(there, clock).read(START, datetime.fromtimestamp(NOW - 9000, UTC)).posts) == 2
        assert len(asked(there)) == before


@pytest.mark.usefixtures("praw")
def test_a_fetch_reads_back_only_to_the_last_whole_one() -> None:
    clock = FakeClock(NOW)
    pages = {
        "": listing(comment(20_000), after="a"),
        "a": listing(comment(10), comment(9), after="b"),
        "b": listing(comment(8)),
    }
    first = listing(comment(10), comment(9))
    with provider(answering(lambda r: Answer(first))) as there:
        reddit(there, clock).read(START, END)
    clock.at += 30_000
    with provider(answering(lambda r: Answer(pages[r.query.get("after", [""])[0]]))) as there:
        found = reddit(there, clock).read(START, END)
    assert len(found.posts) == 4
    assert not found.notes


@pytest.mark.usefixtures("praw")
def test_a_killed_fetch_loses_nothing_and_is_made_whole(tmp_path: Path) -> None:
    broken = [True]

    def pages(request: Request) -> Answer:
        if "after" not in request.query:
            return Answer(listing(*(comment(n) for n in range(200, 100, -1)), after="t1_k101"))
        return Answer(status=404) if broken else Answer(listing(comment(1)))

    with provider(answering(pages)) as there:
        with pytest.raises(SourceError, match="r/lakers/comments: NotFound"):
            reddit(there).read(START, END)
        kept = Archive(tmp_path / "cache" / "nba" / "reddit", "lakers", "comments")
        assert len(list(kept.posts())) == 100
        with kept.path.open("a") as file:
            file.write('{"id": "t1_k1", "created')
        broken.clear()
        found = reddit(there).read(START, END)
    assert len(found.posts) == 101
    assert not found.rejected


@pytest.mark.usefixtures("praw")
def test_429_waits_as_asked_and_5xx_is_asked_again() -> None:
    clock = FakeClock(NOW)
    answers = [Answer(status=429, headers={"retry-after": "31"}), Answer(status=503), Answer(listing(comment(1)))]
    with provider(answering(lambda _: answers.pop(0))) as there:
        assert len(reddit(there, clock).read(START, END).posts) == 1
    assert 31 in clock.slept


@pytest.mark.usefixtures("praw")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=429, headers={"retry-after": "600"}), "asks to wait 600 s"),
        (Answer(status=403), "Forbidden.*may be private or banned"),
        (Answer('{"kind": "Listing", "da'), "BadJSON.*run it again later"),
        (Answer({"kind": "Listing", "data": {}}), "changed its shape"),
    ],
)
def test_what_does_not_get_better_is_one_clear_error_without_the_secret(answer: Answer, said: str) -> None:
    with provider(answering(lambda _: answer)) as there, pytest.raises(SourceError, match=said) as error:
        reddit(there).read(START, END)
    assert SECRET not in str(error.value)


@pytest.mark.usefixtures("praw")
def test_a_wrong_key_and_a_missing_one_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with provider(lambda _: Answer({"error": "invalid_grant"}, status=401)) as there:
        with pytest.raises(SourceError, match="check the application's id and secret"):
            reddit(there).read(START, END)
        monkeypatch.delenv("REDDIT_CLIENT_SECRET")
        with pytest.raises(SourceError, match="REDDIT_CLIENT_SECRET"):
            reddit(there).read(START, END)


def test_without_praw_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "praw", None)
    with provider(lambda _: Answer()) as there, pytest.raises(SettingsError, match=r"hoops_assets\[reddit\]"):
        reddit(there).read(START, END)
    assert not there.requests


def test_a_subreddit_is_written_without_r() -> None:
    with (
        provider(lambda _: Answer()) as there,
        pytest.raises(ValueError, match="'r/lakers' is not a subreddit"),
    ):
        reddit(there, subreddits={"r/lakers": "LAL"})
