"""One polite HTTP client for every connector that asks a provider.

What belongs here: pace, patience, the answers kept on disk, and the sentence a person reads when a provider does not
answer. What an answer means is in the connectors.

Politeness: one token bucket per source and process; exponential waits with jitter on 429, 5xx and timeouts, never less
than Retry-After; conditional requests where the provider gave an ETag or a Last-Modified. Every good answer is kept
under HOOPS_HOME/cache, so a fetch that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from hoops_assets import __version__
from hoops_assets.errors import SourceError, SourceUnreachable
from hoops_assets.settings import hoops_home
from hoops_assets.sources.text import write_atomically

ATTEMPTS = 5
LONGEST_WAIT = 120.0
"""Seconds a provider may ask to wait before a fetch gives up and leaves the rest to the next run."""

MAX_BYTES = 16 * 2**20
"""Size of one answer above which it is taken for a mistake."""

_CHUNK = 64 * 1024

Params = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Clock:
    """What time it is and how to wait: replaced in tests."""

    now: Callable[[], float] = time.time  # seconds since 1970
    sleep: Callable[[float], None] = time.sleep


class TokenBucket:
    """At most `burst` requests at once and `per_minute` a minute in the long run; `take` waits for its turn."""

    def __init__(self, per_minute: float, burst: int = 1, clock: Clock | None = None):
        self._rate = per_minute / 60
        self._burst = float(burst)
        self._clock = clock or Clock()
        self._tokens = self._burst
        self._at = self._clock.now()
        self._lock = threading.Lock()

    def take(self) -> None:
        with self._lock:
            now = self._clock.now()
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate) - 1
            self._at = now
            wait = -self._tokens / self._rate if self._tokens < 0 else 0.0
        if wait:
            self._clock.sleep(wait)


_BUCKETS: dict[tuple[str, float], TokenBucket] = {}
_BUCKETS_LOCK = threading.Lock()


def shared_bucket(source: str, per_minute: float) -> TokenBucket:
    """The one bucket of a source in this process, however many clients are opened."""
    with _BUCKETS_LOCK:
        return _BUCKETS.setdefault((source, per_minute), TokenBucket(per_minute))


@dataclass(frozen=True)
class Kept:
    """An answer as it stands on disk."""

    url: str
    fetched_at: float
    etag: str | None
    last_modified: str | None
    body: str


class Cache:
    """Answers by address, one file each; a damaged file counts as none."""

    def __init__(self, folder: Path):
        self.folder = folder

    def get(self, url: str) -> Kept | None:
        try:
            kept = Kept(**json.loads(self._path(url).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return kept if kept.url == url else None

    def put(self, kept: Kept) -> None:
        write_atomically(self._path(kept.url), json.dumps(asdict(kept)))

    def _path(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def cache_folder(league: str, source: str) -> Path:
    """Where the answers of a league's source are kept."""
    return hoops_home() / "cache" / league / source


def secret(variable: str, what: str, where: str) -> str:
    """The value of an environment variable that holds a secret.

    Raises:
        SourceError: the variable is not set; the message names it and never a value.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        raise SourceError(f"{what} needs a key: set the environment variable {variable} ({where})")
    if any(ord(c) < 33 or ord(c) > 126 for c in value):
        raise SourceError(f"the environment variable {variable} holds characters that no key has; set it again")
    return value


class _Again(Exception):  # noqa: N818
    """A fault that may pass; `wait` is what the provider asked for, in seconds."""

    def __init__(self, said: str, wait: float = 0.0):
        super().__init__(said)
        self.wait = wait


@dataclass
class Client:
    """Reads JSON from one provider.

    Attributes:
        source: the provider's name for people and for the shared rate limit.
        per_minute: requests a minute.
        cache: where answers are kept; None keeps none.
        headers: sent with every request; may hold a key, which no message ever shows.
        timeout: seconds for one answer as a whole.
        remedies: what to do, by status, as `{401: "set ..."}`.
    """

    source: str
    per_minute: float
    cache: Cache | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 30.0
    attempts: int = ATTEMPTS
    max_bytes: int = MAX_BYTES
    remedies: Mapping[int, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    bucket: TokenBucket | None = None

    def get_json(self, url: str, params: Params = (), max_age: float = 0.0) -> Any:
        """The JSON at an address.

        Args:
            params: query, in the order in which it is sent.
            max_age: an answer kept for less than so many seconds is taken without asking.

        Raises:
            SourceError: no good answer after all attempts, or one that asking again cannot mend.
        """
        address = str(httpx.URL(url, params=list(params)) if params else httpx.URL(url))
        kept = self.cache.get(address) if self.cache else None
        if kept is not None and 0 <= self.clock.now() - kept.fetched_at < max_age:
            return json.loads(kept.body)
        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            sleep=self.clock.sleep,
            reraise=True,
        )
        try:
            return retrying(self._ask, address, kept)
        except _Again as fault:
            raise SourceUnreachable(
                f"{self.source}: {address}: {fault} after {self.attempts} attempts; run it again later"
                " (what was fetched before is kept)"
            ) from fault

    def _wait(self, state: RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        asked = fault.wait if isinstance(fault, _Again) else 0.0
        return max(asked, wait_exponential_jitter(initial=1, max=60, jitter=1)(state))

    def _ask(self, address: str, kept: Kept | None) -> Any:
        (self.bucket or shared_bucket(self.source, self.per_minute)).take()
        headers = {"User-Agent": f"hoops_assets/{__version__}", "Accept": "application/json", **self.headers}
        if kept is not None and kept.etag:
            headers["If-None-Match"] = kept.etag
        elif kept is not None and kept.last_modified:
            headers["If-Modified-Since"] = kept.last_modified
        try:
            with (
                httpx.Client(timeout=self.timeout, follow_redirects=False) as http,
                http.stream("GET", address, headers=headers) as answer,
            ):
                self._check_status(address, answer)
                if answer.status_code == 304 and kept is not None:
                    body, validators = kept.body, {"etag": kept.etag, "last-modified": kept.last_modified}
                else:
                    body, validators = self._body(address, answer), answer.headers
        except httpx.TimeoutException as error:
            raise _Again(f"no answer within {self.timeout:g} s") from error
        except httpx.InvalidURL as error:
            raise SourceError(f"{self.source}: {address}: not an address ({error}); correct `base_url`") from error
        except httpx.TransportError as error:
            raise _Again(f"no whole answer ({str(error) or type(error).__name__})") from error
        try:
            value = json.loads(body)
        except ValueError as error:
            raise _Again(f"the answer is not whole JSON ({error})") from error
        if self.cache is not None:
            etag, modified = validators.get("etag"), validators.get("last-modified")
            self.cache.put(Kept(address, self.clock.now(), etag, modified, body))
        return value

    def _check_status(self, address: str, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in (200, 304):
            return
        if status == 429 or status >= 500 or status == 408:
            wait = retry_after(answer.headers.get("retry-after"), self.clock.now())
            if wait > LONGEST_WAIT:
                raise SourceUnreachable(
                    f"{self.source}: {address}: status {status}, asks to wait {wait:.0f} s; run it again after that"
                    " (what was fetched before is kept)"
                )
            raise _Again(f"status {status}", wait)
        usual = {401: "check the key", 403: "check the key and what your plan allows", 404: "check `base_url`"}
        remedy = self.remedies.get(status) or usual.get(status, "check the options of the source")
        raise SourceError(f"{self.source}: {address}: status {status} {answer.reason_phrase}; {remedy}")

    def _body(self, address: str, answer: httpx.Response) -> str:
        """The body, refused when it grows too large and given up when it takes too long as a whole."""
        until = time.monotonic() + self.timeout
        taken = bytearray()
        for chunk in answer.iter_bytes(_CHUNK):
            taken += chunk
            if len(taken) > self.max_bytes:
                raise SourceError(
                    f"{self.source}: {address}: the answer is larger than {self.max_bytes} bytes; ask for smaller pages"
                )
            if time.monotonic() > until:
                raise _Again(f"no whole answer within {self.timeout:g} s")
        try:
            return taken.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Again(f"the answer is not UTF-8 text ({error.reason})") from error


def retry_after(value: str | None, now: float) -> float:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3: seconds or a date); 0 where absent or unreadable."""
    if not value:
        return 0.0
    if value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - datetime.fromtimestamp(now, UTC).timestamp())
