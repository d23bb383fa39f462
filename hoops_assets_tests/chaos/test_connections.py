"""The connections to PostgreSQL are cut, or the database itself crashes, while a run is under way."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psycopg2
import pytest

from hoops_assets.store.record import Record
from hoops_assets_tests.chaos.driver import ENDED, NOT_KILLED, Driver
from hoops_assets_tests.chaos.homes import Homes, assert_old_or_new, assert_undisturbed, state_of
from hoops_assets_tests.chaos.matrix import LIFE
from hoops_assets_tests.chaos.tally import Tally
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.postgres import database, postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEP = "first backfill"

CUT = (
    ["commit.before:history", "record.before_commit:launches", "buffer.before_commit:2", "commit.after:fixtures",
     "commit.before:team_form", "record.after_commit:launches:2"],
    ["commit.after:history", "record.after_commit:launches", "commit.before:fan_posts", "commit.after:results",
     "commit.before:predictions", "record.before_commit:launches:2"],
)  # fmt: skip
CRASHED = ["record.before_commit:launches", "commit.after:fan_sentiment"]

CHAINS = [
    *(pytest.param("connections cut", "", chain, id=f"cut: {chain[0]}") for chain in CUT),
    pytest.param("database crashed", "crash ", CRASHED, id="crash"),
]


_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.mark.parametrize(("kind", "how", "chain"), CHAINS)
def test_a_backfill_that_loses_its_database_again_and_again_ends_as_if_undisturbed(
    driver: Driver, homes: Homes, tally: Tally, tmp_path: Path, server: str, kind: str, how: str, chain: list[str]
) -> None:
    """A run may outlive it; then the next fault strikes a new home, else it strikes the run that is tried again."""
    done, left = homes.state(STEP), list(chain)
    while left:
        home = small.make_home(tmp_path / f"home{len(left)}")
        with database(server, f"chaos{next(_NUMBERS)}") as given:
            url = Record(given).url
            options, before, status = {**LIFE[STEP].options, "postgres": url}, homes.state(""), -1
            with mock.patch.dict(os.environ, {"DAGSTER_POSTGRES_URL": url}):
                while left and status == -1:
                    status = driver.run(home, LIFE[STEP].what, fault=left.pop(0), ends=f"{how}{given}", **options)
                    (home / ENDED).unlink()  # the fault has struck
                    tally.strike(kind)
                    assert status in (NOT_KILLED, -1)
                    _wait(given)
                    now = state_of(home, url)
                    assert_old_or_new(before, now, done)
                    before = now
                assert driver.run(home, LIFE[STEP].what, **options) == NOT_KILLED, (home / "said.txt").read_text()
                assert_undisturbed(state_of(home, url), done, runs=False)
    tally.survived()


def _wait(url: str) -> None:
    """Until the database has recovered."""
    for _ in range(200):
        try:
            psycopg2.connect(url).close()
            return
        except psycopg2.OperationalError:
            time.sleep(0.05)
    pytest.fail("the database does not come back")
