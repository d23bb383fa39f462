"""Commands about the prediction server: running it, and its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hoops_assets.cli.shared import Json, err, load_settings, out, print_json, print_table

app = typer.Typer()
keys = typer.Typer(no_args_is_help=True, help="API keys of the prediction server's customers.")
app.add_typer(keys, name="keys")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to bind; beyond 127.0.0.1 keys are needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8080,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file; with it the server speaks TLS only.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
) -> None:
    """Serve what is deployed, until Ctrl-C."""
    from hoops_assets.workloads.serve.app import ServerConfig
    from hoops_assets.workloads.serve.run import serve as run

    settings = load_settings()
    config = ServerConfig(
        home=settings.home,
        record_url=settings.record,
        log={"policy": settings.serving_log_policy, "high_water": settings.serving_log_bytes},
    )
    run(
        config, host, port,
        lambda address: err.print(f"[bold green]serving[/] at {address}   (Ctrl-C ends it)", highlight=False),
        tls_certificate, tls_key,
    )  # fmt: skip


@keys.command("add")
def add(
    customer: Annotated[str, typer.Argument(help="Letters, digits and . _ @ -; it stands in the log of every answer.")],
    admin: Annotated[bool, typer.Option("--admin", help="May choose the variant that answers.")] = False,
    rate: Annotated[float, typer.Option(help="Requests a second; bursts of twice that.", min=0.001)] = 1000.0,
    days: Annotated[int | None, typer.Option(help="Days until it expires; never by default.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Make a key for a customer and print it, this once. A running server knows it at once."""
    from hoops_assets.workloads.serve.keys import add_key

    key, stored = add_key(_file(), customer, ("predict", "admin") if admin else ("predict",), rate, days)
    if as_json:
        print_json({"key": key, **_told(stored)})
        return
    err.print(
        f"key {stored.id} of {customer}; it is not stored and cannot be shown again:", highlight=False, markup=False
    )
    out.print(key, highlight=False, markup=False)


@keys.command("list")
def list_keys(as_json: Json = False) -> None:
    """All keys, the secret parts excepted."""
    from hoops_assets.workloads.serve.keys import read_keys

    rows = [_told(key) for key in read_keys(_file())]
    print_json(rows) if as_json else print_table("Keys", rows)


@keys.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(help="Id of a key, or a customer: all keys of that one.")],
    as_json: Json = False,
) -> None:
    """Refuse a key from now on; a running server does so at once."""
    from hoops_assets.workloads.serve.keys import revoke as end

    rows = [_told(key) for key in end(_file(), which)]
    print_json(rows) if as_json else print_table("Revoked", rows)


def _file() -> Path:
    from hoops_assets.workloads.serve.bundle import serving_root
    from hoops_assets.workloads.serve.keys import KEYS

    return serving_root(load_settings().home) / KEYS


def _told(key: Any) -> dict[str, Any]:
    def moment(at: Any) -> str | None:
        return at.isoformat(timespec="seconds") if at else None

    return {
        "id": key.id, "customer": key.customer, "scopes": " ".join(key.scopes), "rate": key.rate,
        "created_at": moment(key.created_at), "expires_at": moment(key.expires_at), "revoked_at": moment(key.revoked_at),
    }  # fmt: skip
