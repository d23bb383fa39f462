"""What lists have in common.

What belongs here: one page of a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hoops_assets.emulators.aws.errors import invalid


def page(rows: Sequence[Any], request: dict[str, Any], most: int = 10) -> tuple[list[Any], dict[str, str]]:
    """(rows of the page, {"NextToken": ...} or {}), by MaxResults and NextToken of the request."""
    token = request.get("NextToken", "0")
    if not token.isdigit() or int(token) > len(rows):
        raise invalid(f"Invalid pagination token {token!r}")
    start, size = int(token), request.get("MaxResults", most)
    more = {"NextToken": str(start + size)} if start + size < len(rows) else {}
    return list(rows[start : start + size]), more
