"""The command line: `hoops ...`. Every command that prints a result takes --json.

What belongs here: arguments, progress and printing, one module per group of commands. What a command does is done by the
floor below; heavy imports stand inside the commands, so that the light ones start fast.
"""

from __future__ import annotations

import sys

import typer

from hoops_assets.cli import (
    ask,
    bench,
    emulate,
    lane,
    leagues,
    models,
    monitor,
    operate,
    quality,
    rehearse,
    rollout,
    scale,
    serve,
    services,
)
from hoops_assets.cli.shared import CANNOT, tell_error
from hoops_assets.errors import HoopsError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Basketball win probabilities as one Dagster asset graph."
)
app.add_typer(leagues.app, name="leagues")
app.add_typer(lane.app)
app.add_typer(models.app)
app.add_typer(ask.app, name="ask")
app.add_typer(bench.app, name="bench")
app.add_typer(operate.app)
app.add_typer(emulate.app, name="emulate")
app.add_typer(rehearse.app, name="rehearse")
app.add_typer(quality.app)
app.add_typer(monitor.app)
app.add_typer(serve.app)
app.add_typer(rollout.app)
app.add_typer(services.app)
app.add_typer(scale.app, name="scale")


def main() -> None:
    """Runs the command line; an error that a user can mend is one message and exit status 2, never a traceback."""
    try:
        app()
    except (HoopsError, OSError) as error:
        tell_error(error)
        sys.exit(CANNOT)
