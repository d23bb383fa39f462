"""What the suites share: one registry with three models, and every provider started once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.clouds.aws import Aws
from hoops_assets.services.prediction.contract import Game, Packed
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.training.contract import TrainedModel, train
from hoops_assets.services.training.local import LocalTraining
from hoops_assets.workloads.serve.bundle import Bundle, Fixture, Fixtures
from hoops_assets_tests.contracts import live
from hoops_assets_tests.contracts.prediction_stages import Stage
from hoops_assets_tests.contracts.providers import PROVIDERS, Provider
from hoops_assets_tests.contracts.recording import Recorder
from hoops_assets_tests.workloads.frames import job, training_frame

LEARNERS = ("elo", "logistic", "base_rate")
"""Version 1, 2 and 3 of `registry`."""

MADE_AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
DAY = date(2026, 11, 24)
TEAMS = {"ANT": "Anthill", "BEE": "Beeford", "CAT": "Catwick", "DOE": "Doewater"}
GAMES = [Game(home="Catwick", away="DOE", day=DAY), Game(home="ant", away="Beeford", day=DAY)]
Pack = Callable[[str, int], Packed]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return training_frame()


@pytest.fixture(scope="session")
def trained(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainedModel]:
    """A finished job of each of LEARNERS, by learner. Do not change their files."""
    service = LocalTraining(tmp_path_factory.mktemp("jobs"))
    return {learner: train(service, job(frame, learner), frame) for learner in LEARNERS}


@pytest.fixture(scope="session")
def registry(trained: dict[str, TrainedModel], tmp_path_factory: pytest.TempPathFactory) -> LocalRegistry:
    registry = LocalRegistry(tmp_path_factory.mktemp("registry"))
    for learner in LEARNERS:
        registry.register(trained[learner])
    return registry


@pytest.fixture(scope="session")
def models(registry: LocalRegistry) -> dict[int, ModelVersion]:
    return {one.version: one for one in registry.list("sim")}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-contracts", action="store_true", help="write what the suites found to services/kept.json"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow_on(provider, ...): slow against these providers")
    config.addinivalue_line("markers", "batch: about batches, not endpoints")
    if config.getoption("--record-contracts", default=False):
        config.pluginmanager.register(Recorder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("slow_on")
        called = getattr(item, "callspec", None)
        if mark and called and called.params.get("provider") in mark.args:
            item.add_marker(pytest.mark.slow)


RUN_AGAINST = ["sagemaker"] if live.wanted() else [*PROVIDERS]


@pytest.fixture(scope="session")
def live_account() -> Iterator[Aws]:
    """A real account, swept when the session ends; asked for only with HOOPS_LIVE=aws."""
    account = live.account()
    sweep = live.Sweep(account)
    yield account
    sweep.run()


if live.wanted():

    @pytest.fixture(scope="module")
    def aws(live_account: Aws) -> Aws:
        """Instead of the emulator's."""
        return live_account


@pytest.fixture(scope="module", params=RUN_AGAINST)
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param](request)


@pytest.fixture
def endpoint() -> str:
    """A league that no other test of the run has."""
    return f"league_{next(_numbers)}"


@pytest.fixture(scope="session")
def pack(registry: LocalRegistry) -> Pack:
    """Packs a version as one of the named league."""

    return partial(packed_of, registry)


def packed_of(registry: Registry, league: str, version: int) -> Packed:
    """A version of league `sim` as one of another league, whose teams are TEAMS."""
    model = registry.get("sim", version)
    bundle = Bundle(
        league=league, version=version, learner=model.learner, digest=model.digest, features=model.features,
        time_zone="America/New_York", teams={**{code: code for code in TEAMS}, **_names()}, base_rate=0.6,
        ratings=dict.fromkeys(TEAMS, 1500.0), home_advantage=100.0, made_at=MADE_AT,
    )  # fmt: skip
    onnx = (registry.artefacts("sim", version) / "model.onnx").read_bytes()
    return Packed(bundle, onnx, coming(league))


def coming(league: str, made_at: datetime = MADE_AT, shift: float = 0.0) -> Fixtures:
    """Two games of DAY; `shift` moves the rating difference of both."""
    fixtures = [
        Fixture(
            game_id=f"{DAY}.{home}.{away}", day=DAY, home=home, away=away, stage="regular", season=2027,
            features={**dict.fromkeys(FEATURES, 0.0), "home_court": 1.0, "elo_difference": difference + shift},
        )
        for home, away, difference in (("ANT", "BEE", 100.0), ("CAT", "DOE", -200.0))
    ]  # fmt: skip
    return Fixtures(
        league=league, made_at=made_at, first_day=DAY, last_day=DAY + timedelta(days=7), fixtures=tuple(fixtures)
    )


def _names() -> dict[str, str]:
    return {name: code for code, name in TEAMS.items()}


@pytest.fixture(scope="session", params=RUN_AGAINST)
def stage(
    request: pytest.FixtureRequest, registry: LocalRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    stage = PROVIDERS[request.param](request).stage(tmp_path_factory.mktemp(request.param) / "home", registry)
    yield stage
    stage.close()
