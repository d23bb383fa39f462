"""Reports for people as one HTML file each: no script, no font, nothing from elsewhere.

What belongs here: parts in, text out. What a page says is the caller's affair. The look is that of the prediction server's
own pages, light or dark as the reader's device asks for.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import pandas as pd

Colour = Literal["red", "green", "grey"]

STYLE = """
:root{--ink:#1d2430;--soft:#5b6675;--line:#dde2e9;--home:#c8501e;--away:#9aa7b8;--back:#fff;--box:#f6f7f9;--red:#b3261e;
--green:#1b7a43}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebf0;--soft:#a2adbb;--line:#353d49;--home:#e8814f;--away:#5c6979;
--back:#14181e;--box:#1d222a;--red:#f28b82;--green:#7fcf9b}}
*{box-sizing:border-box}body{margin:0 auto;max-width:64rem;padding:1.5rem 1rem 4rem;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}h1{font-size:1.6rem;margin:0 0 .4rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
p{margin:.3rem 0;overflow-wrap:break-word}.soft{color:var(--soft)}a{color:inherit}
.warn,.good{background:var(--box);border-left:4px solid var(--red);padding:.5rem .8rem;margin:1rem 0}
.good{border-color:var(--green)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.45rem .6rem;
border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600;color:var(--soft);font-size:.85rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
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
    return document(title, f"<h1>{escape(title)}</h1>" + "".join(_part(part) for part in parts))


def document(title: str, body: str) -> str:
    """A document around a body that is HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


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
