"""API keys: who may ask, how often, and for what.

What belongs here: HOME/serving/keys.json, and the ring of keys that a running server holds.

A key is `hoops_ID_SECRET`; the file holds ID and sha256(SECRET). The secret is 32 random bytes, so there is nothing to
guess: a slow password hash would protect it no better and would cost every request its time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from hoops_assets.errors import SettingsError
from hoops_assets.store import atomic
from hoops_assets.workloads.serve.api import Refused

KEYS = "keys.json"
LOCAL = "local"
"""The customer of a server on the loopback that has no keys."""

RATE = 1000.0
"""Requests a second that a new key may make."""

Scope = Literal["predict", "admin"]
"""admin includes predict, and may pin a variant."""


class Key(BaseModel):
    """One key as it stands in the file.

    Attributes:
        id: the key's public part.
        sha256: of the secret part.
        rate: requests a second, with bursts of twice that number; a batch is one request.
        revoked_at, expires_at: from when on it is refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    customer: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,79}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...] = Field(min_length=1)
    rate: float = Field(gt=0)
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    keys: tuple[Key, ...] = ()


def read_keys(file: Path) -> tuple[Key, ...]:
    """All keys of a file, none if there is no file. Raises SettingsError if it is broken."""
    try:
        return _Keys.model_validate_json(Path(file).read_bytes()).keys
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        told = error.errors(include_url=False, include_input=False)[0] if isinstance(error, ValidationError) else None
        where = f"{'.'.join(map(str, told['loc']))}: {told['msg']}" if told else str(error)
        raise SettingsError(f"{file}: {where}; restore the file or make it anew with `hoops keys add`") from None


def add_key(
    file: Path, customer: str, scopes: tuple[Scope, ...] = ("predict",), rate: float = RATE, days: int | None = None
) -> tuple[str, Key]:
    """Makes a key.

    Args:
        days: until it expires; None for never.

    Returns:
        (the key, which is never shown again; what is stored).

    Raises:
        SettingsError: no such scope, no such name of a customer.
    """
    unknown = [scope for scope in scopes if scope not in get_args(Scope)]
    if unknown:
        raise SettingsError(f"unknown scope {', '.join(unknown)}; there are {', '.join(get_args(Scope))}")
    number, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), datetime.now(UTC)
    try:
        key = Key(
            id=number, customer=customer, sha256=_hash(secret), scopes=scopes, rate=rate, created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
        )  # fmt: skip
    except ValidationError as error:
        told = error.errors(include_url=False)[0]
        raise SettingsError(
            f"{told['loc'][0]} {told['input']!r}: {told['msg']}; a customer is letters, digits and . _ @ -, at most 80"
        ) from None
    with atomic.locked(file.with_name(f".{file.name}.lock")):
        _write(file, (*read_keys(file), key))
    return f"hoops_{number}_{secret}", key


def revoke(file: Path, which: str) -> list[Key]:
    """Revokes a key by its id, or all of a customer. Raises SettingsError if there is none."""
    with atomic.locked(file.with_name(f".{file.name}.lock")):
        keys, now = read_keys(file), datetime.now(UTC)
        chosen = [key for key in keys if which in (key.id, key.customer) and key.revoked_at is None]
        if not chosen:
            raise SettingsError(f"no valid key {which!r} in {file}; see `hoops keys list`")
        ids = {key.id for key in chosen}
        _write(file, tuple(key.model_copy(update={"revoked_at": now}) if key.id in ids else key for key in keys))
    return chosen


def _write(file: Path, keys: tuple[Key, ...]) -> None:
    atomic.write_text(file, _Keys(keys=keys).model_dump_json(indent=1) + "\n")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Caller:
    """A customer as the running server knows it: a key, or whom a platform or the loopback vouches for.

    Attributes:
        log_head: the customer's name, as it stands in a line of the log.
        seed: crc32 of the name, see `endpoint`.
    """

    __slots__ = (
        "_burst",
        "_filled",
        "_rate",
        "_tokens",
        "customer",
        "expires",
        "hashed",
        "is_admin",
        "log_head",
        "seed",
    )

    def __init__(
        self, customer: str, *, is_admin: bool, hashed: bytes = b"", rate: float = 0.0, expires: float | None = None
    ) -> None:
        self.customer, self.is_admin, self.hashed, self.expires = customer, is_admin, hashed, expires
        self.log_head, self.seed = f',"customer":{json.dumps(customer)}'.encode(), zlib.crc32(customer.encode())
        self._rate, self._burst = rate, max(2.0 * rate, 1.0)
        self._tokens, self._filled = self._burst, time.monotonic()

    def take(self) -> None:
        """Counts one request. Raises Refused 429 with Retry-After beyond the key's rate."""
        if not self._rate:
            return
        now = time.monotonic()
        tokens = self._tokens + (now - self._filled) * self._rate
        self._filled = now
        if tokens > self._burst:
            tokens = self._burst
        if tokens < 1.0:
            self._tokens = tokens
            wait = max(1, round((1.0 - tokens) / self._rate + 0.5))
            raise Refused(
                429, "too_many_requests", f"more than {self._rate:g} requests a second; try again in {wait} s",
                headers={"retry-after": str(wait)},
            )  # fmt: skip
        self._tokens = tokens - 1.0

    def inherit(self, other: Caller) -> None:
        """Goes on with another's bucket, so that a reload of the file is no refill."""
        self._tokens, self._filled = min(other._tokens, self._burst), other._filled


class KeyRing:
    """The keys of a running server.

    Args:
        vouched: the customer of requests without a key: LOCAL on the loopback until the first key is added, or the
            platform that stands in front and has authenticated them; None refuses such requests.
    """

    def __init__(self, keys: tuple[Key, ...], vouched: str | None) -> None:
        self._vouched = Caller(vouched, is_admin=True) if vouched else None
        self._callers: dict[bytes, Caller] = {}
        self.replace(keys)

    def __len__(self) -> int:
        return len(self._callers)

    def replace(self, keys: tuple[Key, ...]) -> None:
        """Takes the keys of a changed file, by one assignment.

        A key, revoked or not, ends LOCAL for as long as this process lives: whoever revokes the last one means to let
        nobody in.
        """
        if keys and self._vouched is not None and self._vouched.customer == LOCAL:
            self._vouched = None
        callers = {}
        for key in keys:
            if key.revoked_at is not None:
                continue
            caller = Caller(
                key.customer, is_admin="admin" in key.scopes, hashed=bytes.fromhex(key.sha256), rate=key.rate,
                expires=key.expires_at.timestamp() if key.expires_at else None,
            )  # fmt: skip
            if (before := self._callers.get(key.id.encode())) is not None:
                caller.inherit(before)
            callers[key.id.encode()] = caller
        if (own := self._callers.get(OWN)) is not None:
            callers[OWN] = own
        self._callers = callers

    def add_own(self) -> str:
        """A key of this process's own, for its operator on this machine, who may read the file it is written to."""
        secret = secrets.token_urlsafe(32)
        self._callers = {
            **self._callers,
            OWN: Caller("operator", is_admin=True, hashed=hashlib.sha256(secret.encode()).digest()),
        }
        return f"hoops_{OWN.decode()}_{secret}"

    def caller(self, given: bytes | None) -> Caller:
        """Who asks.

        Args:
            given: the key as sent, or None.

        Raises:
            Refused: 401, with one message for a wrong and for an unknown key.
        """
        if given is None:
            if self._vouched is not None:
                return self._vouched
            raise _unauthorised("no key; send it as `Authorization: Bearer KEY`")
        prefix, _, rest = given.partition(b"_")
        number, _, secret = rest.partition(b"_")
        caller = self._callers.get(number)
        same = hmac.compare_digest(hashlib.sha256(secret).digest(), caller.hashed if caller else bytes(32))
        if not same or caller is None or prefix != b"hoops":
            raise _unauthorised("the key is not known here, or it was revoked")
        if caller.expires is not None and time.time() >= caller.expires:
            raise _unauthorised("the key has expired; ask for another")
        return caller


OWN = b"own"


def _unauthorised(message: str) -> Refused:
    return Refused(401, "unauthorised", message, headers={"www-authenticate": 'Basic realm="hoops", Bearer'})
