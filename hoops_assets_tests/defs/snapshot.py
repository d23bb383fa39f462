"""The shape of the code location as a small file that a person reads in review.

python -m hoops_assets_tests.defs.snapshot     renews definitions.json after a change that was meant
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from hoops_assets.definitions import build_defs
from hoops_assets.settings import Settings

FILE = Path(__file__).with_name("definitions.json")
RENEW = "python -m hoops_assets_tests.defs.snapshot"
LEAGUE = "atlantic"
"""The league whose lane is written out; every other league's has the same shape."""


def definitions(home: Path) -> dg.Definitions:
    """The location of a home with nothing in it, at a moment that does not pass."""
    return build_defs(Settings(home=home, now=datetime(2026, 11, 1, tzinfo=UTC), mlflow_tracking_uri=""))


def shape(location: dg.Definitions, league: str) -> dict[str, Any]:
    """Everything of one league's lane and the resources, as plain text in a fixed order."""
    graph = location.resolve_asset_graph()
    repository = location.get_repository_def()
    keys = sorted(key for key in graph.get_all_asset_keys() if key.path[0] == league)
    own = [job for job in repository.get_all_jobs() if job.tags.get("hoops/league") == league]
    return {
        "assets": {key.path[1]: _asset(graph.get(key)) for key in keys},
        "checks": {
            f"{check.asset_key.path[1]}: {check.name}": "blocking" if graph.get(check).blocking else "warns"
            for check in sorted(graph.asset_check_keys, key=str)
            if check.asset_key.path[0] == league
        },
        "jobs": {job.name: _job(job) for job in sorted(own, key=lambda job: job.name)},
        "schedules": {
            one.name: f"{one.cron_schedule} {one.execution_timezone} -> {one.job_name}, {one.default_status.value}"
            for one in repository.schedule_defs
            if one.name.startswith(f"{league}_")
        },
        "sensors": {
            one.name: f"every {one.minimum_interval_seconds} s -> {[target.job_name for target in one.targets]}"
            f", {one.default_status.value}"
            for one in sorted(repository.sensor_defs, key=lambda one: one.name)
            if one.name.startswith(f"{league}_")
        },
        "resources": {
            name: type(one).__name__ for name, one in sorted((location.resources or {}).items()) if one is not None
        },
    }


def _asset(node: Any) -> str:
    needs = ", ".join(sorted(key.path[1] for key in node.parent_keys)) or "nothing"
    policy = node.backfill_policy
    return (
        f"{node.group_name}, {'+'.join(sorted(node.kinds))}, {', '.join(node.owners)}, code {node.code_version}, "
        f"{'by day' if node.partitions_def else 'whole'}"
        f"{', ' + policy.policy_type.value.lower() if policy else ''}{_fresh(node)} <- {needs}"
    )


def _fresh(node: Any) -> str:
    policy = node.freshness_policy
    if policy is None:
        return ""
    zone = "league time" if policy.timezone == node.partitions_def.timezone else policy.timezone
    return f", fresh by {policy.deadline_cron} {zone} since {policy.lower_bound_delta} before"


def _job(job: dg.JobDefinition) -> str:
    return f"{job.executor_def.name}: {', '.join(sorted(key.path[1] for key in job.asset_layer.selected_asset_keys))}"


def written(content: dict[str, Any]) -> str:
    return json.dumps({"renew me with": RENEW, **content}, indent=1) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(written(shape(definitions(Path(folder)), LEAGUE)))
