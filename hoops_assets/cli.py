"""The command line: `hoops ...`. Every command that prints a result takes --json.

What belongs here: arguments, progress and printing. What a command does is done by the floor below; heavy imports stand
inside the commands, so that the light ones start fast.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from hoops_assets.errors import HoopsError, ModelError, SourceError

if TYPE_CHECKING:
    from hoops_assets.basketball.league import League as LeagueFile
    from hoops_assets.launch.lanes import Span
    from hoops_assets.settings import Settings
    from hoops_assets.sources.contract import Rejected

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Basketball win probabilities as one Dagster asset graph."
)
leagues_app = typer.Typer(no_args_is_help=True, help="Leagues: add, list, show, check.")
registry_app = typer.Typer(no_args_is_help=True, help="Registered model versions and their mirror.")
app.add_typer(leagues_app, name="leagues")
app.add_typer(registry_app, name="registry")

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
League = Annotated[str, typer.Argument(help="Name of a league, see: hoops leagues list")]

CANNOT, BAD_ROWS = 2, 3
"""Exit status of a command that cannot do its work, and of one that did it but had to refuse rows of a source."""

PREDICTED = (
    "game_id", "day", "home", "away", "stage", "home_win_probability", "version", "learner", "made_at", "backfilled",
)  # fmt: skip
"""What `hoops predict` tells of a game."""


def main() -> None:
    """Runs the command line; an error that a user can mend is one message and exit status 2, never a traceback."""
    try:
        app()
    except (HoopsError, OSError) as error:
        _tell_error(error)
        sys.exit(CANNOT)


def load_settings() -> Settings:
    from hoops_assets import settings

    return settings.load_settings()


def _tell_error(error: BaseException) -> None:
    err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, emoji=False)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str, allow_nan=False))  # noqa: T201


def _day(text: str | None, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise HoopsError(f"{name} {text!r} is not a day; write it as 2026-11-23") from None


def _years(text: str | None) -> list[int] | None:
    if not text:
        return None
    first, dots, last = text.partition("..")
    try:
        years = list(range(int(first), int(last if dots else first) + 1))
    except ValueError:
        raise HoopsError(f"--seasons {text!r}: write one season as 2019 or a span as 2009..2019") from None
    if not years:
        raise HoopsError(f"--seasons {text!r}: the last season is before the first")
    return years


@contextmanager
def _progress(what: str, quiet: bool) -> Iterator[tuple[Progress, Any]]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet, transient=True) as progress:
        yield progress, progress.add_task(what, total=None)


# -- leagues ---------------------------------------------------------------------------------------------------------


@leagues_app.command("list")
def leagues_list(as_json: Json = False) -> None:
    """All leagues, embedded and your own."""
    leagues, errors = _readable_leagues()
    rows = [
        {"name": one.name, "title": one.title, "time_zone": one.time_zone, "first_season": one.first_season,
         "teams": len(one.teams), "games": one.sources.games.kind, "posts": one.sources.posts.kind if one.sources.posts else None}
        for one in leagues
    ]  # fmt: skip
    _print_json(rows) if as_json else _print_table("Leagues", rows)
    for error in errors:
        _tell_error(error)
    if errors:
        raise typer.Exit(CANNOT)


@leagues_app.command("show")
def leagues_show(name: League, as_json: Json = False) -> None:
    """One league with its teams and their successions, as its YAML file says."""
    from hoops_assets.sources.leagues import get_league, league_yaml

    league = get_league(load_settings().home, name)
    _print_json(league.model_dump(mode="json")) if as_json else out.print(
        league_yaml(league), highlight=False, markup=False, emoji=False
    )


@leagues_app.command("check")
def leagues_check(name: League, as_json: Json = False) -> None:
    """Reads a league's sources and says what they hold, which rows are refused and why."""
    from hoops_assets.sources.leagues import check_league, get_league
    from hoops_assets.sources.quarantine import describe, write_quarantine

    settings = load_settings()
    check = check_league(get_league(settings.home, name), settings.clock())
    file = write_quarantine(settings.home / "quarantine" / name, "games", check.rejected)
    if as_json:
        rejected = [vars(row) for row in check.rejected]
        _print_json({**vars(check), "rejected": rejected, "quarantine": str(file) if file else None})
    else:
        games = f"{check.games:,} games ({check.played:,} played)"
        out.print(f"{name}: {games} on {check.game_days:,} days, {check.first_day} to {check.last_day}")
        for note in check.notes:
            out.print(f"note: {note}", highlight=False, markup=False)
        for row in check.rejected[:20]:
            err.print(describe(row), highlight=False, markup=False)
        out.print(
            f"{len(check.rejected)} rows refused, all in {file}" if file else "no row refused",
            highlight=False,
            markup=False,
        )
    if not check.games:
        raise SourceError(f"league {name} has no game that can be taken")
    if check.rejected:
        raise typer.Exit(BAD_ROWS)


@leagues_app.command("add")
def leagues_add(
    name: League,
    source: Annotated[str, typer.Option(help="fivethirtyeight or csv")],
    games: Annotated[list[str], typer.Option(help="file of games; repeat it for several")],
    mapping: Annotated[Path | None, typer.Option(help="csv: YAML file that says what each column means")] = None,
    time_zone: Annotated[str | None, typer.Option(help="csv: IANA zone of the game days")] = None,
    first_season: Annotated[int | None, typer.Option(help="first season with a partition per game day")] = None,
    title: Annotated[str | None, typer.Option(help="name for people")] = None,
    as_json: Json = False,
) -> None:
    """Makes a league of your own from files of games."""
    from hoops_assets.basketball.calendar import calendar_of
    from hoops_assets.sources.leagues import new_league, write_league
    from hoops_assets.sources.open import open_games
    from hoops_assets.sources.quarantine import describe, write_quarantine
    from hoops_assets.store.calendar import write_calendar

    settings = load_settings()
    league, notes = new_league(name, source, games, mapping, time_zone, first_season, title)
    read = open_games(league).read(settings.clock())
    if read.games.empty:
        first = (
            f"; the first of {len(read.rejected)} refused rows: {describe(read.rejected[0])}" if read.rejected else ""
        )
        raise SourceError(f"the files hold no game of league {name} that can be taken{first}")
    path = write_league(league, settings.home)
    write_calendar(settings.home, name, calendar_of(read.games))
    file = write_quarantine(settings.home / "quarantine" / name, "games", read.rejected)
    told = {
        "league": name, "file": str(path), "games": len(read.games), "teams": len(league.teams),
        "first_season": league.first_season, "notes": [*notes, *read.notes],
        "rejected": len(read.rejected), "quarantine": str(file) if file else None,
    }  # fmt: skip
    if as_json:
        _print_json(told)
    else:
        for note in told["notes"]:
            out.print(f"note: {note}", highlight=False, markup=False)
        out.print(
            f"{name}: {len(read.games):,} games, {len(league.teams)} teams, game days since season {league.first_season}; {path}",
            highlight=False,
        )
    _exit_status(name, read.rejected)


@leagues_app.command("compare")
def leagues_compare(
    left: League,
    right: Annotated[str, typer.Argument(help="Name of a league that reads the same games from another source")],
    as_json: Json = False,
) -> None:
    """Every disagreement of two sources of the same games: scores, winners, days, home sides, neutral ground."""
    from hoops_assets.basketball.games import apply_home_rules
    from hoops_assets.sources.leagues import get_league
    from hoops_assets.sources.open import open_games
    from hoops_assets.sources.reconcile import reconcile, summary

    settings = load_settings()
    leagues = [get_league(settings.home, name) for name in (left, right)]
    report = reconcile(*(apply_home_rules(open_games(one).read(settings.clock()).games, one) for one in leagues))
    rows = [{str(name): value for name, value in row.items()} for row in report.to_dict("records")]
    if as_json:
        _print_json({"left": left, "right": right, "disagreements": rows})
        return
    _print_table(f"{left} (left) and {right} (right)", rows)
    out.print(summary(report), highlight=False, markup=False)


# -- the graph -------------------------------------------------------------------------------------------------------


@app.command()
def up(
    port: Annotated[int, typer.Option(help="of the Dagster UI; the next free one if it is taken")] = 3000,
    materialise_only: Annotated[bool, typer.Option("--materialise-only", help="do not start the servers")] = False,
) -> None:
    """Takes every league through the whole graph, then serves the Dagster UI until Ctrl-C."""
    from hoops_assets.launch.lanes import Lanes
    from hoops_assets.launch.servers import serve

    settings = load_settings()
    rejected: dict[str, list[Rejected]] = {}
    leagues, errors = _readable_leagues()
    for name in (league.name for league in leagues):
        out.rule(f"[bold]{name}")
        with _status(f"{name}: reading sources"):
            lanes = Lanes(settings, name)
        rejected[name] = lanes.read.rejected
        _backfill(lanes, stages=("ingest", "features"), what="games and features")
        with _status(f"{name}: training candidates side by side"):
            lanes.train()
        out.print(f"[green]✓[/] {name}: candidates trained, evaluated and registered")
        _backfill(lanes, stages=("prediction", "monitoring"), what="predictions")
    for error in errors:
        _tell_error(error)
    if not materialise_only:
        serve(settings, port, lambda text: out.print(text))
    if errors:
        raise typer.Exit(CANNOT)
    for name, rows in rejected.items():
        _exit_status(name, rows)


@app.command()
def backfill(
    league: League,
    start: Annotated[str | None, typer.Option("--from", help="first game day, default the first known")] = None,
    end: Annotated[str | None, typer.Option("--to", help="last game day, default the last known")] = None,
    force: Annotated[bool, typer.Option(help="also materialise seasons that are up to date")] = False,
    as_json: Json = False,
) -> None:
    """Materialises all game days of a span, one run per season. No daemon is needed; run it again after a kill."""
    from hoops_assets.launch.lanes import Lanes

    lanes = Lanes(load_settings(), league, "backfill")
    report = _backfill(lanes, _day(start, "--from"), _day(end, "--to"), force=force, quiet=as_json, what="game days")
    if as_json:
        _print_json({"league": league, "rejected": report.rejected, "spans": [vars(span) for span in report.spans]})
    _exit_status(league, lanes.read.rejected)


@app.command()
def train(league: League, as_json: Json = False) -> None:
    """Trains and evaluates every candidate of a league and names the challenger."""
    from hoops_assets.launch.lanes import Lanes

    lanes = Lanes(load_settings(), league)
    with _status(f"{league}: training candidates", quiet=as_json):
        lanes.train()
    _show_challenger(lanes.settings, league, as_json)


@app.command()
def predict(
    league: League,
    day: Annotated[str | None, typer.Option("--date", help="a game day; default the next one with games")] = None,
    as_json: Json = False,
) -> None:
    """Win probabilities of a day's games, from the challenger, after a daily run that brings everything up to date."""
    from hoops_assets.launch.lanes import Lanes
    from hoops_assets.services.registry.local import LocalRegistry
    from hoops_assets.store.delta import DeltaStore

    settings, wanted = load_settings(), _day(day, "--date")
    lanes = Lanes(settings, league)
    today = settings.clock().astimezone(lanes.league.zone).date()
    ahead = [one for one in sorted(set(lanes.read.games["day"])) if one >= (wanted or today)]
    chosen = wanted or (ahead[0] if ahead else None)
    if chosen is None or chosen not in set(ahead):
        near = f"the next is {ahead[0]}" if ahead else f"the last was {max(lanes.read.games['day'])}"
        raise HoopsError(f"{league} has no games on {chosen or 'any coming day'}; {near}")
    challenger = LocalRegistry(settings.home / "registry").challenger(league)
    if challenger is None:
        raise ModelError(f"{league} has no model yet; materialise its games and train one: hoops train {league}")
    since = chosen if chosen < today else today - timedelta(days=14)
    _backfill(lanes, since, chosen, quiet=as_json, what="game days")
    rows = DeltaStore(settings.tables_root).read(league, "predictions", first=chosen, last=chosen)
    if rows.empty:
        raise ModelError(
            f"no model of {league} may forecast {chosen}: version {challenger.version} was trained on games through"
            f" {challenger.trained_through}"
        )
    told = [
        {**{name: row[name] for name in PREDICTED}, "day": str(chosen), "made_at": row["made_at"].isoformat()}
        for row in rows.to_dict("records")
    ]
    _print_json(told) if as_json else _print_table(f"{league}, {chosen}", told)
    _exit_status(league, lanes.read.rejected)


@app.command()
def evaluate(
    league: League,
    seasons: Annotated[
        str | None, typer.Option(help="2009..2019, or one season; default all with enough games before them")
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk-forward of every learner, straight from the sources: every game is forecast only from earlier ones."""
    from hoops_assets.basketball.games import apply_home_rules
    from hoops_assets.sources.leagues import get_league
    from hoops_assets.sources.open import open_games, open_posts
    from hoops_assets.sources.quarantine import write_quarantine
    from hoops_assets.workloads.evaluate import evaluate_league, league_features

    settings, wanted = load_settings(), _years(seasons)
    one = get_league(settings.home, league)
    with _progress(f"{league}: reading", as_json) as (progress, task):
        read = open_games(one).read(settings.clock())
        write_quarantine(settings.home / "quarantine" / league, "games", read.rejected)
        if read.games.empty:
            raise SourceError(f"league {league} has no games; look at its sources with: hoops leagues check {league}")
        games = apply_home_rules(read.games, one)
        source = open_posts(one)
        posts = source.read(datetime(1900, 1, 1, tzinfo=UTC), settings.clock()).posts if source else None
        progress.update(task, description=f"{league}: features")
        features = league_features(one, games, posts)

        def told(what: str, step: int, total: int) -> None:
            progress.update(task, description=f"{league}: {what}", completed=step, total=total)

        report = evaluate_league(features, wanted, progress=told)
    if as_json:
        _print_json(report)
    else:
        _print_table(f"{league}: walk-forward", report["learners"])
        _print_table("Paired differences in log loss (negative: the learner is better)", report["paired"])
    _exit_status(league, read.rejected)


# -- the record ------------------------------------------------------------------------------------------------------


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
        _print_json(rows)
    else:
        hidden = ("run_id", "job", "error")
        _print_table(
            f"Launches of the last {last}", [{k: v for k, v in row.items() if k not in hidden} for row in rows]
        )


@registry_app.command("list")
def registry_list(league: League, as_json: Json = False) -> None:
    """All model versions of a league."""
    from hoops_assets.services.registry.local import LocalRegistry
    from hoops_assets.sources.leagues import get_league

    home = load_settings().home
    versions = LocalRegistry(home / "registry").list(league)
    if not versions:
        get_league(home, league)  # says so if there is no such league
    if as_json:
        _print_json([one.model_dump(mode="json") for one in versions])
        return
    rows = [
        {"version": one.version, "learner": one.learner, "status": one.status, "trained_through": one.trained_through,
         "validation_log_loss": one.metrics.get("validation_log_loss"), "test_log_loss": one.metrics.get("test_log_loss"),
         "commit": one.commit[:10] + ("+" if one.dirty else ""), "created_at": one.created_at.isoformat(timespec="seconds")}
        for one in versions
    ]  # fmt: skip
    _print_table(f"Versions of {league}", rows)


@registry_app.command("mirror")
def registry_mirror(league: League, as_json: Json = False) -> None:
    """Brings the MLflow mirror of a league up to date with the registry."""
    from hoops_assets.defs.resources import RegistryResource, resources

    registry = resources(load_settings())["registry"]
    assert isinstance(registry, RegistryResource)
    report = registry.mirror(league)
    if report is None:
        raise HoopsError("the mirror is switched off (mlflow_tracking_uri is empty)")
    _print_json(vars(report)) if as_json else out.print(
        f"{len(report.added)} versions added, {report.present} were there"
    )
    if report.problem:
        raise HoopsError(f"the mirror is incomplete: {report.problem}")


# -- what commands share ---------------------------------------------------------------------------------------------


def _readable_leagues() -> tuple[list[LeagueFile], list[HoopsError]]:
    """All leagues, and what is wrong with the files of those that cannot be read."""
    from hoops_assets.sources.leagues import find_leagues, load_league

    leagues, errors = [], []
    for path in find_leagues(load_settings().home).values():
        try:
            leagues.append(load_league(path))
        except HoopsError as error:
            errors.append(error)
    return leagues, errors


def _exit_status(league: str, rejected: list[Rejected]) -> None:
    """Ends the command with status BAD_ROWS, after one line about them, if rows of the league's source were refused."""
    if rejected:
        from hoops_assets.sources.quarantine import summary

        file = load_settings().home / "quarantine" / league / "games.csv"
        err.print(f"{summary(rejected)}; all in {file}", highlight=False, markup=False, emoji=False)
        raise typer.Exit(BAD_ROWS)


# -- printing --------------------------------------------------------------------------------------------------------


def _show_challenger(settings: Settings, league: str, as_json: bool) -> None:
    from hoops_assets.services.registry.local import LocalRegistry

    registry = LocalRegistry(settings.home / "registry")
    challenger = registry.challenger(league)
    assert challenger is not None
    evidence = registry.challengers(league)[-1].evidence
    if as_json:
        _print_json({"challenger": challenger.model_dump(mode="json"), "evidence": evidence})
        return
    _print_table(f"Candidates of {league}, best first", evidence["candidates"])  # type: ignore[arg-type]
    out.print(f"challenger: version {challenger.version}, {challenger.learner}")


def _backfill(
    lanes: Any, start: date | None = None, end: date | None = None, *, what: str, quiet: bool = False, **options: Any
) -> Any:
    name = lanes.league.name
    with _progress(f"{name}: {what}", quiet) as (progress, task):

        def tell(span: Span, number: int, total: int) -> None:
            progress.update(
                task,
                total=total,
                completed=number if span.state != "due" else number - 1,
                description=f"{name}: {what}, season {span.season} ({span.days} days)",
            )

        report = lanes.backfill(start, end, tell=tell, **options)
    if report.dead_runs and not quiet:
        err.print(
            f"{len(report.dead_runs)} run(s) of an earlier process had died; their work is done again where needed"
        )
    for span in report.spans:
        if span.state == "failed":
            raise HoopsError(f"{name}, season {span.season} ({span.first} to {span.last}) failed: {span.error}")
    made = [span for span in report.spans if span.state == "materialised"]
    if not quiet:
        out.print(
            f"[green]✓[/] {name}: {what}: {len(made)} season(s), {sum(span.days for span in made)} days in"
            f" {sum(span.seconds for span in made):.0f} s; {len(report.spans) - len(made)} already up to date"
        )
    return report


@contextmanager
def _status(text: str, quiet: bool = False) -> Iterator[None]:
    if quiet or not err.is_terminal:
        yield
        return
    with err.status(text):
        yield


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        out.print(f"{title}: none")
        return
    table = Table(title=title)
    for name in rows[0]:
        number = isinstance(rows[0][name], int | float)
        table.add_column(name.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))


if __name__ == "__main__":
    main()
