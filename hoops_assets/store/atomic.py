"""Files and folders that appear whole or not at all, whenever the process or the machine stops.

What belongs here: writing beside the target, flushing to disk, renaming, flushing the folder; and the lock that lets
one process at a time change a folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hoops_assets.store.faults import fault_point


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces or creates a file, and its folder if missing. Readers see the old content or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        fault_point(f"file.before_rename:{path.name}")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    fault_point(f"file.after_rename:{path.name}")


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """As `write_bytes`: readable JSON in the order given, strict (NaN and infinity are refused with ValueError)."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def commit_folder(temporary: Path, final: Path) -> None:
    """Gives a complete folder its name.

    Every file in it is flushed to disk first. `temporary` must stand on the same file system as `final`.

    Raises:
        FileExistsError: `final` exists; nothing was changed.
    """
    temporary, final = Path(temporary), Path(final)
    for folder, _, files in os.walk(temporary):
        for name in files:
            _sync(Path(folder) / name)
        sync_folder(Path(folder))
    if final.exists():
        raise FileExistsError(f"{final} exists already")
    fault_point(f"folder.before_rename:{final.parent.name}")
    try:
        temporary.rename(final)
    except OSError as error:
        if final.exists():
            raise FileExistsError(f"{final} exists already") from error
        raise
    sync_folder(final.parent)
    fault_point(f"folder.after_rename:{final.parent.name}")


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power failure."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock between processes and threads of one machine; a killed holder frees it.

    Args:
        path: the lock file, created if missing and never removed (removing it would let two holders in).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
