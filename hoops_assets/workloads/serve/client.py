"""Asking a server of this home, from other processes of the same user.

What belongs here: finding the running server and its few questions; standard library only.
"""

from __future__ import annotations

import fcntl
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoops_assets.errors import HoopsError
from hoops_assets.workloads.serve.bundle import SERVER, serving_root

OPERATOR_KEY = "operator.key"
PATIENCE = 5.0


def server_lock(root: Path) -> Path:
    """The file that a running server holds a lock on."""
    return root / ".server.lock"


class ServerError(HoopsError):
    """A server did not answer, or refused.

    Attributes:
        status: HTTP, or 0 if there was no answer.
        code: the refusal's one word.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class RunningServer:
    """A server of this home, with the key that it wrote for its own user."""

    pid: int
    address: str
    key: str
    certificate: str | None = None
    started_at: str = ""

    def endpoint(self, league: str) -> dict[str, Any] | None:
        """What really serves of a league (GET /endpoints/LEAGUE); None if nothing does. Raises ServerError."""
        try:
            return self._ask(f"/endpoints/{league}")
        except ServerError as error:
            if error.status == 404:
                return None
            raise

    def predict(self, question: Mapping[str, Any], version: int | None = None) -> dict[str, Any]:
        """POST /predict; `version` pins the variant. Raises ServerError."""
        return self._ask("/predict", question, {"x-hoops-variant": str(version)} if version is not None else {})

    def metrics(self) -> str:
        """GET /metrics, Prometheus' text. Raises ServerError."""
        return self._content("/metrics").decode()

    def _ask(
        self, path: str, question: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        content = self._content(path, question, headers)
        try:
            return json.loads(content)
        except ValueError as error:
            raise ServerError(0, "no_answer", f"the server at {self.address} answers no JSON: {error}") from error

    def _content(
        self, path: str, question: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        data = None if question is None else json.dumps(question).encode()
        sent = {"authorization": f"Bearer {self.key}", "content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"{self.address}{path}", data, sent)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.certificate:
            handlers.append(urllib.request.HTTPSHandler(context=_only(self.certificate)))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(request, timeout=PATIENCE) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise _refused(error) from None
        except (OSError, ValueError) as error:
            raise ServerError(0, "no_answer", f"the server at {self.address} does not answer: {error}") from error


def _only(certificate: str) -> ssl.SSLContext:
    """Trusts that very certificate, whatever name it bears: the server is asked by its address."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _refused(error: urllib.error.HTTPError) -> ServerError:
    try:
        told = json.loads(error.read())
        return ServerError(error.code, told["error"], told["message"])
    except (ValueError, KeyError, OSError):
        return ServerError(error.code, "http", f"the server answered {error.code}")


def running_server(home: Path) -> RunningServer | None:
    """The server of this home, or None if none runs.

    A server that was killed leaves its files but not its lock.
    """
    root = serving_root(home)
    try:
        with server_lock(root).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        pass
    try:
        told = json.loads((root / SERVER).read_text())
        key = (root / OPERATOR_KEY).read_text()
        host = str(told["host"])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        place = f"[{host}]" if ":" in host else host
        certificate = told.get("certificate")
        scheme = "https" if certificate else "http"
        address = f"{scheme}://{place}:{told['port']}"
        return RunningServer(told["pid"], address, key, certificate, told["started_at"])
    except (OSError, ValueError, KeyError):
        return None
