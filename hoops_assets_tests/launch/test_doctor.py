"""The doctor names what is ill and what to do, and is silent about nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from hoops_assets.launch import doctor
from hoops_assets.launch.doctor import Finding, examine
from hoops_assets.launch.limits import Limit
from hoops_assets.settings import Settings
from hoops_assets_tests.launch import small_league as small


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        yield


def _look(home: Path, **settings: object) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(Settings.model_validate({"home": home, **settings}))}


def test_a_new_home_is_well_but_for_what_was_not_yet_done(tmp_path: Path) -> None:
    found = _look(tmp_path / "home")
    assert {finding.state for finding in found.values()} <= {"well", "warning"}
    assert found["league atlantic"].to_do == "run: hoops backfill atlantic"
    assert found["Dagster daemon"].to_do == "start it: hoops up"
    assert all(finding.to_do for finding in found.values() if finding.state != "well")


def test_another_release_of_a_dagster_library_is_ill(tmp_path: Path) -> None:
    real = doctor.metadata.version
    other = {"dagster-gcp": "0.11.14"}
    with mock.patch.object(doctor.metadata, "version", lambda name: other.get(name) or real(name)):
        found = _look(tmp_path / "home")
    assert found["Dagster's release"].state == "ill"
    assert "dagster-gcp 0.11.14 instead of 0.29.27" in found["Dagster's release"].found


def test_a_league_that_cannot_be_read_and_a_secret_that_is_not_set_are_ill(tmp_path: Path) -> None:
    home = small.make_home(tmp_path / "home")
    (home / "leagues" / "typo.yaml").write_text("nmae: typo\n")
    file = home / "leagues" / "small.yaml"
    posts = "posts: {kind: simulated, posts_per_game: 2}"
    secrets = "client_id_env: SOME_CLIENT_ID, client_secret_env: SOME_SECRET"
    reddit = f"posts: {{kind: reddit, subreddits: {{ant: ANT}}, {secrets}, user_agent: x}}"
    file.write_text(file.read_text().replace(posts, reddit))
    os.environ["SOME_CLIENT_ID"] = "known"
    found = _look(home)
    assert found["league typo"].state == "ill" and "nmae" in found["league typo"].found
    assert found["secrets of small"].found == "SOME_SECRET not set"
    os.environ["SOME_SECRET"] = "known"
    assert _look(home)["secrets of small"].state == "well"


def test_a_damaged_record_is_ill_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    (tmp_path / "record.db").write_text("no database" * 100)
    found = _look(tmp_path)
    assert found["the record"].state == "ill" and "record.db" in found["the record"].found
    assert found["registry"].state == "well"


def test_a_damaged_dagster_database_is_ill_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "dagster" / "history"
    folder.mkdir(parents=True)
    (folder / "runs.db").write_text("no database" * 1000)
    found = _look(tmp_path)
    assert found["the dagster instance"].state == "ill"
    assert "move it away" in found["the dagster instance"].found
    assert found["registry"].state == "well"


def test_an_examination_that_breaks_is_a_finding(tmp_path: Path) -> None:
    def breaks(settings: Settings) -> Iterator[Finding]:
        """The weather."""
        raise RuntimeError("too many retries for the connection")

    with mock.patch.object(doctor, "EXAMINATIONS", (breaks, doctor._clock)):
        (found,) = _look(tmp_path).values()
    assert (found.what, found.state) == ("the weather", "ill")
    assert found.found == "RuntimeError: too many retries for the connection"


def test_pools_without_the_limits_that_the_settings_want_are_told(tmp_path: Path) -> None:
    limits = [Limit("training", 1, 1), Limit("endpoint", 1, None), Limit("source_simulated", 8, 4)]
    with mock.patch("hoops_assets.launch.limits.limits", lambda settings: limits):
        (found,) = doctor._pools(Settings(home=tmp_path))
    assert found.found == "endpoint not set (wanted 1), source_simulated 4 (wanted 8)"
    assert found.to_do == "set them: hoops limits apply"


def test_addresses_of_alerts_are_tried_and_never_repeated(tmp_path: Path) -> None:
    os.environ.pop("ALERT_URLS", None)
    assert [one.state for one in doctor._alerts(Settings(home=tmp_path))] == ["well"]
    os.environ["ALERT_URLS"] = "json://127.0.0.1:1/a jsno//secretword"
    (found,) = doctor._alerts(Settings(home=tmp_path))
    assert found.state == "ill" and "address 2 of 2" in found.found and "secretword" not in found.found
    os.environ["ALERT_URLS"] = "json://127.0.0.1:1/a"
    assert [one.found for one in doctor._alerts(Settings(home=tmp_path))] == ["go to 1 addresses"]


def test_a_pretended_clock_is_told(tmp_path: Path) -> None:
    (found,) = doctor._clock(Settings(home=tmp_path, now=datetime(2024, 1, 1, tzinfo=UTC)))
    assert "2024-01-01" in found.found


def test_a_home_that_cannot_be_written_is_ill(tmp_path: Path) -> None:
    with mock.patch.object(doctor.os, "access", lambda path, mode: mode != os.W_OK):
        (found,) = doctor._home(Settings(home=tmp_path))
    assert (found.state, found.to_do) == ("ill", "set HOOPS_HOME to a folder of yours")
