"""What the commands share: settings, arguments, progress, printing and exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from hoops_assets.errors import HoopsError

if TYPE_CHECKING:
    from hoops_assets.basketball.league import League as LeagueFile
    from hoops_assets.settings import Settings
    from hoops_assets.sources.contract import Rejected

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
League = Annotated[str, typer.Argument(help="Name of a league, see: hoops leagues list")]

CANNOT, BAD_ROWS = 2, 3
"""Exit status of a command that cannot do its work, and of one that did it but had to refuse rows of a source."""

PIPED_WIDTH = 240
"""Columns of a table that goes to a file or another program: wide enough that nothing is folded."""


def load_settings() -> Settings:
    from hoops_assets import settings

    return settings.load_settings()


def day_of(text: str | None, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise HoopsError(f"{name} {text!r} is not a day; write it as 2026-11-23") from None


def seasons_of(text: str | None) -> list[int] | None:
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


def readable_leagues() -> tuple[list[LeagueFile], list[HoopsError]]:
    """All leagues, and what is wrong with the files of those that cannot be read."""
    from hoops_assets.sources.leagues import find_leagues, load_league

    leagues, errors = [], []
    for path in find_leagues(load_settings().home).values():
        try:
            leagues.append(load_league(path))
        except HoopsError as error:
            errors.append(error)
    return leagues, errors


def exit_status(league: str, rejected: list[Rejected]) -> None:
    """Ends the command with status BAD_ROWS, after one line about them, if rows of the league's source were refused."""
    if rejected:
        from hoops_assets.sources.quarantine import summary

        file = load_settings().home / "quarantine" / league / "games.csv"
        err.print(f"{summary(rejected)}; all in {file}", highlight=False, markup=False, emoji=False)
        raise typer.Exit(BAD_ROWS)


@contextmanager
def progress_of(what: str, quiet: bool) -> Iterator[tuple[Progress, Any]]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet, transient=True) as progress:
        yield progress, progress.add_task(what, total=None)


@contextmanager
def status(text: str, quiet: bool = False) -> Iterator[None]:
    if quiet or not err.is_terminal:
        yield
        return
    with err.status(text):
        yield


def tell_error(error: BaseException) -> None:
    err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, emoji=False)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str, allow_nan=False))  # noqa: T201


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        out.print(f"{title}: none")
        return
    table = Table(title=title)
    for name in rows[0]:
        number = isinstance(rows[0][name], int | float)
        table.add_column(name.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=None if out.is_terminal else PIPED_WIDTH).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))


def told_traffic(traffic: Mapping[int, int]) -> str:
    """Versions and their shares in words: 3 (all traffic), or 3 (90 %) and 4 (10 %)."""
    if len(traffic) == 1:
        return f"{next(iter(traffic))} (all traffic)"
    return " and ".join(f"{version} ({percent} %)" for version, percent in traffic.items()) or "none"
