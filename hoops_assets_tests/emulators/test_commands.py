"""`hoops emulate aws` and `hoops rehearse aws`, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import boto3
import psutil
import pytest

pytestmark = pytest.mark.slow

HOOPS = (sys.executable, "-m", "hoops_assets.cli")


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "AWS_", "DAGSTER_"))}
    return {**kept, "HOOPS_HOME": str(home), "TMPDIR": str(home)}


def started_with(variable: str, known: set[int]) -> list[int]:
    """Pids that are not among the known and carry a variable of the test's own: whoever inherited its environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in known and variable in map("=".join, process.environ().items()):
                found.append(process.pid)
    return found


def test_emulate_tells_how_to_reach_it_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*HOOPS, "emulate", "aws", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    try:
        assert process.stdout is not None
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        s3 = boto3.client(
            "s3", endpoint_url=told["AWS_ENDPOINT_URL"], region_name=told["AWS_DEFAULT_REGION"],
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == [told["HOOPS_AWS__BUCKET"]]
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert list(tmp_path.glob("hoops-aws-*")) == []


def test_rehearse_takes_a_league_through_every_step_and_leaves_nothing(tmp_path: Path) -> None:
    known = {process.pid for process in psutil.process_iter()}
    done = subprocess.run(
        [*HOOPS, "rehearse", "aws", "--league", "pacific", "--json"], capture_output=True, text=True, timeout=280,
        env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout[done.stdout.index("{") :])
    made = {one["what"]: one["how_many"] for one in told["made"]}
    assert (made["training job"], made["model package"], made["endpoint"]) == (5, 6, 1)
    assert (made["model card"], made["trial component"], made["trial"], made["experiment"]) == (5, 5, 1, 1)
    assert made["transform job"] >= 1
    assert told["forecasts"] > 0
    assert sum(told["served"].values()) == 100
    assert made["pipeline"] == 1
    assert made["processing job"] == 5 + 1 + 1  # evaluations, their judgement, drift
    assert all(one["seconds"] >= 1 for one in told["billed"])
    assert told["billed"][0]["seconds"] >= 5
    assert told["lineage_agrees_with_the_record"]
    assert told["answers_in_the_record"] >= 1
    assert {one["price"] for one in told["billed"]} == {"unknown"}
    assert told["left"] == "nothing"
    assert list(tmp_path.glob("hoops-*")) == []
    assert started_with(f"TMPDIR={tmp_path}", known) == []
