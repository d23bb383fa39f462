"""What is wrong with a settings file, in one sentence a person can act on.

What belongs here: YAML text to a validated model, and pydantic's findings to one SettingsError that names file, line,
field, what was found and what to do.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from hoops_assets.errors import SettingsError
from hoops_assets.sources.text import nearest

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


def parse_yaml(text: str, file: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        SettingsError: no YAML, not a mapping, or the same key twice in one mapping.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(
            f"{file}{where}: not valid YAML: {error.problem or error.context}; correct the file"
        ) from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not valid YAML: {error}; correct the file") from error
    if data is None:
        raise SettingsError(f"{file}: the file is empty; `hoops leagues show` prints a league to start from")
    if not isinstance(data, dict):
        raise SettingsError(f"{file}, line 1: found a {type(data).__name__}; expected fields, each as `name: value`")
    _refuse_repeated_keys(node, file, ())
    return data


def validate(model: type[Model], data: Any, file: str, text: str | None = None, under: Location = ()) -> Model:
    """A model from data that stand in a file.

    Args:
        text: the YAML text, to name the line of a wrong field.
        under: where in the file the data stand.

    Raises:
        SettingsError: the first thing that is wrong, and how many more there are.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SettingsError(explain(error, model, file, text, under)) from None


def explain(error: ValidationError, model: type[BaseModel], file: str, text: str | None, under: Location) -> str:
    """One sentence for the first finding: an unknown field before anything else, since it explains a missing one."""
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first = found[0]
    location: Location = tuple(first["loc"])
    if location and location[-1] == "[key]":
        location = location[:-2]
    where = f"{file}{line_of(text, (*under, *location))}"
    field = _dotted((*under, *location))
    more = f" ({len(found) - 1} more to correct after this)" if len(found) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields(model, location[:-1])
        guess = nearest(str(location[-1]), known)
        return f"{where}: unknown field {field}{guess}; known here: {', '.join(known)}{more}"
    if first["type"] == "missing":
        return f"{where}: field {field} is missing; add it{more}"
    said = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = "" if isinstance(value, (dict, list, BaseModel)) else f", found {value!r}"
    hint = '; YAML reads a bare no, yes, on or off as true or false: write it in quotes, as "NO"'
    hint = hint if isinstance(value, bool) else ""
    return f"{where}: {f'field {field}: ' if field else ''}{said[:1].lower() + said[1:]}{shown}{hint}{more}"


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    """Names of the fields known at a location below a model."""
    at: Any = model
    for part in location:
        at = _plain(at)
        if _is_model(at):
            known = at.model_fields.get(str(part))
            at = known.annotation if known is not None else None
        else:
            inside = [a for a in get_args(at) if a is not Ellipsis]
            at = inside[-1] if inside else None
    at = _plain(at)
    return list(at.model_fields) if _is_model(at) else []


def _plain(annotation: Any) -> Any:
    """T of Annotated[T, ...] and of T | None."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def line_of(text: str | None, location: Location) -> str:
    """`, line N` of a location in YAML text: of its deepest part that the text has."""
    if text is None:
        return ""
    node = yaml.compose(text, Loader=_Loader)
    line = 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            line, node = pairs[0][0].start_mark.line, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return f", line {line + 1}"


def _refuse_repeated_keys(node: yaml.Node | None, file: str, location: Location) -> None:
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _refuse_repeated_keys(item, file, (*location, position))
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in first:
                field = _dotted((*location, str(key.value)))
                before = first[str(key.value)]
                raise SettingsError(f"{file}, line {line}: {field} stands twice (first in line {before}); keep one")
            first[str(key.value)] = line
            _refuse_repeated_keys(value, file, (*location, str(key.value)))
