"""The jobs of one kind in the account.

What belongs here: what training, processing and transform jobs have in common: a name is taken once, a job may not be
visible yet, lists come by pages, and somebody asks what stands and runs. What a job does belongs to its kind.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from hoops_assets.emulators.aws.containers import Container
from hoops_assets.emulators.aws.errors import Refused, in_use
from hoops_assets.emulators.aws.faults import Fault, is_unseen
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

Action = Callable[[dict[str, Any]], dict[str, Any]]


class Job(Protocol):
    """What its kind tells of a job.

    Attributes:
        status: as the API has it, from InProgress to Completed, Failed or Stopped.
        hidden: the fault by which it is not visible yet.
        container: its process, once it has one.
    """

    name: str
    arn: str
    status: str
    hidden: Fault | None

    @property
    def container(self) -> Container | None: ...

    @property
    def finished(self) -> bool: ...

    @property
    def seconds(self) -> int:
        """Billed."""
        ...

    def describe(self) -> dict[str, Any]: ...

    def summary(self) -> dict[str, Any]:
        """Its row in a list."""
        ...

    def stop(self) -> None:
        """As somebody asks for it. Raises Refused once it has finished."""
        ...

    def end(self) -> None:
        """At once, with the emulator."""
        ...


J = TypeVar("J", bound=Job)


class Jobs(ABC, Generic[J]):
    """All jobs of a kind.

    Attributes:
        noun: in the names of actions and fields, as in Create`noun`Job.
        taken: how the service begins to say that a name is in use.
    """

    noun: ClassVar[str]
    taken: ClassVar[str] = "Job name must be unique within an AWS account"

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self._jobs: dict[str, J] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def begin(self, request: dict[str, Any]) -> J:
        """A new job that runs."""

    def check(self, request: dict[str, Any]) -> None:
        """Raises Refused for what botocore's model lets through and the service does not."""

    def missing(self, name: str) -> Refused:
        """What the service says of a name that it does not know."""
        return Refused("ValidationException", "Requested resource not found.")

    def actions(self) -> dict[str, Action]:
        return {
            f"Create{self.noun}Job": self.create, f"Describe{self.noun}Job": self._describe,
            f"List{self.noun}Jobs": self._list, f"Stop{self.noun}Job": self._stop,
        }  # fmt: skip

    def standing(self) -> dict[str, list[str]]:
        kind = f"{self.noun.lower()} job"
        return {
            kind: sorted(self._jobs),
            f"running {kind}": sorted(name for name, job in self._jobs.items() if not job.finished),
        }

    def job(self, name: str) -> J:
        """One job, whether or not others see it yet."""
        return self._jobs[name]

    def billed(self) -> int:
        """Seconds of all jobs that ran."""
        return sum(job.seconds for job in self._all())

    def running(self) -> list[int]:
        """Ids of their processes."""
        containers = [job.container for job in self._all()]
        return [container.pid for container in containers if container is not None and container.ended() is None]

    def close(self) -> None:
        for job in self._all():
            job.end()

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        self.check(request)
        with self._lock:
            name = request[f"{self.noun}JobName"]
            if name in self._jobs:
                raise in_use(f"{self.taken}; {self.noun.lower()} job", self._jobs[name].arn)
            self._jobs[name] = job = self.begin(request)
        return {f"{self.noun}JobArn": job.arn}

    def _all(self) -> Iterator[J]:
        yield from list(self._jobs.values())

    def _visible(self, request: dict[str, Any]) -> J:
        name = request[f"{self.noun}JobName"]
        job = self._jobs.get(name)
        if job is None or is_unseen(job):
            raise self.missing(name)
        return job

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._visible(request).describe()

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        self._visible(request).stop()
        return {}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        """Newest first, unless the request says otherwise; by name if it says so."""
        wanted = [
            job
            for job in self._all()
            if request.get("NameContains", "") in job.name
            and request.get("StatusEquals", job.status) == job.status
            and job.hidden is None
        ]
        if request.get("SortBy") == "Name":
            wanted.sort(key=lambda job: job.name)
        if request.get("SortOrder", "Descending") == "Descending":
            wanted.reverse()
        rows, more = page(wanted, request)
        return {f"{self.noun}JobSummaries": [job.summary() for job in rows], **more}
