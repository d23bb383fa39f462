"""Processes that die at fault points.

One process imports what is needed and forks a child per fault point, since the imports cost more than everything else.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def die_at(target: str, folders: Mapping[str, Path]) -> dict[str, int]:
    """Calls `MODULE:FUNCTION` (of one folder) in a process of its own for each fault point, armed at that point.

    Args:
        folders: fault point -> the folder it is called with.

    Returns:
        Fault point -> the number of the signal that ended the process, or 0 if it was not killed.
    """
    arguments = [f"{point}={folder}" for point, folder in folders.items()]
    command = [sys.executable, "-m", "hoops_assets_tests.workloads.kills", target, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return {point: int(number) for point, _, number in (line.partition(" ") for line in done.stdout.splitlines())}


def _main(target: str, arguments: list[str]) -> None:
    from hoops_assets.store import faults

    module, _, function = target.partition(":")
    call = getattr(importlib.import_module(module), function)
    for argument in arguments:
        point, _, folder = argument.partition("=")
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            faults.arm(point)
            call(Path(folder))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{point} {os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}\n")


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
