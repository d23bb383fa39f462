"""Commands that pretend to be a cloud on this machine: `hoops emulate aws`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hoops_assets.cli.shared import Json, out, print_json
from hoops_assets.errors import HoopsError

if TYPE_CHECKING:
    from hoops_assets.emulators.aws import AwsEmulator

app = typer.Typer(no_args_is_help=True, help="A cloud on this machine, to rehearse with.")


@app.callback()
def emulate() -> None:
    """A cloud on this machine, to rehearse with."""


@app.command()
def aws(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 5055,
    bucket: Annotated[str, typer.Option(help="a bucket to begin with")] = "hoops",
    as_json: Json = False,
) -> None:
    """Amazon SageMaker and S3 on the loopback, until Ctrl-C: jobs and endpoints are real processes of this machine."""
    try:
        from hoops_assets.emulators.aws.__main__ import run
    except ModuleNotFoundError as error:
        raise HoopsError(
            f"the emulator needs {error.name}; install it with: pip install 'hoops_assets[emulators]'"
        ) from None

    def tell(emulator: AwsEmulator) -> None:
        emulator.client("s3").create_bucket(Bucket=bucket)
        variables = emulator.environment() | {
            "HOOPS_AWS__REGION": emulator.region,
            "HOOPS_AWS__BUCKET": bucket,
            "HOOPS_AWS__ROLE": f"arn:aws:iam::{emulator.account}:role/hoops",
            "HOOPS_AWS__IMAGE": f"{emulator.account}.dkr.ecr.{emulator.region}.amazonaws.com/hoops:1",
        }
        if as_json:
            print_json(variables)
        else:
            for name, value in variables.items():
                out.print(f"export {name}={value}", highlight=False, markup=False)
            out.print(f"# SageMaker and S3 at {emulator.url}; Ctrl-C ends it and forgets everything", highlight=False)
        out.file.flush()

    try:
        run(port, tell)
    except OSError as error:
        raise HoopsError(f"port {port} cannot be used: {error.strerror or error}; choose another --port") from error
