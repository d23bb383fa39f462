"""Reports for people as one HTML file each: no script, no font, nothing from elsewhere.

What belongs here: parts in, text out. What a page says is the caller's affair; the look is `document`'s.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import pandas as pd

from hoops_assets.judging.document import document

Colour = Literal["red", "green", "grey"]

_STYLE = """
td{vertical-align:top}td.n,th.n{text-align:right}
.good{background:var(--box);border-left:4px solid var(--green);padding:.5rem .8rem;margin:1rem 0}
.mark{display:inline-block;padding:0 .55rem;border:1px solid;border-radius:1rem;font-size:.85rem;white-space:nowrap}
.red{color:var(--red)}.green{color:var(--green)}.grey{color:var(--soft)}
figure{margin:.8rem .5rem .8rem 0;display:inline-block;vertical-align:top;width:min(100%,30.5rem)}
img{width:100%;height:auto;border-radius:.4rem;background:#fff}figcaption{color:var(--soft);font-size:.85rem}
"""


@dataclass(frozen=True)
class Heading:
    """A section's heading."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `kind` warn and good set it apart, soft makes it small print."""

    text: str
    kind: Literal["", "soft", "warn", "good"] = ""


@dataclass(frozen=True)
class Mark:
    """A word in a table's cell that tells a state by its colour as well."""

    text: str
    colour: Colour


@dataclass(frozen=True)
class Table:
    """Rows under column names. Cells are texts, numbers (set to the right), None (empty) or marks.

    Attributes:
        rows: a frame, or rows with as many cells as there are `columns`.
        columns: headings; by default the frame's, with words for underscores.
    """

    rows: pd.DataFrame | Sequence[Sequence[Any]]
    columns: Sequence[str] | None = None


@dataclass(frozen=True)
class Picture:
    """A PNG inside the page; `alt` says what it shows to who cannot see it, `caption` stands below."""

    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Link:
    """A way to another page; only relative, http and https addresses become links."""

    text: str
    address: str


Part = Heading | Text | Table | Picture | Link


def page(title: str, parts: Iterable[Part]) -> str:
    """A whole HTML document. Everything in the parts is escaped."""
    return document(title, f"<h1>{escape(title)}</h1>" + "".join(_part(part) for part in parts), _STYLE)


def _part(part: Part) -> str:
    if isinstance(part, Heading):
        return f"<h2>{escape(part.text)}</h2>"
    if isinstance(part, Text):
        return f'<p class="{part.kind}">{escape(part.text)}</p>' if part.kind else f"<p>{escape(part.text)}</p>"
    if isinstance(part, Picture):
        told = f"<figcaption>{escape(part.caption)}</figcaption>" if part.caption else ""
        data = base64.b64encode(part.png).decode()
        return f'<figure><img src="data:image/png;base64,{data}" alt="{escape(part.alt)}">{told}</figure>'
    if isinstance(part, Link):
        return _link(part)
    return _table(part)


def _link(link: Link) -> str:
    scheme, colon, _ = link.address.partition(":")
    if colon and "/" not in scheme and scheme.lower() not in ("http", "https"):
        return f"<p>{escape(link.text)}</p>"
    return f'<p><a href="{escape(link.address)}">{escape(link.text)}</a></p>'


def _table(table: Table) -> str:
    if isinstance(table.rows, pd.DataFrame):
        names = table.columns or [str(name).replace("_", " ") for name in table.rows.columns]
        # Column by column: a frame's values as one array would make integers floats.
        rows = list(zip(*(table.rows[name].tolist() for name in table.rows.columns), strict=True))
    else:
        names, rows = table.columns or (), list(table.rows)
    if any(len(row) != len(names) for row in rows):
        raise ValueError(f"every row of a table needs {len(names)} cells, one under each of {', '.join(names)}")
    right = [
        bool(rows) and all(_is_number(row[column]) or row[column] is None for row in rows)
        for column in range(len(names))
    ]
    head = "".join(_cell("th", escape(name), number) for name, number in zip(names, right, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", _shown(cell), number) for cell, number in zip(row, right, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(tag: str, inside: str, number: bool) -> str:
    return f'<{tag} class="n">{inside}</{tag}>' if number else f"<{tag}>{inside}</{tag}>"


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _shown(cell: Any) -> str:
    if isinstance(cell, Mark):
        return f'<span class="mark {cell.colour}">{escape(cell.text)}</span>'
    if cell is None or cell is pd.NaT or (isinstance(cell, float) and cell != cell):
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) else escape(str(cell))
