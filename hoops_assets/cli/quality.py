"""`hoops quality`: what a league's data are worth."""

from __future__ import annotations

import typer

from hoops_assets.cli.shared import Json, League, exit_status, load_settings, out, print_json, print_table, status

app = typer.Typer()


@app.command()
def quality(league: League, as_json: Json = False) -> None:
    """Looks over a league's data: Data Docs, new teams, days left failed, and its two sources if it has them."""
    from hoops_assets.launch.lanes import Lanes

    settings = load_settings()
    lanes = Lanes(settings, league)
    with status(f"{league}: looking over the data", quiet=as_json):
        states = lanes.quality()
    docs = settings.home / "data_docs" / league / "index.html"
    if as_json:
        print_json({"league": league, "data_docs": str(docs), "checks": [vars(state) for state in states]})
    else:
        failing = [vars(state) for state in states if not state.passed]
        if failing:
            print_table(f"{league}: checks that do not pass", failing)
        out.print(f"{len(states) - len(failing)} of {len(states)} checks pass; Data Docs: {docs}", highlight=False)
    exit_status(league, lanes.read.rejected)
