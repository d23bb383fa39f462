"""Commands for whoever keeps the platform running: `hoops doctor` and `hoops tidy`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from hoops_assets.cli.shared import (
    CANNOT,
    Json,
    err,
    load_settings,
    out,
    print_json,
    print_table,
    readable_leagues,
    status,
)
from hoops_assets.errors import HoopsError

app = typer.Typer()

COLOURS = {"well": "green", "warning": "yellow", "ill": "red"}


@app.command()
def doctor(as_json: Json = False) -> None:
    """Looks at installation, versions, storage, leagues, models, providers, secrets and ports, and says what to do."""
    from hoops_assets.launch.doctor import examine

    with status("looking", quiet=as_json):
        findings = examine(load_settings())
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            colour = COLOURS[finding.state]
            out.print(f"[{colour}]{finding.state:>7}[/]  {finding.what}: {finding.found}", highlight=False)
            if finding.to_do:
                out.print(f"         -> {finding.to_do}", highlight=False)
    if any(finding.state == "ill" for finding in findings):
        raise typer.Exit(CANNOT)


@app.command()
def tidy(
    keep: Annotated[str, typer.Option(help="how far back everything is kept, as 90d")] = "90d",
    as_json: Json = False,
) -> None:
    """Prunes old runs with their logs, old training jobs and old versions of tables that no registered model names."""
    from hoops_assets.launch.tidy import tidy as prune

    if not keep.endswith("d") or not keep[:-1].isdigit() or int(keep[:-1]) < 1:
        raise HoopsError(f"--keep {keep!r}: write a number of days, at least one, as 90d")
    leagues, errors = readable_leagues()
    if errors:
        err.print("tables of leagues that cannot be read are left alone: hoops leagues list", highlight=False)
    with status("pruning", quiet=as_json):
        done = prune(load_settings(), [league.name for league in leagues], timedelta(days=int(keep[:-1])))
    if as_json:
        print_json(vars(done))
        return
    print_table("Files of tables", [{"table": name, "files": files} for name, files in done.files.items()])
    out.print(f"{done.runs} runs, {done.jobs} training jobs and {done.bytes / 2**20:.1f} MiB went", highlight=False)
