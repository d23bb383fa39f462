"""Commands that take a league's lane through the graph, forecast its games and judge its learners."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoops_assets.cli.shared import (
    CANNOT,
    Json,
    League,
    day_of,
    err,
    exit_status,
    load_settings,
    out,
    print_json,
    print_table,
    progress_of,
    readable_leagues,
    seasons_of,
    status,
    tell_error,
    told_traffic,
)
from hoops_assets.errors import HoopsError, ModelError, SourceError

if TYPE_CHECKING:
    from hoops_assets.launch.lanes import Span
    from hoops_assets.settings import Settings
    from hoops_assets.sources.contract import Rejected

app = typer.Typer()

PREDICTED = (
    "game_id", "day", "home", "away", "stage", "home_win_probability", "version", "learner", "made_at", "backfilled",
)  # fmt: skip
"""What `hoops predict` tells of a game."""


@app.command()
def up(
    port: Annotated[int, typer.Option(help="of the Dagster UI; the next free one if it is taken")] = 3000,
    predictions_port: Annotated[int, typer.Option(help="of the prediction server, likewise")] = 8000,
    materialise_only: Annotated[bool, typer.Option("--materialise-only", help="do not start the servers")] = False,
) -> None:
    """Takes every league through the whole graph, then serves the Dagster UI and the predictions until Ctrl-C."""
    from hoops_assets.launch.servers import serve

    settings = load_settings()
    rejected: dict[str, list[Rejected]] = {}
    leagues, errors = readable_leagues()
    for league in leagues:
        try:
            rejected[league.name] = _take_through(settings, league.name)
        except HoopsError as error:
            errors.append(error)  # the other leagues, and the servers, do not wait for it
    for error in errors:
        tell_error(error)
    if not materialise_only:
        from hoops_assets.launch.limits import apply_limits

        apply_limits(settings)
        serve(settings, port, lambda text: out.print(text), predictions_port)
    if errors:
        raise typer.Exit(CANNOT)
    for name, rows in rejected.items():
        exit_status(name, rows)


def _take_through(settings: Settings, name: str) -> list[Rejected]:
    """One league through the whole graph; returns the rows of its source that were refused."""
    from hoops_assets.launch.lanes import Lanes

    out.rule(f"[bold]{name}")
    with status(f"{name}: reading sources"):
        lanes = Lanes(settings, name)
    _backfill(lanes, stages=("ingest", "features"), what="games and features")
    with status(f"{name}: training candidates side by side"):
        lanes.train()
    out.print(f"[green]✓[/] {name}: candidates trained, evaluated and registered")
    with status(f"{name}: deploying"):
        deployed = lanes.deploy()
    out.print(f"[green]✓[/] {name}: version {told_traffic(deployed.traffic)}: {deployed.reason}")
    _backfill(lanes, stages=("prediction", "monitoring"), what="predictions")
    with status(f"{name}: looking over the data"):
        failing = [state for state in lanes.quality() if not state.passed]
    told = f"not passed: {', '.join(state.check for state in failing)}" if failing else "every check passes"
    out.print(f"[green]✓[/] {name}: data looked over, {told}; see: hoops quality {name}, hoops monitor {name}")
    return lanes.read.rejected


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
    report = _backfill(
        lanes, day_of(start, "--from"), day_of(end, "--to"), force=force, quiet=as_json, what="game days"
    )
    if as_json:
        print_json({"league": league, "rejected": report.rejected, "spans": [vars(span) for span in report.spans]})
    exit_status(league, lanes.read.rejected)


@app.command()
def train(league: League, as_json: Json = False) -> None:
    """Trains and evaluates every candidate of a league and names the challenger."""
    from hoops_assets.launch.lanes import Lanes

    lanes = Lanes(load_settings(), league)
    with status(f"{league}: training candidates", quiet=as_json):
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

    settings, wanted = load_settings(), day_of(day, "--date")
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
    rows = DeltaStore(settings.tables_root, settings.aws).read(league, "predictions", first=chosen, last=chosen)
    if rows.empty:
        raise ModelError(
            f"no model of {league} may forecast {chosen}: version {challenger.version} was trained on games through"
            f" {challenger.trained_through}"
        )
    told = [
        {**{name: row[name] for name in PREDICTED}, "day": str(chosen), "made_at": row["made_at"].isoformat()}
        for row in rows.to_dict("records")
    ]
    print_json(told) if as_json else print_table(f"{league}, {chosen}", told)
    exit_status(league, lanes.read.rejected)


@app.command()
def evaluate(
    league: League,
    seasons: Annotated[
        str | None, typer.Option(help="2009..2019, or one season; default all with enough games before them")
    ] = None,
    ablate: Annotated[
        str | None, typer.Option(help="sentiment: also every learner with and without it, on the games with posts")
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk-forward of every learner, straight from the sources: every game is forecast only from earlier ones."""
    if ablate not in (None, "sentiment"):
        raise HoopsError(f"--ablate {ablate!r}: only sentiment can be left out")
    from hoops_assets.basketball.games import apply_home_rules
    from hoops_assets.sources.leagues import get_league
    from hoops_assets.sources.odds import open_odds
    from hoops_assets.sources.open import open_games, open_posts
    from hoops_assets.sources.quarantine import write_quarantine
    from hoops_assets.workloads.evaluate import ablate_sentiment, evaluate_league, league_features

    settings, wanted = load_settings(), seasons_of(seasons)
    one = get_league(settings.home, league)
    with progress_of(f"{league}: reading", as_json) as (progress, task):
        read = open_games(one).read(settings.clock())
        write_quarantine(settings.home / "quarantine" / league, "games", read.rejected)
        if read.games.empty:
            raise SourceError(f"league {league} has no games; look at its sources with: hoops leagues check {league}")
        games = apply_home_rules(read.games, one)
        source = open_posts(one)
        posts = source.read(datetime(1900, 1, 1, tzinfo=UTC), settings.clock()).posts if source else None
        progress.update(task, description=f"{league}: features")
        features = league_features(one, games, posts)
        odds, line = open_odds(one), None
        if odds is not None:
            priced = odds.read(games)
            write_quarantine(settings.home / "quarantine" / league, "odds", priced.rejected)
            chances = priced.odds.set_index("game_id")["home_win_probability"].reindex(features["game_id"])
            line = chances.set_axis(features.index)

        def told(what: str, step: int, total: int) -> None:
            progress.update(task, description=f"{league}: {what}", completed=step, total=total)

        report: dict[str, Any] = dict(evaluate_league(features, wanted, progress=told, closing_line=line))
        if ablate:
            report["ablation"] = ablate_sentiment(features, wanted, progress=told)
    if as_json:
        print_json(report)
    else:
        print_table(f"{league}: walk-forward", report["learners"])
        print_table("Paired differences in log loss (negative: the learner is better)", report["paired"])
        if ablate:
            found = report["ablation"]
            out.print(
                f"{found['games']} games have fan posts; {found['informed_games']} of them were forecast by models that"
                " had learnt from games with posts"
            )
            print_table("Log loss with fan sentiment minus without (negative: it helps)", found["learners"])
    exit_status(league, read.rejected)


def _show_challenger(settings: Settings, league: str, as_json: bool) -> None:
    from hoops_assets.services.registry.local import LocalRegistry

    registry = LocalRegistry(settings.home / "registry")
    challenger = registry.challenger(league)
    assert challenger is not None
    evidence = registry.challengers(league)[-1].evidence
    if as_json:
        print_json({"challenger": challenger.model_dump(mode="json"), "evidence": evidence})
        return
    print_table(f"Candidates of {league}, best first", evidence["candidates"])  # type: ignore[arg-type]
    out.print(f"challenger: version {challenger.version}, {challenger.learner}")


def _backfill(
    lanes: Any, start: date | None = None, end: date | None = None, *, what: str, quiet: bool = False, **options: Any
) -> Any:
    name = lanes.league.name
    with progress_of(f"{name}: {what}", quiet) as (progress, task):

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
