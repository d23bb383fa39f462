"""From a red alarm to the version that serves, through the sensors and without a hand; one tag tells the whole story."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.definitions import build_defs, build_lane
from hoops_assets.defs import story
from hoops_assets.defs.monitoring.sensors import ASKED_ON, EDGES
from hoops_assets.defs.resources import resources
from hoops_assets.defs.training import jobs
from hoops_assets.services.prediction.trial import serving
from hoops_assets.settings import Reaction, Settings
from hoops_assets.store import alarms, deployments
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.schemas import TABLES
from hoops_assets_tests.defs.test_deployment import QUIET, Graph, key
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import ELO, LEAGUE, NOW, Home, made_up_trial, make_models, write_trial
from hoops_assets_tests.workloads.frames import training_frame

TODAY = NOW.date()
SCHEDULED_ON = NOW.replace(hour=12)


def play_on(home: Home, games: int) -> None:
    """Stores so many games with their features and results; the first 600 are those that the models were trained on."""
    frame = pd.concat([training_frame(), training_frame(games)[600:]])
    untimed = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    plain = {"tip_off": untimed, "home": "HOME", "away": "AWAY", "neutral": False, "stage": "regular"}
    home_score = frame["home_win"].map({True: 90, False: 70})
    scores = {"home_score": home_score, "away_score": 160 - home_score}
    for table in ("game_features", "results"):
        spec = TABLES[table]
        home.store.overwrite(LEAGUE, table, frame.assign(**plain, **scores)[list(spec.columns)].astype(spec.columns))


@dataclass(frozen=True)
class Platform(Graph):
    """A home in which automation reacts; what the daemon would do is done by hand, sensor by sensor."""

    settings: Settings = field(default_factory=Settings)

    @classmethod
    def reacting(cls, home: Home, reaction: Reaction) -> Platform:
        graph = Graph.of(home)
        settings = small.settings(home.path, NOW.isoformat()).model_copy(update={"reaction": reaction})
        return cls(home, build_defs(settings, leagues=[home.league]), graph.instance, settings)

    def turn(self, signal: str, state: Any = "red") -> None:
        assert alarms.turn(self.home.record, Alarm(LEAGUE, f"drift/{signal}", state, "for a test"))

    def asked(self, name: str, cursor: str | None = None) -> dg.RunRequest:
        found = self.tick(name, cursor)
        assert found.run_requests, found.skip_message
        (request,) = found.run_requests
        return request

    def skipped(self, name: str = "drift", cursor: str | None = None) -> str:
        found = self.tick(name, cursor)
        assert not found.run_requests
        return found.skip_message or ""

    def launched(self, request: dg.RunRequest, *names: str) -> dg.ExecuteInProcessResult:
        """What the daemon does with a request for a job, or for the only asset that a sensor has."""
        selection = [key(name) for name in names] or list(request.asset_selection or [])
        job = (
            self.location.resolve_implicit_global_asset_job_def()
            if selection
            else self.location.resolve_job_def(f"{LEAGUE}_training")
        )
        return job.execute_in_process(
            instance=self.instance, run_config={**QUIET, **request.run_config}, asset_selection=selection or None,
            tags={**request.tags, "dagster/sensor_name": "one"}, raise_on_error=False,
        )  # fmt: skip

    def ran(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """As if the daemon had launched a request and the run had ended so."""
        self.instance.add_run(dg.DagsterRun(job_name=f"{LEAGUE}_training", status=status, tags=dict(request.tags)))


def succeeded(result: dg.ExecuteInProcessResult) -> None:
    assert result.success, [event.step_failure_data.error for event in result.all_events if event.is_step_failure]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models, and what they were trained on as materialised."""
    path = make_models(tmp_path_factory.mktemp("models") / "home")
    play_on(Home(path), 600)
    return path


@pytest.fixture
def platform(models: Path, tmp_path: Path) -> Iterator[Platform]:
    with small.without_flushing():
        yield Platform.reacting(Home.copy_of(models, tmp_path / "home"), Reaction())


def test_a_red_alarm_leads_to_a_new_version_that_serves_and_one_tag_tells_it(platform: Platform) -> None:
    home = platform.home
    succeeded(platform.run("canary_endpoint", config={"version": ELO}))
    assert platform.traffic == {ELO: 100}
    play_on(home, 900)
    platform.turn("residuals")
    request = platform.asked("drift")
    told = f"{LEAGUE}:drift/residuals:{datetime.now(UTC).astimezone(home.league.zone).date()}"
    assert request.tags[story.TAG] == told
    assert request.run_key == platform.asked("drift").run_key, "the daemon launches a key once"
    succeeded(platform.launched(request))
    challenger = home.registry.challenger(LEAGUE)
    assert challenger
    assert challenger.version > 3, "a new one"
    games = home.registry.manifest(LEAGUE, challenger.version).games
    assert {split: len(games[split]) for split in ("validation", "test")} == {"validation": 400, "test": 100}
    assert "drift/residuals was answered by a training" in platform.skipped()

    tried = platform.asked("challenger")
    assert tried.tags[story.TAG] == told
    succeeded(platform.launched(tried, "canary_endpoint"))
    assert serving(home.record, LEAGUE).canary == challenger.version

    write_trial(home.store, made_up_trial(80, 8, {ELO: 0.6, challenger.version: 0.1}))
    judged = platform.asked("verdict")
    assert judged.tags[story.TAG] == told
    before = dg.evaluate_automation_conditions(platform.location, platform.instance)
    assert before.total_requested == 0
    succeeded(platform.launched(judged))
    found = dg.evaluate_automation_conditions(platform.location, platform.instance, cursor=before.cursor)
    assert found.get_num_requested(key("live_endpoint")) == 1, platform.told("canary_verdict")["reason"]
    succeeded(platform.run("live_endpoint"))  # without a tag, as the automation condition asks for it
    assert platform.traffic == {challenger.version: 100}

    chain = platform.instance.get_runs(dg.RunsFilter(tags={story.TAG: told}))
    assert len(chain) == 4, "one filter shows training, canary, verdict and live deployment"
    rows = deployments.history(home.record, LEAGUE)
    assert [row.evidence.get("story") for row in rows] == [None, told, told]
    assert rows[-1].evidence["choice"] == "roll_out"


def test_a_canary_that_the_verdict_is_against_goes_back_under_the_same_tag(platform: Platform) -> None:
    succeeded(platform.run("canary_endpoint", config={"version": ELO}))
    tags = {story.TAG: "small:drift/inputs:2024-11-01"}
    with platform.home.record.launch(LEAGUE, "training", "logistic", launched_from="sensor") as launch:
        run = platform.instance.add_run(dg.DagsterRun(job_name="small_training", tags=tags))
        launch.run_id, launch.model_version = run.run_id, f"{LEAGUE}/2"
    succeeded(platform.launched(platform.asked("challenger"), "canary_endpoint"))
    platform.home.play(60, worse={ELO: 0.15, 2: 1.0})
    succeeded(platform.launched(platform.asked("verdict")))
    back = platform.asked("verdict")
    assert back.tags[story.TAG] == tags[story.TAG]
    succeeded(platform.launched(back))
    assert platform.traffic == {ELO: 100}
    last = deployments.history(platform.home.record, LEAGUE)[-1]
    assert (last.action, last.evidence["story"]) == ("roll_back", tags[story.TAG])
    assert len(platform.instance.get_runs(dg.RunsFilter(tags=tags))) == 4


def test_no_asset_but_the_live_endpoint_starts_by_a_condition(platform: Platform) -> None:
    """Its condition is evaluated above, red and green; whoever adds another tests it as well."""
    graph = platform.location.resolve_asset_graph()
    assert {one for one in graph.get_all_asset_keys() if graph.get(one).automation_condition} == {key("live_endpoint")}


# -- the sensor -------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_for_without_an_alarm_and_the_cursor_passes_what_needs_no_training(platform: Platform) -> None:
    assert platform.skipped() == "no alarm asks for a training"
    platform.turn("skew")
    found = platform.tick("drift")
    assert found.skip_message == "drift/skew is red: no training is asked for by it"
    assert found.cursor == "1"
    assert platform.skipped(cursor=found.cursor) == "no alarm asks for a training", "told once"


def test_an_alarm_waits_for_games_and_is_not_forgotten(platform: Platform) -> None:
    platform.turn("residuals")
    assert "0 games were settled since the last training, 100 are needed" in platform.skipped()
    play_on(platform.home, 699)
    found = platform.tick("drift")
    assert "99 games were settled" in (found.skip_message or "")
    play_on(platform.home, 700)
    request = platform.asked("drift", found.cursor)
    assert (request.tags[EDGES], request.tags[ASKED_ON]) == ("1", TODAY.isoformat())


def test_a_training_in_the_middle_of_a_season_learns_from_it(platform: Platform) -> None:
    play_on(platform.home, 700)
    platform.turn("residuals")
    request = platform.asked("drift")
    assert request.run_config == {"ops": {"small__training_set": {"config": {"held_out": "games"}}}}


def test_all_alarms_that_are_red_are_answered_by_one_training(platform: Platform) -> None:
    play_on(platform.home, 800)
    platform.turn("target")
    platform.turn("residuals")
    request = platform.asked("drift")
    assert request.tags[EDGES] == "1,2"
    platform.ran(request, dg.DagsterRunStatus.STARTED)
    assert "a training is under way" in platform.skipped()


def test_a_failed_training_is_asked_for_again_the_next_day_by_the_same_story_and_given_up_in_the_end(
    models: Path, tmp_path: Path
) -> None:
    platform = Platform.reacting(Home.copy_of(models, tmp_path / "home"), Reaction(attempts=2))
    play_on(platform.home, 800)
    platform.turn("residuals")
    first = platform.asked("drift")
    platform.ran(first, dg.DagsterRunStatus.FAILURE)
    assert "today's training failed, it is asked for again tomorrow" in platform.skipped()
    tomorrow = small.settings(platform.home.path, (NOW + timedelta(days=1)).isoformat())
    sources = resources(tomorrow)["sources"]
    again = platform.tick("drift", sources=sources).run_requests
    assert again
    assert again[0].run_key != first.run_key
    assert again[0].tags[story.TAG] == first.tags[story.TAG]
    platform.ran(again[0], dg.DagsterRunStatus.CANCELED)
    assert "drift/residuals is given up: 2 trainings failed" in platform.skipped()


def test_an_answered_alarm_is_not_asked_for_again_though_the_cursor_is_lost(platform: Platform) -> None:
    play_on(platform.home, 800)
    platform.turn("residuals")
    platform.ran(platform.asked("drift"), dg.DagsterRunStatus.SUCCESS)
    platform.turn("target")
    for cursor in (None, "0", "1"):
        assert "the last alarm was answered on 2024-11-04, the next may be on 2024-11-18" in platform.skipped(
            cursor=cursor
        )


def test_another_leagues_alarm_is_nobodys_business_here(platform: Platform) -> None:
    alarms.turn(platform.home.record, Alarm("atlantic", "drift/residuals", "red", "elsewhere"))
    assert platform.skipped() == "no alarm asks for a training"


# -- the weekly training ----------------------------------------------------------------------------------------------


def weekly(platform: Platform) -> Any:
    lane = build_lane(platform.home.league, platform.settings)
    schedule = jobs.weekly_schedule(lane)
    given = {name: resources(platform.settings)[name] for name in ("sources", "tables", "registry")}
    return schedule(dg.build_schedule_context(resources=given, scheduled_execution_time=SCHEDULED_ON))


def test_the_weekly_training_is_off_unless_the_settings_say_otherwise(platform: Platform) -> None:
    for retrain, status in (("off", dg.DefaultScheduleStatus.STOPPED), ("weekly", dg.DefaultScheduleStatus.RUNNING)):
        settings = platform.settings.model_copy(update={"reaction": Reaction(retrain=retrain)})  # type: ignore[arg-type]
        schedule = jobs.weekly_schedule(build_lane(platform.home.league, settings))
        assert (schedule.default_status, schedule.cron_schedule) == (status, "0 7 * * 1")
        assert schedule.execution_timezone == platform.home.league.time_zone


def test_the_weekly_training_begins_a_story_if_any_game_was_settled(platform: Platform) -> None:
    assert weekly(platform).skip_message == "no game was settled since the last training"
    play_on(platform.home, 601)
    request = weekly(platform)
    assert request.tags == {story.TAG: f"{LEAGUE}:weekly:{TODAY}"}
    assert request.run_config["ops"]["small__training_set"]["config"] == {"held_out": "games"}
