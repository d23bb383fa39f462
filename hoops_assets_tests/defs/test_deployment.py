"""The deployment stage in the graph: who is let in, what the verdict starts, and that traffic really moves."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.definitions import build_defs
from hoops_assets.defs.deployment import sensors
from hoops_assets.defs.resources import PredictionResource, SourcesResource, resources
from hoops_assets.judging.health import Counts, Look
from hoops_assets.launch.servers import prediction_server
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.prediction.trial import serving
from hoops_assets.store import deployments
from hoops_assets.workloads.spec import HELD_OUT
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import ANN, BASE_RATE, ELO, LEAGUE, LOGISTIC, NOW, Home, make_models

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
BADLY = {ELO: 0.15, LOGISTIC: 1.0}


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey([LEAGUE, name])


class Counted(PredictionResource):
    """A server that has counted so many answers of the canary, and how many of them by its fall-back."""

    answers: int = 0
    bad: int = 0
    server: str = "one"

    @classmethod
    def of(cls, home: Home, answers: int, bad: int, server: str = "one") -> Counted:
        return cls(provider="local", home=str(home.path), aws={}, answers=answers, bad=bad, server=server)

    def look(self, league: str, canary: int, champion: int) -> tuple[str, Look]:
        own = Counts(self.answers, self.answers, self.bad)
        return self.server, Look(own, Counts(9 * self.answers, 9 * self.answers))


@dataclass(frozen=True)
class Graph:
    """The lane of a home, run in this process on an instance that is forgotten."""

    home: Home
    location: dg.Definitions
    instance: dg.DagsterInstance

    @classmethod
    def of(cls, home: Home) -> Graph:
        settings = small.settings(home.path, NOW.isoformat())
        sources = resources(settings)["sources"]
        assert isinstance(sources, SourcesResource)
        sources.games(home.league)
        graph = cls(home, build_defs(settings, leagues=[home.league]), dg.DagsterInstance.ephemeral())
        for table in ("results", "game_features"):
            graph.check_of(table, passed=True)
        return graph

    def check_of(self, table: str, *, passed: bool) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=key(table), check_name="expectations", passed=passed, metadata={})
        )

    def run(
        self, *names: str, config: dict[str, Any] | None = None, tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        ops = {f"{LEAGUE}__{names[0]}": {"config": config}} if config else {}
        return self.location.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=[key(name) for name in names], run_config={**QUIET, "ops": ops},
            raise_on_error=False, tags=tags,
        )  # fmt: skip

    def on_trial(self) -> Graph:
        assert self.run("canary_endpoint", config={"version": ELO}).success
        assert self.run("canary_endpoint").success
        return self

    def told(self, name: str) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(key(name))
        assert event
        assert event.asset_materialization
        return {label: value.value for label, value in event.asset_materialization.metadata.items()}

    @property
    def traffic(self) -> dict[int, int]:
        return self.home.prediction.describe(LEAGUE).traffic

    def tick(self, name: str, cursor: str | None = None, **replaced: Any) -> dg.SensorExecutionData:
        sensor = next(one for one in self.location.sensors or [] if one.name == f"{LEAGUE}_{name}")
        assert isinstance(sensor, dg.SensorDefinition)
        given = {**resources(small.settings(self.home.path, NOW.isoformat())), **replaced}
        wanted = {label: given[label] for label in sensor.required_resource_keys}
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, resources=wanted, definitions=self.location
        )
        return sensor.evaluate_tick(context)

    def ask(self, name: str, cursor: str | None = None, **replaced: Any) -> dg.RunRequest:
        (request,) = self.tick(name, cursor, **replaced).run_requests or []
        return request

    def obey(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """What the daemon does with a sensor's request."""
        assert request.asset_selection
        return self.location.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=list(request.asset_selection),
            run_config={**QUIET, **request.run_config}, tags={**request.tags, "dagster/sensor_name": "one"},
            raise_on_error=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models") / "home")


@pytest.fixture
def graph(models: Path, tmp_path: Path) -> Iterator[Graph]:
    with small.without_flushing():
        yield Graph.of(Home.copy_of(models, tmp_path / "home"))


# -- the canary -------------------------------------------------------------------------------------------------------


def test_the_first_version_goes_live_and_the_challenger_becomes_a_canary_of_ten_percent(graph: Graph) -> None:
    first = graph.run("canary_endpoint", config={"version": ELO})
    assert first.success
    assert graph.traffic == {ELO: 100}
    assert "without a trial" in graph.told("canary_endpoint")["reason"]
    assert graph.run("canary_endpoint").success
    assert graph.traffic == {ELO: 90, LOGISTIC: 10}
    told = graph.told("canary_endpoint")
    assert (told["version"], told["learner"], told["traffic"]) == (LOGISTIC, "logistic", {"1": 90, "2": 10})
    assert "a decision after" in told["outlook"]
    assert told["gate"].count("holds") == 7


def test_a_refused_version_leaves_a_red_check_with_the_reason_and_no_materialisation(graph: Graph) -> None:
    graph.run("canary_endpoint", config={"version": ELO})
    before = graph.instance.get_latest_materialization_event(key("canary_endpoint"))
    result = graph.run("canary_endpoint", "canary_verdict", config={"version": BASE_RATE})
    assert not result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed) == ("gate", False)
    assert "base_rate loses" in (evaluation.description or "")
    assert graph.instance.get_latest_materialization_event(key("canary_endpoint")) == before
    assert graph.instance.get_latest_materialization_event(key("canary_verdict")) is None
    assert graph.traffic == {ELO: 100}


@pytest.mark.parametrize("passed", [False, None])
def test_the_gate_looks_at_the_last_checks_of_the_data(graph: Graph, passed: bool | None) -> None:
    if passed is None:
        graph = Graph(graph.home, graph.location, dg.DagsterInstance.ephemeral())
    else:
        graph.check_of("results", passed=passed)
    result = graph.run("canary_endpoint")
    assert not result.success
    assert "results" in (result.get_asset_check_evaluations()[0].description or "")
    assert not graph.home.record.rows("deployments")


def test_share_and_version_can_be_chosen_in_the_ui(graph: Graph) -> None:
    graph.on_trial()
    assert graph.run("canary_endpoint", config={"share": 30}).success
    assert graph.traffic == {ELO: 70, LOGISTIC: 30}


# -- the verdict ------------------------------------------------------------------------------------------------------


def test_the_verdict_shows_its_evidence_and_moves_nothing(graph: Graph) -> None:
    graph.on_trial()
    graph.home.play(80)
    rows = graph.home.record.rows("deployments")
    result = graph.run("canary_verdict")
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed) == ("roll_out", True)
    told = graph.told("canary_verdict")
    assert (told["choice"], told["champion"], told["canary"]) == ("roll_out", ELO, LOGISTIC)
    assert told["low"] > -told["rule"]["margin"]
    image = told["confidence_sequence"].removesuffix(")").partition("base64,")[2]
    assert base64.b64decode(image, validate=True).startswith(b"\x89PNG")
    assert "| 2024-12-" in told["settled_game_days"]
    assert graph.home.record.rows("deployments") == rows
    assert graph.traffic == {ELO: 90, LOGISTIC: 10}


def test_an_undecided_verdict_is_a_warning_that_says_how_many_games_it_takes(graph: Graph) -> None:
    graph.on_trial()
    graph.home.play(10)
    (evaluation,) = graph.run("canary_verdict").get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "cannot tell yet, about" in (evaluation.description or "")


def test_a_verdict_before_any_settled_game_and_one_without_a_trial(graph: Graph) -> None:
    assert not graph.run("canary_verdict").success, "nothing serves"
    graph.run("canary_endpoint", config={"version": ELO})
    (evaluation,) = graph.run("canary_verdict").get_asset_check_evaluations()
    assert evaluation.passed
    assert "serves alone" in (evaluation.description or "")
    graph.run("canary_endpoint")
    (evaluation,) = graph.run("canary_verdict").get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.description) == (False, "no game is settled that both forecast")


# -- live -------------------------------------------------------------------------------------------------------------


def test_live_reads_its_gate_again_and_a_red_one_leaves_everything_as_it_is(graph: Graph) -> None:
    graph.on_trial()
    graph.home.play(10)
    assert not graph.run("live_endpoint").success
    assert graph.traffic == {ELO: 90, LOGISTIC: 10}


def automation(graph: Graph, cursor: dg.AssetDaemonCursor | None) -> tuple[bool, Any]:
    """Whether the automation condition asks for live_endpoint now."""
    found = dg.evaluate_automation_conditions(graph.location, graph.instance, cursor=cursor)
    return found.get_num_requested(key("live_endpoint")) > 0, found.cursor


def test_a_green_verdict_starts_one_deployment_and_a_red_one_none(graph: Graph) -> None:
    graph.on_trial()
    asked, cursor = automation(graph, None)
    assert not asked
    graph.home.play(10)
    graph.run("canary_verdict")
    asked, cursor = automation(graph, cursor)
    assert not asked, "red"
    graph.home.play(80)
    graph.run("canary_verdict")
    asked, cursor = automation(graph, cursor)
    assert asked, "green"
    assert graph.run("live_endpoint").success
    assert graph.traffic == {LOGISTIC: 100}
    rows = graph.home.record.rows("deployments")
    for _ in range(2):
        asked, cursor = automation(graph, cursor)
        assert not asked, "deployed once"
    assert graph.run("live_endpoint").success, "idempotent by version"
    assert graph.home.record.rows("deployments") == rows
    told = graph.told("live_endpoint")
    assert (told["version"], told["traffic"]) == (LOGISTIC, {"2": 100})
    assert told["evidence"]["choice"] == "roll_out"


def test_rolling_back_is_rematerialising_with_a_pinned_version(graph: Graph) -> None:
    graph.on_trial()
    graph.home.play(80)
    assert graph.run("live_endpoint").success
    assert graph.run("live_endpoint", config={"version": ELO, "reason": "complaints"}).success
    assert graph.traffic == {ELO: 100}
    last = deployments.history(graph.home.record, LEAGUE)[-1]
    assert (last.action, last.version, last.reason, last.launched_from) == ("roll_back", LOGISTIC, "complaints", "ui")
    assert deployments.rolled_back(graph.home.record, LEAGUE) == {LOGISTIC}
    refused = graph.run("canary_endpoint")
    assert not refused.success
    assert "was rolled back" in (refused.get_asset_check_evaluations()[0].description or "")


def test_the_last_step_can_be_taken_back_without_naming_a_version(graph: Graph) -> None:
    graph.on_trial()
    assert graph.run("live_endpoint", config={"withdraw": True}).success
    assert graph.traffic == {ELO: 100}


# -- fixtures and forecasts -------------------------------------------------------------------------------------------


def test_the_endpoints_fixtures_are_renewed_once_something_serves(graph: Graph) -> None:
    assert graph.run("endpoint_fixtures").success
    assert graph.told("endpoint_fixtures") == {"endpoint": "none"}
    graph.run("canary_endpoint")
    assert graph.run("endpoint_fixtures").success
    assert graph.told("endpoint_fixtures")["made_at"] == NOW.isoformat(timespec="seconds")


# -- sensors ----------------------------------------------------------------------------------------------------------


def test_a_new_challenger_is_tried_once_and_waits_for_a_free_place(graph: Graph) -> None:
    (first,) = graph.tick("challenger").run_requests or []
    assert first.run_key == "small:canary:2:None"
    graph.run("canary_endpoint", config={"version": ELO})
    (second,) = graph.tick("challenger").run_requests or []
    assert second.run_key == "small:canary:2:1"
    graph.run("canary_endpoint", config={"version": BASE_RATE})
    graph.on_trial()
    assert "serves" in (graph.tick("challenger").skip_message or "")
    graph.run("live_endpoint", config={"withdraw": True})
    assert "was rolled back" in (graph.tick("challenger").skip_message or "")


def test_a_canary_is_judged_once_per_settled_game_day_and_taken_back_when_it_is_worse(graph: Graph) -> None:
    assert "no canary" in (graph.tick("verdict").skip_message or "")
    graph.on_trial()
    assert "no game day" in (graph.tick("verdict").skip_message or "")
    graph.home.play(2)
    (early,) = graph.tick("verdict").run_requests or []
    assert (graph.tick("verdict").run_requests or [])[0].run_key == early.run_key, "the daemon launches a key once"
    graph.home.play(60, worse=BADLY)
    (later,) = graph.tick("verdict").run_requests or []
    assert later.run_key != early.run_key
    assert graph.obey(later).success
    (back,) = graph.tick("verdict").run_requests or []
    assert list(back.asset_selection or []) == [key("live_endpoint")]
    assert graph.obey(back).success
    assert graph.traffic == {ELO: 100}
    last = deployments.history(graph.home.record, LEAGUE)[-1]
    assert (last.action, last.version, last.launched_from) == ("roll_back", LOGISTIC, "sensor")
    assert "worse than the champion" in last.reason
    assert "no canary" in (graph.tick("verdict").skip_message or "")


def test_once_the_verdict_is_to_roll_out_nobody_judges_again(graph: Graph) -> None:
    graph.on_trial()
    graph.home.play(80)
    (request,) = graph.tick("verdict").run_requests or []
    assert graph.obey(request).success
    graph.home.play(81)
    assert "is to be rolled out" in (graph.tick("verdict").skip_message or "")


def test_a_canary_that_answers_badly_is_taken_back_at_once(graph: Graph) -> None:
    assert "no canary" in (graph.tick("canary_health").skip_message or "")
    graph.on_trial()
    assert "nobody answers" in (graph.tick("canary_health").skip_message or "")
    began = graph.tick("canary_health", prediction=Counted.of(graph.home, 100, 50))
    assert "from now on" in (began.skip_message or "")
    well = graph.tick("canary_health", began.cursor, prediction=Counted.of(graph.home, 100_100, 60))
    assert "nothing wrong" in (well.skip_message or ""), "what was before the trial does not count"
    again = graph.tick("canary_health", well.cursor, prediction=Counted.of(graph.home, 100_101, 2, "another"))
    assert "100101 answers" in (again.skip_message or ""), "the new server's are all of this trial"
    request = graph.ask("canary_health", again.cursor, prediction=Counted.of(graph.home, 100_151, 22, "another"))
    assert graph.obey(request).success
    assert graph.traffic == {ELO: 100}
    last = deployments.history(graph.home.record, LEAGUE)[-1]
    assert "20 of 50 forecasts were not the model's own" in last.reason
    assert "'degraded': 20" in last.evidence["canary"]
    assert (last.action, last.version) == ("roll_back", LOGISTIC)


def test_a_withdrawal_that_comes_too_late_leaves_the_next_canary_alone(graph: Graph) -> None:
    graph.on_trial()
    began = graph.tick("canary_health", prediction=Counted.of(graph.home, 0, 0))
    request = graph.ask("canary_health", began.cursor, prediction=Counted.of(graph.home, 100, 100))
    graph.home.rollout.serve({ELO: 90, BASE_RATE: 10}, ANN)
    assert graph.obey(request).success
    assert graph.traffic == {ELO: 90, BASE_RATE: 10}
    assert not deployments.rolled_back(graph.home.record, LEAGUE)
    assert graph.told("live_endpoint")["reason"] == "version 2 is no longer on trial; nothing is changed"


# -- after a run that failed ------------------------------------------------------------------------------------------


@dataclass
class Trouble:
    """Changes of traffic fail while `on`; time passes as a test says."""

    graph: Graph
    on: bool = True
    passed: float = 0.0

    def later(self, minutes: float) -> None:
        self.passed += 60 * minutes


@pytest.fixture
def trouble(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Trouble:
    found, true, clock = Trouble(graph, on=False), LocalPrediction.set_traffic, sensors.time.time

    def set_traffic(self: LocalPrediction, *given: Any) -> Any:
        if found.on:
            raise ServiceError("failed", "the disk is full")
        return true(self, *given)

    monkeypatch.setattr(LocalPrediction, "set_traffic", set_traffic)
    monkeypatch.setattr(sensors.time, "time", lambda: clock() + found.passed)
    return found


def test_a_withdrawal_that_failed_is_asked_for_again_later_each_time(graph: Graph, trouble: Trouble) -> None:
    graph.on_trial()
    cursor = graph.tick("canary_health", prediction=Counted.of(graph.home, 0, 0)).cursor
    ill, keys = Counted.of(graph.home, 100, 100), []
    trouble.on = True
    for pause in (1, 2, 4):
        request = graph.ask("canary_health", cursor, prediction=ill)
        keys.append(request.run_key)
        assert not graph.obey(request).success
        trouble.later(pause - 0.5)
        waits = graph.tick("canary_health", cursor, prediction=ill)
        assert f"{len(keys)} attempts ended" in (waits.skip_message or "") and waits.cursor
        trouble.later(0.6)
    assert len(set(keys)) == 3
    trouble.on = False
    assert graph.obey(graph.ask("canary_health", cursor, prediction=ill)).success
    assert graph.traffic == {ELO: 100}
    assert deployments.rolled_back(graph.home.record, LEAGUE) == {LOGISTIC}


def test_after_a_roll_out_that_failed_the_canary_is_judged_and_rolled_out_again(graph: Graph, trouble: Trouble) -> None:
    graph.on_trial()
    _, cursor = automation(graph, None)
    graph.home.play(80)
    assert graph.obey(graph.ask("verdict")).success
    trouble.on = True
    keys = []
    for _ in range(2):
        assert "waits for nothing else" in (graph.tick("verdict").skip_message or "")
        asked, cursor = automation(graph, cursor)
        assert asked
        assert not graph.run("live_endpoint").success
        asked, cursor = automation(graph, cursor)
        assert not asked, "a run that failed has been handled"
        trouble.later(1.1)
        keys.append(graph.ask("verdict").run_key)
        assert graph.obey(graph.ask("verdict")).success
    assert len(set(keys)) == 2
    trouble.on = False
    assert graph.run("live_endpoint").success
    assert graph.traffic == {LOGISTIC: 100}
    assert "no canary" in (graph.tick("verdict").skip_message or "")


def test_a_challenger_is_tried_again_after_trouble_but_not_after_the_gate(graph: Graph, trouble: Trouble) -> None:
    first = graph.ask("challenger")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalPrediction, "deploy", lambda *given: trouble_with_the_disk())
        assert not graph.obey(first).success
    trouble.later(1.1)
    second = graph.ask("challenger")
    assert second.run_key == f"{first.run_key}:1"
    graph.check_of("results", passed=False)
    assert not graph.obey(second).success
    trouble.later(60)
    assert "the gate refused" in (graph.tick("challenger").skip_message or "")


def trouble_with_the_disk() -> None:
    raise ServiceError("failed", "the disk is full")


# -- the drill --------------------------------------------------------------------------------------------------------


def test_drill_traffic_really_moves_to_the_canary_to_live_and_back(graph: Graph) -> None:
    """With the real server on the loopback: who answers is what its answers say."""
    home = graph.home
    with prediction_server(home.path):
        rows = pd.read_parquet(home.registry.artefacts(LEAGUE, ELO) / HELD_OUT)[list(FEATURES)]

        def answering() -> Counter[int]:
            """By whom each of 120 different games is answered: a customer's answers about one game stay with a version."""
            asked = (rows.iloc[[number]] for number in range(len(rows)))
            return Counter(home.prediction.invoke(LEAGUE, one)[0].version for one in asked)

        assert graph.run("canary_endpoint", config={"version": ELO}).success
        assert set(answering()) == {ELO}
        assert graph.run("canary_endpoint", config={"share": 40}).success
        shares = answering()
        assert set(shares) == {ELO, LOGISTIC}
        assert 0.2 < shares[LOGISTIC] / shares.total() < 0.6
        assert graph.told("canary_endpoint")["endpoint"] == "in_service"
        assert "questions by number" in graph.told("canary_endpoint")["gate"]
        cursor = graph.tick("canary_health").cursor
        answering()
        assert "nothing wrong" in (graph.tick("canary_health", cursor).skip_message or "")

        home.play(80)
        assert graph.run("canary_verdict").success
        assert graph.run("live_endpoint").success
        assert set(answering()) == {LOGISTIC}
        assert graph.run("live_endpoint", config={"version": ELO}).success
        assert set(answering()) == {ELO}
        assert serving(home.record, LEAGUE).versions == (ELO,)
        since = deployments.history(home.record, LEAGUE)[0].at
        at = [deployments.serving_at(home.record, LEAGUE, row.at) for row in deployments.history(home.record, LEAGUE)]
        assert at == [{ELO: 100}, {ELO: 60, LOGISTIC: 40}, {LOGISTIC: 100}, {ELO: 100}]
        assert deployments.serving_at(home.record, LEAGUE, since - timedelta(seconds=1)) == {}


def test_the_daily_job_renews_the_endpoints_fixtures_and_deploys_nothing(graph: Graph) -> None:
    job = graph.location.resolve_job_def(f"{LEAGUE}_game_days")
    selected = {one.path[-1] for one in job.asset_layer.executable_asset_keys}
    assert {"game_features", "endpoint_fixtures"} <= selected
    assert not selected & {"canary_endpoint", "canary_verdict", "live_endpoint"}
