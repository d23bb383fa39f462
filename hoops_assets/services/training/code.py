"""Which code makes a model: commit, dirty flag, digest of the source, digest of the locked packages.

What belongs here: reading them from a git checkout, or from the environment inside a container.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import lru_cache
from pathlib import Path

import hoops_assets
from hoops_assets.workloads.spec import Strict

UNKNOWN = "unknown"
COMMIT_VARIABLE = "HOOPS_COMMIT"
"""Set where there is no checkout (a container): a commit, with the suffix "-dirty" if the tree had changes."""

DEFINING = ("basketball", "judging", "workloads")
"""Folders whose source decides what a training job makes."""


class Code(Strict):
    """The code that made a model.

    Attributes:
        commit: 40 hex digits, or "unknown" outside a checkout.
        dirty: whether the tree had changes that the commit lacks; None when unknown.
        digest: sha256 in hex over the source in DEFINING, which also tells two dirty trees apart.
        lock_digest: sha256 in hex of constraints.txt, or "unknown".
    """

    commit: str
    dirty: bool | None
    digest: str
    lock_digest: str


@lru_cache(maxsize=1)
def code() -> Code:
    """The code of this process, read once: what was loaded is what counts, not what is edited later."""
    package = Path(hoops_assets.__file__).parent
    commit, dirty = commit_of(package)
    return Code(
        commit=commit,
        dirty=dirty,
        digest=source_digest(package),
        lock_digest=lock_digest(package.parent / "constraints.txt"),
    )


def commit_of(package: Path) -> tuple[str, bool | None]:
    """(commit, dirty) of the checkout that tracks a folder, or of the environment, or ("unknown", None)."""
    told = os.environ.get(COMMIT_VARIABLE)
    if told:
        return told.removesuffix("-dirty"), told.endswith("-dirty")
    # A package installed inside somebody else's checkout is not that checkout's code.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return UNKNOWN, None
    commit, status = _git(package, "rev-parse", "--verify", "HEAD"), _git(package, "status", "--porcelain")
    if commit is None or status is None:
        return UNKNOWN, None
    return commit.strip(), bool(status.strip())


def source_digest(package: Path) -> str:
    """sha256 in hex over path and content of every Python file in DEFINING."""
    digest = hashlib.sha256()
    for path in sorted(found for part in DEFINING for found in (package / part).rglob("*.py")):
        digest.update(
            path.relative_to(package).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()


def lock_digest(path: Path) -> str:
    """sha256 in hex of the list of locked packages, or "unknown" where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else UNKNOWN


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
