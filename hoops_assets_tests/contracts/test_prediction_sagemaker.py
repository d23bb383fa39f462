"""What is the SageMaker prediction provider's own: faults of the cloud, what is left behind, and what is captured."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import BatchState
from hoops_assets.services.prediction.sagemaker import SageMakerPrediction, percents
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets_tests.contracts.conftest import GAMES, Pack

pytestmark = pytest.mark.slow

MADE = ("model", "endpoint configuration", "endpoint")
_leagues = (f"spoilt_{number}" for number in itertools.count())


@pytest.fixture
def emulator(aws_emulator: AwsEmulator, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsEmulator]:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    aws_emulator.reset()
    aws.s3.create_bucket(Bucket=aws.settings.bucket)
    yield aws_emulator
    aws_emulator.faults.clear()


@pytest.fixture
def service(aws: Aws, emulator: AwsEmulator, registry: LocalRegistry) -> SageMakerPrediction:
    return SageMakerPrediction(aws, registry, patience=60, every=0.03)


@pytest.fixture
def league() -> str:
    return next(_leagues)


def counts(emulator: AwsEmulator) -> tuple[int, ...]:
    standing = emulator.standing()
    return tuple(len(standing[kind]) for kind in (*MADE, "object"))


@pytest.mark.parametrize("action", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "PutObject"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("throttling", "throttled"), ("expired_credentials", "permission"), ("limit_exceeded", "quota")],
)
def test_a_first_deployment_that_is_refused_leaves_nothing(
    service: SageMakerPrediction, emulator: AwsEmulator, pack: Pack, league: str, fault: str, kind: str, action: str
) -> None:
    emulator.fault(fault, action, times=4)
    with pytest.raises(ServiceError) as refused:
        service.deploy(league, pack(league, 1), {1: 100})
    assert refused.value.kind == kind
    assert counts(emulator) == (0, 0, 0, 0)


def test_what_passes_by_itself_is_tried_again(
    service: SageMakerPrediction, emulator: AwsEmulator, pack: Pack, league: str
) -> None:
    for action in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint", "DescribeEndpoint", "PutObject"):
        emulator.fault("throttling", action, times=2)
    emulator.fault("slow_start", "CreateEndpoint", seconds=0.3)
    assert service.deploy(league, pack(league, 1), {1: 100}).status == "in_service"


def test_no_capacity_for_a_first_deployment_is_a_quota_and_leaves_nothing(
    service: SageMakerPrediction, emulator: AwsEmulator, pack: Pack, league: str
) -> None:
    emulator.fault("capacity_error", "CreateEndpoint")
    with pytest.raises(ServiceError, match="compute capacity") as refused:
        service.deploy(league, pack(league, 1), {1: 100})
    assert refused.value.kind == "quota"
    assert counts(emulator) == (0, 0, 0, 0)
    assert emulator.running() == []


@pytest.mark.parametrize(
    ("fault", "kind", "match"),
    [
        ("silent_roll_back", "failed", "silent roll-back"),
        ("capacity_error", "quota", "compute capacity"),
        ("access_denied", "permission", "not authorized"),
        ("internal_error", "timed_out", "InternalFailure"),
    ],
)
def test_an_update_that_fails_leaves_what_served_and_nothing_else(
    service: SageMakerPrediction, emulator: AwsEmulator, pack: Pack, league: str, fault: str, kind: str, match: str
) -> None:
    before = service.deploy(league, pack(league, 1), {1: 100})
    standing, processes = counts(emulator), emulator.running()
    emulator.fault(fault, "UpdateEndpoint", times=1 if kind in ("failed", "quota") else 4)
    with pytest.raises(ServiceError, match=match) as refused:
        service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    assert refused.value.kind == kind
    assert service.describe(league).variants == before.variants
    assert (counts(emulator), emulator.running()) == (standing, processes)
    assert {one.version for one in service.invoke(league, GAMES)} == {1}


def test_traffic_that_silently_stays_is_a_failure(
    service: SageMakerPrediction, emulator: AwsEmulator, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    emulator.fault("silent_roll_back", "UpdateEndpointWeightsAndCapacities")
    with pytest.raises(ServiceError, match="serves version 1 with 90 %, version 2 with 10 %, not") as refused:
        service.set_traffic(league, {2: 100})
    assert refused.value.kind == "failed"
    assert service.set_traffic(league, {2: 100}).traffic == {2: 100}


def test_removing_leaves_what_was_captured_and_nothing_else(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.deploy(league, pack(league, 2), {2: 100})
    answers = service.invoke(league, GAMES)
    service.remove(league)
    assert counts(emulator)[:3] == (0, 0, 0)
    assert emulator.running() == []
    captured = [
        json.loads(aws.get(aws.uri(key)))
        for key in aws.keys(aws.uri(aws.key(league, "capture")))
        if "/endpoint/2/" not in key
    ]
    assert len(captured) == len(emulator.standing()["object"])
    told = [json.loads(one["captureData"]["endpointOutput"]["data"])["predictions"] for one in captured]
    assert [(one["version"], one["home_win_probability"]) for one in max(told, key=len)] == [
        (one.version, one.home_win_probability) for one in answers
    ]


def test_scaling_between_two_numbers_is_autoscaling_and_a_fixed_number_ends_it(
    service: SageMakerPrediction, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    scaling = aws.client("application-autoscaling")
    assert service.scale(league, 2, 4).workers == 2
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["PolicyType"] == "TargetTrackingScaling"
    assert service.scale(league, 3, 3).workers == 3
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    service.scale(league, 2, 4)
    assert service.deploy(league, pack(league, 2), {1: 90, 2: 10}).workers == 6
    assert len(scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]) == 2
    service.remove(league)
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_a_killed_container_is_answered_with_an_error_of_the_closed_set(
    service: SageMakerPrediction, emulator: AwsEmulator, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    emulator.endpoints.endpoints[f"hoops-{league.replace('_', '-')}-endpoint"].variants[0].server.container.end(0)
    with pytest.raises(ServiceError) as failed:
        service.invoke(league, GAMES)
    assert failed.value.kind == "failed"


# -- batch --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["CreateModel", "CreateTransformJob", "PutObject"])
def test_a_batch_that_is_refused_leaves_nothing(
    service: SageMakerPrediction,
    emulator: AwsEmulator,
    models: dict[int, ModelVersion],
    frame: pd.DataFrame,
    action: str,
) -> None:
    emulator.fault("throttling", action, times=4)
    with pytest.raises(ServiceError) as refused:
        service.submit(models[1], frame.head(5))
    assert refused.value.kind == "throttled"
    assert counts(emulator) == (0, 0, 0, 0)


def test_a_failed_batch_is_run_again_and_its_model_goes(
    service: SageMakerPrediction, emulator: AwsEmulator, models: dict[int, ModelVersion], frame: pd.DataFrame
) -> None:
    emulator.fault("capacity_error", "CreateTransformJob")
    with pytest.raises(ServiceError, match="CapacityError") as failed:
        service.batch(models[1], frame.head(5))
    assert failed.value.kind == "quota"
    found = service.batch(models[1], frame.head(5))
    assert found.shape == (5,)
    standing = emulator.standing()
    assert len(standing["transform job"]) == 2
    assert standing["model"] == []
    assert emulator.running() == []


def test_more_rows_than_one_object_holds_are_answered_in_order(
    service: SageMakerPrediction, models: dict[int, ModelVersion], frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = service.batch(models[2], frame.head(50))
    monkeypatch.setattr("hoops_assets.services.prediction.sagemaker_batches.ROWS", 7)
    again = service.batch(models[2], frame.head(49))
    np.testing.assert_array_equal(again, whole[:49])


def test_a_running_batch_has_no_results_and_is_joined(
    service: SageMakerPrediction, emulator: AwsEmulator, models: dict[int, ModelVersion], frame: pd.DataFrame
) -> None:
    emulator.fault("slow_start", "CreateTransformJob", seconds=1.0)
    name = service.submit(models[1], frame.head(5))
    assert service.poll(name) is BatchState.QUEUED
    assert service.submit(models[1], frame.head(5)) == name
    with pytest.raises(ServiceError) as early:
        service.results(name)
    assert early.value.kind == "conflict"
    assert len(emulator.standing()["transform job"]) == 1


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({1: 90.0, 2: 10.0}, {1: 90, 2: 10}),
        ({1: 1.0, 2: 1.0, 3: 1.0}, {1: 34, 2: 33, 3: 33}),
        ({1: 0.2, 2: 0.0}, {1: 100, 2: 0}),
        ({1: 0.0}, {1: 0}),
    ],
)
def test_weights_of_any_scale_are_percents_that_sum_to_a_hundred(
    weights: dict[int, float], expected: dict[int, int]
) -> None:
    assert percents(weights) == expected
