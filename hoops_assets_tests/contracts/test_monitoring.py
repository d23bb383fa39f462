"""What every provider of monitoring keeps."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.monitoring.contract import DriftJob, MonitoringService, look
from hoops_assets.services.training.contract import JobState
from hoops_assets.workloads import drift
from hoops_assets_tests.contracts.providers import Provider
from hoops_assets_tests.workloads.test_drift import spec, with_home_defeats, world

CODE = "c" * 64


@pytest.fixture(scope="module")
def service(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> MonitoringService:
    return provider.monitoring(tmp_path_factory.mktemp("monitoring"))


@pytest.fixture(scope="module")
def games() -> pd.DataFrame:
    return with_home_defeats(world(), 0.3)


def drift_job(games: pd.DataFrame, code: str = CODE) -> DriftJob:
    return DriftJob.of(spec(), {"games": games}, code)


def test_a_job_ends_with_the_report_that_this_process_gives_and_asking_again_reuses_it(
    service: MonitoringService, games: pd.DataFrame
) -> None:
    asked = drift_job(games)
    report = look(service, asked, every=0.05)
    assert report == drift.judge(spec(), {"games": games})
    assert "home_advantage" in {one.name for one in report.red}
    name = service.submit(asked)
    assert name == asked.name
    assert service.poll(name) is JobState.SUCCEEDED
    service.cancel(name)
    assert service.result(name) == report


def test_a_job_that_fails_says_why_and_may_be_asked_again(service: MonitoringService, games: pd.DataFrame) -> None:
    asked = drift_job(games.drop(columns="home_score"))
    with pytest.raises(ServiceError, match=r"drift job hoops-.*-drift-.* failed: .*home_score") as failed:
        look(service, asked, every=0.05)
    assert failed.value.kind == "failed"
    name = service.submit(asked)
    assert name.startswith(asked.name)
    service.cancel(name)
    assert service.poll(name).finished


@pytest.mark.parametrize("call", ["poll", "result", "cancel"])
def test_an_unknown_name_is_not_found(service: MonitoringService, call: str) -> None:
    with pytest.raises(ServiceError, match="no drift job hoops-nothing") as missing:
        getattr(service, call)("hoops-nothing")
    assert missing.value.kind == "not_found"


def test_a_name_is_of_what_goes_in_and_fits_every_provider(games: pd.DataFrame) -> None:
    base = drift_job(games)
    assert base.name == drift_job(games.copy()).name
    long = DriftJob("l" + "_x" * 19 + "y", base.files, base.code)
    others = [drift_job(games.head(900)), drift_job(games, "d" * 64), long]
    assert len({base.name, *(one.name for one in others)}) == 1 + len(others)
    for one in (base, *others):
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", f"{one.name}-99"), one.name
