"""`hoops up` of a home that is ready, with another location: `python -m hoops_assets_tests.soak.up MODULE`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

from hoops_assets.launch import servers
from hoops_assets.launch.limits import apply_limits
from hoops_assets.settings import Settings, load_settings

FIRST_PORT = 23_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Others may run beside it."""


def prepare_home(settings: Settings) -> Path:
    """The instance as shipped, but quick to look at its queue, and with the other location."""
    home = _shipped(settings)
    text = (home / "dagster.yaml").read_text()
    if "dequeue_interval_seconds" not in text:
        content = yaml.safe_load(text)
        content["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
        (home / "dagster.yaml").write_text(yaml.safe_dump(content))
    workspace = home / "workspace.yaml"
    workspace.write_text(workspace.read_text().replace("hoops_assets.definitions", sys.argv[1]))
    return home


_shipped = servers.prepare_home


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    servers.prepare_home = prepare_home
    settings = load_settings()
    apply_limits(settings)
    servers.serve(settings, FIRST_PORT, _tell, FIRST_PORT + 500)
