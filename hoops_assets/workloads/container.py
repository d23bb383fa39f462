"""Entry point of the one image: `python -m hoops_assets.workloads.container train | serve | evaluate | judge | drift`.

What belongs here: SageMaker's folders and arguments, so that no other program of ours knows them. SageMaker runs an
image with `train` or `serve`, a processing job with the argument it is given; under /opt/ml (SAGEMAKER_BASE_DIR moves it,
as in AWS's own toolkit) stand

    input/data/training/   what the job is given: spec.json and training_set.parquet
    model/                 what it leaves (training), or what it serves: a bundle
    output/failure         why it failed, which SageMaker shows as the job's failure reason
    output/message         the same of a processing job
    processing/input/, processing/output/   what a processing job is given, and what it leaves
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

CHANNEL = "training"
PORT = 8080


def base_folder() -> Path:
    """/opt/ml, or where SAGEMAKER_BASE_DIR says."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def train() -> int:
    """Trains as the channel `training` says; the exit status is 0, or 1 with the reason in output/failure."""
    from hoops_assets.workloads import train as workload
    from hoops_assets.workloads.telling import listener

    base = base_folder()
    given = base / "input" / "data" / CHANNEL
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "input").symlink_to(given, target_is_directory=True)
        with listener() as told:
            status = workload.main([str(folder)], told)
        failure = folder / "output" / "failure"
        if status == 0:
            shutil.copytree(folder / "model", base / "model", dirs_exist_ok=True)
        elif failure.is_file():
            (base / "output").mkdir(exist_ok=True)
            shutil.copyfile(failure, base / "output" / "failure")
    return status


def process(run: Callable[[Path, Path], object]) -> int:
    """Runs a program between the folders of a processing job; the exit status is 1 with the reason in output/message."""
    base = base_folder()
    try:
        run(base / "processing" / "input", base / "processing" / "output")
    except Exception as error:  # whatever it is, SageMaker needs a reason it can show
        from hoops_assets.errors import HoopsError

        if not isinstance(error, HoopsError):
            traceback.print_exc()
        told = str(error) if isinstance(error, HoopsError) else f"{type(error).__name__}: {error}"
        sys.stderr.write(f"{told}\n")
        (base / "output").mkdir(exist_ok=True)
        (base / "output" / "message").write_text(told)
        return 1
    return 0


def evaluate(given: Path, out: Path) -> None:
    """The step `evaluate` of a pipeline."""
    from hoops_assets.workloads.judgement import run_evaluate

    run_evaluate(given / "given", given / "model", out)


def judge(given: Path, out: Path) -> None:
    """The step `judge` of a pipeline."""
    from hoops_assets.workloads.judgement import run_judge

    run_judge(given, out)


def drift(given: Path, out: Path) -> None:
    """The drift job."""
    from hoops_assets.workloads.drift import run

    run(given, out)


PROCESSING: dict[str, Callable[[Path, Path], None]] = {"evaluate": evaluate, "judge": judge, "drift": drift}


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
    if len(arguments) == 1 and arguments[0] in PROCESSING:
        return process(PROCESSING[arguments[0]])
    programs = " | ".join(["train", *PROCESSING, "serve [--host HOST] [--port PORT]"])
    sys.stderr.write(f"usage: python -m hoops_assets.workloads.container {programs}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
