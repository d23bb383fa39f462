"""What every prediction provider keeps: on demand (endpoints with variants and traffic) and in batch (jobs).

An endpoint answers for one league and is called by the league's name; a provider may prefix it in its own namespace. It
has variants: one model version each, loaded whole, with a share of the traffic.

- **States.** creating -> in_service | failed; in_service -> updating -> in_service; removing -> gone (`describe` raises
  not_found). `stopped`: what stands would serve, but nobody answers at the moment (no server runs, no instance is up);
  in_service -> stopped -> in_service. A change that fails in the middle leaves the last good state serving, so the
  endpoint is in_service again. `failed` is only an endpoint that never served.
- **Traffic** is {version: percent}, integers from 0 to 100 that sum to 100. Providers translate: SageMaker's relative
  weights, Vertex AI's percents by deployed-model id, Azure ML's percents by deployment name. A variant at 0 stays loaded
  and can be pinned, so that going back to it is one change of traffic; one that `traffic` does not name goes to 0. Which
  variant answers one request is drawn by the serving side, and the answer names it.
- **Changes** (`deploy`, `set_traffic`, `scale`, `renew`, `remove`, `update_fixtures`) return when what was asked really serves,
  never before. Asking for what already serves changes nothing, not even the revision. After each change the provider
  asks the serving side what serves and compares: a silent roll-back (the old revision still answers, whatever the API
  said) is `ServiceError` failed with the serving side's own reason; no word within the provider's patience is timed_out.
  In both cases the last good state goes on serving and is what `describe` tells. Two changes of one endpoint at once:
  one waits for the other, or is refused as conflict; never a mixture.
- **Capacity.** `scale` sets how many workers may answer. `plan_nights` says when it is to be other: from `begin` to `end` of
  a night at least `least` and at most `most` workers, outside the numbers that `scale` set. A plan replaces the one before
  it; an empty one ends it. A provider that cannot scale by the clock, or at all, refuses it as invalid, and whoever asks
  calls `scale` when the time comes.
- **renew** puts the same versions and traffic into new containers of the image and instance type as set now, guarded by
  whatever the provider has against a bad one: what served before serves on if the new ones answer with errors, and that
  roll-back is `failed`. Where nothing would differ, or there are no containers, nothing is changed.
- **describe** tells what REALLY serves, asked of the serving side, never what was asked for.
- **invoke** answers in the order asked, each answer naming the version that made it. With `version` only that variant
  may answer (SageMaker's TargetVariant, Azure ML's header; where a provider cannot pin, its container routes). Not found
  (the variant, a team, a game that is not coming), invalid (rows), throttled, failed.
- **Batch.** A job is named by the model's digest and the rows' digest: the same batch again is the same job. One that
  succeeded is not run again unless its answers are gone; a failed or cancelled one is, and so is one that is being
  stopped. States go queued -> running -> succeeded | failed | cancelled; only being run again begins them anew.
  `results` gives one probability a row in the order of the rows, or raises: never a part. The same version and rows give
  the same answers, on every provider to 1e-5. A job that `submit` has returned is known to `poll` at once, however late
  the provider's own listing is. `cancel` of a finished job changes nothing; of any other it returns when the job has
  stopped, costs nothing more and is cancelled, or has finished first.
- Errors are `ServiceError` of its closed set of kinds; nothing else leaves a provider.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import pandas as pd

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets.workloads.spec import Strict

if TYPE_CHECKING:
    from hoops_assets.workloads.serve.bundle import Bundle, Fixtures

Traffic = Mapping[int, int]
"""Version -> percent."""

EndpointStatus = Literal["creating", "updating", "in_service", "stopped", "failed", "removing"]


class Variant(Strict):
    """One model version behind an endpoint.

    Attributes:
        version: of the registry.
        digest: first 12 digits of the model's, as the serving side loaded it.
        traffic: percent.
        broken: why its model cannot be asked, so that ratings answer in its place; None if it can.
    """

    version: int
    digest: str
    traffic: int
    broken: str | None = None


class Endpoint(Strict):
    """What serves, as the serving side tells it.

    Attributes:
        endpoint: the league's name.
        revision: grows by every change.
        variants: by version.
        workers: how many processes or instances answer now; 0 when stopped.
        address: where to ask, or None when nobody answers.
        fixtures_made_at: when the features of the coming games were made; None without any.
        refused: why the serving side does not take what it is asked for at this moment; None if it does.
    """

    endpoint: str
    status: EndpointStatus
    revision: int
    variants: tuple[Variant, ...]
    workers: int
    address: str | None = None
    fixtures_made_at: datetime | None = None
    refused: str | None = None

    @property
    def traffic(self) -> dict[int, int]:
        """{version: percent} of the variants that get any."""
        return {one.version: one.traffic for one in self.variants if one.traffic}

    def variant(self, version: int) -> Variant | None:
        return next((one for one in self.variants if one.version == version), None)


@dataclass(frozen=True)
class Packed:
    """What is deployed: a model with all that it needs to answer. Made by `services.prediction.bundle`.

    Attributes:
        fixtures: the coming games' features as of now; the endpoint takes them if it has none newer.
    """

    bundle: Bundle
    onnx: bytes
    fixtures: Fixtures

    @property
    def version(self) -> int:
        return self.bundle.version


class Game(Strict):
    """A coming game by its teams (any spelling that the league accepts) and its day."""

    home: str
    away: str
    day: date


class Answer(Strict):
    """One forecast.

    Attributes:
        home_win_probability: P(home win).
        version: the one that made it.
        degraded: why it is not the model's own (the model failed: ratings or the base rate answered); None if it is.
    """

    home_win_probability: float
    version: int
    degraded: str | None = None


class Night(Strict):
    """A span in which a league's customers ask more than usual. Moments are aware, UTC.

    Attributes:
        least, most: workers.
        games: how many games it is about.
    """

    begin: datetime
    end: datetime
    least: int
    most: int
    games: int = 0


class BatchState(StrEnum):
    """Where a batch job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (BatchState.SUCCEEDED, BatchState.FAILED, BatchState.CANCELLED)


class PredictionService(Protocol):
    """Somebody who runs registered models. See the module's docstring for what each call means."""

    provider: str

    def deploy(self, endpoint: str, packed: Packed, traffic: Traffic) -> Endpoint:
        """Makes the packed version a healthy variant and then sets the traffic; creates the endpoint if missing.

        Args:
            traffic: of all variants after the change; may give the new variant 0.

        Raises:
            ServiceError: invalid (traffic; a bundle of another league), not_found (traffic names a version that is not
                deployed), conflict, quota, failed (the bundle does not load, or a silent roll-back), timed_out.
        """
        ...

    def set_traffic(self, endpoint: str, traffic: Traffic) -> Endpoint:
        """Moves traffic between the variants that stand. Raises ServiceError as `deploy` does."""
        ...

    def describe(self, endpoint: str) -> Endpoint:
        """What really serves now. Raises ServiceError not_found."""
        ...

    def invoke(self, endpoint: str, asked: Sequence[Game] | pd.DataFrame, version: int | None = None) -> list[Answer]:
        """Forecasts on demand.

        Args:
            asked: games by name and day, whose features the endpoint knows; or rows of the model's features.
            version: pins one variant.

        Raises:
            ServiceError: not_found, conflict (the endpoint is stopped), invalid, throttled, permission, failed, timed_out.
        """
        ...

    def update_fixtures(self, endpoint: str, fixtures: Fixtures) -> Endpoint:
        """Renews the features of the coming games; models and traffic stay. Raises ServiceError as `deploy` does."""
        ...

    def scale(self, endpoint: str, least: int, most: int) -> Endpoint:
        """Sets how many workers may answer. Raises ServiceError invalid (the provider cannot), not_found, quota."""
        ...

    def plan_nights(self, endpoint: str, nights: Sequence[Night]) -> None:
        """Lets the provider scale by the clock. Raises ServiceError invalid (it cannot; a night ends before it begins, or
        overlaps another), not_found, quota."""
        ...

    def renew(self, endpoint: str) -> Endpoint:
        """New containers for what serves. Raises ServiceError as `deploy` does."""
        ...

    def remove(self, endpoint: str, version: int | None = None) -> None:
        """Removes one variant, or with None the endpoint with all it holds; what is not there is removed already.

        Raises:
            ServiceError: conflict (the variant has traffic: move it first), failed, timed_out.
        """
        ...

    def submit(self, version: ModelVersion, rows: pd.DataFrame) -> str:
        """Starts a batch job and returns its name; a finished or running job of that name is joined.

        Args:
            rows: with the columns `version.features`.

        Raises:
            ServiceError: invalid (a feature is missing or not finite), not_found, quota, throttled, permission.
        """
        ...

    def poll(self, job: str) -> BatchState:
        """Where the job is now. Raises ServiceError not_found."""
        ...

    def results(self, job: str) -> np.ndarray:
        """P(home win) of each row, float64 [n].

        Raises:
            ServiceError: not_found; conflict (not finished, or cancelled); failed with the reason; quota or throttled if the
                job failed for want of capacity, or by the provider's own fault.
        """
        ...

    def cancel(self, job: str) -> None:
        """Stops a batch job. Raises ServiceError not_found, timed_out."""
        ...

    def batch(self, version: ModelVersion, rows: pd.DataFrame) -> np.ndarray:
        """`run_batch`: P(home win) of each row, float64 [n]. Raises ServiceError as `submit` and `results` do."""
        ...


def check_traffic(traffic: Traffic, deployed: Sequence[int]) -> dict[int, int]:
    """{version: percent} of every deployed version, 0 for those that `traffic` does not name.

    Raises:
        ServiceError: invalid (not integers of 0 to 100 that sum to 100), not_found (a version that is not deployed).
    """
    for version, percent in traffic.items():
        if type(percent) is not int or not 0 <= percent <= 100:
            raise ServiceError("invalid", f"traffic of version {version} is {percent!r}; give whole percents, 0 to 100")
    total = sum(traffic.values())
    if total != 100:
        told = ", ".join(f"version {version}: {percent}" for version, percent in traffic.items()) or "nothing"
        raise ServiceError("invalid", f"traffic ({told}) sums to {total}; it must be 100")
    unknown = sorted(set(traffic) - set(deployed))
    if unknown:
        has = ", ".join(map(str, sorted(deployed))) or "none"
        raise ServiceError("not_found", f"version {unknown[0]} is not deployed (deployed: {has}); deploy it first")
    return {version: traffic.get(version, 0) for version in sorted(deployed)}


def check_nights(nights: Sequence[Night]) -> list[Night]:
    """Nights in order. Raises ServiceError invalid."""
    found = sorted(nights, key=lambda night: night.begin)
    for night in found:
        if not (night.begin < night.end and 1 <= night.least <= night.most):
            raise ServiceError("invalid", f"a night ends after it begins and has 1 <= least <= most, not {night}")
    for night, later in itertools.pairwise(found):
        if later.begin < night.end:
            raise ServiceError("invalid", f"the night of {later.begin} begins before that of {night.begin} has ended")
    return found


def batch_name(version: ModelVersion, values: np.ndarray) -> str:
    """hoops-LEAGUE-VERSION-DIGEST: of the model (its data, parameters and code) and of the rows, in their order.

    Args:
        values: the model's input, float32 [n, number of features].
    """
    told = f"{version.digest}:{values.shape}:".encode()
    digest = hashlib.sha256(told + np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest()
    return f"hoops-{version.league.replace('_', '-')}-{version.version}-{digest[:16]}"


def run_batch(
    service: PredictionService, version: ModelVersion, rows: pd.DataFrame, *, every: float = 1.0
) -> np.ndarray:
    """Submits, waits, and returns the answers; raises as `submit` and `results` do. `every`: seconds between polls.

    An interruption (Ctrl-C, a run that Dagster ends) cancels the job; a killed process leaves it to whoever asks next.
    """
    job = service.submit(version, rows)
    try:
        while not service.poll(job).finished:
            time.sleep(every)
    except BaseException as interruption:
        if not isinstance(interruption, Exception):
            service.cancel(job)
        raise
    return service.results(job)
