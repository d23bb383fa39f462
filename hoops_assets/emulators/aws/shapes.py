"""Requests and answers against botocore's own model of the service.

What belongs here: the walk over a shape. botocore itself checks only unknown members, missing ones and wrong types before
it sends; enums, patterns and lengths are in its model all the same, and the service refuses what breaks them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "long": (int,), "float": (int, float),
    "double": (int, float), "structure": (dict,), "map": (dict,), "list": (list, tuple),
    "timestamp": (int, float, datetime, str),
}  # fmt: skip
_CLASSES = {
    r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{M}": "", r"\p{P}": r"\W", r"\p{S}": r"\W",
}  # fmt: skip


@lru_cache(maxsize=8)
def service_model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def input_problems(service: str, operation: str, request: Mapping[str, Any]) -> list[str]:
    """What is wrong with a request, in the service's words; empty if nothing."""
    shape: Any = service_model(service).operation_model(operation).input_shape
    return [] if shape is None else list(problems(shape, request, ""))


def output_problems(service: str, operation: str, answer: Mapping[str, Any]) -> list[str]:
    """What is wrong with an answer: the emulator holds itself to the same model."""
    shape: Any = service_model(service).operation_model(operation).output_shape
    if shape is None:
        return [f"the operation answers nothing, not {sorted(answer)}"] if answer else []
    return list(problems(shape, answer, ""))


def problems(shape: Any, value: Any, where: str) -> Iterator[str]:
    """One sentence for every part of a value that the shape does not allow."""
    if not _has_type(shape.type_name, value):
        yield f"Value {value!r} at '{where or 'request'}' must be a {shape.type_name}"
        return
    if shape.type_name == "structure":
        members = shape.members
        for name in shape.required_members:
            if name not in value:
                yield f"Value null at '{_at(where, name)}' failed to satisfy constraint: Member must not be null"
        for name, part in value.items():
            if name not in members:
                yield f"'{_at(where, name)}' is no member of {shape.name}"
            else:
                yield from problems(members[name], part, _at(where, name))
    elif shape.type_name == "list":
        yield from _size(shape, value, where)
        for number, part in enumerate(value, 1):
            yield from problems(shape.member, part, f"{where}.{number}.member")
    elif shape.type_name == "map":
        yield from _size(shape, value, where)
        for key, part in value.items():
            yield from problems(shape.key, key, f"{where}.key")
            yield from problems(shape.value, part, f"{where}.{key}")
    elif shape.type_name == "string":
        yield from _string(shape, value, where)
    elif shape.type_name in ("integer", "long", "float", "double"):
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if (low is not None and value < low) or (high is not None and value > high):
            yield f"Value '{value}' at '{where}' failed to satisfy constraint: Member must be from {low} to {high}"


def _has_type(name: str, value: Any) -> bool:
    allowed = _TYPES.get(name)
    return allowed is None or (isinstance(value, allowed) and (name == "boolean" or not isinstance(value, bool)))


def _string(shape: Any, value: str, where: str) -> Iterator[str]:
    yield from _size(shape, value, where)
    enum = shape.metadata.get("enum")
    if enum and value not in enum:
        yield f"Value '{value}' at '{where}' failed to satisfy constraint: Member must satisfy enum value set: {enum}"
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield (
            f"Value '{value}' at '{where}' failed to satisfy constraint: Member must satisfy regular expression"
            f" pattern: {pattern}"
        )


def _size(shape: Any, value: Any, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and len(value) < low) or (high is not None and len(value) > high):
        yield (
            f"Value at '{where}' failed to satisfy constraint: Member must have length from {low} to {high},"
            f" it has {len(value)}"
        )


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Java's Unicode classes, which Python lacks, taken as its nearest; and without the model's own slips (`${1,256}`)."""
    pattern = re.sub(r"\$\{\d+,\d+\}$", "", pattern)
    for java, python in _CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern, re.DOTALL)


def _at(where: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{where}.{member}" if where else member
