"""`hoops decide`, `hoops rollback` and `hoops deploy` as a person types them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from hoops_assets.cli import app
from hoops_assets.launch.instance import open_instance
from hoops_assets.services.prediction.trial import serving
from hoops_assets.settings import load_settings
from hoops_assets.store import deployments
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import ELO, LEAGUE, LOGISTIC, NOW, Home, make_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models") / "home")


@pytest.fixture
def home(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home.copy_of(models, tmp_path / "home")
    monkeypatch.setenv("HOOPS_HOME", str(made.path))
    monkeypatch.setenv("HOOPS_NOW", NOW.isoformat())
    monkeypatch.setenv("HOOPS_MLFLOW_TRACKING_URI", "")
    return made


def hoops(*words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_decide_tells_what_should_serve_and_about_how_many_games_it_still_takes(home: Home) -> None:
    assert hoops("decide", LEAGUE)["action"] == "deploy"
    home.on_trial().play(10)
    began = time.perf_counter()
    told = hoops("decide", LEAGUE)
    assert time.perf_counter() - began < 2
    assert (told["serve"], told["action"]) == (ELO, "wait")
    assert f"cannot tell yet, about {told['more_games']} more games" in told["reason"]
    canary = next(one for one in told["ranked"] if one["role"] == "canary")
    assert canary["low"] < canary["gain"] < canary["high"]
    for_people = CliRunner().invoke(app, ["decide", LEAGUE, "--page"])
    assert "version 1 should serve" in for_people.stdout
    file = home.path / "reports" / LEAGUE / "decide.html"
    assert str(file) in for_people.stderr
    page = file.read_text()
    assert told["reason"] in page and "The trial under way" in page and page.count("data:image/png") == 2


def test_rollback_moves_traffic_marks_the_version_and_shows_in_the_ui(home: Home) -> None:
    home.on_trial()
    with small.without_flushing():
        told = hoops("rollback", LEAGUE, "--reason", "complaints")
    assert (told["was"], told["traffic"], told["reason"]) == ([ELO, LOGISTIC], {"1": 100}, "complaints")
    assert home.prediction.describe(LEAGUE).traffic == {ELO: 100}
    assert deployments.rolled_back(home.record, LEAGUE) == {LOGISTIC}
    last = deployments.history(home.record, LEAGUE)[-1]
    assert (last.action, last.version, last.launched_from) == ("roll_back", LOGISTIC, "cli")
    with open_instance(load_settings()) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey([LEAGUE, "live_endpoint"]))
    assert event
    assert event.asset_materialization
    assert event.asset_materialization.metadata["reason"].value == "complaints"


def test_rollback_to_a_version_withdraws_every_other(home: Home) -> None:
    home.on_trial()
    with small.without_flushing():
        assert hoops("rollback", LEAGUE, "--to", str(LOGISTIC))["traffic"] == {"2": 100}
    assert deployments.rolled_back(home.record, LEAGUE) == {ELO}


def test_rollback_works_while_dagsters_instance_is_broken(home: Home) -> None:
    home.on_trial()
    (home.path / "dagster").mkdir(exist_ok=True)
    (home.path / "dagster" / "dagster.yaml").write_text("storage: {nonsense: true}\n")
    assert hoops("rollback", LEAGUE)["traffic"] == {"1": 100}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["rollback", LEAGUE], "nothing serves small"),
        (["rollback", LEAGUE, "--to", "77"], "77"),
        (["decide", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(home: Home, words: list[str], reason: str) -> None:
    from hoops_assets.errors import HoopsError

    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, HoopsError)
    assert reason in str(result.exception)
    assert serving(home.record, LEAGUE).versions == ()


def test_a_registry_that_does_not_answer_changes_nothing_and_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hoops_assets.services.errors import ServiceError
    from hoops_assets.services.registry.local import LocalRegistry

    def silent(*_: object) -> None:
        raise ServiceError("timed_out", "the registry does not answer within 5 s")

    assert home.enter(ELO).endpoint
    for name in ("artefacts", "manifest", "list", "get", "load"):
        if hasattr(LocalRegistry, name):
            monkeypatch.setattr(LocalRegistry, name, silent)
    for words in (["decide", LEAGUE], ["rollback", LEAGUE, "--to", str(LOGISTIC)]):
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, ServiceError) and result.exception.kind == "timed_out", words
        assert "does not answer" in str(result.exception)
    with pytest.raises(ServiceError, match="does not answer"):
        home.enter(LOGISTIC)
    assert home.prediction.describe(LEAGUE).traffic == {ELO: 100}
    assert serving(home.record, LEAGUE).versions == (ELO,)


def test_deploy_is_refused_by_checks_that_never_ran_and_says_so(home: Home) -> None:
    from hoops_assets.errors import HoopsError

    with small.without_flushing():
        result = CliRunner().invoke(app, ["deploy", LEAGUE])
    assert isinstance(result.exception, HoopsError)
    assert "has never run; backfill the league" in str(result.exception)
