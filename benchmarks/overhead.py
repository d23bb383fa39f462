"""What this platform adds to a training job on SageMaker, beside the bare boto3 calls in the same run.

Both train the same small league's Elo formula on the loopback emulator (a process of its own), one after the other, and
look at the job equally often. What the job itself takes is the same for both and not counted:

    submit    from the start of the asset (or of the first call) to the job's CreationTime
    register  from the job's end to the model in the registry, both its files asked again on all held-out games (or, bare,
              to the unpacked model.tar.gz on disk)

    python -m benchmarks.overhead [--runs 7] [--every 0.1] [--json]
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from hoops_assets.clouds.aws import Aws
from hoops_assets.definitions import build_defs
from hoops_assets.defs.training import assets, pipes
from hoops_assets.services.training.code import Code
from hoops_assets.services.training.contract import TrainingJob, TrainingSet, check_frame
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.defs.test_reaction import play_on
from hoops_assets_tests.emulators.accounts import EmulatorProcess, account
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import LEAGUE, NOW, Home

LEARNER = "elo"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_numbers = itertools.count(1)


def new_code() -> Code:
    """Code that nobody has seen, so that the job has a name that nobody has used."""
    return Code(commit="c" * 40, dirty=False, digest=f"{next(_numbers):064d}", lock_digest="e" * 64)


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey([LEAGUE, name])


class Ours:
    """The candidate's asset, as Dagster materialises it."""

    def __init__(self, path: Path, aws: Aws) -> None:
        self.home = Home(small.make_home(path))
        play_on(self.home, 600)
        settings = small.settings(path, NOW.isoformat())
        self.settings = settings.model_copy(update={"training": "sagemaker", "aws": aws.settings})
        self.aws, self.instance = aws, dg.DagsterInstance.ephemeral()
        self.job = build_defs(self.settings, leagues=[self.home.league]).resolve_implicit_global_asset_job_def()
        self.run("training_set")

    def run(self, name: str) -> dg.ExecuteInProcessResult:
        return self.job.execute_in_process(instance=self.instance, asset_selection=[key(name)], run_config=QUIET)

    def train(self) -> tuple[float, float]:
        """Seconds of submitting and of registering."""
        assets.code = new_code
        result = self.run(LEARNER)
        (start,) = [
            entry.timestamp for entry in self.instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)
        ]
        version = self.home.registry.list(LEAGUE)[-1]
        created, ended = times(self.aws, version.training_job)
        registered = (self.home.path / "registry" / LEAGUE / f"{version.version:06d}" / "version.json").stat().st_mtime
        return created - start, registered - ended


class Bare:
    """The same files and the same request, straight from boto3."""

    def __init__(self, ours: Ours, aws: Aws, folder: Path, every: float) -> None:
        self.aws, self.folder, self.every = aws, folder, every
        store = DeltaStore(ours.settings.tables_root)
        self.frame = store.read(LEAGUE, "training_set")
        self.reference = TrainingSet.of(self.frame, assets.FEATURES, table=f"{LEAGUE}/training_set", table_version=0)

    def train(self) -> tuple[float, float]:
        job = TrainingJob(
            league=LEAGUE, learner=LEARNER, features=assets.FEATURES, training_set=self.reference, code=new_code()
        )
        name, aws = f"bare-{job.name}"[:60], self.aws
        request = SageMakerTraining(aws, self.folder).request(
            job, name, aws.uri(aws.key(LEAGUE, "jobs", name, "input/")), {}
        )
        table = check_frame(job, self.frame)
        start = time.time()
        rows = io.BytesIO()
        pq.write_table(table, rows)
        for file, content in (
            ("spec.json", job.spec.model_dump_json().encode()),
            ("training_set.parquet", rows.getvalue()),
        ):
            aws.s3.put_object(
                Bucket=aws.settings.bucket, Key=aws.key(LEAGUE, "jobs", name, "input", file), Body=content
            )
        aws.sagemaker.create_training_job(**request)
        while (told := aws.sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] == "InProgress":
            time.sleep(self.every)
        if told["TrainingJobStatus"] != "Completed":
            raise SystemExit(f"{name}: {told.get('FailureReason')}")
        content = aws.get(told["ModelArtifacts"]["S3ModelArtifacts"])
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            archive.extractall(self.folder / name, filter="data")
        done = time.time()
        created, ended = times(aws, name)
        return created - start, done - ended


def times(aws: Aws, name: str) -> tuple[float, float]:
    """When a job was made, and when its last state began."""
    told = aws.sagemaker.describe_training_job(TrainingJobName=name)
    return told["CreationTime"].timestamp(), told["SecondaryStatusTransitions"][-1]["StartTime"].timestamp()


def measure(runs: int, every: float) -> dict[str, Any]:
    pipes.EVERY = every
    pipes.PipesSageMakerTrainingClient.__init__.__kwdefaults__["every"] = every
    emulator = EmulatorProcess()
    try:
        os.environ["AWS_ENDPOINT_URL"] = emulator.environment["AWS_ENDPOINT_URL"]
        with tempfile.TemporaryDirectory() as temporary, small.without_flushing():
            aws = account(emulator.environment)
            ours = Ours(Path(temporary) / "home", aws)
            bare = Bare(ours, aws, Path(temporary) / "bare", every)
            ours.train(), bare.train()  # imports, connections, and the emulator's first container
            taken = [(ours.train(), bare.train()) for _ in range(runs)]
    finally:
        emulator.close()
    told: dict[str, Any] = {"runs": runs, "every": every}
    for number, step in enumerate(("submit", "register")):
        us, them = (statistics.median(pair[side][number] for pair in taken) for side in (0, 1))
        told[step] = {"ours": us, "bare": them, "ratio": us / them, "added": us - them}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--every", type=float, default=0.1, help="seconds between two looks at the job, for both")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    told = measure(given.runs, given.every)
    if given.json:
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    sys.stdout.write(f"median of {told['runs']} runs, a look at the job every {told['every']} s\n")
    for step in ("submit", "register"):
        one = told[step]
        sys.stdout.write(
            f"{step:<9} ours {one['ours'] * 1000:6.0f} ms   bare boto3 {one['bare'] * 1000:6.0f} ms"
            f"   ratio {one['ratio']:.1f}   added {one['added'] * 1000:+.0f} ms\n"
        )


if __name__ == "__main__":
    main()
