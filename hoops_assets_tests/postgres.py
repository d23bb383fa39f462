"""A real PostgreSQL server of the test's own, from Debian's package, on the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

READY_SECONDS = 60.0


@contextmanager
def postgres() -> Iterator[str]:
    """Starts a server with an empty database; gives its URL and ends it afterwards."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.fail("PostgreSQL is not installed; run: apt-get install postgresql")
    # Neither initdb nor the server runs as root, and root's temporary folders are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="hoops-postgres-"))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    data, port = folder / "data", _free_port()
    initdb = [*as_user, str(programs[-1] / "initdb"), "-D", str(data), "-U", "hoops", "--auth=trust", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(folder), "-p", str(port)]
    process = subprocess.Popen(
        [*as_user, str(programs[-1] / "postgres"), "-D", str(data), *options], stderr=subprocess.DEVNULL
    )
    try:
        url = f"postgresql://hoops@127.0.0.1:{port}/postgres"
        _wait(url, process)
        yield url
    finally:
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def own_database(server: str) -> str:
    """Creates an empty database on a server; returns its URL."""
    name = f"t{uuid.uuid4().hex}"
    connection = psycopg2.connect(server)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    finally:
        connection.close()
    return server.rpartition("/")[0] + f"/{name}"


def end_connections(url: str) -> int:
    """Cuts every other connection to the database; returns how many there were."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            return cursor.rowcount
    finally:
        connection.close()


def crash(url: str) -> None:
    """kill -9 of one of the server's processes: it then ends all others, and recovers from its log by itself."""
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        os.kill(cursor.fetchone()[0], signal.SIGKILL)


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """A new database on a server; gives its URL."""
    connection = psycopg2.connect(server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    yield server.rpartition("/")[0] + f"/{name}"


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            psycopg2.connect(url).close()
            return
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
