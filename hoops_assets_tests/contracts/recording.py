"""What the suites found, kept for `hoops services`: `pytest hoops_assets_tests/contracts --record-contracts`.

What belongs here: counting outcomes by step and provider. A run that leaves a suite out records nothing.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hoops_assets.services import kept
from hoops_assets.services.training.code import code
from hoops_assets_tests.contracts import live
from hoops_assets_tests.contracts.providers import PROVIDERS

SUITES = {f"test_{name}.py" for name in ("storage", "training", "pipelines", "registry", "lineage", "monitoring")}
PREDICTION = "test_prediction.py"


def step_of(item: pytest.Item) -> str | None:
    """The step that a test is about; None for a test of no suite."""
    file = Path(item.location[0]).name
    if file == PREDICTION:
        return "batch" if item.get_closest_marker("batch") else "endpoint"
    return file.removeprefix("test_").removesuffix(".py") if file in SUITES else None


def provider_of(item: pytest.Item) -> str | None:
    """The provider that a test runs against; None for one that needs none."""
    params = getattr(item, "callspec", None)
    return next((str(one) for one in params.params.values() if str(one) in PROVIDERS), None) if params else None


class Recorder:
    """Counts while the tests run."""

    def __init__(self) -> None:
        self._digest = kept.code_digest()  # of what is loaded, not of what is edited meanwhile
        self._of: dict[str, tuple[str, str]] = {}
        self._counts: dict[tuple[str, str], Counter[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            step, provider = step_of(item), provider_of(item)
            if step and provider:
                self._of[item.nodeid] = (step, provider)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        key = self._of.get(report.nodeid)
        if key and (report.when == "call" or report.outcome != "passed"):
            self._counts.setdefault(key, Counter())[report.outcome] += 1

    def pytest_sessionfinish(self) -> None:
        steps: dict[str, dict[str, kept.Outcome]] = {}
        for (step, provider), count in sorted(self._counts.items()):
            told = {name: count[name] for name in ("passed", "failed", "skipped")}
            steps.setdefault(step, {})[provider] = kept.Outcome(**told)
        if set(steps) != set(kept.STEPS):
            raise pytest.UsageError(f"not recorded: this run left out {sorted(set(kept.STEPS) - set(steps))}")
        against = "the clouds themselves" if live.wanted() else "each cloud is its emulator on the loopback"
        now = datetime.now(UTC).date().isoformat()
        kept.write(kept.Kept(on=now, against=against, commit=code().commit, digest=self._digest, steps=steps))
