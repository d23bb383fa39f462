"""An account on the emulator, as a test finds it.

What belongs here: settings and clients with an empty bucket, and the emulator as a process of its own. Credentials come
by the environment, as anywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from typing import Any

from hoops_assets.clouds.aws import Aws
from hoops_assets.settings import AwsSettings

ROLE = "arn:aws:iam::123456789012:role/hoops"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/hoops:1"


def account(environment: dict[str, str], **changes: Any) -> Aws:
    """Clients with a new bucket; boto3's credentials are set for the rest of the process, its address is not."""
    settings = AwsSettings(
        region=environment["AWS_DEFAULT_REGION"], bucket="hoops-test", role=ROLE, image=IMAGE, **changes
    )  # fmt: skip
    for name, value in environment.items():
        if name != "AWS_ENDPOINT_URL":
            os.environ.setdefault(name, value)
    aws = Aws(settings, environment["AWS_ENDPOINT_URL"])
    aws.s3.create_bucket(Bucket=settings.bucket)
    return aws


class EmulatorProcess:
    """`python -m hoops_assets.emulators.aws`, so that a test's emulator is nobody else's."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hoops_assets.emulators.aws", "--attended"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = iter(self.process.stdout.readline, "\n")
        self.environment = dict(line.strip().split("=", 1) for line in told if line)

    def fault(self, **told: object) -> None:
        self._ask("POST", json.dumps(told).encode())

    def clear(self) -> None:
        self._ask("DELETE")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def _ask(self, method: str, body: bytes | None = None) -> None:
        url = f"{self.environment['AWS_ENDPOINT_URL']}/hoops/faults"
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10) as answer:
            assert answer.status == 200
