"""`hoops registry` and `hoops ledger`: registered versions, their mirror, and who launched what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from hoops_assets.cli.shared import Json, League, load_settings, out, print_json, print_table
from hoops_assets.errors import HoopsError

app = typer.Typer()
registry = typer.Typer(no_args_is_help=True, help="Registered model versions and their mirror.")
app.add_typer(registry, name="registry")


@app.command()
def ledger(
    last: Annotated[str, typer.Option(help="how far back, as 30d")] = "30d",
    league: Annotated[str | None, typer.Option(help="only this league")] = None,
    as_json: Json = False,
) -> None:
    """Who launched what, from where, how long it took and what it billed."""
    from hoops_assets.store.record import Record

    settings = load_settings()
    if not last.endswith("d") or not last[:-1].isdigit():
        raise HoopsError(f"--last {last!r}: write a number of days as 30d")
    entries = Record(settings.record).ledger(datetime.now(UTC) - timedelta(days=int(last[:-1])), league=league)
    rows = [
        {"started_at": one.started_at.isoformat(timespec="seconds"), "league": one.league, "what": one.what,
         "learner": one.learner, "status": one.status, "seconds": one.seconds,
         "billed_seconds": one.billed_seconds, "provider": one.provider,
         "launched_by": one.launched_by, "launched_from": one.launched_from, "model_version": one.model_version,
         "run_id": one.run_id, "job": one.job, "error": one.error}
        for one in entries
    ]  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        hidden = ("run_id", "job", "error")
        print_table(f"Launches of the last {last}", [{k: v for k, v in row.items() if k not in hidden} for row in rows])


@registry.command("list")
def registry_list(league: League, as_json: Json = False) -> None:
    """All model versions of a league."""
    from hoops_assets.services.registry.local import LocalRegistry
    from hoops_assets.sources.leagues import get_league

    home = load_settings().home
    versions = LocalRegistry(home / "registry").list(league)
    if not versions:
        get_league(home, league)  # says so if there is no such league
    if as_json:
        print_json([one.model_dump(mode="json") for one in versions])
        return
    rows = [
        {"version": one.version, "learner": one.learner, "status": one.status, "trained_through": one.trained_through,
         "validation_log_loss": one.metrics.get("validation_log_loss"), "test_log_loss": one.metrics.get("test_log_loss"),
         "commit": one.commit[:10] + ("+" if one.dirty else ""), "created_at": one.created_at.isoformat(timespec="seconds")}
        for one in versions
    ]  # fmt: skip
    print_table(f"Versions of {league}", rows)


@registry.command("mirror")
def registry_mirror(league: League, as_json: Json = False) -> None:
    """Brings the MLflow mirror of a league up to date with the registry."""
    from hoops_assets.defs.resources import RegistryResource, resources

    registry = resources(load_settings())["registry"]
    assert isinstance(registry, RegistryResource)
    report = registry.mirror(league)
    if report is None:
        raise HoopsError("the mirror is switched off (mlflow_tracking_uri is empty)")
    print_json(vars(report)) if as_json else out.print(
        f"{len(report.added)} versions added, {report.present} were there"
    )
    if report.problem:
        raise HoopsError(f"the mirror is incomplete: {report.problem}")
