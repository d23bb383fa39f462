"""Commands for whoever keeps the platform running: `hoops doctor`, `hoops tidy` and `hoops limits`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from hoops_assets.launch.limits import Limit

app = typer.Typer()
limits_app = typer.Typer(no_args_is_help=True, help="How many runs may do the same scarce thing at once.")
app.add_typer(limits_app, name="limits")

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
    keep: Annotated[
        str | None, typer.Option(help="how far back all is kept, as 90d; else the setting keep_days")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prunes old runs and logs, old training jobs and batches, old versions of tables that no registered model names."""
    from hoops_assets.launch.tidy import tidy as prune

    settings = load_settings()
    if keep is not None and (not keep.endswith("d") or not keep[:-1].isdigit() or int(keep[:-1]) < 1):
        raise HoopsError(f"--keep {keep!r}: write a number of days, at least one, as 90d")
    days = int(keep[:-1]) if keep else settings.keep_days
    leagues, errors = readable_leagues()
    if errors:
        err.print("tables of leagues that cannot be read are left alone: hoops leagues list", highlight=False)
    with status("pruning", quiet=as_json):
        done = prune(settings, [league.name for league in leagues], timedelta(days=days))
    if as_json:
        print_json(vars(done))
        return
    print_table("Files of tables", [{"table": name, "files": files} for name, files in done.files.items()])
    out.print(
        f"{done.runs} runs, {done.jobs} training jobs, {done.batches} batches and {done.bytes / 2**20:.1f} MiB went",
        highlight=False,
    )


@limits_app.command("show")
def limits_show(as_json: Json = False) -> None:
    """The limit of every pool: wanted by the settings, and applied in the Dagster instance."""
    from hoops_assets.launch.limits import limits

    _show_limits(limits(load_settings()), as_json)


@limits_app.command("apply")
def limits_apply(as_json: Json = False) -> None:
    """Sets the limits in the Dagster instance. `hoops up` does it too."""
    from hoops_assets.launch.limits import apply_limits

    _show_limits(apply_limits(load_settings()), as_json)


def _show_limits(limits: list[Limit], as_json: bool) -> None:
    rows = [vars(limit) for limit in limits]
    print_json(rows) if as_json else print_table("Pools", rows)
