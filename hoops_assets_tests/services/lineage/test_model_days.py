"""The ledger of models: a row per model and day, whoever trained, judged or deployed it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from hoops_assets.errors import SettingsError
from hoops_assets.services.lineage.model_days import ModelDay, model_days
from hoops_assets.services.lineage.questions import Places
from hoops_assets.store.deployments import Deployment, append
from hoops_assets.store.record import Record
from hoops_assets_tests.services.lineage.home import LEAGUE, Home

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def rows_of(rows: list[ModelDay], model: str) -> dict[date, ModelDay]:
    return {row.day: row for row in rows if row.model == model}


def test_every_model_has_a_row_for_every_day_on_which_something_happened(made: Home) -> None:
    rows = model_days(made.places, EPOCH)
    assert [row.day for row in rows] == sorted((row.day for row in rows), reverse=True)
    assert len({(row.day, row.model) for row in rows}) == len(rows)
    first, newest = rows_of(rows, f"{LEAGUE}/1"), rows_of(rows, f"{LEAGUE}/12")
    assert [act.what for act in first[date(2026, 1, 1)].trained] == ["trained (local)"]
    assert [act.what for act in first[date(2026, 4, 12)].deployed] == ["traffic, 0 % to 100 %"]
    assert [act.what for act in first[date(2026, 5, 12)].deployed] == ["traffic, 100 % to 90 %"]
    assert [act.what for act in first[date(2026, 5, 13)].deployed] == ["traffic, 90 % to 0 %"]
    (canary,) = newest[date(2026, 5, 12)].deployed
    assert (canary.what, canary.by, canary.reason) == ("deploy, 0 % to 10 %", "canary_verdict", "passed the gate")
    assert canary.evidence == {"gain": 0.01}
    assert {row.learner for row in rows} == {"logistic"}


def test_only_what_happened_since_is_told(made: Home) -> None:
    rows = model_days(made.places, datetime(2026, 5, 13, tzinfo=UTC), LEAGUE)
    assert {(row.day, row.model) for row in rows} == {
        (date(2026, 5, 13), f"{LEAGUE}/1"),
        (date(2026, 5, 13), f"{LEAGUE}/12"),
    }
    assert not model_days(made.places, datetime(2026, 6, 1, tzinfo=UTC))


def test_a_day_is_the_leagues_own(made: Home) -> None:
    """Version 3 was trained at 18:00, version 4 at midnight UTC, which was the same day in New York."""
    rows = model_days(made.places, EPOCH)
    assert date(2026, 1, 1) in rows_of(rows, f"{LEAGUE}/3")
    assert date(2026, 1, 1) in rows_of(rows, f"{LEAGUE}/4")


def test_judgements_are_namings_and_marks(made: Home, tmp_path: Path) -> None:
    shutil.copytree(made.places.registry / LEAGUE / "000001", tmp_path / "registry" / LEAGUE / "000001")
    (tmp_path / "registry" / LEAGUE / "challengers.json").write_text(
        json.dumps([{"at": "2026-02-01T12:00:00Z", "version": 1, "named_by": "me@here", "evidence": {"n": 3}}])
    )
    record = Record(tmp_path / "record.db")
    append(record, Deployment(
        league=LEAGUE, action="mark", version=1, traffic={}, decided_by="canary_verdict", reason="worse", provider="local",
        launched_from="sensor", at=datetime(2026, 2, 1, 13, tzinfo=UTC),
    ))  # fmt: skip
    rows = rows_of(model_days(Places(tmp_path, "", record.url), EPOCH), f"{LEAGUE}/1")
    judged = rows[date(2026, 2, 1)].judged
    assert [(act.what, act.by) for act in judged] == [
        ("named challenger", "me@here"),
        ("mark, share unchanged", "canary_verdict"),
    ]
    assert not rows[date(2026, 2, 1)].deployed


def test_a_league_whose_file_is_gone_does_not_hide_the_others(made: Home, tmp_path: Path) -> None:
    shutil.copytree(made.places.registry / LEAGUE, tmp_path / "registry" / LEAGUE)
    shutil.copytree(made.places.registry / LEAGUE, tmp_path / "registry" / "gone")
    places = Places(tmp_path, "", f"sqlite:///{tmp_path / 'record.db'}")
    assert {row.league for row in model_days(places, EPOCH)} == {LEAGUE}
    with pytest.raises(SettingsError, match="no league 'gone'"):
        model_days(places, EPOCH, "gone")
