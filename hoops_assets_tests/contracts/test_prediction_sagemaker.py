"""What is the SageMaker prediction provider's own: faults of the cloud, what is left behind, and what is captured."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from botocore.exceptions import ReadTimeoutError

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.emulators.aws.endpoints import tell_log
from hoops_assets.emulators.aws.faults import Fault
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.captured import attributes, import_captured, places_of
from hoops_assets.services.prediction.contract import BatchState, Night
from hoops_assets.services.prediction.sagemaker import SageMakerPrediction, percents
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store.record import Record
from hoops_assets_tests.contracts.conftest import GAMES, Pack

pytestmark = pytest.mark.slow

MADE = ("model", "endpoint configuration", "endpoint")
_leagues = (f"spoilt_{number}" for number in itertools.count())


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


def test_an_endpoint_that_is_not_yet_visible_is_waited_for(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, pack: Pack, league: str
) -> None:
    emulator.fault("not_yet_visible", "CreateEndpoint", times=8)
    assert service.deploy(league, pack(league, 1), {1: 100}).status == "in_service"
    assert {one.version for one in service.invoke(league, GAMES)} == {1}


def test_nothing_of_an_endpoint_that_somebody_else_makes_is_deleted(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    (endpoint,), standing = emulator.endpoints.endpoints.values(), emulator.standing()
    endpoint.hidden = Fault("not_yet_visible", times=8)
    with pytest.raises(ServiceError, match="already existing") as refused:
        SageMakerPrediction(aws, registry, patience=60, every=0.03).deploy(league, pack(league, 2), {2: 100})
    assert refused.value.kind == "conflict"
    endpoint.hidden = None
    assert {kind: set(names) - set(emulator.standing()[kind]) for kind, names in standing.items()} == {
        kind: set() for kind in standing
    }
    assert service.describe(league).traffic == {1: 100}


def test_the_last_words_of_a_container_are_told_however_much_was_said_before(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    group = f"/aws/sagemaker/Endpoints/hoops-{league.replace('_', '-')}-endpoint"
    tell_log(emulator, group, "2/i-1", "an early word\n" * 10_000)
    emulator.fault("damaged_model", "-m-2-")
    with pytest.raises(ServiceError) as failed:
        service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    assert "version 2 said: " in str(failed.value)
    assert "an early word" not in str(failed.value)


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


def test_a_batch_killed_between_its_model_and_its_job_is_finished_by_whoever_asks_next(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, models: dict[int, ModelVersion], frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def killed(**_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(aws.sagemaker, "create_transform_job", killed)
        service.submit(models[1], frame.head(5))
    assert len(emulator.standing()["model"]) == 1
    assert service.batch(models[1], frame.head(5)).shape == (5,)
    assert emulator.standing()["model"] == []


def test_a_batch_that_was_taken_though_no_answer_came_keeps_its_inputs(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, models: dict[int, ModelVersion], frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    create = aws.sagemaker.create_transform_job

    def lost(**request: object) -> None:
        create(**request)
        raise ReadTimeoutError(endpoint_url="https://api.sagemaker")

    emulator.fault("slow_start", "CreateTransformJob", seconds=0.3)
    monkeypatch.setattr(aws.sagemaker, "create_transform_job", lost)
    assert service.batch(models[1], frame.head(5)).shape == (5,)
    assert len(emulator.standing()["transform job"]) == 1


@pytest.mark.parametrize("gone", ["", "job.json", "output/"], ids=["all", "description", "answers"])
def test_a_batch_whose_files_have_expired_has_no_results_and_is_run_again(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, models: dict[int, ModelVersion], frame: pd.DataFrame,
    gone: str,
) -> None:  # fmt: skip
    answers = service.batch(models[1], frame.head(5))
    name = service.submit(models[1], frame.head(5))
    aws.delete_under(aws.uri(aws.key("sim", "batches", name, gone)))
    with pytest.raises(ServiceError, match="submit its rows again") as raised:
        service.results(name)
    assert raised.value.kind == "not_found"
    np.testing.assert_array_equal(service.batch(models[1], frame.head(5)), answers)
    assert len(emulator.standing()["transform job"]) == (1 if gone == "job.json" else 2)
    assert emulator.standing()["model"] == []


def test_a_transform_job_that_is_not_yet_visible_is_waited_for_and_can_be_cancelled(
    service: SageMakerPrediction, emulator: AwsEmulator, models: dict[int, ModelVersion], frame: pd.DataFrame
) -> None:
    emulator.fault("not_yet_visible", "CreateTransformJob", times=4)
    emulator.fault("slow_start", "CreateTransformJob", seconds=30)
    name = service.submit(models[1], frame.head(5))
    assert service.poll(name) is BatchState.QUEUED
    service.cancel(name)
    assert service.poll(name) is BatchState.CANCELLED
    assert (emulator.standing()["running transform job"], emulator.standing()["model"]) == ([], [])
    emulator.faults.clear()
    emulator.fault("not_yet_visible", "CreateTransformJob", times=3)
    assert service.batch(models[1], frame.head(5)).shape == (5,)
    assert len(emulator.standing()["transform job"]) == 2


def test_the_model_of_a_failed_batch_goes_though_nobody_asked_for_it_before_the_next(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, models: dict[int, ModelVersion], frame: pd.DataFrame
) -> None:
    emulator.fault("capacity_error", "CreateTransformJob")
    name = service.submit(models[1], frame.head(5))
    while emulator.standing()["running transform job"]:
        time.sleep(0.01)
    assert emulator.standing()["model"] == [name]
    assert service.batch(models[1], frame.head(5)).shape == (5,)
    assert emulator.standing()["model"] == []


def test_answers_and_volumes_of_a_batch_are_encrypted_with_the_key_of_the_settings(
    emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, models: dict[int, ModelVersion], frame: pd.DataFrame
) -> None:
    settings = aws.settings.model_copy(update={"kms_key": "alias/hoops"})
    keyed = SageMakerPrediction(Aws(settings, aws.endpoint_url), registry, patience=60, every=0.03)
    emulator.fault("slow_start", "CreateTransformJob", seconds=30)
    name = keyed.submit(models[1], frame.head(5))
    told = aws.sagemaker.describe_transform_job(TransformJobName=name)
    assert told["TransformResources"]["VolumeKmsKeyId"] == told["TransformOutput"]["KmsKeyId"] == "alias/hoops"
    keyed.cancel(name)


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


# -- capacity and renewal -----------------------------------------------------------------------------------------------

NIGHT = Night(begin=datetime(2030, 1, 1, 18, tzinfo=UTC), end=datetime(2030, 1, 1, 23, tzinfo=UTC), least=3, most=5)
FAILING = """
import http.server, json, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(500)
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
told = pathlib.Path(os.environ["HOOPS_HOME"]) / "serving" / "server.json"
told.parent.mkdir(parents=True)
told.write_text(json.dumps({"port": server.server_address[1]}))
server.serve_forever()
"""


def with_image(aws: Aws, registry: LocalRegistry, image: str, **changes: str) -> SageMakerPrediction:
    """The provider after somebody has set another image."""
    settings = aws.settings.model_copy(update={"image": image, **changes})
    return SageMakerPrediction(Aws(settings, aws.endpoint_url), registry, patience=60, every=0.03)


Change = tuple[str, str, int, int]
"""Version, moment and numbers of a scheduled action."""


def planned(aws: Aws) -> list[Change]:
    found = aws.client("application-autoscaling").describe_scheduled_actions(ServiceNamespace="sagemaker")
    told = [(one["ResourceId"][-1], one["Schedule"], one["ScalableTargetAction"]) for one in found["ScheduledActions"]]
    return sorted((version, at, to["MinCapacity"], to["MaxCapacity"]) for version, at, to in told)


def targets(aws: Aws) -> dict[int, tuple[int, int]]:
    """Version -> numbers that it scales between."""
    found = aws.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    return {int(one["ResourceId"][-1]): (one["MinCapacity"], one["MaxCapacity"]) for one in found["ScalableTargets"]}


def night_comes(aws: Aws, service: SageMakerPrediction, league: str, at: datetime) -> int:
    """Lets the actions of a moment happen, which moto does not, and tells how many instances there are then."""
    scaling = aws.client("application-autoscaling")
    for one in scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]:
        if one["Schedule"] == f"at({at:%Y-%m-%dT%H:%M:%S})":
            target = {name: one[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
            scaling.register_scalable_target(**target, **one["ScalableTargetAction"])
    return service.set_traffic(league, service.describe(league).traffic).workers


def test_nights_are_scheduled_actions_of_every_variant_and_a_plan_replaces_the_one_before(
    service: SageMakerPrediction, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    service.scale(league, 1, 2)
    service.plan_nights(league, [NIGHT])
    assert planned(aws) == [
        (version, at, *capacity)
        for version in "12"
        for at, capacity in (("at(2030-01-01T18:00:00)", (3, 5)), ("at(2030-01-01T23:00:00)", (1, 2)))
    ]
    later = NIGHT.model_copy(update={"begin": NIGHT.end, "end": NIGHT.end + timedelta(hours=2), "least": 4})
    service.plan_nights(league, [NIGHT, later])
    assert [row[1:] for row in planned(aws)][:3] == [
        ("at(2030-01-01T18:00:00)", 3, 5),
        ("at(2030-01-01T23:00:00)", 4, 5),
        ("at(2030-01-02T01:00:00)", 1, 2),
    ]
    service.plan_nights(league, [])
    assert planned(aws) == []
    service.plan_nights(league, [NIGHT])
    service.deploy(league, pack(league, 3), {1: 90, 3: 10})
    assert [row[1:] for row in planned(aws) if row[0] == "3"] == [row[1:] for row in planned(aws) if row[0] == "1"]
    service.remove(league)
    assert planned(aws) == []


def test_after_a_night_stands_what_scale_set_last(
    service: SageMakerPrediction, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    assert service.scale(league, 2, 2).workers == 2
    service.plan_nights(league, [NIGHT])
    assert service.describe(league).workers == 2
    assert night_comes(aws, service, league, NIGHT.begin) == 3
    assert night_comes(aws, service, league, NIGHT.end) == 2
    service.scale(league, 1, 4)
    assert planned(aws)[-1][2:] == (1, 4)
    assert service.scale(league, 4, 4).workers == 4
    assert [row[2:] for row in planned(aws)] == [(3, 5), (4, 4)]


def test_a_night_that_has_begun_is_not_taken_for_what_scale_set(
    service: SageMakerPrediction, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    now = datetime.now(UTC)
    tonight = NIGHT.model_copy(update={"begin": now - timedelta(hours=1), "end": now + timedelta(hours=4)})
    for _ in range(2):
        service.plan_nights(league, [tonight])
        assert service.describe(league).workers == 3
        assert (targets(aws), [row[2:] for row in planned(aws)]) == ({1: (3, 5)}, [(1, 1)])
    assert service.scale(league, 1, 2).workers == 3
    assert (targets(aws), [row[2:] for row in planned(aws)]) == ({1: (3, 5)}, [(1, 2)])
    service.plan_nights(league, [])
    assert (targets(aws), planned(aws), service.describe(league).workers) == ({1: (1, 2)}, [], 2)


def test_each_variant_has_the_number_of_instances_that_is_set(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    assert service.scale(league, 3, 4).workers == 6
    (endpoint,) = emulator.endpoints.endpoints.values()
    endpoint.variants[1].count = 1  # each is scaled on its own
    assert service.scale(league, 2, 2).workers == 4
    assert [one.count for one in endpoint.variants] == [2, 2]
    service.scale(league, 1, 4)
    emulator.fault("silent_roll_back", "UpdateEndpointWeightsAndCapacities")
    with pytest.raises(ServiceError, match=r"version 1 of .* has 2 instances, not 3 to 3") as failed:
        service.scale(league, 3, 3)
    assert failed.value.kind == "failed"
    assert ([one.count for one in endpoint.variants], targets(aws)) == ([2, 2], {1: (1, 4), 2: (1, 4)})
    service.deploy(league, pack(league, 3), {1: 90, 3: 10})
    assert targets(aws) == {1: (1, 4), 2: (1, 4), 3: (1, 4)}


def test_a_new_variant_that_cannot_scale_or_answer_is_put_back(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.scale(league, 1, 2)
    before, standing = service.describe(league), counts(emulator)[:3]
    emulator.fault("access_denied", "PutScalingPolicy")
    with pytest.raises(ServiceError) as refused:
        service.deploy(league, pack(league, 2), {2: 100})
    assert refused.value.kind == "permission"
    assert (service.describe(league).variants, counts(emulator)[:3], targets(aws)) == (
        before.variants,
        standing,
        {1: (1, 2)},
    )
    emulator.images["failing:1"] = ("python", "-c", FAILING)
    with pytest.raises(ServiceError, match="does not answer as it should"):
        with_image(aws, registry, "failing:1", serving_instance="ml.m5.xlarge").deploy(
            league, pack(league, 2), {1: 50, 2: 50}
        )
    assert (service.describe(league).variants, targets(aws)) == (before.variants, {1: (1, 2)})
    (endpoint,) = emulator.endpoints.endpoints.values()
    (variant,) = emulator.endpoints.configuration(endpoint.config)["ProductionVariants"]
    assert variant["InstanceType"] == aws.settings.serving_instance
    assert service.deploy(league, pack(league, 2), {1: 50, 2: 50}).traffic == {1: 50, 2: 50}
    assert targets(aws) == {1: (1, 2), 2: (1, 2)}


def test_deploying_what_serves_gives_it_the_scaling_that_it_lost(
    service: SageMakerPrediction, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.scale(league, 1, 2)
    service.plan_nights(league, [NIGHT])
    actions, revision = planned(aws), service.describe(league).revision
    aws.client("application-autoscaling").deregister_scalable_target(
        ServiceNamespace="sagemaker", ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        ResourceId=f"endpoint/hoops-{league.replace('_', '-')}-endpoint/variant/1",
    )  # fmt: skip
    assert service.deploy(league, pack(league, 1), {1: 100}).revision == revision
    assert (targets(aws), planned(aws)) == ({1: (1, 2)}, actions)


def test_another_instance_type_keeps_numbers_and_nights(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.scale(league, 1, 2)
    service.plan_nights(league, [NIGHT])
    scaling = targets(aws), planned(aws)
    (endpoint,) = emulator.endpoints.endpoints.values()
    larger = with_image(aws, registry, aws.settings.image, serving_instance="ml.m5.xlarge")
    emulator.fault("silent_roll_back", "UpdateEndpoint")
    with pytest.raises(ServiceError, match="silent roll-back"):
        larger.renew(league)
    assert (targets(aws), planned(aws)) == scaling
    larger.renew(league)
    (variant,) = emulator.endpoints.configuration(endpoint.config)["ProductionVariants"]
    assert (variant["InstanceType"], targets(aws), planned(aws)) == ("ml.m5.xlarge", *scaling)
    service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    types = {one["InstanceType"] for one in emulator.endpoints.configuration(endpoint.config)["ProductionVariants"]}
    assert (types, targets(aws)) == ({aws.settings.serving_instance}, {1: (1, 2), 2: (1, 2)})


def test_a_new_image_and_instance_type_replace_the_old_under_guard(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    before = service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    standing, answers = counts(emulator), service.invoke(league, GAMES, version=2)
    newer = with_image(aws, registry, f"{aws.settings.image}-2", serving_instance="ml.m5.xlarge")
    after = newer.renew(league)
    assert after.variants == before.variants
    assert after.revision > before.revision
    (endpoint,) = emulator.endpoints.endpoints.values()
    assert {one.image for one in endpoint.variants} == {f"{aws.settings.image}-2"}
    policy = endpoint.deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert policy["Type"] == "ALL_AT_ONCE"
    assert len(endpoint.deployment["AutoRollbackConfiguration"]["Alarms"]) == 2
    config = emulator.endpoints.configuration(endpoint.config)
    assert {one["InstanceType"] for one in config["ProductionVariants"]} == {"ml.m5.xlarge"}
    assert newer.invoke(league, GAMES, version=2) == answers
    assert counts(emulator)[:3] == standing[:3]
    assert aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert newer.renew(league).revision == after.revision
    newer.scale(league, 2, 2)
    service.renew(league)
    assert endpoint.deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"


def test_new_containers_that_fail_are_rolled_back_by_their_alarm(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, pack: Pack, league: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = service.deploy(league, pack(league, 1), {1: 100})
    standing, processes = counts(emulator), emulator.running()
    emulator.images["failing:1"] = ("python", "-c", FAILING)
    monkeypatch.setattr(emulator, "pace", 0.1)  # baked for two seconds: a customer's question falls within them
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.01):
            with contextlib.suppress(ServiceError):
                service.invoke(league, GAMES)

    customers = threading.Thread(target=ask)
    customers.start()
    try:
        with pytest.raises(ServiceError, match="ALARM") as failed:
            with_image(aws, registry, "failing:1").renew(league)
    finally:
        ended.set()
        customers.join()
    assert failed.value.kind == "failed"
    assert service.describe(league).variants == before.variants
    assert {one.version for one in service.invoke(league, GAMES)} == {1}
    assert (counts(emulator)[:3], emulator.running()) == (standing[:3], processes)
    assert aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


@pytest.mark.parametrize("fault", ["silent_roll_back", "capacity_error", "access_denied"])
def test_a_renewal_that_fails_leaves_what_served_and_nothing_else(
    service: SageMakerPrediction, emulator: AwsEmulator, aws: Aws, registry: LocalRegistry, pack: Pack, league: str,
    fault: str,
) -> None:  # fmt: skip
    before = service.deploy(league, pack(league, 1), {1: 100})
    standing, processes = counts(emulator), emulator.running()
    emulator.fault(fault, "UpdateEndpoint")
    with pytest.raises(ServiceError):
        with_image(aws, registry, "newer:1").renew(league)
    assert service.describe(league).variants == before.variants
    assert (counts(emulator), emulator.running()) == (standing, processes)
    assert aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_captured_answers_enter_the_record_once_with_customer_and_game(
    service: SageMakerPrediction, aws: Aws, pack: Pack, league: str, tmp_path: Path
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    answers = service.invoke(league, GAMES)
    fixture = pack(league, 1).fixtures.fixtures[0]
    body = json.dumps({"instances": [fixture.features, fixture.features]}).encode()
    aws.runtime.invoke_endpoint(
        EndpointName=f"hoops-{league.replace('_', '-')}-endpoint", Body=body, ContentType="application/json",
        CustomAttributes=attributes("courtside", [fixture.game_id]),
    )  # fmt: skip
    record = Record(f"sqlite:///{tmp_path / 'record.db'}")
    fixtures = pd.DataFrame([one.model_dump() for one in pack(league, 1).fixtures.fixtures])
    given = (aws, league, record, places_of(fixtures), tmp_path / "captured.json")
    assert import_captured(*given).rows == 5  # the probe, two games, and two rows of which one is named
    assert import_captured(*given).rows == 0
    (tmp_path / "captured.json").unlink()
    assert import_captured(*given).rows == 0
    rows = record.rows("served_predictions", league=league)
    by_platform = [row for row in rows if row["customer"] == "hoops"]
    assert [(row["home"], row["home_win_probability"]) for row in by_platform] == [
        (home, answer.home_win_probability) for home, answer in zip(("CAT", "ANT"), answers, strict=True)
    ]
    named, unnamed = (row for row in rows if row["customer"] == "courtside")
    assert (named["game_id"], named["day"], named["home"], named["version"]) == (
        fixture.game_id, fixture.day, fixture.home, 1,
    )  # fmt: skip
    assert (unnamed["game_id"], unnamed["day"]) == (None, None)
