"""What the emulator answers when it refuses.

What belongs here: the exception that handlers raise, in AWS's own codes.
"""

from __future__ import annotations

from typing import Any


class Refused(Exception):  # noqa: N818
    """An error answer.

    Attributes:
        code: AWS's, for example ResourceInUse.
        status: of HTTP.
        more: further members of the answer.
    """

    def __init__(self, code: str, message: str, status: int = 400, **more: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.more = code, message, status, more


def invalid(message: str) -> Refused:
    return Refused("ValidationException", message)


def not_found(what: str, arn: str) -> Refused:
    """As SageMaker says it for most of what is missing."""
    return Refused("ValidationException", f'Could not find {what} "{arn}".')


def in_use(what: str, arn: str) -> Refused:
    return Refused("ResourceInUse", f"{what} already exists: {arn}")
