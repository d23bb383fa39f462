"""The lane with its steps on SageMaker, one, several and all of them, and back; the four questions have the same answers."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.definitions import build_defs
from hoops_assets.defs.monitoring.assets import REPORT
from hoops_assets.defs.training.assets import CANDIDATES
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.services.lineage.best import ask_best
from hoops_assets.services.lineage.questions import Places, as_json, ask_code, ask_data, ask_served
from hoops_assets.services.pipelines.contract import run as run_pipeline
from hoops_assets.services.pipelines.steps import training_steps
from hoops_assets.services.prediction.bundle import pack
from hoops_assets.services.prediction.captured import import_captured, places_of
from hoops_assets.services.prediction.contract import Game
from hoops_assets.services.prediction.sagemaker import SageMakerPrediction
from hoops_assets.services.providers import open_prediction
from hoops_assets.services.registry.sagemaker import group_of
from hoops_assets.sources.leagues import get_league
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets_tests.defs.test_lane import BY_DAY, Launch
from hoops_assets_tests.launch import small_league as small

STEPS = ("training", "registry", "prediction", "monitoring")
JOB_OF = {
    "training": "training job", "registry": "model package", "prediction": "transform job", "monitoring": "processing job",
}  # fmt: skip
"""What stands in the account after a step has run there, and after no other step."""

TRAINED = (*CANDIDATES, *(f"{learner}_evaluation" for learner in CANDIDATES), "challenger")


def launch(home: Path, aws: Aws, *steps: str) -> Launch:
    """The lane of a home with those steps on SageMaker."""
    chosen = dict.fromkeys(steps, "sagemaker")
    settings = small.settings(home).model_copy(update={**chosen, "aws": aws.settings})
    league = get_league(home, small.NAME)
    return Launch(settings, league, build_defs(settings, leagues=[league]), dg.DagsterInstance.ephemeral())


def run(lane: Launch, *names: str, **span: object) -> None:
    result = lane.run(*names, **span)  # pyright: ignore[reportArgumentType]
    assert result.success, [event.step_failure_data.error for event in result.all_events if event.is_step_failure]


def forecast(lane: Launch) -> pd.DataFrame:
    """Trains, names the challenger, forecasts all days and looks for drift."""
    run(lane, *TRAINED)
    run(lane, "predictions", "scored_predictions", first=lane.days[0], last=lane.days[-1])
    run(lane, "model_performance", "drift_report")
    return lane.table("predictions").set_index(["game_id", "version"]).sort_index()


@pytest.fixture(scope="module")
def features(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with everything before training."""
    lane = Launch.of(small.make_home(tmp_path_factory.mktemp("features") / "home"))
    run(lane, "history")
    run(lane, *BY_DAY[:-2], first=lane.days[0], last=lane.days[-1])
    run(lane, "training_set")
    return lane.settings.home


@dataclass(frozen=True)
class Here:
    """The lane on this machine, and what it forecasts."""

    lane: Launch
    forecasts: pd.DataFrame


@pytest.fixture(scope="module")
def here(features: Path, aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Here:
    lane = launch(shutil.copytree(features, tmp_path_factory.mktemp("local") / "home"), aws)
    return Here(lane, forecast(lane))


@pytest.fixture
def local(here: Here) -> pd.DataFrame:
    return here.forecasts


def places(lane: Launch) -> Places:
    return Places(lane.settings.home, lane.settings.tables_root, lane.settings.record)


def told(answer: Any) -> dict[str, Any]:
    """An answer without what two runs of the same thing differ in: when, by whom, and the provider's name of the job."""
    own = {"created_at", "created_by", "training_job"}
    return {name: value for name, value in as_json(answer).items() if name not in own}


def asked_of_both(lane: Launch, here: Here, version: int) -> None:
    """Three of the four questions; versions have the same numbers, because they were registered in the same order."""
    games = f"day={here.forecasts['day'].iloc[0]}"
    for ask in (
        lambda one: ask_data(places(one), f"{small.NAME}/{version}", games),
        lambda one: ask_best(places(one), small.NAME),
        lambda one: ask_code(places(one), f"{small.NAME}/{version}"),
    ):
        assert told(ask(lane)) == told(ask(here.lane))


@pytest.fixture
def home(features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(SageMakerPrediction.__init__.__kwdefaults__, "every", 0.05)
    return shutil.copytree(features, tmp_path / "home")


def check(found: pd.DataFrame, expected: pd.DataFrame, tolerance: float) -> None:
    assert len(found)
    assert list(found.index) == list(expected.index)
    np.testing.assert_allclose(found["home_win_probability"], expected["home_win_probability"], rtol=0, atol=tolerance)


def drift(lane: Launch) -> list[tuple[str, str, int]]:
    """What the last look for drift found."""
    report = json.loads((lane.settings.home / "reports" / small.NAME / REPORT).read_text())
    assert report["signals"]
    return [(one["name"], one["state"], one["n"]) for one in report["signals"]]


@pytest.mark.timeout(600)
def test_all_steps_run_on_sagemaker_and_back_again(
    home: Path, here: Here, local: pd.DataFrame, aws: Aws, emulator: AwsEmulator
) -> None:
    lane = launch(home, aws, *STEPS)
    # A container answers to seven decimals.
    forecasts = forecast(lane)
    check(forecasts, local, 1e-6)
    assert drift(lane) == drift(here.lane)
    rows = Record(lane.settings.record).ledger()
    trained = [row for row in rows if row.what == "training"]
    assert {row.provider for row in trained} == {"sagemaker"}
    assert all(row.billed_seconds >= 1 for row in trained)
    standing = emulator.standing()
    assert len(standing["training job"]) == len(CANDIDATES)
    assert len(standing["model package"]) == len(CANDIDATES)
    assert len(standing["processing job"]) == 1
    assert aws.sagemaker.describe_model_package_group(ModelPackageGroupName=group_of(small.NAME))
    assert standing["running training job"] == standing["running transform job"] == []

    registry = lane.registry
    challenger = registry.challenger(small.NAME)
    assert challenger
    store, now = DeltaStore(lane.settings.tables_root), lane.settings.clock()
    service = open_prediction("sagemaker", registry, home, aws.settings)
    packed = pack(registry, store, lane.league, challenger.version, now, 7)
    assert service.deploy(small.NAME, packed, {challenger.version: 100}).traffic == {challenger.version: 100}
    run(lane, "endpoint_fixtures")
    coming = packed.fixtures.fixtures[0]
    (answer,) = service.invoke(small.NAME, [Game(home=coming.home, away=coming.away, day=coming.day)])
    stored = forecasts.xs((coming.game_id, challenger.version))["home_win_probability"]
    assert answer.home_win_probability == pytest.approx(stored, abs=1e-6)

    asked_of_both(lane, here, challenger.version)
    record, known = Record(lane.settings.record), places_of(lane.table("fixtures"))
    assert import_captured(aws, small.NAME, record, known, home / "captured.json").rows
    today = datetime.now(UTC).astimezone(lane.league.zone).date()
    (served,) = ask_served(places(lane), "hoops", today, game=coming.game_id).answers
    expected = local.xs((coming.game_id, served.version))
    assert (served.version, served.home, served.away) == (challenger.version, expected["home"], expected["away"])
    assert served.home_win_probability == pytest.approx(expected["home_win_probability"], abs=1e-6)
    service.remove(small.NAME)
    assert emulator.running() == []

    back = launch(home, aws)
    (back.settings.home / "tables" / small.NAME / "predictions").rename(home / "aside")
    run(back, "predictions", first=back.days[0], last=back.days[-1])
    check(back.table("predictions").set_index(["game_id", "version"]).sort_index(), local, 1e-9)


@pytest.mark.parametrize(
    "step",
    ["training", "monitoring", *(pytest.param(one, marks=pytest.mark.slow) for one in ("registry", "prediction"))],
)
def test_each_step_alone_runs_on_sagemaker(step: str, home: Path, here: Here, aws: Aws, emulator: AwsEmulator) -> None:
    lane = launch(home, aws, step)
    check(forecast(lane), here.forecasts, 1e-6 if step == "prediction" else 1e-9)
    assert drift(lane) == drift(here.lane)
    standing = emulator.standing()
    assert {name for name in JOB_OF.values() if standing[name]} == {JOB_OF[step]}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pipeline_on_sagemaker_makes_the_same_assets(
    home: Path, local: pd.DataFrame, aws: Aws, emulator: AwsEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run_pipeline.__kwdefaults__, "every", 0.1)
    lane = launch(home, aws, "pipelines")
    # A pipeline registers in the order of its list, Dagster's steps in that of their names: the numbers differ.
    check(forecast(lane).droplevel("version"), local.droplevel("version"), 1e-9)
    rows = [row for row in Record(lane.settings.record).ledger() if row.what == "training"]
    assert {(row.learner, row.provider) for row in rows} == {(learner, "sagemaker") for learner in CANDIDATES}
    assert all(row.billed_seconds >= 1 for row in rows)
    event = lane.instance.get_latest_materialization_event(dg.AssetKey([small.NAME, "challenger"]))
    assert event
    assert event.asset_materialization
    told = event.asset_materialization.metadata
    for step in training_steps(CANDIDATES):
        assert f"| {step.name} | {step.kind} | {'skipped' if step.name == 'refused' else 'succeeded'} |" in str(
            told["steps"].value
        )
    (execution,) = aws.sagemaker.list_pipeline_executions(
        PipelineName=f"hoops-{small.NAME}-training".replace("_", "-")
    )["PipelineExecutionSummaries"]
    assert execution["PipelineExecutionDisplayName"] == told["pipeline"].value
    assert execution["PipelineExecutionStatus"] == "Succeeded"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tables_in_s3_hold_what_tables_in_a_folder_hold(home: Path, here: Here, bucket: str) -> None:
    """Last here: from now on the variables of the whole module point to the emulator of the bucket."""
    settings = small.settings(home).model_copy(update={"tables": bucket})
    league = get_league(home, small.NAME)
    lane = Launch(settings, league, build_defs(settings, leagues=[league]), dg.DagsterInstance.ephemeral())
    run(lane, "history")
    run(lane, *BY_DAY[:-2], first=lane.days[0], last=lane.days[-1])
    run(lane, "training_set")
    check(forecast(lane), here.forecasts, 1e-9)
    assert drift(lane) == drift(here.lane)
    for name in (*BY_DAY[:-2], "training_set"):
        pd.testing.assert_frame_equal(lane.table(name), here.lane.table(name))
