"""The option `--page`: an answer as a page in HOME/reports, which the prediction server shows.

What belongs here: the option, and telling where the page is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from hoops_assets.cli.shared import err
from hoops_assets.errors import StoreError

if TYPE_CHECKING:
    from hoops_assets.services.lineage.pages import AnswerPage

Page = Annotated[bool, typer.Option("--page", help="Also write the answer as a page, and say where it is.")]


def write_page(home: Path, page: AnswerPage) -> None:
    """Writes a page and tells its path and, while the server runs, its address. Raises StoreError."""
    from hoops_assets.workloads.serve.client import running_server

    try:
        file = page.write(home)
    except OSError as error:
        raise StoreError(f"the page cannot be written: {error}; check the folder {home / 'reports'}") from error
    told = f"page: {file}"
    server = running_server(home)
    if server is not None:
        told += f"\n      {server.address}/reports/{quote(page.folder)}/{quote(file.name)}"
    err.print(told, highlight=False, markup=False, soft_wrap=True)
