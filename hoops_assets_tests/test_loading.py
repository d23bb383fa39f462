"""Loading the code location stays light: every process of Dagster pays for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

from hoops_assets_tests.conftest import REPOSITORY

HEAVY = {
    "boto3", "botocore", "deltalake", "google.cloud", "great_expectations", "matplotlib", "mlflow", "onnx", "onnxruntime",
    "scipy", "skl2onnx", "sklearn", "skops", "sqlalchemy", "typer", "vaderSentiment",
}  # fmt: skip
OF_DAGSTER = "import dagster, pandas"


@pytest.fixture(scope="module")
def modules_after(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")

    def modules(code: str) -> set[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOOPS_")}
        done = subprocess.run(
            [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
            env={**environment, "HOOPS_HOME": str(home)}, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return set(json.loads(done.stdout.splitlines()[-1]))

    return modules


def test_the_code_location_loads_no_heavy_library_that_dagster_does_not_load(modules_after):
    location = modules_after("import hoops_assets.definitions as d; assert d.defs.resolve_all_asset_specs()")
    assert "hoops_assets.defs.training.assets" in location
    assert HEAVY & (location - modules_after(OF_DAGSTER)) == set()


def test_ruff_keeps_every_heavy_library_out_of_the_modules_that_the_location_reaches(modules_after):
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = set(settings["flake8-tidy-imports"]["banned-module-level-imports"])
    assert {name.partition(".")[0] for name in HEAVY} - banned <= {"botocore"}  # never imported but by boto3
    exempt = {pattern for pattern, rules in settings["per-file-ignores"].items() if "TID253" in rules}
    reached = [name for name in modules_after("import hoops_assets.definitions") if name.startswith("hoops_assets.")]
    for name in reached:
        path = f"{name.replace('.', '/')}.py"
        assert not any(_matches(path, pattern) for pattern in exempt), f"{path} is reached and exempt"


def _matches(path: str, pattern: str) -> bool:
    from fnmatch import fnmatch

    before, brace, rest = pattern.partition("{")
    inside, _, after = rest.partition("}")
    return any(fnmatch(path, before + one + after) for one in inside.split(",")) if brace else fnmatch(path, pattern)
