"""The emulator holds to the service's own model, and behaves as the service's documentation says."""

from __future__ import annotations

import importlib
import inspect
import io
import tarfile
import time
from collections import Counter
from importlib import metadata
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from hoops_assets.clouds.aws import Aws
from hoops_assets.emulators.aws import AwsEmulator, shapes
from hoops_assets.emulators.aws.faults import ANSWERS, RESOURCE_FAULTS
from hoops_assets_tests.emulators.accounts import IMAGE, ROLE, EmulatorProcess, account

ECHO = (
    "python", "-c",
    """
import http.server, json, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b''):
        self.send_response(status); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_GET(self): self.answer(200)
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.answer(400 if body == b'bad' else 200, b'refused' if body == b'bad' else body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
place = pathlib.Path(os.environ['HOOPS_HOME'], 'serving'); place.mkdir(parents=True)
(place / 'server.json').write_text(json.dumps({'port': server.server_port}))
server.serve_forever()
""",
)  # fmt: skip
"""An image that answers what it is asked."""


@pytest.fixture
def emulator(emulator: AwsEmulator) -> AwsEmulator:
    emulator.images[IMAGE] = ECHO
    return emulator


def training(name: str = "job", **changes: Any) -> dict[str, Any]:
    """A request that the service takes."""
    return {
        "TrainingJobName": name, "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://hoops-test/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60}, **changes,
    }  # fmt: skip


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


def settled(aws: Aws, name: str = "e") -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while (told := aws.sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] not in ("InService", "Failed"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return told


def configure(aws: Aws, name: str, weights: dict[str, float], **more: Any) -> None:
    variants = []
    for variant, weight in weights.items():
        model = f"{name}-{variant}"
        aws.sagemaker.create_model(ModelName=model, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})
        variants.append({
            "VariantName": variant, "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large",
            "InitialVariantWeight": weight,
        })  # fmt: skip
    aws.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **more)


def served(aws: Aws, count: int = 200, **pinned: str) -> Counter[str]:
    answers = [aws.runtime.invoke_endpoint(EndpointName="e", Body=b"{}", **pinned) for _ in range(count)]
    return Counter(one["InvokedProductionVariant"] for one in answers)


# -- the wire -----------------------------------------------------------------------------------------------------------


def test_the_version_of_moto_is_the_one_whose_inside_is_known() -> None:
    assert metadata.version("moto").startswith("5.2.")
    server = importlib.import_module("moto.moto_server.werkzeug_app")
    assert list(inspect.signature(server.DomainDispatcherApplication).parameters) == ["create_app"]
    assert callable(server.create_backend_app)
    assert issubclass(server.MotoRequestHandler, importlib.import_module("werkzeug.serving").WSGIRequestHandler)
    assert callable(importlib.import_module("moto.backends").get_backend("s3").reset)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "Banana"}}, "enum value set"),
        ({"RoleArn": "arn:aws:iam::12:role/hoops"}, "regular expression pattern"),
        ({"RoleArn": "short"}, "length from 20 to 2048"),
        ({"TrainingJobName": "x" * 64}, "length from 1 to 63"),
        ({"TrainingJobName": "a_b"}, "regular expression pattern"),
        ({"Environment": {"A": "x" * 513}}, "length from 0 to 512"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "from 1 to"),
        ({"Tags": [{"Key": "k", "Value": "?!"}]}, "regular expression pattern"),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
    ],
)
def test_what_botocore_lets_through_and_the_service_does_not_is_refused(
    emulator: AwsEmulator, aws: Aws, changes: dict[str, Any], told: str
) -> None:
    client = boto3.client("sagemaker", config=Config(parameter_validation=False))
    with pytest.raises(ClientError, match=told) as refused:
        client.create_training_job(**training(**changes))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert emulator.standing()["training job"] == []


def test_an_answer_of_its_own_that_the_model_does_not_know_would_be_caught() -> None:
    assert shapes.output_problems("sagemaker", "StopTrainingJob", {"Banana": 1})
    assert shapes.output_problems("sagemaker", "CreateTrainingJob", {"TrainingJobArn": 3})
    assert not shapes.output_problems("sagemaker", "CreateTrainingJob", {
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/a"
    })  # fmt: skip


def test_every_fault_has_a_name_and_an_unknown_one_is_refused(emulator: AwsEmulator) -> None:
    for kind in (*ANSWERS, *RESOURCE_FAULTS):
        emulator.fault(kind, "NoSuchAction")
    with pytest.raises(Exception, match="no fault 'rain'"):
        emulator.fault("rain")


def test_an_action_that_it_does_not_know_says_so(emulator: AwsEmulator, aws: Aws) -> None:
    assert code(aws.sagemaker.list_clusters) == "UnknownOperationException"


def test_only_one_emulator_runs_in_a_process(emulator: AwsEmulator) -> None:
    with pytest.raises(RuntimeError, match="already"):
        AwsEmulator().start()


# -- training -----------------------------------------------------------------------------------------------------------


def test_a_name_is_given_once_and_lists_are_paged(emulator: AwsEmulator, aws: Aws) -> None:
    emulator.images[IMAGE] = ("python", "-c", "pass")
    for number in range(12):
        aws.sagemaker.create_training_job(**training(f"job-{number:02d}"))
    assert code(aws.sagemaker.create_training_job, **training("job-03")) == "ResourceInUse"
    pages = aws.sagemaker.get_paginator("list_training_jobs").paginate(NameContains="job-", SortBy="Name")
    names = [one["TrainingJobName"] for page in pages for one in page["TrainingJobSummaries"]]
    assert names == [f"job-{number:02d}" for number in reversed(range(12))]


def test_the_request_decides_what_runs_and_the_container_finds_sagemakers_folders(
    emulator: AwsEmulator, aws: Aws
) -> None:
    program = (
        "import json, os, pathlib as p; b = p.Path(os.environ['SAGEMAKER_BASE_DIR']);"
        "print('loss=0.5'); print('loss=0.25');"
        "told = [(b / 'input/data/training/a.txt').read_text(), os.environ['TRAINING_JOB_NAME'], os.environ['MINE'],"
        " json.loads((b / 'input/config/hyperparameters.json').read_text())['depth']];"
        "(b / 'model/told').write_text('|'.join(told))"
    )
    aws.put("in/a.txt", b"given")
    aws.put("in/main.py", program.encode())
    aws.sagemaker.create_training_job(
        **training(
            AlgorithmSpecification={
                "TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ["python"],
                "ContainerArguments": ["input/data/training/main.py"],
                "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=(\S+)"}],
            },
            Environment={"MINE": "here"}, HyperParameters={"depth": "3"},
            InputDataConfig=[{
                "ChannelName": "training",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": aws.uri("in/")}},
            }],
        )
    )  # fmt: skip
    aws.sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="job", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    told = aws.sagemaker.describe_training_job(TrainingJobName="job")
    assert [(one["MetricName"], one["Value"]) for one in told["FinalMetricDataList"]] == [("loss", 0.25)]
    assert emulator.standing()["object"][-1] == "hoops-test/out/job/output/model.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(aws.get("s3://hoops-test/out/job/output/model.tar.gz"))) as archive:
        assert archive.extractfile("told").read() == b"given|job|here|3"
    assert code(aws.sagemaker.stop_training_job, TrainingJobName="job") == "ValidationException"


# -- endpoints ----------------------------------------------------------------------------------------------------------


def test_requests_are_drawn_by_weight_and_a_pinned_variant_answers_alone(emulator: AwsEmulator, aws: Aws) -> None:
    configure(aws, "c", {"a": 9.0, "b": 1.0})
    aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    assert settled(aws)["EndpointStatus"] == "InService"
    assert 160 <= served(aws)["a"] <= 195
    assert served(aws, 10, TargetVariant="b") == {"b": 10}
    assert code(aws.runtime.invoke_endpoint, EndpointName="e", Body=b"{}", TargetVariant="c") == "ValidationError"
    assert code(aws.runtime.invoke_endpoint, EndpointName="none", Body=b"{}") == "ValidationError"
    with pytest.raises(ClientError) as refused:
        aws.runtime.invoke_endpoint(EndpointName="e", Body=b"bad")
    assert (refused.value.response["OriginalStatusCode"], refused.value.response["OriginalMessage"]) == (400, "refused")


def test_weights_change_without_losing_instances_and_zero_is_a_weight(emulator: AwsEmulator, aws: Aws) -> None:
    configure(aws, "c", {"a": 1.0, "b": 0.0})
    aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    settled(aws)
    assert served(aws, 20) == {"a": 20}
    wanted = [{"VariantName": "a", "DesiredWeight": 0.0}, {"VariantName": "b", "DesiredWeight": 1.0}]
    aws.sagemaker.update_endpoint_weights_and_capacities(EndpointName="e", DesiredWeightsAndCapacities=wanted)
    variants = settled(aws)["ProductionVariants"]
    assert [(one["CurrentWeight"], one["CurrentInstanceCount"]) for one in variants] == [(0.0, 1), (1.0, 1)]
    assert served(aws, 20) == {"b": 20}


GUARDED = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 20}, "WaitIntervalInSeconds": 60,
        },
        "MaximumExecutionTimeoutInSeconds": 600,
    },
    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
}  # fmt: skip


@pytest.mark.parametrize(("state", "config"), [("OK", "green"), ("ALARM", "blue")])
def test_a_guarded_update_is_promoted_or_rolled_back_by_its_alarm(
    emulator: AwsEmulator, aws: Aws, state: str, config: str
) -> None:
    configure(aws, "blue", {"a": 1.0})
    configure(aws, "green", {"a": 1.0})
    aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="blue")
    settled(aws)
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="errors", MetricName="Invocation5XXErrors", Namespace="AWS/SageMaker", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    aws.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue=state, StateReason="test")
    aws.sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="green", DeploymentConfig=GUARDED)
    told = settled(aws)
    assert told["EndpointConfigName"] == config
    assert ("ALARM" in told.get("FailureReason", "")) == (state == "ALARM")
    assert len(emulator.running()) == 1


def test_a_guarded_update_needs_the_same_variant_names(emulator: AwsEmulator, aws: Aws) -> None:
    configure(aws, "blue", {"a": 1.0})
    configure(aws, "other", {"b": 1.0})
    aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="blue")
    settled(aws)
    asked = {"EndpointName": "e", "EndpointConfigName": "other"}
    assert code(aws.sagemaker.update_endpoint, **asked, DeploymentConfig=GUARDED) == "ValidationException"
    aws.sagemaker.update_endpoint(**asked)
    assert code(aws.sagemaker.update_endpoint, **asked) == "ValidationException"
    assert settled(aws)["EndpointConfigName"] == "other"


def test_what_is_deleted_leaves_no_process(emulator: AwsEmulator, aws: Aws) -> None:
    configure(aws, "c", {"a": 1.0, "b": 1.0})
    aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    settled(aws)
    assert len(emulator.running()) == 2
    aws.sagemaker.delete_endpoint(EndpointName="e")
    deadline = time.monotonic() + 20
    while emulator.standing()["endpoint"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert emulator.running() == []
    assert code(aws.sagemaker.describe_endpoint, EndpointName="e") == "ValidationException"


@pytest.mark.slow
def test_an_emulator_whose_parent_dies_leaves_no_process() -> None:
    process = EmulatorProcess()
    emulator = psutil.Process(process.process.pid)
    aws = account(process.environment)
    aws.sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})
    job = training(AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"})
    aws.sagemaker.create_training_job(**job)
    deadline = time.monotonic() + 30
    while len(family := emulator.children(recursive=True)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    emulator.kill()
    process.process.wait(10)
    gone, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert gone
