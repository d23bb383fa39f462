"""The faults of a cloud, one after the other: each ends as stated, the same again succeeds, and nothing is left over.

What is left over is counted by listing everything on the emulator: whatever the same act does not leave without a fault
either. SageMaker keeps the record of jobs that have ended, with what they were given; nothing of theirs runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.sagemaker import SageMakerPrediction
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.registry.sagemaker import SageMakerMirror, SageMakerRegistry
from hoops_assets.services.training.contract import JobState, TrainedModel, artefact_folder, train
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets_tests.contracts.conftest import Pack
from hoops_assets_tests.workloads.frames import job

SUCCEEDS = "succeeds"
ALWAYS = 100
"""Longer than any client's patience."""

RECORDS = ("training job", "transform job", "processing job")
LEAGUE = "spoilt"


@dataclass
class World:
    """An account as just opened, and the services under test."""

    emulator: AwsEmulator
    aws: Aws
    folder: Path
    frame: pd.DataFrame
    trained: TrainedModel
    registry: LocalRegistry
    pack: Pack
    spot: bool = False

    @cached_property
    def training(self) -> SageMakerTraining:
        aws = Aws(self.aws.settings.model_copy(update={"spot": self.spot}))
        return SageMakerTraining(aws, self.folder / "jobs", every=0.02)

    @cached_property
    def prediction(self) -> SageMakerPrediction:
        return SageMakerPrediction(self.aws, self.registry, patience=60, every=0.03)

    def image(self, program: str) -> None:
        self.emulator.images[self.aws.settings.image] = ("python", "-c", program)


Act = Callable[[World], object]


def training(world: World, time_limit: int = 3600) -> None:
    train(world.training, job(world.frame, time_limit=time_limit), world.frame, every=0.02)


def with_a_time_limit(world: World) -> None:
    training(world, time_limit=1)


def on_spare_capacity(world: World) -> None:
    world.spot = True
    training(world)


def interrupted_by_dagster(world: World) -> None:
    """The run is ended while the job runs."""
    service, poll = world.training, world.training.poll

    def ended(name: str) -> JobState:
        if poll(name) is JobState.RUNNING:
            raise KeyboardInterrupt
        return poll(name)

    service.poll = ended  # type: ignore[method-assign]
    try:
        training(world)
    except KeyboardInterrupt:
        service.poll = poll  # type: ignore[method-assign]
        training(world)


def stopped_by_hand(world: World) -> None:
    name = world.training.submit(job(world.frame), world.frame)
    if not world.training.poll(name).finished:
        world.training.cancel(name)
    world.training.result(name)


def registering(world: World) -> None:
    """The record is complete whatever the mirror does; the next repair completes the mirror."""
    registry = SageMakerRegistry(world.folder / "registry", world.aws)
    version = registry.register(world.trained)
    assert registry.get("sim", version.version) == version
    registry.name_challenger("sim", version.version, {"why": "a test"})
    world.emulator.faults.clear()
    report = SageMakerMirror(world.aws, world.folder).repair(registry, "sim")
    assert (report.problem, report.present + len(report.added)) == (None, 1)


def first_deployment(world: World) -> None:
    world.prediction.deploy(LEAGUE, world.pack(LEAGUE, 1), {1: 100})


def canary(world: World) -> None:
    if LEAGUE not in str(world.emulator.standing()["endpoint"]):
        taken, world.emulator.faults._waiting = world.emulator.faults._waiting, []
        first_deployment(world)
        world.emulator.faults._waiting = taken
    world.prediction.deploy(LEAGUE, world.pack(LEAGUE, 2), {1: 90, 2: 10})


def moving_traffic(world: World) -> None:
    taken, world.emulator.faults._waiting = world.emulator.faults._waiting, []
    canary(world)
    world.emulator.faults._waiting = taken
    world.prediction.set_traffic(LEAGUE, {1: 50, 2: 50})


def batch(world: World) -> None:
    assert world.prediction.batch(world.registry.get("sim", 1), world.frame.head(5)).shape == (5,)


SERVING = (first_deployment, canary, moving_traffic, batch)
"""Acts whose containers serve; those of the others leave at once the model that was trained before."""

Make = Callable[[str, Act], World]


@dataclass(frozen=True)
class Fault:
    kind: str
    action: str = "*"
    times: int = ALWAYS
    seconds: float = 0.0
    after: int = 0

    def __str__(self) -> str:
        return f"{self.kind}-{self.action}" + (f"-after-{self.after}" if self.after else "")


@dataclass(frozen=True)
class Case:
    """What is done, what befalls it, and how it must end: `succeeds`, or an error of that kind."""

    act: Act
    faults: tuple[Fault, ...]
    outcome: str
    program: str = ""
    """Name of the container's program, where it is not the usual one."""
    then: Act | None = None
    """What must succeed afterwards, if not the same act."""
    slow: bool = False

    @property
    def id(self) -> str:
        met = "+".join(map(str, self.faults)) or self.program
        return f"{self.act.__name__}:{met}:{self.outcome}"


PROGRAMS = {
    "sleeps": "import time; time.sleep(60)",
    "dies": "import os; print('last words', flush=True); os.abort()",
}
REFUSED = [
    ("throttling", "throttled"), ("expired_credentials", "permission"), ("access_denied", "permission"),
    ("limit_exceeded", "quota"), ("internal_error", "timed_out"),
]  # fmt: skip

CASES = [
    # Training: what goes on for longer than the client's patience.
    *(Case(training, (Fault(kind, action),), outcome)
      for kind, outcome in REFUSED for action in ("CreateTrainingJob", "PutObject")),
    *(Case(training, (Fault(kind, "DescribeTrainingJob"),), outcome) for kind, outcome in REFUSED[:3]),
    *(Case(training, (Fault(kind, "GetObject"),), outcome) for kind, outcome in REFUSED[1:3]),
    # Training: what begins in the midst of it; from then on no call succeeds, not those that clean up either.
    Case(training, (Fault("access_denied", "PutObject", after=1),), "permission"),
    Case(training, (Fault("expired_credentials", after=1),), "permission"),
    # Training: what passes.
    *(Case(training, (Fault(kind, action, 3),), SUCCEEDS)
      for kind in ("throttling", "internal_error")
      for action in ("CreateTrainingJob", "DescribeTrainingJob", "PutObject", "GetObject")),
    Case(training, (Fault("slow_start", seconds=0.3),), SUCCEEDS),
    Case(training, (Fault("not_yet_visible", times=3),), SUCCEEDS),
    Case(training, (Fault("slow_start", seconds=0.2), Fault("not_yet_visible", times=3),
                    Fault("throttling", "DescribeTrainingJob", 2)), SUCCEEDS),
    # Training: what befalls the job.
    Case(training, (Fault("capacity_error", times=1),), "quota"),
    Case(training, (Fault("spot_interruption", times=1),), "throttled"),
    Case(training, (Fault("damaged_upload", times=1),), "failed"),
    Case(training, (), "failed", program="dies"),
    Case(with_a_time_limit, (), "timed_out", program="sleeps", slow=True),
    Case(stopped_by_hand, (), "conflict", program="sleeps", then=training),
    Case(interrupted_by_dagster, (Fault("slow_start", times=1, seconds=0.1),), SUCCEEDS, slow=True),
    Case(on_spare_capacity, (Fault("spot_interruption", times=1),), SUCCEEDS),
    Case(on_spare_capacity, (Fault("spot_interruption", times=1), Fault("throttling", "DescribeTrainingJob", 2)), SUCCEEDS,
         slow=True),
    Case(on_spare_capacity, (Fault("capacity_error", times=1),), "quota"),
    # Registry and lineage: a mirror stops nothing and is repaired.
    *(Case(registering, (Fault(kind, action),), SUCCEEDS, slow=kind == "throttling")
      for kind in ("throttling", "access_denied")
      for action in ("CreateModelPackage", "PutObject", "AddAssociation", "UpdateModelPackage")),
    *(Case(registering, (Fault("throttling", action),), SUCCEEDS, slow=True)
      for action in ("CreateModelCard", "UpdateModelCard", "BatchPutMetrics", "AssociateTrialComponent")),
    Case(registering, (Fault("expired_credentials", "DescribeModelPackageGroup"),), SUCCEEDS),
    Case(registering, (Fault("internal_error", "CreateArtifact"),), SUCCEEDS),
    # Endpoint.
    *(Case(first_deployment, (Fault(kind, action),), outcome, slow=True)
      for kind, outcome in (REFUSED[0], REFUSED[1], REFUSED[3])
      for action in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint", "PutObject")),
    Case(first_deployment, (Fault("capacity_error", "CreateEndpoint", 1),), "quota", slow=True),
    Case(first_deployment, (Fault("damaged_model", "-m-1-", 1),), "failed", slow=True),
    Case(first_deployment, (Fault("slow_start", "CreateEndpoint", 1, 0.3),), SUCCEEDS, slow=True),
    *(Case(canary, (Fault(kind, "UpdateEndpoint", times),), outcome, slow=True)
      for kind, times, outcome in (("silent_roll_back", 1, "failed"), ("capacity_error", 1, "quota"),
                                   ("access_denied", ALWAYS, "permission"), ("internal_error", ALWAYS, "timed_out"))),
    Case(moving_traffic, (Fault("silent_roll_back", "UpdateEndpointWeightsAndCapacities", 1),), "failed", slow=True),
    # Batch.
    *(Case(batch, (Fault("throttling", action),), "throttled", slow=True)
      for action in ("CreateModel", "CreateTransformJob", "PutObject")),
    Case(batch, (Fault("internal_error", "CreateTransformJob"),), "timed_out", slow=True),
    Case(batch, (Fault("not_yet_visible", "CreateTransformJob", 3),), SUCCEEDS, slow=True),
    Case(batch, (Fault("capacity_error", "CreateTransformJob", 1),), "quota", slow=True),
]  # fmt: skip


@pytest.fixture
def make(
    aws_emulator: AwsEmulator, aws: Aws, frame: pd.DataFrame, trained: dict[str, TrainedModel], registry: LocalRegistry,
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Make]:  # fmt: skip
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    usual = (
        "import os, shutil;"
        f"shutil.copytree({str(artefact_folder(trained['elo'].artefacts))!r}, os.environ['SAGEMAKER_BASE_DIR'] + '/model',"
        " dirs_exist_ok=True)"
    )

    def world(name: str, act: Act) -> World:
        aws_emulator.reset()
        aws.s3.create_bucket(Bucket=aws.settings.bucket)
        made = World(aws_emulator, aws, tmp_path / name, frame, trained["elo"], registry, pack)
        if act not in SERVING:
            made.image(usual)
        return made

    yield world
    aws_emulator.reset()
    assert aws_emulator.running() == []


_left_without_a_fault: dict[str, tuple[Counter[str], int]] = {}


def left(world: World) -> Counter[str]:
    """How many of each kind of thing stand, but records of ended jobs and what those were given."""
    standing = world.emulator.standing()
    found = Counter({kind: len(names) for kind, names in standing.items() if kind not in (*RECORDS, "object")})
    for key in standing["object"]:
        given = re.fullmatch(r"[^/]+/hoops/[^/]+/(?:jobs|batches)/([^/]+)/(?!output/).*", key)
        if given and any(given[1] in standing[kind] for kind in RECORDS):
            continue
        found["object " + re.sub(r"[0-9a-f]{8,}(-\d+)?|\d+", "#", key)] += 1
    return +found


def without_a_fault(act: Act, make: Make) -> tuple[Counter[str], int]:
    """What the act leaves when nothing happens, and how many processes run then."""
    if act.__name__ not in _left_without_a_fault:
        world = make("undisturbed", act)
        act(world)
        _left_without_a_fault[act.__name__] = left(world), len(world.emulator.running())
    return _left_without_a_fault[act.__name__]


def parameters() -> list[Any]:
    return [pytest.param(case, id=case.id, marks=pytest.mark.slow if case.slow else ()) for case in CASES]


@pytest.mark.parametrize("case", parameters())
def test_a_fault_ends_as_stated_and_leaves_nothing(case: Case, make: Make) -> None:
    afterwards = case.then or case.act
    expected = without_a_fault(afterwards, make)
    world = make("disturbed", case.act)
    if case.program:
        usual = world.emulator.images[world.aws.settings.image]
        world.image(PROGRAMS[case.program])
    if case.act in (canary, moving_traffic):
        first_deployment(world)
    before = left(world), len(world.emulator.running())
    for fault in case.faults:
        world.emulator.fault(fault.kind, fault.action, fault.times, fault.seconds, fault.after)
    if case.outcome == SUCCEEDS:
        case.act(world)
        assert (left(world), len(world.emulator.running())) == expected
        return
    with pytest.raises(ServiceError) as ended:
        case.act(world)
    assert ended.value.kind == case.outcome
    world.emulator.faults.clear()
    if case.act is not moving_traffic:
        # A job that succeeded keeps its model, though nobody could fetch it yet: it is fetched when asked for again.
        fetched = any(fault.action == "GetObject" for fault in case.faults)
        assert (left(world), len(world.emulator.running())) == (expected if fetched else before), "an orphan"
    if case.program:
        world.emulator.images[world.aws.settings.image] = usual
    afterwards(world)
    assert (left(world), len(world.emulator.running())) == expected


def test_there_are_thirty_cases_and_more_of_every_kind_of_fault() -> None:
    from hoops_assets.emulators.aws.faults import ANSWERS, RESOURCE_FAULTS

    assert len(CASES) >= 30
    assert len({case.id for case in CASES}) == len(CASES)
    met = {fault.kind for case in CASES for fault in case.faults}
    assert set(ANSWERS) <= met
    # A stalled update needs the service's whole patience: see test_prediction.py.
    assert set(RESOURCE_FAULTS) - met == {"stalled_update"}
