"""The Dagster instance in HOOPS_HOME/dagster, made at first use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg
import psutil

from hoops_assets.settings import Settings

PID_TAG, HOST_TAG = "hoops/pid", "hoops/host"
SHIPPED = Path(__file__).parent
LOCATION = "hoops_assets"


def prepare_home(settings: Settings) -> Path:
    """Writes dagster.yaml and workspace.yaml where they are missing; a user's own stay. Returns DAGSTER_HOME."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(SHIPPED / "dagster.yaml", home / "dagster.yaml")
    (home / "workspace.yaml").write_text(
        f"load_from:\n  - python_module:\n      module_name: hoops_assets.definitions\n      location_name: {LOCATION}\n"
    )
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance, with DAGSTER_HOME set for what this process starts."""
    home = prepare_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.from_config(str(home))


def own_process_tags() -> dict[str, str]:
    """Tags by which a run that lives in this process is known, so that its death can be seen later."""
    return {PID_TAG: f"{os.getpid()}:{psutil.Process().create_time():.0f}", HOST_TAG: os.uname().nodename}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Marks as failed the runs whose process on this machine is gone (killed); returns their ids."""
    dead = []
    active = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    )
    for run in instance.get_runs(active):
        process = run.tags.get(PID_TAG)
        if process and run.tags.get(HOST_TAG) == os.uname().nodename and not _alive(process):
            instance.report_run_failed(run, "its process ended before the run did; what it had committed stands")
            dead.append(run.run_id)
    return dead


def _alive(process: str) -> bool:
    pid, born = process.split(":")
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(born)) < 2
    except psutil.NoSuchProcess:
        return False
