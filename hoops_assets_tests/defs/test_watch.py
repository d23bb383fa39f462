"""Long training jobs: the submitting run ends at once, a sensor watches, and another run registers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.definitions import build_defs
from hoops_assets.defs import story
from hoops_assets.defs.resources import TrainingResource, resources
from hoops_assets.defs.training.assets import CANDIDATES
from hoops_assets.defs.training.watch import JOB
from hoops_assets.emulators.aws import AwsEmulator
from hoops_assets.launch.lanes import Lanes
from hoops_assets.services.training.contract import JobState
from hoops_assets.settings import Provider, Settings
from hoops_assets.store.alarms import current
from hoops_assets_tests.defs.test_deployment import QUIET, key
from hoops_assets_tests.defs.test_reaction import play_on
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import LEAGUE, NOW, Home

SLEEP = ("python", "-c", "import time; time.sleep(60)")
BROKEN = ("python", "-c", "raise SystemExit('no luck today')")


@dataclass
class Watched:
    """A home whose training nobody waits for; what the daemon would do is done by hand."""

    home: Home
    settings: Settings
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    cursor: str | None = None
    ran: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.location = build_defs(self.settings, leagues=[self.home.league])

    @classmethod
    def at(cls, path: Path, provider: Provider, aws: Aws | None = None) -> Watched:
        settings = small.settings(small.make_home(path), NOW.isoformat())
        changes: dict[str, Any] = {"training": provider, "training_wait": False}
        if aws is not None:
            changes["aws"] = aws.settings
        play_on(Home(path), 600)
        return cls(Home(path), settings.model_copy(update=changes))

    @property
    def training(self) -> TrainingResource:
        found = resources(self.settings)["training"]
        assert isinstance(found, TrainingResource)
        return found

    def submit(self, *learners: str, story_told: str = "small:by hand:today") -> None:
        """The training job as anybody launches it: whole, or of some learners."""
        names = [key("training_set"), *(key(f"{learner}_submission") for learner in learners)]
        job = self.location.resolve_job_def(f"{LEAGUE}_training")
        done = job.execute_in_process(
            instance=self.instance, run_config=QUIET, asset_selection=names if learners else None,
            tags={story.TAG: story_told}, raise_on_error=False,
        )  # fmt: skip
        assert done.success

    def told(self, name: str) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(key(name))
        found = event.asset_materialization if event else None
        return {label: value.value for label, value in found.metadata.items()} if found else {}

    def tick(self, *, killed: bool = False, obeyed: bool = True) -> dg.SensorExecutionData:
        """One look of the sensor; `killed`: the daemon ends before it has kept the cursor."""
        sensor = next(one for one in self.location.sensors or [] if one.name == f"{LEAGUE}_training_jobs")
        assert isinstance(sensor, dg.SensorDefinition)
        wanted = {label: resources(self.settings)[label] for label in sensor.required_resource_keys}
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=wanted, definitions=self.location
        )
        found = sensor.evaluate_tick(context)
        for event in found.asset_events:
            assert isinstance(event, dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation)
            self.instance.report_runless_asset_event(event)
        if not killed:
            self.cursor = found.cursor
        for request in found.run_requests or ():
            if obeyed and request.run_key not in self.ran:
                self.ran.add(str(request.run_key))
                self.obey(request)
        return found

    def obey(self, request: dg.RunRequest) -> None:
        done = self.location.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=list(request.asset_selection or []), run_config=QUIET,
            tags={**request.tags, "dagster/sensor_name": "one"}, raise_on_error=False,
        )  # fmt: skip
        assert done.success, [event.step_failure_data.error for event in done.all_events if event.is_step_failure]

    def until_it_asks(self) -> dg.RunRequest:
        """Ticks until the sensor asks for a run; the run is not launched."""
        deadline = time.monotonic() + 60
        while True:
            found = self.tick(obeyed=False)
            if found.run_requests:
                (request,) = found.run_requests
                return request
            assert time.monotonic() < deadline, found.skip_message
            time.sleep(0.1)

    def until_ended(self, learner: str) -> JobState:
        service, name, deadline = (
            self.training.service(),
            self.told(f"{learner}_submission")[JOB],
            time.monotonic() + 60,
        )
        while not (state := service.poll(name)).finished:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return state

    def observed(self, learner: str) -> list[dict[str, Any]]:
        records = self.instance.fetch_observations(key(f"{learner}_job"), limit=10).records
        found = [record.asset_observation for record in records]
        return [{label: value.value for label, value in one.metadata.items()} for one in found if one]

    def reported(self, learner: str) -> int:
        return len(self.instance.fetch_materializations(key(f"{learner}_job"), limit=10).records)

    def alarms(self) -> dict[str, str]:
        return {one.alarm: one.text for one in current(self.home.record, LEAGUE).values() if one.state == "red"}


@pytest.fixture
def quick() -> Iterator[None]:
    with small.without_flushing():
        yield


@pytest.fixture
def emulator(emulator: AwsEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsEmulator]:
    from hoops_assets.services.training.sagemaker import SageMakerTraining

    monkeypatch.setitem(SageMakerTraining.__init__.__kwdefaults__, "every", 0.02)
    yield emulator
    assert emulator.running() == []


@pytest.fixture
def watched(aws: Aws, emulator: AwsEmulator, quick: None, tmp_path: Path) -> Watched:
    return Watched.at(tmp_path / "home", "sagemaker", aws)


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["local", "sagemaker"])
def test_the_last_job_that_ends_has_all_models_registered_and_judged(
    provider: Provider, aws: Aws, emulator: AwsEmulator, quick: None, tmp_path: Path
) -> None:
    lane = Watched.at(tmp_path / "home", provider, aws)
    assert "no submitted job" in str(lane.tick().skip_message)
    lane.submit()
    names = {learner: lane.told(f"{learner}_submission")[JOB] for learner in CANDIDATES}
    assert lane.home.registry.list(LEAGUE) == []
    request = lane.until_it_asks()
    assert request.tags[story.TAG] == "small:by hand:today"
    assert key("challenger") in (request.asset_selection or [])
    lane.obey(request)
    versions = {one.learner: one for one in lane.home.registry.list(LEAGUE)}
    assert {learner: one.training_job for learner, one in versions.items()} == names
    assert lane.home.registry.challenger(LEAGUE)
    assert [lane.reported(learner) for learner in CANDIDATES] == [1] * len(CANDIDATES)
    assert lane.told("elo_job")["provider"] == provider
    rows = [row for row in lane.home.record.ledger() if row.what == "training"]
    assert {(row.provider, row.launched_from) for row in rows} == {(provider, "sensor")}
    if provider == "sagemaker":
        assert all((row.billed_seconds or 0) >= 1 for row in rows)
        assert lane.told("elo_job")["billed_seconds"] >= 1
    assert "no submitted job" in str(lane.tick().skip_message)


@pytest.mark.slow
def test_a_daemon_that_was_killed_finds_the_running_job_and_starts_no_other(
    watched: Watched, emulator: AwsEmulator, aws: Aws
) -> None:
    emulator.images[aws.settings.image] = SLEEP
    watched.submit("elo")
    assert "1 of 1 jobs have not ended: elo" in str(watched.tick(killed=True).skip_message)
    again = Watched(watched.home, watched.settings, watched.instance)
    again.submit("elo")
    assert "1 of 1 jobs have not ended: elo" in str(again.tick().skip_message)
    assert emulator.standing()["training job"] == [again.told("elo_submission")[JOB]]
    aws.sagemaker.stop_training_job(TrainingJobName=again.told("elo_submission")[JOB])
    again.until_ended("elo")


def test_a_daemon_that_was_killed_after_it_asked_asks_for_the_same_run_and_reports_the_end_once(
    watched: Watched,
) -> None:
    watched.submit("elo")
    watched.until_ended("elo")
    first = watched.tick(killed=True, obeyed=False).run_requests
    second = watched.tick(obeyed=False).run_requests
    assert first and second
    assert first[0].run_key == second[0].run_key
    assert watched.reported("elo") == 1
    assert set(first[0].asset_selection or []) == {key("elo"), key("elo_evaluation")}, "the others have no version yet"


def test_a_job_that_fails_is_told_once_with_its_reason_and_nothing_is_registered(
    watched: Watched, emulator: AwsEmulator, aws: Aws
) -> None:
    emulator.images[aws.settings.image] = BROKEN
    watched.submit("elo")
    watched.until_ended("elo")
    found = watched.tick()
    assert not found.run_requests
    assert "every job failed" in str(found.skip_message)
    (told,) = watched.observed("elo")
    assert told["state"] == "failed"
    assert "no luck today" in told["reason"]
    assert "no luck today" in watched.alarms()["training/elo"]
    assert "no submitted job" in str(watched.tick().skip_message)
    del emulator.images[aws.settings.image]
    watched.submit("elo")
    assert watched.told("elo_submission")[JOB].endswith("-2")
    watched.until_ended("elo")
    assert watched.tick().run_requests
    assert watched.alarms() == {}, "the alarm turned green"
    assert len(watched.home.registry.list(LEAGUE)) == 1


def test_a_job_that_somebody_stopped_is_told_and_not_started_again(
    watched: Watched, emulator: AwsEmulator, aws: Aws
) -> None:
    emulator.images[aws.settings.image] = SLEEP
    watched.submit("elo")
    aws.sagemaker.stop_training_job(TrainingJobName=watched.told("elo_submission")[JOB])
    assert watched.until_ended("elo") is JobState.CANCELLED
    assert not watched.tick().run_requests
    assert watched.observed("elo")[0]["state"] == "conflict"
    assert "is cancelled" in watched.alarms()["training/elo"]
    assert len(emulator.standing()["training job"]) == 1


def test_a_job_without_capacity_is_submitted_again_until_there_is_some(watched: Watched, emulator: AwsEmulator) -> None:
    emulator.fault("capacity_error", "CreateTrainingJob")
    watched.submit("elo")
    assert watched.until_ended("elo") is JobState.FAILED
    request = watched.until_it_asks()
    assert request.asset_selection == [key("elo_submission")]
    watched.obey(request)
    assert watched.told("elo_submission")[JOB].endswith("-2")
    watched.until_ended("elo")
    watched.obey(watched.until_it_asks())
    assert len(watched.home.registry.list(LEAGUE)) == 1
    assert watched.alarms() == {}


@pytest.mark.slow
def test_a_job_that_never_gets_capacity_is_given_up_after_the_steps_retries(
    watched: Watched, emulator: AwsEmulator
) -> None:
    emulator.fault("capacity_error", "CreateTrainingJob", times=10)
    watched.submit("elo")
    for number in range(3):
        assert watched.until_ended("elo") is JobState.FAILED
        found = watched.tick()
        assert bool(found.run_requests) is (number < 2), "two retries by default"
    assert "CapacityError" in watched.alarms()["training/elo"]
    assert len(emulator.standing()["training job"]) == 3


@pytest.mark.slow
def test_an_interrupted_spot_job_is_registered_when_it_has_ended_after_all(
    aws: Aws, emulator: AwsEmulator, quick: None, tmp_path: Path
) -> None:
    spot = Aws(aws.settings.model_copy(update={"spot": True}))
    lane = Watched.at(tmp_path / "home", "sagemaker", spot)
    emulator.fault("spot_interruption", seconds=0)
    lane.submit("elo")
    lane.obey(lane.until_it_asks())
    told = aws.sagemaker.describe_training_job(TrainingJobName=lane.told("elo")[JOB])
    assert "Interrupted" in [one["Status"] for one in told["SecondaryStatusTransitions"]]


@pytest.mark.slow
def test_a_provider_that_does_not_answer_costs_a_look_and_nothing_else(watched: Watched, emulator: AwsEmulator) -> None:
    watched.submit("elo")
    watched.until_ended("elo")
    emulator.fault("expired_credentials", "DescribeTrainingJob")
    assert "does not answer" in str(watched.tick().skip_message)
    assert watched.tick().run_requests


@pytest.mark.slow
def test_a_job_that_newer_games_have_superseded_is_stopped(watched: Watched, emulator: AwsEmulator, aws: Aws) -> None:
    emulator.images[aws.settings.image] = SLEEP
    watched.submit("elo")
    old = watched.told("elo_submission")[JOB]
    play_on(watched.home, 620)
    watched.submit("elo")
    new = watched.told("elo_submission")[JOB]
    assert new != old
    assert emulator.training_jobs.job(old).status == "Stopped"
    assert emulator.standing()["running training job"] == [new]
    aws.sagemaker.stop_training_job(TrainingJobName=new)
    watched.until_ended("elo")


@pytest.mark.slow
def test_a_person_may_wait_all_the_same_and_the_sensor_then_has_nothing_to_do(watched: Watched) -> None:
    lanes = Lanes(watched.settings, LEAGUE)
    lanes.train()
    assert {one.learner for one in watched.home.registry.list(LEAGUE)} == set(CANDIDATES)
    with lanes.instance as instance:
        own = Watched(watched.home, watched.settings, instance)
        assert "no submitted job" in str(own.tick().skip_message)


def test_the_built_in_learner_is_there_where_it_is_asked_for_and_nowhere_else(aws: Aws, tmp_path: Path) -> None:
    home = Home(small.make_home(tmp_path / "home"))
    asked = aws.settings.model_copy(update={"xgboost": True})

    def assets(**changes: Any) -> set[str]:
        settings = small.settings(home.path, NOW.isoformat()).model_copy(update=changes)
        graph = build_defs(settings, leagues=[home.league]).resolve_asset_graph()
        return {found.path[-1] for found in graph.get_all_asset_keys() if "xgboost" in found.path[-1]}

    assert assets(aws=asked) == assets(training="sagemaker", aws=aws.settings) == set()
    assert assets(training="sagemaker", aws=asked) == {"xgboost"}
    watched = {"xgboost", "xgboost_submission", "xgboost_job"}
    assert assets(training="sagemaker", aws=asked, training_wait=False) == watched


@pytest.mark.slow
def test_the_built_in_learner_is_watched_and_registered_too(
    aws: Aws, emulator: AwsEmulator, quick: None, tmp_path: Path
) -> None:
    pytest.importorskip("xgboost")
    lane = Watched.at(tmp_path / "home", "sagemaker", Aws(aws.settings.model_copy(update={"xgboost": True})))
    lane.submit("xgboost")
    request = lane.until_it_asks()
    assert request.asset_selection == [key("xgboost")]
    lane.obey(request)
    (version,) = lane.home.registry.list(LEAGUE)
    assert version.learner == "xgboost"
