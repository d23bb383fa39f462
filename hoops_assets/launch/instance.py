"""The Dagster instance in HOOPS_HOME/dagster, made at first use."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from hoops_assets.errors import StoreError
from hoops_assets.settings import Settings
from hoops_assets.store import processes
from hoops_assets.store.atomic import write_text

PID_TAG, HOST_TAG = "hoops/pid", "hoops/host"
SHIPPED = {
    "laptop": Path(__file__).with_name("dagster.yaml"),
    "server": Path(__file__).with_name("dagster.server.yaml"),
}
"""The dagster.yaml of each kind of instance."""

LOCATION = "hoops_assets"
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED_STATUSES]


def prepare_home(settings: Settings) -> Path:
    """Writes dagster.yaml and workspace.yaml; a dagster.yaml of the user's own stays. Returns DAGSTER_HOME."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    file, shipped = home / "dagster.yaml", _rendered(SHIPPED[settings.instance].read_text(), home)
    ours = {_rendered(other.read_text(), home) for other in SHIPPED.values()}
    found = file.read_text() if file.exists() else None
    if found is None or (found != shipped and _rendered(found, home) in ours):
        write_text(file, shipped)
    workspace = f"load_from:\n  - python_module:\n      module_name: hoops_assets.definitions\n      location_name: {LOCATION}\n"
    file = home / "workspace.yaml"
    if not file.exists() or file.read_text() != workspace:  # servers that are starting read it
        write_text(file, workspace)
    return home


def _rendered(text: str, home: Path) -> str:
    """A dagster.yaml of ours with the folder of events in that home, wherever it was before."""
    return re.sub(
        r"(?m)^(    base_dir: ).*$", lambda found: f"{found[1]}{json.dumps(str(home / 'history' / 'runs'))}", text
    )


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance, with DAGSTER_HOME set for what this process starts.

    Where the user has chosen no storage of his own, this process writes the SQLite event log in batches.
    """
    home = prepare_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    chosen = yaml.safe_load((home / "dagster.yaml").read_text()) or {}
    events = chosen.pop("event_log_storage", {"class": "EventLog"})
    if events.get("class") != "EventLog" or any("storage" in name for name in chosen):
        return dg.DagsterInstance.from_config(str(home))
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(home), overrides={"event_log_storage": _event_log(home)})
    )


@contextmanager
def told_plainly(home: Path) -> Iterator[None]:
    """What Dagster's databases refuse, in words that say what to do.

    Args:
        home: DAGSTER_HOME.

    Raises:
        StoreError: instead of any error of the database.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or type(error).__name__
        damaged = any(word in str(cause) for word in ("malformed", "not a database"))
        remedy = (
            f"Restore {home} from a backup, or move it away: the history of runs is then gone and the tables stand, and a"
            " backfill says again which game days are done"
            if damaged
            else "Check free space and permissions there, or the database's address, and run again"
        )
        raise StoreError(
            f"Dagster's instance in {home} cannot be used: {cause}; what was committed before still stands. {remedy}"
        ) from error


def _event_log(home: Path) -> dict[str, object]:
    """Our class over the files where Dagster keeps its events."""
    folder = home / "history" / "runs"
    return {
        "module": "hoops_assets.launch.event_log",
        "class": "BatchingEventLog",
        "config": {"base_dir": str(folder)},
    }


def own_process_tags() -> dict[str, str]:
    """Tags by which a run that lives in this process is known, so that its death can be seen later."""
    return {PID_TAG: f"{os.getpid()}:{processes.born(os.getpid())}", HOST_TAG: os.uname().nodename}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Marks as failed the runs whose process on this machine is gone (killed); returns their ids."""
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        process = run.tags.get(PID_TAG)
        if process and run.tags.get(HOST_TAG) == os.uname().nodename and not _alive(process):
            instance.report_run_failed(run, "its process ended before the run did; what it had committed stands")
            dead.append(run.run_id)
    return dead


def _alive(process: str) -> bool:
    pid, born = process.split(":")
    return str(processes.born(int(pid))) == born
