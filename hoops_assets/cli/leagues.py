"""`hoops leagues`: add, list, show, check and compare leagues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hoops_assets.cli.shared import (
    BAD_ROWS,
    CANNOT,
    Json,
    League,
    err,
    exit_status,
    load_settings,
    out,
    print_json,
    print_table,
    readable_leagues,
    tell_error,
)
from hoops_assets.errors import SettingsError, SourceError

app = typer.Typer(no_args_is_help=True, help="Leagues: add, list, show, check, compare.")


@app.command("list")
def leagues_list(as_json: Json = False) -> None:
    """All leagues, embedded and your own."""
    leagues, errors = readable_leagues()
    rows = [
        {"name": one.name, "title": one.title, "time_zone": one.time_zone, "first_season": one.first_season,
         "teams": len(one.teams), "games": one.sources.games.kind, "posts": one.sources.posts.kind if one.sources.posts else None}
        for one in leagues
    ]  # fmt: skip
    print_json(rows) if as_json else print_table("Leagues", rows)
    for error in errors:
        tell_error(error)
    if errors:
        raise typer.Exit(CANNOT)


@app.command("show")
def leagues_show(name: League, as_json: Json = False) -> None:
    """One league with its teams and their successions, as its YAML file says."""
    from hoops_assets.sources.leagues import get_league, league_yaml

    league = get_league(load_settings().home, name)
    print_json(league.model_dump(mode="json")) if as_json else out.print(
        league_yaml(league), highlight=False, markup=False, emoji=False
    )


@app.command("check")
def leagues_check(name: League, as_json: Json = False) -> None:
    """Reads a league's sources and says what they hold, which rows are refused and why."""
    from hoops_assets.sources.leagues import check_league, get_league
    from hoops_assets.sources.quarantine import describe, write_quarantine

    settings = load_settings()
    check = check_league(get_league(settings.home, name), settings.clock())
    file = write_quarantine(settings.home / "quarantine" / name, "games", check.rejected)
    if as_json:
        rejected = [vars(row) for row in check.rejected]
        print_json({**vars(check), "rejected": rejected, "quarantine": str(file) if file else None})
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


@app.command("add")
def leagues_add(
    name: League,
    source: Annotated[str, typer.Option(help="fivethirtyeight or csv")],
    games: Annotated[list[str], typer.Option(help="file of games; repeat it for several")],
    mapping: Annotated[Path | None, typer.Option(help="csv: YAML file that says what each column means")] = None,
    time_zone: Annotated[str | None, typer.Option(help="csv: IANA zone of the game days")] = None,
    first_season: Annotated[int | None, typer.Option(help="first season with a partition per game day")] = None,
    title: Annotated[str | None, typer.Option(help="name for people")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="in place of your league of the same name")] = False,
    as_json: Json = False,
) -> None:
    """Makes a league of your own from files of games."""
    from hoops_assets.basketball.calendar import calendar_of
    from hoops_assets.sources.leagues import leagues_folder, new_league, write_league
    from hoops_assets.sources.open import open_games
    from hoops_assets.sources.quarantine import describe, write_quarantine
    from hoops_assets.store.calendar import write_calendar

    settings = load_settings()
    own = leagues_folder(settings.home) / f"{name}.yaml"
    if own.exists() and not replace:
        raise SettingsError(f"{own}: there is a league {name} already; take another name, or give --replace")
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
        print_json(told)
    else:
        for note in told["notes"]:
            out.print(f"note: {note}", highlight=False, markup=False)
        out.print(
            f"{name}: {len(read.games):,} games, {len(league.teams)} teams, game days since season {league.first_season}; {path}",
            highlight=False,
        )
    exit_status(name, read.rejected)


@app.command("compare")
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
        print_json({"left": left, "right": right, "disagreements": rows})
        return
    print_table(f"{left} (left) and {right} (right)", rows)
    out.print(summary(report), highlight=False, markup=False)
