"""The server as a process: its socket, its place in the home, its end.

What belongs here: starting, and the refusal to start. Inside a container see `__main__`.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any, NoReturn

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hoops_assets.errors import HoopsError
from hoops_assets.store import atomic
from hoops_assets.workloads.serve.app import Server, ServerConfig, build_app
from hoops_assets.workloads.serve.bundle import SERVER, serving_root
from hoops_assets.workloads.serve.client import OPERATOR_KEY, server_lock

GRACE = 10
"""Seconds that answers under way have to finish when the server ends."""

IDLE = 30
"""Seconds after which an idle connection is closed."""

CONNECTIONS = 2000
"""Connections at once; further ones are answered 503."""


def serve(
    config: ServerConfig,
    host: str,
    port: int,
    tell: Callable[[str], None],
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        port: 0 takes a free one.
        tell: gets one line when the server answers.
        certificate, key: PEM files; both or neither. With them the server speaks TLS only.

    Raises:
        HoopsError: the address is taken, not of this machine, or open to others without keys; or a server runs already.
    """
    server = Server(config)
    if not is_loopback(host) and not len(server.keys) and not config.authenticated_by:
        raise HoopsError(
            f"{host} can be reached by others, and there are no keys: add one with `hoops keys add CUSTOMER`,"
            " or bind to 127.0.0.1"
        )
    if (certificate is None) != (key is None):
        raise HoopsError("TLS needs both the certificate and its key")
    with _listening(host, port) as listener, _in_place(config, server, listener, certificate) as address:
        options = uvicorn.Config(
            build_app(server), http=OneWrite, log_level="warning", access_log=False, lifespan="on", server_header=False,
            proxy_headers=False, timeout_keep_alive=IDLE, timeout_graceful_shutdown=GRACE,
            limit_concurrency=CONNECTIONS, backlog=CONNECTIONS, ws="none",
            ssl_certfile=certificate, ssl_keyfile=key,
        )  # fmt: skip
        tell(f"{'https' if certificate else 'http'}://{address}")
        with _ends_in_order():
            uvicorn.Server(options).run(sockets=[listener])


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """Lets SIGINT and SIGTERM end the process only after the server's place in the home is cleared.

    uvicorn shuts down and then raises the signal again for the handler of before; the default one would end the process
    on the spot.
    """

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(0)

    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class OneWrite(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, writing a response's head and body to the socket at once: half of the system calls."""

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self._joining = _Joining(transport)
        super().connection_made(self._joining)  # pyright: ignore[reportArgumentType]

    def on_response_complete(self) -> None:
        """Called by uvicorn after the last part of a response."""
        self._joining.flush()  # of a response without a body
        super().on_response_complete()


class _Joining:
    """A transport that holds a response's head until its body comes, or its end."""

    def __init__(self, transport: Any) -> None:
        self._transport, self._held = transport, b""
        self.is_closing = transport.is_closing  # asked for at every response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        elif data[:9] == b"HTTP/1.1 " and data[9:10] != b"1":  # 100 Continue is waited for
            self._held = data
            return
        self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        if self._held:
            self.write(b"")


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise HoopsError(f"cannot listen on {host}:{port}: {error}; choose another --host or --port") from error
    with listener:
        yield listener


@contextmanager
def _in_place(config: ServerConfig, server: Server, listener: socket.socket, certificate: Path | None) -> Iterator[str]:
    """Holds the home's one place for a server and tells others where it answers."""
    root = serving_root(config.home)
    root.mkdir(parents=True, exist_ok=True)
    host, port = listener.getsockname()[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with server_lock(root).open("ab") as lock:
        if not _locked(lock):
            raise HoopsError(f"a server runs already in {root}, see {root / SERVER}; end it first")
        _write_secret(root / OPERATOR_KEY, server.keys.add_own())
        told: dict[str, Any] = {
            "pid": os.getpid(),
            "host": host,
            "port": port,
            "started_at": datetime.now(UTC).isoformat(),
        }
        if certificate is not None:
            told["certificate"] = str(certificate.absolute())
        atomic.write_text(root / SERVER, json.dumps(told) + "\n")
        try:
            yield address
        finally:
            (root / SERVER).unlink(missing_ok=True)
            (root / OPERATOR_KEY).unlink(missing_ok=True)


def _locked(lock: IO[bytes]) -> bool:
    """Takes the lock; whoever only asks whether a server runs holds it for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def _write_secret(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
