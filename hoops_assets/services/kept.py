"""Which provider keeps which contract: the last result of the contract suites, as they wrote it themselves.

What belongs here: reading and writing services/kept.json, and telling it as rows and as docs/services.md. Nothing in it is
typed in: `pytest hoops_assets_tests/contracts --record-contracts` writes it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hoops_assets.store import atomic
from hoops_assets.workloads.spec import Strict

FILE = Path(__file__).with_name("kept.json")
RECORD = "pytest hoops_assets_tests/contracts --record-contracts"

STEPS = {
    "storage": "tables: Delta Lake in a folder or a bucket",
    "training": "jobs that fit a model",
    "pipelines": "train, evaluate, condition, register as one graph",
    "registry": "versions of models, their files and manifests",
    "lineage": "training set, job, model, endpoint as a graph",
    "endpoint": "forecasts on demand: variants, traffic, canary",
    "batch": "forecasts of many games at once",
    "monitoring": "drift jobs and their reports",
}
"""Step -> what it is."""

PROVIDERS = {
    "local": "this machine", "sagemaker": "Amazon SageMaker", "vertex": "Google Vertex AI", "azureml": "Azure ML",
}  # fmt: skip
"""Provider -> its name for people; one without results does not run the step yet."""

_PARTS = ("clouds", "services", "workloads")


class Outcome(Strict):
    """How many tests of a suite ended how against one provider."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def told(self) -> str:
        if self.failed:
            return f"broken: {self.failed} of {self.passed + self.failed} tests fail"
        return f"kept: {self.passed} tests" + (f", {self.skipped} skipped" if self.skipped else "")


class Kept(Strict):
    """The last result.

    Attributes:
        on: day of the run. against: what stood for the cloud: its emulator, or the cloud itself.
        commit: of the checkout; `digest` of the source in clouds, services and workloads, which tells a changed tree.
        steps: step -> provider -> outcome.
    """

    on: str
    against: str
    commit: str
    digest: str
    steps: dict[str, dict[str, Outcome]]

    @property
    def is_of_this_code(self) -> bool:
        return self.digest == code_digest()


def read() -> Kept:
    """The result that ships with the package."""
    return Kept.model_validate_json(FILE.read_bytes())


def write(kept: Kept) -> None:
    atomic.write_json(FILE, kept.model_dump(mode="json"))


def code_digest() -> str:
    """First 16 digits of sha256 over path and content of every Python file of _PARTS."""
    package, told = FILE.parent.parent, hashlib.sha256()
    for path in sorted(found for part in _PARTS for found in (package / part).rglob("*.py")):
        told.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return told.hexdigest()[:16]


def rows(kept: Kept) -> list[dict[str, Any]]:
    """A row a step: step, and what each provider does with it."""
    return [{"step": step, **{name: _cell(kept.steps.get(step, {}).get(name)) for name in PROVIDERS}} for step in STEPS]


def page(kept: Kept) -> str:
    """docs/services.md."""
    head = "| step | what it is | " + " | ".join(PROVIDERS.values()) + " |"
    lines = [
        f"| {row['step']} | {STEPS[row['step']]} | " + " | ".join(row[name] for name in PROVIDERS) + " |"
        for row in rows(kept)
    ]
    return "\n".join([
        "# Which provider runs which step", "",
        "Written by `hoops services --markdown` from the last result of the contract suites, which run the same tests,",
        f"unchanged, against every provider: `{RECORD}`.", "",
        f"Last run {kept.on} at commit {kept.commit[:12]}, source digest {kept.digest}; {kept.against}.", "",
        head, "|" + "---|" * (2 + len(PROVIDERS)), *lines, "",
        "Each step moves on its own by one line of the settings, see [aws.md](aws.md).", "",
    ])  # fmt: skip


def _cell(outcome: Outcome | None) -> str:
    return outcome.told if outcome else "not yet"


def as_json(kept: Kept) -> dict[str, Any]:
    """For programs."""
    return {**json.loads(kept.model_dump_json()), "is_of_this_code": kept.is_of_this_code}
