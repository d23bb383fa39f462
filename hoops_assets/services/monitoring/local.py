"""Drift jobs on this machine.

What belongs here: the local provider of the monitoring contract. A job runs in this process; when it has finished, its
folder ROOT/NAME appears whole, with input/ and output/report.json, or output/failure.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hoops_assets.errors import HoopsError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.monitoring.contract import REPORT, DriftJob, no_job
from hoops_assets.services.training.contract import JobState
from hoops_assets.store import atomic

if TYPE_CHECKING:
    from hoops_assets.workloads.drift import DriftReport

_FAILURE = "failure"
KEPT = 10


class LocalMonitoring:
    """See the contract.

    Args:
        root: of the jobs' folders, of which the latest KEPT of each league are kept.
    """

    provider = "local"

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def submit(self, job: DriftJob) -> str:
        """See the contract."""
        folder = self.root / job.name
        with atomic.locked(self.root / ".locks" / job.name):
            if (folder / "output" / REPORT).is_file():
                return job.name
            self._run(job, folder)
        return job.name

    def poll(self, name: str) -> JobState:
        """See the contract."""
        output = self.root / name / "output"
        if (output / REPORT).is_file():
            return JobState.SUCCEEDED
        if (output / _FAILURE).is_file():
            return JobState.FAILED
        raise no_job(name)

    def result(self, name: str) -> DriftReport:
        """See the contract."""
        from hoops_assets.workloads.drift import DriftReport

        output = self.root / name / "output"
        if self.poll(name) is JobState.FAILED:
            raise ServiceError("failed", f"drift job {name} failed: {(output / _FAILURE).read_text().strip()}")
        return DriftReport.model_validate_json((output / REPORT).read_bytes())

    def cancel(self, name: str) -> None:
        """See the contract: a job that is known here has finished."""
        self.poll(name)

    def _run(self, job: DriftJob, folder: Path) -> None:
        from hoops_assets.workloads import drift

        temporary = Path(tempfile.mkdtemp(dir=self.root, prefix=".job-"))
        try:
            for name, content in job.files.items():
                atomic.write_bytes(temporary / "input" / name, content)
            try:
                drift.run(temporary / "input", temporary / "output")
            except HoopsError as error:
                atomic.write_text(temporary / "output" / _FAILURE, f"{error}\n".replace(str(temporary), str(folder)))
            if folder.exists():
                shutil.rmtree(folder)
            atomic.commit_folder(temporary, folder)
            alike = sorted(self.root.glob(f"{folder.name[:-16]}????????????????"), key=lambda one: one.stat().st_mtime)
            for old in alike[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
