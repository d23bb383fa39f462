"""`hoops monitor`: whether a league's forecasts are still right, and what moved."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hoops_assets.cli.shared import Json, League, exit_status, load_settings, out, print_json, print_table, status

app = typer.Typer()


@app.command()
def monitor(
    league: League,
    page: Annotated[bool, typer.Option("--page", help="Open the page in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Scores what is settled, looks for drift, raises its alarms, and writes the monitoring page."""
    from hoops_assets.defs.monitoring.assets import PAGE, REPORT
    from hoops_assets.launch.lanes import Lanes

    settings = load_settings()
    lanes = Lanes(settings, league)
    with status(f"{league}: looking for drift", quiet=as_json):
        lanes.monitor()
    folder = settings.home / "reports" / league
    report = json.loads((folder / REPORT).read_bytes()) if (folder / REPORT).exists() else None
    if as_json:
        print_json({"league": league, "page": str(folder / PAGE), "report": report})
    else:
        signals = report["signals"] if report else []
        rows = [
            {"signal": one["name"], "state": one["state"], "since": one["since"], "in words": one["told"]}
            for one in signals
        ]
        through = f" through {report['through']}" if report else ""
        print_table(f"{league}{through}", rows)
        out.print(f"page for people: {folder / PAGE}", highlight=False, soft_wrap=True)
    if page:
        typer.launch((folder / PAGE).as_uri())
    exit_status(league, lanes.read.rejected)
