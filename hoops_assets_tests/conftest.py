"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hoops_assets.clouds.aws import Aws
    from hoops_assets.emulators.aws import AwsEmulator

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real games, odds and posts; never part of the project."""
    folder = Path(os.environ.get("HOOPS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set HOOPS_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def aws_emulator() -> Iterator[AwsEmulator]:
    """SageMaker and S3 on loopback, one for all tests; ask for `aws` to find it empty."""
    from hoops_assets.emulators.aws import AwsEmulator

    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def aws(aws_emulator: AwsEmulator) -> Iterator[Aws]:
    """Clients of the emulator as just started, with an empty bucket; boto3's variables point there."""
    from hoops_assets.clouds.aws import Aws
    from hoops_assets.settings import AwsSettings

    aws_emulator.reset()
    settings = AwsSettings(
        region=aws_emulator.region,
        bucket="hoops-test",
        role="arn:aws:iam::123456789012:role/hoops",
        image="123456789012.dkr.ecr.us-east-1.amazonaws.com/hoops:1",
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_emulator.environment().items():
            patch.setenv(name, value)
        aws = Aws(settings)
        aws.s3.create_bucket(Bucket=settings.bucket)
        yield aws


@pytest.fixture
def emulator(aws_emulator: AwsEmulator, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsEmulator]:
    """As just started, with the bucket; boto3 waits for nothing between its tries; no process outlives the test."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    aws_emulator.reset()
    aws.s3.create_bucket(Bucket=aws.settings.bucket)
    yield aws_emulator
    aws_emulator.faults.clear()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URI of an empty place in a bucket of an emulator of its own: delta-rs waits while it holds the interpreter's lock."""
    from hoops_assets_tests.emulators.accounts import EmulatorProcess, account

    emulator = EmulatorProcess()
    try:
        name = account(emulator.environment).settings.bucket
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in emulator.environment.items():
                patch.setenv(variable, value)
            yield f"s3://{name}/tables"
    finally:
        emulator.close()


LONGEST = ("soak", "ui", "chaos", "launch", "cli")
"""Folders that begin first, so that no worker waits for another at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {folder: number for number, folder in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(LONGEST)))


FIGURE = "figure"
Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Says something measured; the lines of all tests stand at the end of a run, whichever worker found them."""
    return partial(record_property, FIGURE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests have measured; how many faults those of chaos have struck, and what was lost by them."""
    from hoops_assets_tests.chaos import tally

    ended = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    reports = [report for report in ended if report.when == "call"]
    figures = [str(told) for report in reports for name, told in report.user_properties if name == FIGURE]
    for title, lines in (("figures", figures), ("chaos: faults and losses", tally.summary(reports))):
        if lines:
            terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server; ask for `record_url` to find a database of the test's own."""
    from hoops_assets_tests.postgres import postgres

    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def record_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a record is kept: everything that holds of it holds on either database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'record.db'}"
    from hoops_assets_tests.postgres import own_database

    return own_database(request.getfixturevalue("postgres_server"))
