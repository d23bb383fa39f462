"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hoops_assets_tests.chaos.driver import Driver
from hoops_assets_tests.chaos.homes import Homes
from hoops_assets_tests.chaos.tally import Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts the faults of this test."""
    return Tally(request.node.user_properties)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with Driver(tmp_path_factory.mktemp("driver") / "server") as driver:
        yield driver


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory, driver: Driver) -> Homes:
    return Homes(tmp_path_factory.mktemp("homes"), driver)
