"""The emulated model cards and experiments keep to what the service's documentation says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hoops_assets.clouds.aws import Aws, kind_of
from hoops_assets.emulators.aws import AwsEmulator

WHOLE: dict[str, Any] = {
    "model_overview": {"model_name": "m", "model_version": 1, "model_artifact": ["s3://b/k"]},
    "intended_uses": {"risk_rating": "Low"},
    "training_details": {"training_job_details": {"user_provided_hyper_parameters": [{"name": "c", "value": "1"}]}},
    "evaluation_details": [{
        "name": "test",
        "metric_groups": [{"name": "test", "metric_data": [
            {"name": "log_loss", "type": "number", "value": 0.6},
            {"name": "by season", "type": "bar_chart", "value": [0.6, 0.61], "x_axis_name": ["2025", "2026"]},
            {"name": "curve", "type": "linear_graph", "value": [[0.1, 0.12], [0.9, 0.88]]},
        ]}],
    }],
    "additional_information": {"custom_details": {"commit": "c"}},
}  # fmt: skip


def refusal(call: Any, **request: Any) -> str | None:
    """The kind of error that a call ends in, or None."""
    try:
        call(**request)
    except ClientError as error:
        return kind_of(error)
    return None


def make(aws: Aws, content: str, name: str = "card", status: str = "Draft") -> str | None:
    return refusal(aws.sagemaker.create_model_card, ModelCardName=name, Content=content, ModelCardStatus=status)


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        '{"evaluation_details": NaN}',
        json.dumps({"overview": {}}),
        json.dumps({"model_overview": {"model_version": "1"}}),
        json.dumps({"model_overview": {"model_artifact": ["x"] * 16}}),
        json.dumps({"intended_uses": {"risk_rating": "low"}}),
        json.dumps({"intended_uses": {"purpose_of_model": "x" * 2049}}),
        json.dumps({"evaluation_details": [{"metric_groups": []}]}),
        json.dumps({"evaluation_details": [
            {"name": "e", "metric_groups": [{"name": "g", "metric_data": [{"name": "m", "value": 1}]}]}
        ]}),
        json.dumps({"training_details": {"training_job_details": {
            "user_provided_hyper_parameters": [{"name": "c", "value": 1}]}}}),
        json.dumps({"additional_information": {"custom_details": {"commit": 1}}}),
    ],
)  # fmt: skip
def test_a_card_that_breaks_the_schema_is_refused(aws: Aws, emulator: AwsEmulator, content: str) -> None:
    assert make(aws, content) == "invalid"
    assert make(aws, json.dumps(WHOLE)) is None


def test_the_life_of_a_card(aws: Aws, emulator: AwsEmulator) -> None:
    client = aws.sagemaker
    assert make(aws, json.dumps(WHOLE)) is None
    assert make(aws, json.dumps(WHOLE)) == "conflict"
    assert make(aws, json.dumps(WHOLE), "other", "Final") == "invalid"
    both = {"Content": "{}", "ModelCardStatus": "Approved"}
    assert refusal(client.update_model_card, ModelCardName="card", **both) == "invalid"
    client.update_model_card(ModelCardName="card", ModelCardStatus="Approved")
    told = client.describe_model_card(ModelCardName="card")
    assert (told["ModelCardVersion"], told["ModelCardStatus"], json.loads(told["Content"])) == (1, "Approved", WHOLE)
    client.update_model_card(ModelCardName="card", Content="{}")
    assert client.describe_model_card(ModelCardName="card")["ModelCardVersion"] == 2
    assert json.loads(client.describe_model_card(ModelCardName="card", ModelCardVersion=1)["Content"]) == WHOLE
    listed = client.list_model_cards(NameContains="ar", ModelCardStatus="Approved")["ModelCardSummaries"]
    assert [one["ModelCardName"] for one in listed] == emulator.standing()["model card"] == ["card"]
    client.delete_model_card(ModelCardName="card")
    assert refusal(client.describe_model_card, ModelCardName="card") == "not_found"
    assert emulator.standing()["model card"] == []


def test_names_of_experiments_are_unique_and_what_is_in_use_stays(aws: Aws, emulator: AwsEmulator) -> None:
    client = aws.sagemaker
    assert refusal(client.create_trial, TrialName="t", ExperimentName="e") == "not_found"
    assert refusal(client.list_trial_components, ExperimentName="e") == "not_found"
    client.create_experiment(ExperimentName="e", Description="all of it")
    client.create_trial(TrialName="t", ExperimentName="e")
    client.create_trial_component(TrialComponentName="c", Parameters={"seed": {"NumberValue": 1}})
    assert refusal(client.create_experiment, ExperimentName="E") == "conflict"
    assert refusal(client.create_trial, TrialName="t", ExperimentName="e") == "conflict"
    assert refusal(client.create_trial_component, TrialComponentName="c") == "conflict"
    assert client.describe_experiment(ExperimentName="e")["Description"] == "all of it"
    for _ in range(2):
        client.associate_trial_component(TrialComponentName="c", TrialName="t")
    assert len(client.list_trial_components(ExperimentName="e")["TrialComponentSummaries"]) == 1
    assert [one["TrialName"] for one in client.list_trials(TrialComponentName="c")["TrialSummaries"]] == ["t"]
    assert refusal(client.delete_experiment, ExperimentName="e") == "invalid"
    assert refusal(client.delete_trial, TrialName="t") == "invalid"
    assert refusal(client.delete_trial_component, TrialComponentName="c") == "invalid"
    client.disassociate_trial_component(TrialComponentName="c", TrialName="t")
    client.delete_trial_component(TrialComponentName="c")
    client.delete_trial(TrialName="t")
    client.delete_experiment(ExperimentName="e")
    standing = emulator.standing()
    assert (standing["experiment"], standing["trial"], standing["trial component"]) == ([], [], [])


def test_metrics_of_a_component(aws: Aws, emulator: AwsEmulator) -> None:
    metrics, at = aws.client("sagemaker-metrics"), datetime(2026, 1, 1, tzinfo=UTC)
    told = [
        {"MetricName": "loss", "Timestamp": at, "Step": step, "Value": value} for step, value in enumerate((3.0, 1.0))
    ]
    errors = metrics.batch_put_metrics(TrialComponentName="c", MetricData=told)["Errors"]
    assert {one["Code"] for one in errors} == {"VALIDATION_ERROR"}
    aws.sagemaker.create_trial_component(TrialComponentName="c")
    for _ in range(2):
        assert not metrics.batch_put_metrics(TrialComponentName="c", MetricData=told).get("Errors")
    (one,) = aws.sagemaker.describe_trial_component(TrialComponentName="c")["Metrics"]
    assert (one["Last"], one["Min"], one["Max"], one["Avg"], one["Count"]) == (1.0, 1.0, 3.0, 2.0, 2)
    assert one["TimeStamp"] == at
    assert refusal(metrics.batch_put_metrics, TrialComponentName="C", MetricData=told) == "invalid"
    assert refusal(metrics.batch_put_metrics, TrialComponentName="c", MetricData=told * 6) == "invalid"
    emulator.fault("throttling", "BatchPutMetrics", times=100)
    assert refusal(metrics.batch_put_metrics, TrialComponentName="c", MetricData=told) == "throttled"


def test_a_search_compares_numbers_as_numbers_and_refuses_what_it_does_not_know(
    aws: Aws, emulator: AwsEmulator
) -> None:
    for name, depth in (("a", 9), ("b", 10)):
        told = {"depth": {"NumberValue": depth}, "kind": {"StringValue": "tree"}}
        aws.sagemaker.create_trial_component(TrialComponentName=name, Parameters=told)

    def found(*filters: tuple[str, str, str]) -> list[str]:
        asked = [{"Name": name, "Operator": compared, "Value": value} for name, compared, value in filters]
        rows = aws.sagemaker.search(Resource="ExperimentTrialComponent", SearchExpression={"Filters": asked})["Results"]
        return sorted(one["TrialComponent"]["TrialComponentName"] for one in rows)

    assert found(("Parameters.kind", "Equals", "tree")) == ["a", "b"]
    assert found(("Parameters.depth", "GreaterThan", "9")) == ["b"]
    assert found(("Parameters.kind", "Equals", "tree"), ("Parameters.depth", "LessThan", "10")) == ["a"]
    assert found(("Parents.ExperimentName", "Equals", "e")) == found(("Metrics.loss.Last", "LessThan", "1")) == []
    assert found(("DisplayName", "Contains", "b")) == ["b"]
    search = aws.sagemaker.search
    assert refusal(search, Resource="Model") == "invalid"
    nonsense = {"Filters": [{"Name": "Depth.of", "Value": "1"}]}
    assert refusal(search, Resource="ExperimentTrialComponent", SearchExpression=nonsense) == "invalid"
