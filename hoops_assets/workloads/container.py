"""Entry point of the one image: `python -m hoops_assets.workloads.container train | serve`.

What belongs here: SageMaker's folders and arguments, so that no other program of ours knows them. SageMaker runs an
image with `train` or `serve`; under /opt/ml (SAGEMAKER_BASE_DIR moves it, as in AWS's own toolkit) stand

    input/data/training/   what the job is given: spec.json and training_set.parquet
    model/                 what it leaves (training), or what it serves: a bundle
    output/failure         why it failed, which SageMaker shows as the job's failure reason
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

CHANNEL = "training"


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


def main(arguments: list[str]) -> int:
    """Runs one of the image's programs."""
    if arguments == ["train"]:
        return train()
    sys.stderr.write("usage: python -m hoops_assets.workloads.container train\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
