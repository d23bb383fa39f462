"""The one look of all pages for people: no script, no font, nothing from elsewhere, light or dark as the device asks for.

What belongs here: the style that every page shares and the document around a body. Nothing heavy is imported: the
prediction server's own pages use it too.
"""

from __future__ import annotations

from html import escape

STYLE = """
:root{--ink:#1d2430;--soft:#5b6675;--line:#dde2e9;--home:#c8501e;--away:#9aa7b8;--back:#fff;--box:#f6f7f9;--red:#b3261e;
--green:#1b7a43}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebf0;--soft:#a2adbb;--line:#353d49;--home:#e8814f;--away:#5c6979;
--back:#14181e;--box:#1d222a;--red:#f28b82;--green:#7fcf9b}}
*{box-sizing:border-box}body{margin:0 auto;max-width:64rem;padding:1.5rem 1rem 4rem;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}h1{font-size:1.6rem;margin:0 0 .4rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
p{margin:.3rem 0;overflow-wrap:break-word}.soft,small{color:var(--soft)}a{color:inherit}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.45rem .6rem;
border-bottom:1px solid var(--line)}th{font-weight:600;color:var(--soft);font-size:.85rem}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.warn{background:var(--box);border-left:4px solid var(--red);padding:.5rem .8rem;margin:1rem 0}
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole HTML document around a body that is HTML already; `style` is CSS beyond the shared look."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>{body}</body></html>\n"
    )
