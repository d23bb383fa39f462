"""Entry point of the one image: `python -m hoops_assets.workloads.container train | serve`.

What belongs here: SageMaker's folders and arguments, so that no other program of ours knows them. SageMaker runs an
image with `train` or `serve`; under /opt/ml (SAGEMAKER_BASE_DIR moves it, as in AWS's own toolkit) stand

    input/data/training/   what the job is given: spec.json and training_set.parquet
    model/                 what it leaves (training), or what it serves: a bundle
    output/failure         why it failed, which SageMaker shows as the job's failure reason
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

CHANNEL = "training"
PORT = 8080


def base_folder() -> Path:
    """/opt/ml, or where SAGEMAKER_BASE_DIR says."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def train() -> int:
    """Trains as the channel `training` says; the exit status is 0, or 1 with the reason in output/failure."""
    from hoops_assets.workloads import train as workload

    base = base_folder()
    given = base / "input" / "data" / CHANNEL
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "input").symlink_to(given, target_is_directory=True)
        status = workload.main([str(folder)])
        failure = folder / "output" / "failure"
        if status == 0:
            shutil.copytree(folder / "model", base / "model", dirs_exist_ok=True)
        elif failure.is_file():
            (base / "output").mkdir(exist_ok=True)
            shutil.copyfile(failure, base / "output" / "failure")
    return status


def serve(arguments: list[str]) -> int:
    """Serves the bundle in model/ until it is told to end; a bundle that cannot be loaded ends it with status 1.

    A container that has nothing but its ratings to go on with should not pass SageMaker's health check: what served
    before serves on.
    """
    from hoops_assets.errors import HoopsError
    from hoops_assets.workloads.serve import bundle as files
    from hoops_assets.workloads.serve.app import ServerConfig
    from hoops_assets.workloads.serve.endpoint import LoadedVariant
    from hoops_assets.workloads.serve.run import serve as run

    parser = argparse.ArgumentParser(prog="container serve")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=PORT)
    given = parser.parse_args(arguments)
    folder = base_folder() / "model"
    home = Path(os.environ.get("HOOPS_HOME") or tempfile.mkdtemp(prefix="hoops-"))
    try:
        bundle = files.read_bundle(folder)
        LoadedVariant.load(folder, files.Variant(version=bundle.version, bundle=".", traffic=100), None)
        # What is answered here reaches the record by data capture: this disk ends with the container.
        config = ServerConfig(home=home, bundle=folder, authenticated_by="sagemaker")
        run(config, given.host, given.port, lambda address: print(f"serving at {address}", flush=True))  # noqa: T201
    except HoopsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Runs one of the image's programs."""
    if arguments == ["train"]:
        return train()
    if arguments[:1] == ["serve"]:
        return serve(arguments[1:])
    sys.stderr.write("usage: python -m hoops_assets.workloads.container train | serve [--host HOST] [--port PORT]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
