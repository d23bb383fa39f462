"""`hoops registry` and `hoops ledger`: registered versions, their mirror, their history, and who launched what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hoops_assets.cli.shared import BAD_ROWS, Json, League, err, load_settings, out, print_json, print_table
from hoops_assets.errors import HoopsError

if TYPE_CHECKING:
    from hoops_assets.settings import Settings

app = typer.Typer()
registry = typer.Typer(no_args_is_help=True, help="Registered model versions and their mirror.")
app.add_typer(registry, name="registry")


@app.command()
def ledger(
    last: Annotated[str, typer.Option(help="how far back, as 30d")] = "30d",
    league: Annotated[str | None, typer.Option(help="only this league")] = None,
    models: Annotated[bool, typer.Option("--models", help="only the row per model and day")] = False,
    launches: Annotated[bool, typer.Option("--launches", help="only the launches")] = False,
    as_json: Json = False,
) -> None:
    """A row per model and day: trained, judged, deployed, decided by what; and who launched what. --json: the launches,
    or the models with --models."""
    from hoops_assets.services.lineage.questions import last_days

    settings = load_settings()
    since = datetime.now(UTC) - last_days(last)
    if models and launches:
        raise HoopsError("--models and --launches: choose one, or none for both tables")
    if models or not (launches or as_json):
        _print_models(settings, since, league, last, as_json)
    if not models:
        _print_launches(settings, since, league, last, as_json)


def _print_models(settings: Settings, since: datetime, league: str | None, last: str, as_json: bool) -> None:
    from hoops_assets.services.lineage.model_days import Act, model_days
    from hoops_assets.services.lineage.questions import Places
    from hoops_assets.services.lineage.questions import as_json as plain

    rows = model_days(Places(settings.home, settings.tables_root, settings.record, settings.aws), since, league)
    if as_json:
        print_json([plain(row) for row in rows])
        return

    def told(acts: list[Act]) -> str | None:
        return "; ".join(act.what for act in acts) or None

    def decided(acts: list[Act]) -> str | None:
        return "; ".join(dict.fromkeys(f"{act.by}: {act.reason}" if act.reason else act.by for act in acts)) or None

    shown = [
        {"day": row.day, "model": row.model, "learner": row.learner, "trained": told(row.trained),
         "judged": told(row.judged), "deployed": told(row.deployed),
         "decided by": decided([*row.judged, *row.deployed] or row.trained)}
        for row in rows
    ]  # fmt: skip
    print_table(f"Models of the last {last}", shown)


def _print_launches(settings: Settings, since: datetime, league: str | None, last: str, as_json: bool) -> None:
    from hoops_assets.store.record import Record

    rows = [
        {"started_at": one.started_at.isoformat(timespec="seconds"), "league": one.league, "what": one.what,
         "learner": one.learner, "status": one.status, "seconds": one.seconds,
         "billed_seconds": one.billed_seconds, "provider": one.provider,
         "launched_by": one.launched_by, "launched_from": one.launched_from, "model_version": one.model_version,
         "run_id": one.run_id, "job": one.job, "error": one.error}
        for one in Record(settings.record).ledger(since, league=league)
    ]  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        hidden = ("run_id", "job", "error")
        print_table(f"Launches of the last {last}", [{k: v for k, v in row.items() if k not in hidden} for row in rows])


@registry.command("import")
def registry_import(
    sheet: Annotated[Path, typer.Argument(help="the spreadsheet of models, as CSV")],
    league: Annotated[str, typer.Option(help="the league that the models forecast")],
    column: Annotated[
        list[str] | None,
        typer.Option(help="HEADER=FIELD for a header that is not understood; FIELD as in docs/questions.md"),
    ] = None,
    date_format: Annotated[str | None, typer.Option(help="of the dates, as %d/%m/%Y; default is ISO")] = None,
    as_json: Json = False,
) -> None:
    """Leaves the spreadsheet of models: rows become versions, linked to their files; bad rows are reported and kept out."""
    from hoops_assets.services.registry.local import LocalRegistry
    from hoops_assets.services.registry.sheet import import_sheet
    from hoops_assets.sources.leagues import get_league
    from hoops_assets.sources.quarantine import describe, summary, write_quarantine

    settings = load_settings()
    zone = get_league(settings.home, league).zone
    columns = {}
    for one in column or ():
        header, equals, field = one.rpartition("=")
        if not equals:
            raise HoopsError(f"--column {one!r}: write HEADER=FIELD")
        columns[header] = field
    registry = LocalRegistry(settings.home / "registry")
    report = import_sheet(registry, league, sheet.absolute(), zone, settings.clock(), columns, date_format)
    quarantine = write_quarantine(settings.home / "quarantine" / league, "models", report.rejected)
    if as_json:
        print_json(asdict(report))
    else:
        rows = [
            {"version": one.version, "name": one.name, "": "added" if one.added else "was there", "file": one.file,
             "sha256": one.sha256[:12], "bytes": one.size, "can be deployed": one.why_not or "yes"}
            for one in report.imported
        ]  # fmt: skip
        print_table(f"Imported into {league}", rows)
        kept = [name for name, what in report.columns.items() if what == "kept as text"]
        if kept:
            out.print(f"kept as text: {', '.join(kept)}", highlight=False, markup=False)
    for row in report.rejected if not as_json else ():
        err.print(describe(row), highlight=False, markup=False, emoji=False)
    if report.rejected:
        err.print(f"{summary(report.rejected)}; all in {quarantine}", highlight=False, markup=False, emoji=False)
        raise typer.Exit(BAD_ROWS)


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
