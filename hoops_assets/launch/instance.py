"""The Dagster instance in HOOPS_HOME/dagster, made at first use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg
import psutil
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from hoops_assets.settings import Settings

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
    file, shipped = home / "dagster.yaml", SHIPPED[settings.instance]
    if not file.exists() or file.read_bytes() in {other.read_bytes() for other in SHIPPED.values()} - {
        shipped.read_bytes()
    }:
        shutil.copyfile(shipped, file)
    (home / "workspace.yaml").write_text(
        f"load_from:\n  - python_module:\n      module_name: hoops_assets.definitions\n      location_name: {LOCATION}\n"
    )
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance, with DAGSTER_HOME set for what this process starts.

    Where the user has chosen no storage of his own, this process writes the SQLite event log in batches.
    """
    home = prepare_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    chosen = yaml.safe_load((home / "dagster.yaml").read_text()) or {}
    if any("storage" in name for name in chosen):
        return dg.DagsterInstance.from_config(str(home))
    return dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(home), overrides={"event_log_storage": _event_log(home)})
    )


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
    return {PID_TAG: f"{os.getpid()}:{psutil.Process().create_time():.0f}", HOST_TAG: os.uname().nodename}


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
    try:
        found = psutil.Process(int(pid))
        # A killed process that its parent never asked about keeps its number.
        return found.status() != psutil.STATUS_ZOMBIE and abs(found.create_time() - float(born)) < 2
    except psutil.NoSuchProcess:
        return False
