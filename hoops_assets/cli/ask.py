"""`hoops ask`: the four questions. Which games, which hyper-parameters, which code, which version served a customer.

What belongs here: arguments and printing. The answers are made in services/lineage, from our own record alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoops_assets.cli.pages import Page, write_page
from hoops_assets.cli.shared import Json, League, day_of, load_settings, out, print_json, print_table
from hoops_assets.errors import HoopsError

if TYPE_CHECKING:
    from hoops_assets.services.lineage.questions import Places

app = typer.Typer(no_args_is_help=True, help="Questions about models, answered from the record.")

Model = Annotated[str, typer.Option("--model", help="LEAGUE/NUMBER, LEAGUE/live or LEAGUE/challenger")]

SHOWN = 20
"""Rows that people are shown; --json gives all."""


@app.command()
def data(
    model: Model,
    games: Annotated[
        str,
        typer.Option(help="which games: a game id, or KEY=VALUE of stage, season, team, home, away, day, from, to"),
    ],
    page: Page = False,
    as_json: Json = False,
) -> None:
    """Were these games in the training set of a model? For example --games "stage=quarter-final season=2026"."""
    from hoops_assets.services.lineage.questions import as_json as plain
    from hoops_assets.services.lineage.questions import ask_data

    answer = ask_data(_places(), model, games)
    if page:
        from hoops_assets.services.lineage import pages

        write_page(load_settings().home, pages.data_page(answer))
    if as_json:
        print_json(plain(answer))
        return
    fitted = f"{len(answer.trained_on)} of {answer.games} games"
    _say(f"{answer.answer}: {answer.model} was fitted on {fitted}" if answer.games else answer.answer)
    for split, ids in answer.splits.items():
        if ids:
            _say(f"  {split} ({'fitted on' if split in answer.fit_on else 'not fitted on'}): {_some(ids)}")
    if answer.not_in:
        _say(f"  not in its training set: {_some(answer.not_in)}")
    if "table_version" in answer.training_set:
        made = answer.training_set
        _say(f"  training set: {made['table']} version {made['table_version']}, {made['games']} games")
    _notes(answer.notes)


@app.command()
def best(
    league: League,
    score: Annotated[str, typer.Option(help="log_loss or brier")] = "log_loss",
    page: Page = False,
    as_json: Json = False,
) -> None:
    """Which hyper-parameters did best, paired on the same games, with intervals that allow for picking the best of many."""
    from hoops_assets.services.lineage.best import ask_best
    from hoops_assets.services.lineage.questions import as_json as plain

    answer = ask_best(_places(), league, score)  # type: ignore[arg-type]
    if page:
        from hoops_assets.services.lineage import pages

        write_page(load_settings().home, pages.best_page(answer))
    if as_json:
        print_json(plain(answer))
        return
    rows = [
        {"rank": one.rank, "learner": one.learner, "parameters": _parameters(one.parameters), "version": one.version,
         "versions": len(one.versions), answer.score: one.loss, "difference": one.difference, "low": one.low,
         "high": one.high, "verdict": one.verdict}
        for one in answer.ranking[:SHOWN]
    ]  # fmt: skip
    title = f"{league}: {answer.games} games on {answer.game_days} days, {answer.first_day} to {answer.last_day}"
    print_table(title, rows)
    if len(answer.ranking) > SHOWN:
        _say(f"and {len(answer.ranking) - SHOWN} more; --json lists all")
    _notes(answer.notes)


@app.command()
def code(model: Model, page: Page = False, as_json: Json = False) -> None:
    """Exactly which code made a model: commit, whether the tree was dirty, digests of source and locked packages."""
    from hoops_assets.services.lineage.questions import as_json as plain
    from hoops_assets.services.lineage.questions import ask_code

    answer = ask_code(_places(), model)
    if page:
        from hoops_assets.services.lineage import pages

        write_page(load_settings().home, pages.code_page(answer))
    if as_json:
        print_json(plain(answer))
        return
    dirty = {True: "dirty", False: "clean", None: "unknown whether dirty"}[answer.dirty]
    _say(f"{answer.model}: commit {answer.commit} ({dirty})")
    _say(f"  code digest {answer.code_digest}")
    _say(f"  lock digest {answer.lock_digest}")
    _say(f"  made {answer.created_at} by {answer.created_by}, training job {answer.training_job}")
    _notes(answer.notes)


@app.command()
def served(
    customer: Annotated[str, typer.Option(help="name of the customer, as in the log")],
    on: Annotated[str, typer.Option(help="day in the league's time zone, as 2026-05-12")],
    game: Annotated[str | None, typer.Option(help="only this game id")] = None,
    league: Annotated[str | None, typer.Option(help="only this league")] = None,
    page: Page = False,
    as_json: Json = False,
) -> None:
    """Which version answered a customer on a day, with the traffic split of that moment."""
    from hoops_assets.services.lineage.questions import as_json as plain
    from hoops_assets.services.lineage.questions import ask_served

    day = day_of(on, "--on")
    if day is None:
        raise HoopsError("--on is empty; write a day as 2026-05-12")
    answer = ask_served(_places(), customer, day, game=game, league=league)
    if page:
        from hoops_assets.services.lineage import pages

        write_page(load_settings().home, pages.served_page(answer, league))
    if as_json:
        print_json(plain(answer))
        return
    if not answer.answers:
        about = f" about {game}" if game else ""
        _say(f"{customer} got no answer{about} on {day}")
    else:
        told = ", ".join(f"{version} ({count})" for version, count in answer.versions.items())
        _say(f"{customer} got {len(answer.answers)} answers on {day}, by version: {told}")
        rows = [
            {"at": one.at.isoformat(timespec="seconds"), "league": one.league, "game": one.game_id, "version": one.version,
             "home win": one.home_win_probability, "degraded": one.degraded, "traffic": _split(one.traffic)}
            for one in answer.answers[:SHOWN]
        ]  # fmt: skip
        print_table("Answers", rows)
        if len(answer.answers) > SHOWN:
            _say(f"and {len(answer.answers) - SHOWN} more; --json lists all")
    for name, changes in answer.traffic.items():
        for change in changes:
            _say(
                f"  {name}, from {change['at'].isoformat(timespec='seconds')}: {_split(change['traffic'])}"
                f" ({change['action']} by {change['decided_by']}: {change['reason']})"
            )


def _places() -> Places:
    from hoops_assets.services.lineage.questions import Places

    settings = load_settings()
    return Places(settings.home, settings.tables_root, settings.record, settings.aws)


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False, emoji=False)


def _notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        _say(f"  {note}")


def _some(ids: tuple[str, ...]) -> str:
    shown = ", ".join(ids[:SHOWN])
    return f"{shown} and {len(ids) - SHOWN} more; --json lists all" if len(ids) > SHOWN else shown


def _split(traffic: dict[int, int]) -> str:
    return ", ".join(f"version {number}: {percent} %" for number, percent in traffic.items()) or "nothing served"


def _parameters(parameters: dict[str, Any]) -> str:
    return json.dumps(parameters) if parameters else "defaults"
