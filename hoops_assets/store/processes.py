"""Knowing a process again: its number alone is given to another one later.

What belongs here: when a process began, in a measure that no jump of the clock moves.
"""

from __future__ import annotations

from pathlib import Path

import psutil


def born(pid: int) -> float | None:
    """When a living process began; None if it is gone, or a zombie that nobody ever asked about.

    On Linux in seconds since the machine started, which the kernel notes once. psutil adds the moment of that start as the
    clock has it now, so that after a jump of the clock every process seems to be another one.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        try:
            # Fields of proc(5) behind the name, which may hold anything; starttime is the 22nd of all.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return process.create_time() if not Path("/proc/self").exists() else None
        return int(fields[19]) / 100
    except (psutil.Error, OSError):
        return None
