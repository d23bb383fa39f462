"""Named places at which a test may kill this process, to prove that a kill at any moment leaves the last good state.

What belongs here: the list of places and the one call that stands at each. `HOOPS_FAULT=NAME` kills the process with
SIGKILL when it passes the place for the first time, `HOOPS_FAULT=NAME:3` when it passes it for the third time. A place
may name its subject behind a colon, as in `commit.before:results` or `commit.before:results:3`: of a commit or a row the
table, of a file its name, of a folder the folder it is put into, of an event its type; `*` stands for any part of it.
Without the variable a call costs one comparison. The variable is read once, when the module is imported.
"""

from __future__ import annotations

import itertools
import os
import signal
from fnmatch import fnmatchcase

from hoops_assets.errors import SettingsError

VARIABLE = "HOOPS_FAULT"

FAULT_POINTS = {
    "file.before_rename": "a file is written and flushed beside its target, which still is what it was",
    "file.after_rename": "the file has its name",
    "folder.before_rename": "a folder is complete under its temporary name",
    "folder.after_rename": "the folder has its name",
    "record.before_commit": "a row of the record is about to be appended",
    "record.after_commit": "the row is appended",
    "buffer.before_commit": "posts are about to enter or to leave the post buffer",
    "buffer.after_commit": "they have entered or left it, nobody was told",
    "rollout.before_record": "what serves has changed, the row of the change is not appended",
    "served.before_remove": "a segment of the served log is in the record, its file still stands",
    "commit.before": "a table's new version is about to be committed",
    "commit.after": "the version is committed",
    "event.before": "an asset's event is about to be told to Dagster",
    "event.after": "the event is told",
    "training.before_fit": "a job's inputs are read, nothing is fitted",
    "training.after_fit": "the model is fitted, nothing is written",
    "registry.before_register": "a version is checked, its number is not taken",
    "registry.after_register": "the version has its number, nobody was told",
    "mirror.before_version": "a mirrored run is written, its version is not",
    "mirror.after_version": "a mirrored version is written",
}
"""Every fault point, and what is true when the process dies there."""


_name: str | None = None
_passing = 0
_passed = itertools.count(1)


def arm(fault: str | None) -> None:
    """Sets the place of death: NAME or NAME:N (N from 1); None or "" for none.

    Raises:
        SettingsError: no such fault point, or no such number.
    """
    global _name, _passing, _passed
    if not fault:
        _name = None
        return
    name, colon, passing = fault.rpartition(":")
    if not colon or not passing.isdigit():
        name, passing = fault, "1"
    if not _listed(name) or int(passing) == 0:
        raise SettingsError(
            f"{VARIABLE}={fault!r}: use NAME or NAME:N (N from 1) with NAME one of {', '.join(sorted(FAULT_POINTS))}"
        )
    _name, _passing, _passed = name, int(passing), itertools.count(1)


def fault_point(name: str) -> None:
    """Kills this process if the environment says so.

    Args:
        name: one of FAULT_POINTS, or one of them with `:SUBJECT` behind it.
    """
    if _name is None:
        return
    if not _listed(name):
        raise ValueError(
            f"{name!r} is not in hoops_assets.store.faults.FAULT_POINTS; list it there with what is true at it"
        )
    if (fnmatchcase(name, _name) or name.partition(":")[0] == _name) and next(_passed) == _passing:
        os.kill(os.getpid(), signal.SIGKILL)


def _listed(name: str) -> bool:
    return name.partition(":")[0] in FAULT_POINTS


arm(os.environ.get(VARIABLE))
