"""A process that has imported this platform's programs and forks a container in a moment: `python -m ...nursery`.

What belongs here: reading one JSON line a container from stdin, forking, and telling pids and exit statuses on stdout.
Importing takes seconds, and the emulator starts containers by the dozen; a fork is a process of its own all the same. It
has one thread, so that forking is safe.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

EVERY = 0.02


def main() -> None:
    """Serves until stdin ends, however it ends; then no container is left."""
    from hoops_assets.workloads import (
        container,
        drift,  # noqa: F401
        judgement,  # noqa: F401
        train,  # noqa: F401
    )
    from hoops_assets.workloads.serve import run  # noqa: F401

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # a child's garbage collection would copy every page it looks at
    _tell({"ready": os.getpid()})
    pending, living = b"", set[int]()
    while True:
        readable, _, _ = select.select([0], [], [], EVERY)
        if readable:
            content = os.read(0, 1 << 20)
            if not content:
                return _end(living)
            *lines, pending = (pending + content).split(b"\n")
            for line in lines:
                told = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become(told, container.main)
                living.add(pid)
                _tell({"id": told["id"], "pid": pid})
        living -= _reap()


def _become(told: dict[str, Any], run: Any) -> None:
    """The child: takes the container's folder, environment and output, runs, and never returns."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        os.chdir(told["folder"])
        os.environ.clear()
        os.environ.update(told["environment"])
        status = run(told["arguments"])
        sys.stdout.flush()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
        if isinstance(ended.code, str):
            os.write(2, f"{ended.code}\n".encode())
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status or 0)


def _end(living: set[int]) -> None:
    for pid in living - _reap(tell=False):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _reap(tell: bool = True) -> set[int]:
    """Pids of the children that have ended."""
    ended = set[int]()
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.add(pid)
        if tell:
            _tell({"pid": pid, "exit": os.waitstatus_to_exitcode(status), "at": time.time()})


def _tell(value: dict[str, Any]) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    main()
