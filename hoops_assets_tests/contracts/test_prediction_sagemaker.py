"""What is the SageMaker prediction provider's own: faults of the cloud, what is left behind, and what is captured."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator
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


def test_nights_are_scheduled_actions_of_every_variant_and_a_plan_replaces_the_one_before(
    service: SageMakerPrediction, aws: Aws, pack: Pack, league: str
) -> None:
    service.deploy(league, pack(league, 1), {1: 100})
    service.deploy(league, pack(league, 2), {1: 90, 2: 10})
    scaling = aws.client("application-autoscaling")

    def planned() -> list[tuple[str, str, int, int]]:
        found = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
        told = [(one["ResourceId"][-1], one["Schedule"], one["ScalableTargetAction"]) for one in found]
        return sorted((version, at, to["MinCapacity"], to["MaxCapacity"]) for version, at, to in told)

    service.scale(league, 1, 2)
    service.plan_nights(league, [NIGHT])
    assert planned() == [
        (version, at, *capacity)
        for version in "12"
        for at, capacity in (("at(2030-01-01T18:00:00)", (3, 5)), ("at(2030-01-01T23:00:00)", (1, 2)))
    ]
    later = NIGHT.model_copy(update={"begin": NIGHT.end, "end": NIGHT.end + timedelta(hours=2), "least": 4})
    service.plan_nights(league, [NIGHT, later])
    assert [row[1:] for row in planned()][:3] == [
        ("at(2030-01-01T18:00:00)", 3, 5),
        ("at(2030-01-01T23:00:00)", 4, 5),
        ("at(2030-01-02T01:00:00)", 1, 2),
    ]
    service.plan_nights(league, [])
    assert planned() == []
    service.plan_nights(league, [NIGHT])
    service.deploy(league, pack(league, 3), {1: 90, 3: 10})
    assert [row[1:] for row in planned() if row[0] == "3"] == [row[1:] for row in planned() if row[0] == "1"]
    service.remove(league)
    assert planned() == []


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
    assert import_captured(*given) == 5  # the probe, two games, and two rows of which one is named
    assert import_captured(*given) == 0
    (tmp_path / "captured.json").unlink()
    assert import_captured(*given) == 0
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
