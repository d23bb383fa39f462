"""What every provider of monitoring keeps: drift jobs, which ask of a league's season what moved.

A job is named by what goes into it: spec, frames and code; the same always has the same name, so asking twice judges once.
States go queued -> running -> succeeded | failed | cancelled and never back. A report with alarms is a success.

- `submit` returns the name to ask for later, as soon as the provider has the job (the local provider finishes it first). A
  succeeded job of that name is reused, a running one is joined, a failed or cancelled one is started again; where names
  cannot be used twice, the name returned is the job's with `-2`, `-3`, ... behind it.
- `result` is the report, the same on every provider to the last digit that the machine's arithmetic allows. A provider that
  keeps figures of its own (CloudWatch) has been told the report's when `result` returns it, each once a machine; that they
  could not be told is logged and stops nothing.
- `cancel` of a finished job changes nothing; of a running one it returns when the job has stopped.
- A job over its `time_limit` is stopped and is failed; `result` then raises kind `timed_out`. In this process it is not
  enforced.
- Errors are `ServiceError` with one of its kinds; an unknown name is `not_found`.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import JobState

if TYPE_CHECKING:
    from hoops_assets.workloads.drift import DriftReport, DriftSpec

REPORT = "report.json"


@dataclass(frozen=True)
class DriftJob:
    """One look at a league's season.

    Attributes:
        files: what the workload reads, by name: spec.json and the frames in Parquet.
        code: digest of the source that judges.
        time_limit: seconds of running after which the provider stops it.
    """

    league: str
    files: Mapping[str, bytes]
    code: str
    time_limit: int = 1800

    @classmethod
    def of(cls, spec: DriftSpec, frames: Mapping[str, pd.DataFrame], code: str, time_limit: int = 1800) -> DriftJob:
        """Args: frames: as `workloads.drift.judge` takes them."""
        files = {"spec.json": spec.model_dump_json().encode()}
        for name, frame in sorted(frames.items()):
            written = io.BytesIO()
            frame.to_parquet(written, index=False)
            files[f"{name}.parquet"] = written.getvalue()
        return cls(spec.league, files, code, time_limit)

    @property
    def name(self) -> str:
        """hoops-LEAGUE-drift-DIGEST, of 58 characters at most."""
        told = hashlib.sha256(self.code.encode())
        for name, content in sorted(self.files.items()):
            told.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        return f"{_head(self.league)}-drift-{told.hexdigest()[:16]}"


def _head(league: str) -> str:
    """hoops-LEAGUE in 35 characters."""
    name = f"hoops-{league.replace('_', '-')}"
    if len(name) <= 35:
        return name
    return f"{name[:26].rstrip('-')}-{hashlib.sha256(league.encode()).hexdigest()[:8]}"


class MonitoringService(Protocol):
    """Somebody who runs drift jobs. See the module's docstring for what each call means."""

    provider: str

    def submit(self, job: DriftJob) -> str:
        """Starts a job and returns the name to ask for. Raises ServiceError invalid, quota, throttled, permission."""
        ...

    def poll(self, name: str) -> JobState:
        """Where the job is now. Raises ServiceError not_found."""
        ...

    def result(self, name: str) -> DriftReport:
        """The report of a succeeded job.

        Raises:
            ServiceError: not_found; conflict (not finished, or cancelled); failed or timed_out with the reason; quota or
                throttled if the job failed for want of capacity, or by the provider's own fault.
        """
        ...

    def cancel(self, name: str) -> None:
        """Stops a job. Raises ServiceError not_found."""
        ...


def look(service: MonitoringService, job: DriftJob, *, every: float = 1.0) -> DriftReport:
    """Submits, waits, and returns the report; raises as `submit` and `result` do. `every`: seconds between polls.

    An interruption cancels the job; a killed process leaves it to whoever asks next.
    """
    name = service.submit(job)
    try:
        while not service.poll(name).finished:
            time.sleep(every)
    except BaseException as interruption:
        if not isinstance(interruption, Exception):
            service.cancel(name)
        raise
    return service.result(name)


def no_job(name: str) -> ServiceError:
    return ServiceError("not_found", f"no drift job {name}; submit it first")
