"""Commands that take a league through a cloud that is none: `hoops rehearse aws`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from unittest import mock

import typer

from hoops_assets.cli.shared import Json, out, print_json, print_table, status
from hoops_assets.errors import HoopsError

if TYPE_CHECKING:
    from hoops_assets.emulators.aws import AwsEmulator

app = typer.Typer(no_args_is_help=True, help="A league through every step of a cloud that is none.")

UNKNOWN = "unknown"
"""A price: it differs by region and day, and none is stored here."""


@app.callback()
def rehearse() -> None:
    """A league through every step of a cloud that is none."""


@app.command()
def aws(
    league: Annotated[str, typer.Option(help="an embedded league")] = "atlantic",
    as_json: Json = False,
) -> None:
    """Takes a league through every step on an emulated SageMaker, says what was made and billed, and leaves nothing."""
    try:
        from hoops_assets.emulators.aws import AwsEmulator
    except ModuleNotFoundError as error:
        raise HoopsError(
            f"the emulator needs {error.name}; install it with: pip install 'hoops_assets[emulators]'"
        ) from None
    with (
        tempfile.TemporaryDirectory(prefix="hoops-rehearsal-") as home,
        AwsEmulator() as emulator,
        mock.patch.dict(os.environ, {**emulator.environment(), "HOOPS_HOME": home}),
    ):
        told = _rehearse(emulator, Path(home), league, quiet=as_json)
    if as_json:
        print_json(told)
        return
    print_table("Made on SageMaker", told["made"])
    print_table("Billed", told["billed"])
    print_table("Actions", told["actions"])
    agrees = "agrees" if told["lineage_agrees_with_the_record"] else "differs"
    out.print(
        f"served by {told['served']}; forecasts of {told['forecasts']} games, {told['answers_in_the_record']} answers"
        f" captured, {told['nights']} game nights planned; lineage {agrees}; left behind: {told['left']}"
    )


def _rehearse(emulator: AwsEmulator, home: Path, league: str, quiet: bool) -> dict[str, Any]:
    from hoops_assets.launch.lanes import Lanes
    from hoops_assets.services.providers import open_prediction, open_registry
    from hoops_assets.settings import AwsSettings, Settings

    bucket = "hoops-rehearsal"
    emulator.client("s3").create_bucket(Bucket=bucket)
    where = AwsSettings(
        region=emulator.region, bucket=bucket, role=f"arn:aws:iam::{emulator.account}:role/hoops",
        image=f"{emulator.account}.dkr.ecr.{emulator.region}.amazonaws.com/hoops:1",
    )  # fmt: skip
    settings = Settings(
        home=home, training="sagemaker", registry="sagemaker", prediction="sagemaker", pipelines="sagemaker",
        monitoring="sagemaker", mlflow_tracking_uri="", aws=where,
    )  # fmt: skip
    lanes = Lanes(settings, league)
    with status("games and features, on this machine", quiet):
        report = lanes.backfill(stages=("ingest", "features"))
        if report.failed:
            raise HoopsError(f"the features of {league} were not made; run: hoops backfill {league}")
    with status("training by a pipeline and registering", quiet):
        lanes.train()
    with status("deploying", quiet):
        deployed = lanes.deploy()
    with status("forecasting", quiet):
        days = lanes.days()[-settings.upcoming_days :]
        lanes.backfill(days[0], days[-1], stages=("prediction",))
    with status("looking for drift", quiet):
        lanes.monitor()
    registry = open_registry("local", home / "registry", where)
    service = open_prediction("sagemaker", registry, home, where)
    with status("scaling with the game nights", quiet):
        planned = _scale(service, settings, lanes.league)
    agrees = _lineage_agrees(emulator, where, registry, lanes.record, league)
    made = {kind: len(names) for kind, names in emulator.standing().items() if not kind.startswith("running")}
    forecasts, answers = len(_forecasts(settings, league)), len(lanes.record.rows("served_predictions", league=league))
    service.remove(league)
    standing = emulator.standing()
    gone = ("endpoint", "endpoint configuration", "model", *(kind for kind in standing if kind.startswith("running")))
    billed = emulator.billed()
    return {
        "league": league,
        "made": [{"what": kind, "how_many": count} for kind, count in made.items()],
        "billed": [
            {"what": f"training jobs, {where.training_instance}", "seconds": billed["training"], "price": UNKNOWN},
            {"what": f"evaluations and drift jobs, {where.training_instance}", "seconds": billed["processing"], "price": UNKNOWN},
            {"what": f"batches, {where.serving_instance}", "seconds": billed["transform"], "price": UNKNOWN},
            {"what": f"endpoint, {where.serving_instance} x instances, while it stood", "seconds": billed["endpoint"],
             "price": UNKNOWN},
        ],
        "actions": [
            {"action": action, "calls": count} for action, count in sorted(emulator.seen.items()) if count
        ],
        "served": deployed.traffic,
        "forecasts": forecasts,
        "answers_in_the_record": answers,
        "nights": planned,
        "lineage_agrees_with_the_record": agrees,
        "left": {kind: standing[kind] for kind in gone if standing[kind]} or "nothing",
    }  # fmt: skip


def _scale(service: Any, settings: Any, league: Any) -> int:
    """Plans the coming game nights; returns how many."""
    from hoops_assets.services.prediction.game_nights import nights
    from hoops_assets.store.delta import DeltaStore

    fixtures = DeltaStore(settings.tables_root, settings.aws).read(league.name, "fixtures", columns=["day", "tip_off"])
    planned = nights(fixtures, league.zone, settings.clock(), 2, 4)
    service.scale(league.name, 1, 2)
    service.plan_nights(league.name, planned)
    return len(planned)


def _lineage_agrees(emulator: AwsEmulator, where: Any, registry: Any, record: Any, league: str) -> bool:
    from hoops_assets.services.aws import connect
    from hoops_assets.services.lineage.local import LocalLineage
    from hoops_assets.services.lineage.sagemaker import SageMakerLineage

    own, mirror = LocalLineage(registry, record), SageMakerLineage(connect(where))
    return all(
        mirror.ancestry(league, one.version, one.digest) == own.ancestry(league, one.version, one.digest)
        for one in registry.list(league)
    )


def _forecasts(settings: Any, league: str) -> Any:
    from hoops_assets.store.delta import DeltaStore

    return DeltaStore(settings.tables_root, settings.aws).read(league, "predictions")
