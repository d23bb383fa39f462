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
    for_people = CliRunner().invoke(app, ["decide", LEAGUE])
    assert "version 1 should serve" in for_people.stdout


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


def test_deploy_is_refused_by_checks_that_never_ran_and_says_so(home: Home) -> None:
    from hoops_assets.errors import HoopsError

    with small.without_flushing():
        result = CliRunner().invoke(app, ["deploy", LEAGUE])
    assert isinstance(result.exception, HoopsError)
    assert "has never run; backfill the league" in str(result.exception)
