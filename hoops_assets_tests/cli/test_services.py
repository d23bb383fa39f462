"""`hoops services` tells what the contract suites found, and nobody types it in."""

from __future__ import annotations

import configparser
import json

import pytest
from typer.testing import CliRunner

from hoops_assets.cli import app
from hoops_assets.services import kept
from hoops_assets_tests.conftest import REPOSITORY


def told(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["services", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_page_is_the_one_that_the_command_prints() -> None:
    assert (REPOSITORY / "docs" / "services.md").read_text() == told("--markdown"), (
        "renew it: hoops services --markdown > docs/services.md"
    )


def test_every_step_was_run_against_every_provider_that_keeps_it() -> None:
    found = json.loads(told("--json"))
    assert set(found["steps"]) == set(kept.STEPS)
    for step, providers in found["steps"].items():
        assert set(providers) == {"local", "sagemaker"}, step
        counts = {name: one["passed"] + one["failed"] + one["skipped"] for name, one in providers.items()}
        assert len(set(counts.values())) == 1, f"{step}: not the same tests, {counts}"


def test_the_result_ships_with_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    assert "services/kept.json" in setup["options.package_data"]["hoops_assets"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (kept.Outcome(passed=3), "kept: 3 tests"),
        (kept.Outcome(passed=3, skipped=2), "kept: 3 tests, 2 skipped"),
        (kept.Outcome(passed=3, failed=1), "broken: 1 of 4 tests fail"),
    ],
)
def test_a_failure_is_told(outcome: kept.Outcome, words: str) -> None:
    assert outcome.told == words
