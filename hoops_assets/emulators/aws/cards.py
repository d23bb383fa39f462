"""Model cards.

What belongs here: their actions, and what the documentation says of their content. moto's take any content, and lose it
when a status is updated.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jsonschema import Draft7Validator

from hoops_assets.emulators.aws.errors import Refused, invalid
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

_CREATOR = {"UserProfileName": "emulated"}
_KEPT = ("ModelCardName", "Content", "ModelCardStatus", "SecurityConfig")
_SHOWN = ("ModelCardName", "ModelCardArn", "ModelCardStatus", "CreationTime", "LastModifiedTime")


def _text(most: int, least: int = 0) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


def _closed(required: tuple[str, ...] = (), **members: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": members}


def _list(item: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "maxItems": most}


def _metric(kind: list[str], value: dict[str, Any], x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    return _closed(
        ("name", "type", "value"), name=_text(255, 1), notes=_text(1024), type={"enum": kind}, value=value,
        x_axis_name=x, y_axis_name=y,
    )  # fmt: skip


_NUMBER = {"type": "number"}
_AXIS, _AXES = _text(63), {"type": "array", "items": _text(63)}
_METRICS = [
    _metric(["number", "string", "boolean"], {"anyOf": [_NUMBER, _text(63), {"type": "boolean"}]}, _AXIS, _AXIS),
    _metric(["linear_graph"], {"type": "array", "minItems": 1,
                               "items": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}}, _AXIS, _AXIS),
    _metric(["bar_chart"], {"type": "array", "items": _NUMBER, "minItems": 1}, _AXES, _AXIS),
    _metric(["matrix"], {"type": "array", "minItems": 1, "maxItems": 20,
                         "items": {"type": "array", "items": _NUMBER, "minItems": 1, "maxItems": 20}}, _AXES, _AXES),
]  # fmt: skip
_IMAGES = _closed(container_image=_list(_text(1024), 15))
_PARAMETERS = _list(_closed(("name", "value"), name=_text(255, 1), value=_text(255, 1)), 100)
_TRAINED = _list(_closed(("name", "value"), name=_text(255, 1), notes=_text(1024), value=_NUMBER), 50)

SCHEMA = _closed(
    model_overview=_closed(
        model_id=_text(1024), model_name=_text(1024), model_description=_text(1024),
        model_version={"type": "number", "minimum": 1}, problem_type=_text(1024), algorithm_type=_text(1024),
        model_creator=_text(1024), model_owner=_text(1024), model_artifact=_list(_text(1024), 15),
        inference_environment=_IMAGES,
    ),
    model_package_details={"type": "object"},
    intended_uses=_closed(
        purpose_of_model=_text(2048), intended_uses=_text(2048), factors_affecting_model_efficiency=_text(2048),
        risk_rating={"enum": ["High", "Medium", "Low", "Unknown"]}, explanations_for_risk_rating=_text(2048),
    ),
    business_details=_closed(
        business_problem=_text(2048), business_stakeholders=_text(2048), line_of_business=_text(2048)
    ),
    training_details=_closed(
        objective_function={"type": "object"}, training_observations=_text(1024),
        training_job_details=_closed(
            training_arn=_text(1024), training_datasets=_list(_text(1024), 15), training_environment=_IMAGES,
            training_metrics=_TRAINED, user_provided_training_metrics=_TRAINED, hyper_parameters=_PARAMETERS,
            user_provided_hyper_parameters=_PARAMETERS,
        ),
    ),
    evaluation_details={"type": "array", "items": _closed(
        ("name",), name=_text(63, 1), evaluation_observation=_text(2096), evaluation_job_arn=_text(256),
        datasets=_list(_text(1024), 10), metadata={"type": "object", "additionalProperties": _text(1024)},
        metric_groups={"type": "array", "items": {
            "type": "object", "required": ["name", "metric_data"],
            "properties": {"name": _text(63, 1), "metric_data": {"type": "array", "items": {"anyOf": _METRICS}}},
        }},
    )},
    additional_information=_closed(
        ethical_considerations=_text(2048), caveats_and_recommendations=_text(2048),
        custom_details={
            "type": "object", "additionalProperties": _text(1024),
            "propertyNames": {"pattern": r"^[a-zA-Z_][a-zA-Z0-9_]*$"},
        },
    ),
)  # fmt: skip
"""Members and lengths as documented in the model card JSON schema (docs.aws.amazon.com/sagemaker/latest/dg/model-cards.html)
and for AWS::SageMaker::ModelCard; where the two differ, the stricter."""

_VALIDATOR = Draft7Validator(SCHEMA)


class Cards:
    """All model cards of the account; a card is its versions, oldest first."""

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self._cards: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "CreateModelCard": self._create, "UpdateModelCard": self._update, "DescribeModelCard": self._describe,
            "ListModelCards": self._list, "DeleteModelCard": self._delete,
        }  # fmt: skip

    def standing(self) -> dict[str, list[str]]:
        return {"model card": sorted(self._cards)}

    def running(self) -> list[int]:
        return []

    def close(self) -> None:
        """Nothing runs."""

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelCardName"]
        _check(request["Content"])
        with self._lock:
            if name in self._cards:
                raise Refused("ConflictException", f"Modelcard {name} already exists")
            self._cards[name] = [{
                **{key: request[key] for key in _KEPT if key in request},
                "ModelCardArn": self._emulator.arn("model-card", name), "ModelCardVersion": 1, "CreatedBy": _CREATOR,
                "CreationTime": datetime.now(UTC), "LastModifiedTime": datetime.now(UTC),
            }]  # fmt: skip
        return {"ModelCardArn": self._cards[name][0]["ModelCardArn"]}

    def _card(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        name = request["ModelCardName"].rpartition("/")[2]
        if name not in self._cards:
            raise Refused("ResourceNotFound", f"Modelcard {name} does not exist")
        return self._cards[name]

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        """New content is a new version, a new status is not."""
        versions = self._card(request)
        if "Content" in request and "ModelCardStatus" in request:
            raise invalid("Give either model card content or model card status in a single call, not both")
        told = {**versions[-1], "LastModifiedTime": datetime.now(UTC)}
        if "Content" in request:
            _check(request["Content"])
            versions.append({**told, "Content": request["Content"], "ModelCardVersion": told["ModelCardVersion"] + 1})
        elif "ModelCardStatus" in request:
            versions[-1] = {**told, "ModelCardStatus": request["ModelCardStatus"]}
        return {"ModelCardArn": told["ModelCardArn"]}

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        versions = self._card(request)
        number = request.get("ModelCardVersion", len(versions))
        if not 1 <= number <= len(versions):
            raise Refused("ResourceNotFound", f"Modelcard {request['ModelCardName']} has no version {number}")
        return versions[number - 1]

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            versions[-1]
            for name, versions in self._cards.items()
            if request.get("NameContains", "") in name
            and request.get("ModelCardStatus", versions[-1]["ModelCardStatus"]) == versions[-1]["ModelCardStatus"]
        ]
        rows, more = page(wanted, request)
        return {"ModelCardSummaries": [{key: row[key] for key in _SHOWN} for row in rows], **more}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        del self._cards[self._card(request)[0]["ModelCardName"]]
        return {}


def _check(content: str) -> None:
    try:
        told = json.loads(content, parse_constant=_no_constant)
    except ValueError as error:
        raise invalid(f"Model card content is no JSON: {error}") from None
    for error in _VALIDATOR.iter_errors(told):
        raise invalid(f"Model card content does not keep to the schema at {error.json_path}: {error.message}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is Python's own")
