"""The reports that other steps leave in HOME/reports, as pages of the server.

What belongs here: finding them and nothing else; they are written by whoever has something to tell (`judging.pages`). Only
finished HTML files of that folder are given, whatever the address says and wherever a link in the folder leads.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from hoops_assets.workloads.serve.api import Refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,159}")
_END = ".html"

HEADERS = {
    # Pages are whole in themselves: nothing is loaded and no script is run, from here or from elsewhere.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; "
    "form-action 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def reports_folder(home: Path) -> Path:
    """HOME/reports: a folder a league, and `questions` for what is of no league."""
    return Path(home) / "reports"


def list_reports(home: Path) -> list[tuple[str, str, datetime]]:
    """(folder, file name, when it was written) of every report, newest first."""
    root, found = reports_folder(home), []
    for file in root.glob(f"*/*{_END}"):
        place = file.parent.name, file.name
        if all(map(_NAME.fullmatch, place)) and (report := _inside(root, file)) is not None:
            found.append((*place, datetime.fromtimestamp(report.stat().st_mtime, UTC)))
    return sorted(found, key=lambda one: (one[2], one[:2]), reverse=True)


def read_report(home: Path, folder: str, name: str) -> bytes:
    """A report's HTML. Raises Refused 404 for whatever is not one."""
    root = reports_folder(home)
    if _NAME.fullmatch(folder) and _NAME.fullmatch(name) and name.endswith(_END):
        report = _inside(root, root / folder / name)
        if report is not None:
            return report.read_bytes()
    raise Refused(404, "unknown_report", "there is no such report; GET /reports/ lists them")


def _inside(root: Path, file: Path) -> Path | None:
    """The file itself if it stands in the folder, also after following links."""
    try:
        found = file.resolve(strict=True)
        return found if found.is_relative_to(root.resolve()) and found.is_file() else None
    except OSError:
        return None
