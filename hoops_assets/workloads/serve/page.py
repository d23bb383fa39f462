"""The pages for people: a day's games, and the routes. Whole in themselves: no script, no font, nothing from elsewhere.

What belongs here: HTML and SVG as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from html import escape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hoops_assets.judging.document import document
from hoops_assets.workloads.serve.api import Answer, Forecast
from hoops_assets.workloads.serve.bundle import ReliabilityBin
from hoops_assets.workloads.serve.endpoint import LoadedEndpoint

DEPLOYMENTS_SHOWN = 10
SIDE = 320
EDGE = 44

_STYLE = """
h1{margin:0}nav{margin:.8rem 0;display:flex;flex-wrap:wrap;gap:.4rem}
nav a,nav b{padding:.15rem .6rem;border:1px solid var(--line);border-radius:1rem;text-decoration:none}
nav b{background:var(--ink);color:var(--back)}td{vertical-align:middle}
.bar{display:flex;height:.8rem;min-width:8rem;border-radius:.4rem;overflow:hidden;background:var(--away)}
.bar i{background:var(--home)}.two{display:flex;flex-wrap:wrap;gap:2rem}.two>div{flex:1 1 20rem;min-width:0}
code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:var(--box);padding:.7rem;overflow-x:auto;border-radius:.4rem}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
"""


_LINKS = '<a href="/reports/">Reports</a> \u00b7 <a href="/docs">Routes for programs</a>'


def _document(title: str, body: str) -> str:
    return document(title, body, _STYLE)


def nothing() -> str:
    """The page of a server that has nothing to serve."""
    told = "<h1>Nothing serves yet</h1><p>Deploy a version; this page needs no restart.</p>"
    return _document("hoops_assets", f'{told}<p class="soft">{_LINKS}</p>')


def reports(found: Sequence[tuple[str, str, datetime]]) -> str:
    """The list of reports: (folder, file name, when it was written)."""
    rows = "".join(
        f'<tr><td><a href="/reports/{escape(folder)}/{escape(name)}">{escape(name.removesuffix(".html"))}</a></td>'
        f'<td>{escape(folder)}</td><td class="n">{at:%Y-%m-%d %H:%M} UTC</td></tr>'
        for folder, name, at in found
    )
    head = "<tr><th>Report</th><th>About</th><th>Written</th></tr>"
    none = (
        "<p>None yet. The command <code>hoops ask ... --page</code> writes one, and so does the step drift_report.</p>"
    )
    table = f'<div class="wide"><table id="reports">{head}{rows}</table></div>' if found else none
    return _document("Reports", f'<h1>Reports</h1>{table}<p class="soft"><a href="/">The day\'s games</a></p>')


def games(
    endpoint: LoadedEndpoint,
    leagues: Sequence[str],
    days: Sequence[date],
    chosen: date,
    answer: Answer | None,
    deployments: Sequence[Mapping[str, str]],
    described: Mapping[str, Any],
) -> str:
    """A day's games with probabilities, which version answered, how reliable it is, and the last deployments."""
    league = endpoint.league
    parts = [f"<h1>{escape(league)}: who wins at home?</h1>"]
    if len(leagues) > 1:
        parts.append(_nav([(one, f"/?league={one}", one == league) for one in leagues]))
    fixtures = endpoint.fixtures
    if fixtures is not None:
        made = fixtures.made_at.astimezone(ZoneInfo(endpoint.variants[0].bundle.time_zone))
        parts.append(f'<p class="soft">Features of the games as of {made:%d %B %Y, %H:%M %Z}.</p>')
    parts.append(_nav([(f"{day:%a %d %b}", f"/?league={league}&day={day}", day == chosen) for day in days]))
    if described["refused"]:
        parts.append(f'<p class="warn">The last change was not taken: {escape(str(described["refused"]["error"]))}</p>')
    parts.append(f"<h2>{chosen:%A, %d %B %Y}</h2>")
    parts.append(_games_table(endpoint, answer) if answer else "<p>No games.</p>")
    parts.append(f'<div class="two"><div>{_serving(described)}</div><div>')
    for variant in endpoint.variants:
        if variant.bundle.reliability:
            parts.append(f"<h2>Reliability of version {variant.version} ({escape(variant.learner)})</h2>")
            parts.append(reliability_svg(variant.bundle.reliability))
    parts.append(f'</div></div>{_deployments(deployments)}<p class="soft">{_LINKS}</p>')
    return _document(f"{league}: {chosen}", "".join(parts))


def _nav(links: Sequence[tuple[str, str, bool]]) -> str:
    shown = (
        f"<b>{escape(text)}</b>" if here else f'<a href="{escape(address)}">{escape(text)}</a>'
        for text, address, here in links
    )
    return f"<nav>{''.join(shown)}</nav>"


def _games_table(endpoint: LoadedEndpoint, answer: Answer) -> str:
    tips = {one.game_id: one.tip_off for one in endpoint.fixtures.fixtures} if endpoint.fixtures else {}
    zone = ZoneInfo(endpoint.variants[0].bundle.time_zone)
    rows = "".join(_game_row(endpoint, one, tips.get(one.game_id or ""), zone) for one in answer.predictions)
    head = "<tr><th>Tip-off</th><th>Home</th><th>Away</th><th>Home win</th><th></th><th>Answered by</th></tr>"
    return f'<div class="wide"><table id="games">{head}{rows}</table></div>'


def _game_row(endpoint: LoadedEndpoint, one: Forecast, tip_off: datetime | None, zone: ZoneInfo) -> str:
    percent = 100 * one.home_win_probability
    tip = f"{tip_off.astimezone(zone):%H:%M}" if tip_off else "-"
    note = f"<br><small>degraded: {escape(one.degraded)}</small>" if one.degraded else ""
    bar = f'<div class="bar" role="img" aria-label="{percent:.0f} %"><i style="width:{percent:.1f}%"></i></div>'
    home, away = (escape(endpoint.title_of(code or "")) for code in (one.home, one.away))
    return (
        f'<tr><td class="n">{tip}</td><td>{home}</td><td>{away}</td><td class="n">{percent:.1f} %</td><td>{bar}</td>'
        f"<td>version {one.version} <small>({escape(one.learner)}, {one.digest})</small>{note}</td></tr>"
    )


def _serving(described: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td class="n">{one["version"]}</td><td>{escape(one["learner"])}</td><td class="n">{one["traffic"]} %</td>'
        f"<td><code>{one['digest'][:12]}</code></td></tr>"
        for one in described["variants"]
    )
    head = "<tr><th>Version</th><th>Learner</th><th>Traffic</th><th>Digest</th></tr>"
    return f'<h2>Serving (revision {described["revision"]})</h2><div class="wide"><table>{head}{rows}</table></div>'


def _deployments(rows: Sequence[Mapping[str, str]]) -> str:
    if not rows:
        return ""
    names = ("at", "action", "version", "traffic", "decided_by", "reason")
    cells = (
        [f"<td>{escape(str(row.get(name, '-'))[:120])}</td>" for name in names] for row in rows[:DEPLOYMENTS_SHOWN]
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    head = "".join(f"<th>{name.replace('_', ' ').capitalize()}</th>" for name in names)
    return f'<h2>Last deployments</h2><div class="wide"><table id="deployments"><tr>{head}</tr>{body}</table></div>'


def read_deployments(file: Path) -> list[dict[str, str]]:
    """The rows that the deploying side left for this page; none if it left none that can be read."""
    try:
        rows = json.loads(file.read_bytes())
        return [{str(name): str(value) for name, value in row.items()} for row in rows][:DEPLOYMENTS_SHOWN]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def reliability_svg(bins: Sequence[ReliabilityBin]) -> str:
    """Share of games won against the mean forecast, with intervals, as SVG."""
    size = SIDE - 2 * EDGE

    def x(value: float) -> float:
        return round(EDGE + value * size, 1)

    def y(value: float) -> float:
        return round(SIDE - EDGE - value * size, 1)

    parts = [f'<line x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}" stroke="var(--line)" stroke-dasharray="4 4"/>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<text x="{x(tick)}" y="{SIDE - EDGE + 16}" text-anchor="middle">{100 * tick:.0f}</text>')
        parts.append(f'<text x="{EDGE - 6}" y="{y(tick) + 4}" text-anchor="end">{100 * tick:.0f}</text>')
    box = f'x="{EDGE}" y="{EDGE}" width="{size}" height="{size}"'
    parts.append(f'<rect {box} fill="none" stroke="var(--line)"/>')
    for one in bins:
        told = f"{one.n} games: forecast {100 * one.mean_probability:.1f} %, won {100 * one.share:.1f} %"
        at = x(one.mean_probability)
        parts.append(
            f'<line x1="{at}" y1="{y(one.low)}" x2="{at}" y2="{y(one.high)}" stroke="var(--away)" stroke-width="2"/>'
        )
        parts.append(f'<circle cx="{at}" cy="{y(one.share)}" r="4" fill="var(--home)"><title>{told}</title></circle>')
    parts.append(f'<text x="{SIDE / 2}" y="{SIDE - 8}" text-anchor="middle">forecast, % home win</text>')
    parts.append(
        f'<text x="12" y="{SIDE / 2}" text-anchor="middle" transform="rotate(-90 12 {SIDE / 2})">won at home, %</text>'
    )
    games = sum(one.n for one in bins)
    label = f"Reliability over {games} games"
    return (
        f'<svg id="reliability" viewBox="0 {EDGE - 12} {SIDE} {SIDE - EDGE + 12}" width="100%" style="max-width:26rem" role="img"'
        f' aria-label="{label}">{"".join(parts)}</svg>'
        f'<p class="soft">{label}, in bins of equal count, with 95\u00a0% intervals.</p>'
    )


def docs(openapi: Mapping[str, Any]) -> str:
    """The routes, from the OpenAPI document, without anything from another host."""
    parts = [
        f"<h1>{escape(openapi['info']['title'])} {escape(openapi['info']['version'])}</h1>",
        f"<p>{escape(openapi['info'].get('description', ''))} For tools: <a href='/openapi.json'>/openapi.json</a>.</p>",
    ]
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('summary', ''))}</p>"
            )
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            ok = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
            told = [
                f"{word} <a href='#{name}'>{name}</a>"
                for word, name in (("takes", _name(body)), ("gives", _name(ok)))
                if name
            ]
            refusals = ", ".join(status for status in operation["responses"] if status != "200")
            told += [f"refuses with {refusals}"] if refusals else []
            parts.append(f"<p class='soft'>{'; '.join(told)}</p>" if told else "")
    for name, schema in openapi.get("components", {}).get("schemas", {}).items():
        shown = escape(json.dumps(schema, indent=1, ensure_ascii=False))
        parts.append(f"<h2 id='{escape(name)}'>{escape(name)}</h2><pre>{shown}</pre>")
    return _document("Routes", "".join(parts))


def _name(schema: Mapping[str, Any]) -> str:
    return escape(str(schema.get("$ref", "")).rpartition("/")[2])
