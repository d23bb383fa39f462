"""`hoops scale`: game nights, and what no server of this machine can."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from hoops_assets.cli import app
from hoops_assets.errors import HoopsError
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.store.frames import results

LEAGUE = "atlantic"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOOPS_HOME", str(tmp_path))
    monkeypatch.setenv("HOOPS_NOW", "2026-11-01T00:00:00+00:00")
    return tmp_path


def test_a_plan_names_the_nights_and_what_they_save(home: Path) -> None:
    games = results([date(2026, 11, 2), date(2026, 11, 4)]).drop(columns=["home_score", "away_score"])
    games["tip_off"] = pd.to_datetime(["2026-11-03T00:00:00Z", "2026-11-05T00:00:00Z"]).as_unit("us")
    DeltaStore(str(home / "tables")).overwrite(LEAGUE, "fixtures", games)
    done = CliRunner().invoke(app, ["scale", "plan", LEAGUE, "--least", "3", "--most", "5", "--json"])
    told = json.loads(done.stdout)
    assert [night["begin"] for night in told["nights"]] == ["2026-11-02T23:00:00Z", "2026-11-04T23:00:00Z"]
    assert {(night["least"], night["most"]) for night in told["nights"]} == {(3, 5)}
    # 53 hours from the first night's begin to the last one's end: one instance, and two more for twice five hours.
    assert (told["hours"], told["planned"], told["flat"]) == (53, 53 + 20, 3 * 53)


def test_without_fixtures_there_is_nothing_to_plan() -> None:
    done = CliRunner().invoke(app, ["scale", "plan", LEAGUE])
    assert done.exit_code == 0
    assert "Game nights: none" in done.stdout


@pytest.mark.parametrize("arguments", [["set", LEAGUE, "2", "4"], ["apply", LEAGUE], ["renew", LEAGUE]])
def test_what_cannot_be_scaled_is_told_so(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["scale", *arguments])
    assert isinstance(done.exception, HoopsError)
    assert "scale" in str(done.exception) or "no endpoint" in str(done.exception)
