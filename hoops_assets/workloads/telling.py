"""What a job tells whoever watches it while it runs.

What belongs here: the listener that a workload talks to, and who listens: nobody, or Dagster by its Pipes protocol over
S3. Dagster listens if the job was given the protocol's two variables and finds the packages dagster-pipes and boto3; the
image needs neither. A listener that cannot be reached never fails a job.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

CONTEXT, MESSAGES = "DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES"
"""Pipes' own variables; each holds only where in S3 something stands, because SageMaker caps a value at 512 characters."""

EVERY = 1.0
"""Seconds between two parcels of messages."""


class Listener:
    """Nobody listens."""

    def log(self, text: str) -> None:
        """One line of progress."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Figures as soon as they are known."""

    def metadata(self, values: Mapping[str, Any]) -> None:
        """Facts of the finished model, told once; each value a string or a number."""

    def check(self, name: str, passed: bool, values: Mapping[str, Any]) -> None:
        """The outcome of a check that the asset declares, with its figures."""


class Lines(Listener):
    """Hears lines of progress alone. Args: say: takes each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def log(self, text: str) -> None:
        self._say(text)


_CURRENT: ContextVar[Listener | None] = ContextVar("listener", default=None)


def current() -> Listener:
    """Whoever listens to jobs of this process."""
    return _CURRENT.get() or Listener()


@contextmanager
def listening(one: Listener) -> Iterator[None]:
    """Within the `with` block jobs that run in this process tell `one`."""
    token = _CURRENT.set(one)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def listener() -> Iterator[Listener]:
    """Whoever listens to this process; told that it ends when the `with` block does."""
    if MESSAGES not in os.environ or CONTEXT not in os.environ:
        yield Listener()
        return
    try:
        pipes = _open_pipes()
    except Exception as error:  # a package is missing, or S3 refuses: the job matters more than its audience
        sys.stderr.write(f"nobody listens to this job: {type(error).__name__}: {error}\n")
        yield Listener()
        return
    with pipes:
        yield _Dagster(pipes)


class _Dagster(Listener):
    def __init__(self, pipes: Any) -> None:
        self._pipes = pipes

    def log(self, text: str) -> None:
        self._pipes.log.info(text)

    def metrics(self, values: Mapping[str, float]) -> None:
        self._pipes.report_custom_message({"metrics": dict(values)})

    def metadata(self, values: Mapping[str, Any]) -> None:
        self._pipes.report_asset_materialization(metadata=dict(values))

    def check(self, name: str, passed: bool, values: Mapping[str, Any]) -> None:
        self._pipes.report_asset_check(check_name=name, passed=passed, metadata=dict(values))


def _open_pipes() -> Any:
    import boto3
    import dagster_pipes as pipes

    encryption: dict[str, str] = {}

    class Channel(pipes.PipesS3MessageWriterChannel):
        """Dagster's own waits up to ten seconds and then a whole one more before it lets the process end."""

        def _upload_loop(self, is_session_closed: Any) -> None:
            while True:
                closing = is_session_closed.wait(EVERY)
                found = self.flush_messages()
                if found:
                    self.upload_messages_chunk(io.StringIO("\n".join(map(json.dumps, found))), self._counter)
                    self._counter += 1
                if closing:
                    return

        def upload_messages_chunk(self, payload: Any, index: int) -> None:
            key = f"{self._key_prefix}/{index}.json"
            self._client.put_object(Body=payload.read(), Bucket=self._bucket, Key=key, **encryption)

    class Writer(pipes.PipesS3MessageWriter):
        def make_channel(self, params: Any) -> Any:
            encryption.update(
                {name: params[name] for name in ("ServerSideEncryption", "SSEKMSKeyId") if name in params}
            )
            return Channel(self._client, params["bucket"], params["key_prefix"])

    s3 = boto3.client("s3")
    return pipes.open_dagster_pipes(context_loader=pipes.PipesS3ContextLoader(s3), message_writer=Writer(s3))
