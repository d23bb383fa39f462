"""What the server is asked and what it answers.

What belongs here: the one question and the one answer that every predicting route shares, and the refusals. `Ask` serves
POST /predict, SageMaker's /invocations, Azure ML's /score and Vertex AI's predict route alike; `Answer` holds
`predictions`, as Vertex AI wants it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, model_validator

MAX_ROWS = 10_000
"""Games or rows of features in one question."""

MAX_FEATURES = 256
"""Features in one row, whatever the model takes."""

MAX_BODY = 8 * 1024 * 1024
"""Bytes of one question; 10,000 rows of 16 features take 3 MB."""

MAX_DETAILS = 10
"""Faults named in one refusal."""

Name = Annotated[str, Field(min_length=1, max_length=100)]
Row = Annotated[list[FiniteFloat], Field(max_length=MAX_FEATURES, fail_fast=True)]
NamedRow = Annotated[dict[Annotated[str, Field(max_length=100)], FiniteFloat], Field(max_length=MAX_FEATURES)]
Rows = Field(min_length=1, max_length=MAX_ROWS, fail_fast=True)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GameAsk(_Message):
    """A coming game by its teams and its game day (the date in the league's zone)."""

    home: Name
    away: Name
    date: dt.date


class Ask(_Message):
    """One of: `home`, `away` and `date` of one game; `games`; or `instances`.

    Attributes:
        league: needed only where the server serves several.
        home, away: any name, alias or code of a team.
        date: game day in the league's zone.
        instances: rows of features in the model's order, rows of features by name, or games.
        parameters: of Vertex AI's protocol; ignored.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"league": "nba", "home": "Boston Celtics", "away": "LAL", "date": "2026-11-24"}]
        }
    )

    league: Name | None = None
    home: Name | None = None
    away: Name | None = None
    date: dt.date | None = None
    games: Annotated[list[GameAsk], Rows] | None = None
    instances: Annotated[list[Row], Rows] | Annotated[list[NamedRow], Rows] | Annotated[list[GameAsk], Rows] | None = (
        Field(default=None, union_mode="left_to_right")
    )
    parameters: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Ask:
        one = self.home is not None and self.away is not None and self.date is not None
        some = self.home is not None or self.away is not None or self.date is not None
        if one + (self.games is not None) + (self.instances is not None) != 1 or some != one:
            raise ValueError("give home, away and date of one game, or games, or instances")
        return self


class Forecast(_Message):
    """P(home win) of one game or row.

    Attributes:
        game_id, day, home, away: null for a row of features.
        version: the version that was asked.
        digest: first 12 digits of that version's model digest.
        home_win_probability: to seven decimals.
        degraded: null, or why this is not the model's own answer, and what it is instead.
    """

    game_id: str | None
    day: dt.date | None
    home: str | None
    away: str | None
    version: int
    learner: str
    digest: str
    home_win_probability: float = Field(ge=0, le=1)
    degraded: str | None


class Answer(_Message):
    """What a question was answered, in the order of its games or rows.

    Attributes:
        revision: of the endpoint.
        request_id: names this answer in `served_predictions`.
        logged: whether the answer stands in the log of served predictions; false when the log is full or broken.
    """

    league: str
    revision: int
    request_id: str
    logged: bool
    predictions: list[Forecast]


class Fault(_Message):
    """One thing that was wrong, and where in the question."""

    where: str
    what: str


class Refusal(_Message):
    """Why there is no answer."""

    error: str
    message: str
    details: list[Fault] = []


class Refused(Exception):  # noqa: N818
    """A question that gets no answer.

    Attributes:
        status: HTTP.
        code: one word for programs.
        headers: further headers of the refusal.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.details = status, code, list(details)
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """A Refusal as JSON."""
        told = {"error": self.code, "message": str(self), "details": self.details}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def invalid(errors: Sequence[Mapping[str, Any]]) -> Refused:
    """The refusal of a question that pydantic refused; `errors` as ValidationError.errors() gives them.

    Of a union's branches the one that understood most of the question is told. What was sent is not repeated.
    """
    if any(
        error["type"] == "json_invalid" or (error["loc"] == ("body",) and error["type"] == "missing")
        for error in errors
    ):
        return Refused(400, "not_json", "the body is not JSON in UTF-8")
    kept = [{**error, "loc": _place(error["loc"])} for error in errors]
    deepest: dict[Any, int] = {}
    for error in kept:
        head = error["loc"][:1]
        deepest[head] = max(deepest.get(head, 0), len(error["loc"]))
    details = []
    for error in kept:
        if len(error["loc"]) < deepest[error["loc"][:1]]:
            continue
        fault = {"where": ".".join(map(str, error["loc"])) or "body", "what": _what(error)}
        if fault not in details:
            details.append(fault)
        if len(details) == MAX_DETAILS:  # a question can hold thousands of faults
            break
    return Refused(
        422, "invalid", f"the question is not valid: {details[0]['where']}: {details[0]['what']}", details[:MAX_DETAILS]
    )


_WHAT = {
    "list_type": "should be a list", "dict_type": "should be an object", "model_type": "should be an object",
    "model_attributes_type": "should be an object", "finite_number": "should be a finite number",
    **dict.fromkeys(("date_type", "date_from_datetime_parsing"), "should be a date, such as 2026-11-24"),
}  # fmt: skip
"""Faults that pydantic tells otherwise of JSON than of what was read from JSON."""


def _what(error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind == "too_long":
        return f"should have at most {error['ctx']['max_length']} entries"
    return _WHAT.get(kind) or str(error["msg"])[:200]


def _place(loc: Sequence[Any]) -> tuple[Any, ...]:
    """A place in the question without FastAPI's leading `body` and without pydantic's names of union branches."""
    parts = tuple(loc[1:] if loc and loc[0] in ("body", "path", "query") else loc)
    return tuple(part for part in parts if isinstance(part, int) or not set("[(") & set(str(part)))
