"""`hoops services`: which provider runs which step, as the contract suites last found it."""

from __future__ import annotations

from typing import Annotated

import typer

from hoops_assets.cli.shared import Json, out, print_json, print_table

app = typer.Typer()


@app.command()
def services(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/services.md.")] = False,
) -> None:
    """Which provider runs which step, from the last result of the contract suites."""
    from hoops_assets.services import kept

    found = kept.read()
    if as_json:
        print_json(kept.as_json(found))
    elif markdown:
        print(kept.page(found), end="")  # noqa: T201
    else:
        print_table("Services", kept.rows(found))
        since = "" if found.is_of_this_code else "; the code has changed since"
        out.print(f"{found.on}, commit {found.commit[:12]}{since}; {found.against}", highlight=False)
