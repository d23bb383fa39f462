"""Forecasts on this machine: endpoints of the prediction server, batches in this process.

What belongs here: the local provider of the prediction contract. What should serve is a file that the server watches
(`workloads.serve.bundle` tells the layout); what really serves is what the server says. Without a running server the
bundles are loaded in this process, which proves them, and the endpoint is `stopped`.

A new state is written only after every bundle of it was loaded here. A server that then refuses it, or does not say within
the patience that it serves it, gets the former state back under a higher revision.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from hoops_assets.errors import ModelError
from hoops_assets.services.errors import ErrorKind, ServiceError
from hoops_assets.services.prediction.batches import LocalBatches
from hoops_assets.services.prediction.contract import (
    Answer,
    BatchState,
    Endpoint,
    EndpointStatus,
    Game,
    Night,
    Packed,
    Traffic,
    Variant,
    check_nights,
    check_traffic,
    run_batch,
)
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.store import atomic
from hoops_assets.workloads.serve import bundle as files
from hoops_assets.workloads.serve.api import MAX_ROWS
from hoops_assets.workloads.serve.bundle import EndpointState, Fixtures
from hoops_assets.workloads.serve.client import RunningServer, ServerError, running_server
from hoops_assets.workloads.serve.endpoint import LoadedVariant

PATIENCE = 20.0
"""Seconds within which a running server says that it serves what was asked."""

_EVERY = 0.05
T = TypeVar("T")
_KINDS: dict[int, ErrorKind] = {
    0: "timed_out", 400: "invalid", 401: "permission", 403: "permission", 404: "not_found", 409: "conflict",
    413: "invalid", 415: "invalid", 422: "invalid", 429: "throttled",
}  # fmt: skip
"""HTTP status -> kind; 0 is no answer."""

_LEAGUE = re.compile(r"[a-z][a-z0-9_]{0,39}")


class LocalPrediction:
    """See the contract.

    Args:
        home: HOOPS_HOME.
        patience: seconds.
    """

    provider = "local"

    def __init__(self, registry: Registry, home: Path, patience: float = PATIENCE) -> None:
        self._home = Path(home)
        self._patience = patience
        self._batches = LocalBatches(registry, self._home / "batches")

    def deploy(self, endpoint: str, packed: Packed, traffic: Traffic) -> Endpoint:
        """See the contract."""
        bundle = packed.bundle
        if bundle.league != endpoint:
            raise ServiceError("invalid", f"version {bundle.version} is of league {bundle.league}, not of {endpoint}")
        with self._changing(endpoint):
            state = self._state(endpoint)
            folders = self._folders(state)
            wanted = check_traffic(traffic, [*folders, bundle.version])
            folder = files.bundle_folder(self._home, bundle)
            place = f"{folder.parent.name}/{folder.name}"
            mended = self._write(folder, packed)
            known = self._fixtures(endpoint)
            if known is None or known.made_at < packed.fixtures.made_at:
                files.write_fixtures(files.endpoint_folder(self._home, endpoint), packed.fixtures)
            return self._change(endpoint, state, {**folders, bundle.version: place}, wanted, reload=mended)

    def set_traffic(self, endpoint: str, traffic: Traffic) -> Endpoint:
        """See the contract."""
        with self._changing(endpoint):
            state = self._existing(endpoint)
            folders = self._folders(state)
            return self._change(endpoint, state, folders, check_traffic(traffic, list(folders)))

    def describe(self, endpoint: str) -> Endpoint:
        """See the contract."""
        state = self._state(endpoint)
        server = running_server(self._home)
        if server is not None:
            told = _asked_of(partial(server.endpoint, endpoint))
            if told is not None and told["serving"]:
                return _as_told(endpoint, server, told, state)
            if state is not None and told is not None:
                return self._standing(endpoint, state, "failed", told["refused"]["error"])
            if state is not None:
                return self._standing(endpoint, state, "creating")
        if state is None:
            raise ServiceError("not_found", f"there is no endpoint {endpoint}; deploy a version of the league first")
        return self._standing(endpoint, state, "stopped")

    def invoke(self, endpoint: str, asked: Sequence[Game] | pd.DataFrame, version: int | None = None) -> list[Answer]:
        """See the contract."""
        self._existing(endpoint)
        server = running_server(self._home)
        if server is None:
            raise ServiceError("conflict", f"endpoint {endpoint} is stopped; start the server: hoops serve")
        return [
            Answer(home_win_probability=one["home_win_probability"], version=one["version"], degraded=one["degraded"])
            for question in questions(endpoint, asked)
            for one in _asked_of(partial(server.predict, question, version))["predictions"]
        ]

    def update_fixtures(self, endpoint: str, fixtures: Fixtures) -> Endpoint:
        """See the contract."""
        if fixtures.league != endpoint:
            raise ServiceError("invalid", f"the fixtures are of league {fixtures.league}, not of {endpoint}")
        with self._changing(endpoint):
            self._existing(endpoint)
            folder = files.endpoint_folder(self._home, endpoint)
            former = self._fixtures(endpoint)
            if former != fixtures:
                files.write_fixtures(folder, fixtures)
            serves = self._await(endpoint, lambda one: one.fixtures_made_at == fixtures.made_at)
            if serves is None:
                if former is not None:
                    files.write_fixtures(folder, former)
                raise ServiceError(
                    "timed_out",
                    f"the server does not say within {self._patience:g} s that it has {endpoint}'s fixtures",
                )
            return serves

    def scale(self, endpoint: str, least: int, most: int) -> Endpoint:
        """One process serves all leagues of this machine: 1 to 1 is what stands, all else is refused."""
        if (least, most) != (1, 1):
            raise ServiceError(
                "invalid",
                f"the local server is one process, it cannot be scaled to {least}..{most}; run containers behind a load"
                " balancer, or let a cloud provider serve the league",
            )
        return self.describe(endpoint)

    def plan_nights(self, endpoint: str, nights: Sequence[Night]) -> None:
        """See the contract: one process does not scale by the clock."""
        self.describe(endpoint)
        if check_nights(nights):
            raise ServiceError("invalid", "the local server is one process, it cannot be scaled by the clock")

    def renew(self, endpoint: str) -> Endpoint:
        """See the contract: there are no containers here."""
        return self.describe(endpoint)

    def remove(self, endpoint: str, version: int | None = None) -> None:
        """See the contract."""
        with self._changing(endpoint):
            state = self._state(endpoint)
            if version is None:
                self._remove_endpoint(endpoint)
                return
            folders = self._folders(state)
            if state is None or version not in folders:
                return
            traffic = {one.version: one.traffic for one in state.variants}
            if traffic.pop(version):
                raise ServiceError("conflict", f"version {version} of {endpoint} has traffic; move it first")
            gone = folders.pop(version)
            self._change(endpoint, state, folders, traffic)
            if gone not in folders.values():
                shutil.rmtree(files.endpoint_folder(self._home, endpoint) / gone, ignore_errors=True)

    def submit(self, version: ModelVersion, rows: pd.DataFrame) -> str:
        """See the contract. The job has finished when this returns."""
        return self._batches.submit(version, rows)

    def poll(self, job: str) -> BatchState:
        """See the contract."""
        return self._batches.poll(job)

    def results(self, job: str) -> np.ndarray:
        """See the contract."""
        return self._batches.results(job)

    def cancel(self, job: str) -> None:
        """See the contract."""
        self._batches.cancel(job)

    def batch(self, version: ModelVersion, rows: pd.DataFrame) -> np.ndarray:
        """See the contract."""
        return run_batch(self, version, rows)

    def _change(
        self, endpoint: str, former: EndpointState | None, folders: dict[int, str], traffic: dict[int, int], *,
        reload: bool = False,
    ) -> Endpoint:  # fmt: skip
        # The order decides who hears which variant: those that stand keep their places, a new one comes last.
        variants = tuple(
            files.Variant(version=version, bundle=place, traffic=traffic[version]) for version, place in folders.items()
        )
        if former is not None and former.variants == variants and not reload:
            return self._confirmed(endpoint, former, former)
        folder = files.endpoint_folder(self._home, endpoint)
        loaded = set(self._folders(former).values()) if running_server(self._home) else set()
        for one in variants:
            if one.bundle not in loaded or reload:
                prove(folder / one.bundle, one)
        state = EndpointState(
            endpoint=endpoint, league=endpoint, revision=former.revision + 1 if former else 1, variants=variants,
            changed_at=datetime.now(UTC),
        )  # fmt: skip
        files.write_endpoint(folder, state)
        return self._confirmed(endpoint, state, former)

    def _confirmed(self, endpoint: str, state: EndpointState, former: EndpointState | None) -> Endpoint:
        """What serves, once it is `state`; else puts `former` back and raises."""

        serves = self._await(endpoint, lambda one: one.status in ("in_service", "failed"))
        if serves is not None and serves.revision == state.revision and _served(serves) == _asked(state):
            return serves
        if former is not state:
            self._put_back(endpoint, state, former)
        if serves is None:
            raise ServiceError(
                "timed_out",
                f"the server does not say within {self._patience:g} s that it serves revision {state.revision} of"
                f" {endpoint}; what served before serves on",
            )
        broken = next((one.broken for one in serves.variants if one.broken), None)
        raise ServiceError(
            "failed",
            f"revision {state.revision} of {endpoint} does not serve, revision {serves.revision} does:"
            f" {serves.refused or broken or 'the server gives no reason'}",
        )

    def _put_back(self, endpoint: str, state: EndpointState, former: EndpointState | None) -> None:
        folder = files.endpoint_folder(self._home, endpoint)
        if former is None:
            self._remove_endpoint(endpoint)
            return
        again = former.model_copy(update={"revision": state.revision + 1, "changed_at": datetime.now(UTC)})
        files.write_endpoint(folder, again)

    def _await(self, endpoint: str, done: Callable[[Endpoint], bool]) -> Endpoint | None:
        """What serves once `done` of it holds or nobody answers (stopped); None after the patience."""
        deadline = time.monotonic() + self._patience
        while True:
            with suppress(ServiceError):  # a server that does not answer now may do so later
                found = self.describe(endpoint)
                if found.status == "stopped" or done(found):
                    return found
            if time.monotonic() > deadline:
                return None
            time.sleep(_EVERY)

    def _write(self, folder: Path, packed: Packed) -> bool:
        """Writes the bundle; returns whether one that had been damaged was written anew."""
        variant = files.Variant(version=packed.version, bundle=".", traffic=0)
        damaged = False
        if folder.exists():
            try:
                prove(folder, variant)
            except ServiceError:
                damaged = True
                shutil.rmtree(folder)
        try:
            files.write_bundle(folder, packed.bundle, packed.onnx)
        except ModelError as error:
            raise ServiceError("failed", str(error)) from error
        return damaged

    def _remove_endpoint(self, endpoint: str) -> None:
        folder = files.endpoint_folder(self._home, endpoint)
        (folder / files.ENDPOINT).unlink(missing_ok=True)
        deadline = time.monotonic() + self._patience
        while (server := running_server(self._home)) is not None:
            with suppress(ServiceError):
                if _asked_of(partial(server.endpoint, endpoint)) is None:
                    break
            if time.monotonic() > deadline:
                raise ServiceError("timed_out", f"the server still serves {endpoint} after {self._patience:g} s")
            time.sleep(_EVERY)
        shutil.rmtree(folder, ignore_errors=True)

    def _standing(
        self, endpoint: str, state: EndpointState, status: EndpointStatus, refused: str | None = None
    ) -> Endpoint:
        """What stands in the files, as nobody serves it."""
        folder, fixtures = files.endpoint_folder(self._home, endpoint), self._fixtures(endpoint)
        return Endpoint(
            endpoint=endpoint, status=status, revision=state.revision, workers=0,
            variants=tuple(
                _variant(folder / one.bundle, one) for one in sorted(state.variants, key=lambda one: one.version)
            ),
            fixtures_made_at=fixtures.made_at if fixtures else None, refused=refused,
        )  # fmt: skip

    def _fixtures(self, endpoint: str) -> Fixtures | None:
        folder = files.endpoint_folder(self._home, endpoint)
        try:
            return files.read_fixtures(folder)
        except ModelError:
            return None  # missing, or damaged: the next update writes it anew

    def _folders(self, state: EndpointState | None) -> dict[int, str]:
        return {one.version: one.bundle for one in state.variants} if state else {}

    def _existing(self, endpoint: str) -> EndpointState:
        state = self._state(endpoint)
        if state is None:
            raise ServiceError("not_found", f"there is no endpoint {endpoint}; deploy a version of the league first")
        return state

    def _state(self, endpoint: str) -> EndpointState | None:
        if not _LEAGUE.fullmatch(endpoint):
            raise ServiceError("invalid", f"{endpoint!r} is no name of a league, so of no endpoint")
        folder = files.endpoint_folder(self._home, endpoint)
        if not (folder / files.ENDPOINT).exists():
            return None
        try:
            return files.read_endpoint(folder)
        except ModelError as error:
            raise ServiceError("failed", f"{error}; remove the file first") from error

    @contextmanager
    def _changing(self, endpoint: str) -> Iterator[None]:
        self._state(endpoint)
        try:
            with atomic.locked(files.serving_root(self._home) / f".{endpoint}.lock"):
                yield
        except OSError as error:
            raise ServiceError(
                "failed", f"{files.serving_root(self._home)} cannot be written: {error}; what served before serves on"
            ) from error


def prove(folder: Path, variant: files.Variant) -> None:
    """Loads a bundle in this process as the server would. Raises ServiceError failed."""
    try:
        LoadedVariant.load(folder, variant, None)
    except ModelError as error:
        raise ServiceError("failed", str(error)) from error


def _variant(folder: Path, variant: files.Variant) -> Variant:
    """A variant that nobody serves at the moment, loaded here to see whether it could."""
    try:
        bundle = LoadedVariant.load(folder, variant, None).bundle
    except ModelError as error:
        return Variant(version=variant.version, digest="", traffic=variant.traffic, broken=str(error))
    return Variant(version=variant.version, digest=bundle.digest[:12], traffic=variant.traffic)


def questions(league: str, asked: Sequence[Game] | pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The bodies of POST /predict that ask for all games or rows, each within the server's limit."""
    if isinstance(asked, pd.DataFrame):
        name, rows = "instances", asked.to_dict("records")
    else:
        name, rows = "games", [{"home": one.home, "away": one.away, "date": one.day.isoformat()} for one in asked]
    for first in range(0, len(rows), MAX_ROWS):
        yield {"league": league, name: rows[first : first + MAX_ROWS]}


def _asked_of(question: Callable[[], T]) -> T:
    """The server's answer; its refusals in the contract's words."""
    try:
        return question()
    except ServerError as error:
        raise ServiceError(_KINDS.get(error.status, "failed"), str(error)) from error


def _as_told(endpoint: str, server: RunningServer, told: Mapping[str, Any], state: EndpointState | None) -> Endpoint:
    """The contract's words for what the server tells of an endpoint."""
    refused, revision, fixtures = told["refused"], told["revision"], told["fixtures"]
    status: EndpointStatus = "in_service"
    if state is None:
        status = "removing"
    elif revision != state.revision and (refused is None or refused["revision"] != state.revision):
        status = "updating"
    variants = sorted(told["variants"], key=lambda one: one["version"])
    return Endpoint(
        endpoint=endpoint, status=status, revision=revision, workers=1, address=server.address,
        variants=tuple(
            Variant(
                version=one["version"], digest=one["digest"][:12], traffic=one["traffic"], broken=one["broken"]
            )
            for one in variants
        ),
        fixtures_made_at=fixtures and fixtures["made_at"], refused=refused and refused["error"],
    )  # fmt: skip


def _asked(state: EndpointState) -> set[tuple[int, str, int]]:
    """(version, digest, percent) of every variant; a bundle's folder is named VERSION-DIGEST."""
    return {(one.version, one.bundle.rpartition("-")[2], one.traffic) for one in state.variants}


def _served(endpoint: Endpoint) -> set[tuple[int, str, int]]:
    return {(one.version, one.digest, one.traffic) for one in endpoint.variants if not one.broken}
