"""Fan posts from Reddit's API through PRAW, its maintained client: `kind: reddit`.

What belongs here: which listings are read, and the archive that outlives them. Reddit gives only the newest 1,000 items
of a listing, so everything once read is kept in HOOPS_HOME/cache/LEAGUE/reddit, one file a subreddit and listing, and
posts of any window are answered from there. A fetch that was killed loses nothing: what came is kept, and the next one
reads back to where the last whole one began.

PRAW paces requests by Reddit's X-Ratelimit headers and repeats those that fail; on 429 this module waits as asked.
Shapes of the answers were read in PRAW 8.0.3 (praw/models/listing, prawcore/sessions.py), which the tests run against a
loopback server; unverified against Reddit itself. PRAW is the extra `reddit`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from hoops_assets import __version__
from hoops_assets.basketball.league import League, Strict
from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import PostsRead, Rejected
from hoops_assets.sources.http import ATTEMPTS, LONGEST_WAIT, Clock, cache_folder, secret
from hoops_assets.sources.posts import RawPost, gather, rules_for, stream, unknown_teams
from hoops_assets.sources.text import write_atomically

NAME = "reddit"
OVERLAP = 3600.0
"""Seconds before the newest post of the last whole reading that are read again: Reddit shows some posts late."""

_PAGE = 100

Listing = Literal["comments", "submissions"]


class Options(Strict):
    """Options of `sources.posts` with `kind: reddit`.

    Attributes:
        subreddits: {subreddit: code of the team whose fans write there}.
        listings: `comments`, `submissions` or both.
        client_id_env, client_secret_env: environment variables that hold the key of a "script" application.
        user_agent: how Reddit's rules want a program to name itself and its owner.
        refresh_minutes: a subreddit is not asked again earlier.
        timeout_seconds: for one answer.
        reddit_url, oauth_url: Reddit's addresses.
    """

    subreddits: dict[str, str] = Field(min_length=1)
    listings: tuple[Listing, ...] = ("comments", "submissions")
    client_id_env: str = "REDDIT_CLIENT_ID"
    client_secret_env: str = "REDDIT_CLIENT_SECRET"
    user_agent: str = f"hoops_assets:{__version__}"
    refresh_minutes: float = Field(default=10.0, ge=0)
    timeout_seconds: int = Field(default=30, gt=0)
    reddit_url: str = "https://www.reddit.com"
    oauth_url: str = "https://oauth.reddit.com"

    @field_validator("subreddits")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not name.replace("_", "").isalnum():
                raise ValueError(f"{name!r} is not a subreddit; write it without r/, for example lakers")
        return value


@dataclass(frozen=True)
class Mark:
    """How far the last whole reading of a listing came: its time, and the newest post it saw (seconds since 1970)."""

    fetched_at: float
    newest: float


class Archive:
    """What was read of one listing of one subreddit."""

    def __init__(self, folder: Path, subreddit: str, listing: str):
        self.path = folder / f"{subreddit.casefold()}.{listing}.jsonl"
        self._mark = folder / f"{subreddit.casefold()}.{listing}.mark.json"

    def mark(self) -> Mark | None:
        try:
            return Mark(**json.loads(self._mark.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def close(self, mark: Mark) -> None:
        write_atomically(self._mark, json.dumps(asdict(mark)))

    def posts(self) -> Iterator[dict[str, Any]]:
        """Everything kept; a line that a kill cut short is passed over and was fetched again."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def append(self, posts: list[dict[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write("".join(json.dumps(post) + "\n" for post in posts).encode())
            file.flush()
            os.fsync(file.fileno())


class Reddit:
    """The posts of a league's subreddits."""

    def __init__(self, league: League, clock: Clock | None = None):
        spec = league.sources.posts
        self._league = league
        self._options = Options.model_validate(spec.options if spec else {})
        self._clock = clock or Clock()
        wrong = unknown_teams(league, self._options.subreddits)
        if wrong:
            raise SettingsError(
                f"league {league.name}: sources.posts.subreddits names {', '.join(wrong)}, no team of it"
            )
        self._rules = rules_for(league, NAME, "subreddit", self._options.subreddits)

    def read(self, start: datetime, end: datetime) -> PostsRead:
        """Posts of the window; asks Reddit only for what is later than the last reading."""
        notes: list[str] = []
        client: Any = None
        archives: list[tuple[str, Listing, Archive]] = [
            (name, listing, Archive(cache_folder(self._league.name, NAME), name, listing))
            for name in self._options.subreddits
            for listing in self._options.listings
        ]
        for name, listing, archive in archives:
            mark = archive.mark()
            if mark is not None and min(end.timestamp(), self._clock.now() - self._fresh) <= mark.fetched_at:
                continue
            client = client or self._connect()
            self._fetch(client, name, listing, archive, mark, start.timestamp(), notes)
        found = (self._raw(archive, name, post) for name, _, archive in archives for post in archive.posts())
        read = gather(stream(found, self._rules, start, end))
        return PostsRead(read.posts, read.rejected, notes + read.notes)

    @property
    def _fresh(self) -> float:
        return self._options.refresh_minutes * 60

    def _connect(self) -> Any:
        options = self._options
        where = f"options of sources.posts of league {self._league.name}; make one at reddit.com/prefs/apps"
        return _praw().Reddit(
            client_id=secret(options.client_id_env, NAME, where),
            client_secret=secret(options.client_secret_env, NAME, where),
            user_agent=options.user_agent,
            reddit_url=options.reddit_url,
            oauth_url=options.oauth_url,
            timeout=options.timeout_seconds,
            check_for_updates=False,
            check_for_async=False,
        )

    def _fetch(
        self,
        client: Any,
        name: str,
        listing: Listing,
        archive: Archive,
        mark: Mark | None,
        start: float,
        notes: list[str],
    ) -> None:
        """Reads a listing, newest first, back to the last whole reading, and keeps every page as it comes."""
        asked_at = self._clock.now()
        until = mark.newest - OVERLAP if mark else start
        seen = {post["id"] for post in archive.posts()}
        subreddit = client.subreddit(name)
        newest_first = subreddit.comments(limit=None) if listing == "comments" else subreddit.new(limit=None)
        items = _patient(iter(newest_first), f"r/{name}/{listing}", self._clock)
        newest, oldest, reached = (mark.newest if mark else 0.0), asked_at, False
        while page := list(islice(items, _PAGE)):
            posts = [_kept(item, listing) for item in page]
            archive.append([post for post in posts if post["id"] not in seen])
            newest = max([newest, *(post["created_utc"] for post in posts)])
            oldest = min(post["created_utc"] for post in posts)
            if oldest < until:
                reached = True
                break
        if mark and not reached and oldest > mark.newest:
            notes.append(
                f"r/{name}/{listing}: Reddit no longer gives what was written between {_said(mark.newest)} and"
                f" {_said(oldest)}; read at shorter intervals"
            )
        archive.close(Mark(asked_at, newest))

    def _raw(self, archive: Archive, name: str, post: dict[str, Any]) -> RawPost | Rejected:
        return RawPost(
            file=str(archive.path),
            line=None,
            id=str(post.get("id", "")),
            created_at=post.get("created_utc"),
            team=name,
            author=str(post.get("author") or ""),
            text=post.get("text"),
            row=json.dumps(post, ensure_ascii=False),
        )


def _kept(item: Any, listing: Listing) -> dict[str, Any]:
    author = item.author.name if item.author is not None else ""
    text = item.body if listing == "comments" else "\n".join(part for part in (item.title, item.selftext) if part)
    return {"id": item.fullname, "created_utc": float(item.created_utc), "author": author, "text": text}


def _patient(items: Iterator[Any], what: str, clock: Clock) -> Iterator[Any]:
    """The items of a listing; waits where Reddit asks for it.

    Raises:
        SourceError: Reddit refuses, or does not answer as it should.
    """
    core: Any = import_module("prawcore.exceptions")
    failed = 0
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except core.TooManyRequests as error:
            failed += 1
            _wait(error.retry_after, failed, what, clock)
        except (core.RequestException, core.ServerError, core.BadJSON) as error:
            failed += 1
            if failed >= ATTEMPTS:
                raise _refused(what, error, "run it again later (what was read before is kept)") from error
            clock.sleep(2.0**failed)
        except (core.OAuthException, core.InvalidToken) as error:
            raise _refused(what, error, "check the application's id and secret") from error
        except core.ResponseException as error:
            status = error.response.status_code
            advice = {401: "check the application's id and secret", 404: "there is no such subreddit; correct it"}
            raise _refused(what, error, advice.get(status, "it may be private or banned; take it out")) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _refused(what, error, "Reddit has changed its shape; a newer PRAW may know it") from error
        else:
            failed = 0
            yield item


def _wait(asked: float | None, failed: int, what: str, clock: Clock) -> None:
    wait = float(asked or 2**failed)
    if failed >= ATTEMPTS or wait > LONGEST_WAIT:
        raise SourceError(
            f"{NAME}: {what}: status 429, asks to wait {wait:.0f} s; run it again after that (what was read is kept)"
        )
    clock.sleep(wait)


def _refused(what: str, error: Exception, advice: str) -> SourceError:
    return SourceError(f"{NAME}: {what}: {type(error).__name__}: {error}; {advice}")


def _said(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _praw() -> Any:
    try:
        return import_module("praw")
    except ImportError:
        raise SettingsError(
            "sources.posts with kind reddit needs PRAW, which is not installed; pip install 'hoops_assets[reddit]'"
        ) from None
