"""Dagster Pipes for training on SageMaker: what the remote job tells appears in the run while it runs.

What belongs here: the Pipes client, and where in S3 its context and messages stand: PREFIX/LEAGUE/pipes/RANDOM/. Only
that place travels in the job's environment, whose values SageMaker caps at 512 characters. dagster-aws has no client for
SageMaker; its injector and reader are used but for what they lack here: the context stays for as long as a job may still
begin, both are encrypted with the key of the settings, messages are read in the polling loop instead of a thread, and a
chunk that a restarted spot job writes again is read again. dagster-aws is heavy: this module is imported when a job is
first awaited.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.pipes.context import PipesMessageHandler
from dagster_aws.pipes import PipesS3ContextInjector, PipesS3MessageReader
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesContextData, PipesParams, decode_param

from hoops_assets.clouds.aws import Aws
from hoops_assets.services.aws import asked, clean_up
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import JobState, TrainedModel, TrainingJob, wait
from hoops_assets.services.training.sagemaker import SageMakerTraining
from hoops_assets.workloads.telling import MESSAGES

EVERY = 1.0
"""Seconds between two looks at the job and its messages."""


class Injector(PipesS3ContextInjector):
    """Writes the context under a key of its own. It stays, since a job reads it minutes after it was submitted, and
    whoever waited may be gone by then; `Reader.clear` deletes it with the messages.

    Args:
        folder: key prefix, without a slash at its end.
    """

    def __init__(self, aws: Aws, folder: str) -> None:
        super().__init__(bucket=aws.settings.bucket, client=aws.s3)
        self._aws, self._folder = aws, folder

    @contextmanager
    def inject_context(self, context: PipesContextData) -> Iterator[PipesParams]:
        key = f"{self._folder}/context.json"
        with asked("writing whom a training job may tell how it goes"):
            self._aws.put(key, json.dumps(context).encode())
        yield {"bucket": self.bucket, "key": key}


class Reader(PipesS3MessageReader):
    """Reads messages when it is asked to, and deletes them and the context.

    Args:
        folder: key prefix of the messages, until `follow` names another.
    """

    def __init__(self, aws: Aws, folder: str) -> None:
        super().__init__(bucket=aws.settings.bucket, client=aws.s3)
        self._aws, self.folder = aws, folder
        self._read: set[tuple[str, str]] = set()
        self._handler: PipesMessageHandler | None = None

    @contextmanager
    def get_params(self) -> Iterator[PipesParams]:
        yield {"bucket": self.bucket, "key_prefix": self.folder, **self._aws.encryption()}

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        self._handler = handler
        with self.get_params() as params:
            try:
                yield params
            finally:
                self._handler = None

    def follow(self, environment: Mapping[str, str]) -> None:
        """From now on reads what a job with that environment tells, whoever started it."""
        told = decode_param(environment[MESSAGES])["key_prefix"] if MESSAGES in environment else None
        if told != self.folder:  # it was joined, and knows nothing of a folder of ours
            self.clear()
        self.folder = told or self.folder

    def look(self) -> None:
        """Hands on every message that has come since the last look, in the order of their chunks."""
        # The job's own outcome matters more than its messages: what cannot be read now is read at the next look.
        with suppress(ServiceError), asked("reading what a training job tells"):
            self._look()

    def _look(self) -> None:
        assert self._handler is not None
        found = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.folder}/")
        chunks = [
            (item["Key"], item["ETag"])
            for page in found
            for item in page.get("Contents", ())
            if not item["Key"].endswith("/context.json")
        ]
        for key, tag in sorted(set(chunks) - self._read, key=lambda chunk: (len(chunk[0]), chunk[0])):
            content = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode()
            self._read.add((key, tag))
            for line in content.splitlines():
                with suppress(json.JSONDecodeError):
                    message = json.loads(line)
                    if PIPES_PROTOCOL_VERSION_FIELD in message:
                        self._handler.handle_message(message)

    def clear(self) -> None:
        """Deletes the context and the messages."""
        clean_up(self._aws, self._aws.uri(f"{self.folder}/"))


class CompletedTraining(dg.PipesClientCompletedInvocation):
    """A job that succeeded.

    Attributes:
        trained: the model.
        told: what the job told of it, as metadata.
        checks: outcomes that it reported.
    """

    def __init__(self, session: dg.PipesSession, trained: TrainedModel) -> None:
        super().__init__(session)
        self.trained = trained
        reported = session.get_reported_results()
        self.told: dict[str, Any] = {
            name: value
            for result in reported
            if isinstance(result, dg.MaterializeResult)
            for name, value in (result.metadata or {}).items()
        }
        # A job that was interrupted and began again told its checks twice.
        checks = {result.check_name: result for result in reported if isinstance(result, dg.AssetCheckResult)}
        self.checks: Sequence[dg.AssetCheckResult] = [*checks.values()]


class PipesSageMakerTrainingClient(dg.PipesClient):
    """Trains on SageMaker; ending the Dagster run stops the job.

    Log lines appear in the run's log, metrics as observations of the asset as soon as the job knows them; metadata and
    checks are returned. A running job of the same name, left by a run that was killed, is joined and its messages are read
    from the beginning.

    Args:
        every: seconds between two looks.
    """

    def __init__(self, service: SageMakerTraining, aws: Aws, *, every: float = EVERY) -> None:
        self._service, self._aws, self._every = service, aws, every

    def run(  # type: ignore[override]
        self,
        *,
        context: dg.AssetExecutionContext,
        job: TrainingJob,
        frame: pd.DataFrame,
        extras: Mapping[str, Any] | None = None,
    ) -> CompletedTraining:
        """Submits or joins, waits, and returns the model. Raises ServiceError as `wait` does."""
        folder = self._aws.key(job.league, "pipes", secrets.token_hex(8))
        reader, observed = Reader(self._aws, folder), _Observed(context)
        with dg.open_pipes_session(
            context=context, context_injector=Injector(self._aws, folder), message_reader=reader,
            extras={"job": job.name, **(extras or {})},
        ) as session:  # fmt: skip

            def look(name: str, state: JobState) -> None:
                reader.look()
                observed.tell(name, state, session.get_custom_messages())

            name = ""
            try:
                name = self._service.submit(job, frame, session.get_bootstrap_env_vars())
                reader.follow(self._service.environment(name))
                trained = wait(self._service, name, every=self._every, look=look)
            except Exception:
                if not name or (observed.state and observed.state.finished):
                    reader.clear()
                raise  # else the job goes on, and whoever tries again reads all that it has told
            except BaseException:  # the run was ended, and the job with it
                if name:
                    self._service.cancel(name)
                reader.clear()
                raise
            reader.clear()
        return CompletedTraining(session, trained)


class _Observed:
    """Puts the metrics that a job tells on its asset, and its changes of state in the log, each once."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._context, self._told = context, 0
        self.state: JobState | None = None

    def tell(self, name: str, state: JobState, messages: Sequence[Any]) -> None:
        if state is not self.state:
            self._context.log.info(f"training job {name} is {state.value}")
            self.state = state
        for message in messages[self._told :]:
            metrics = message.get("metrics", {}) if isinstance(message, Mapping) else {}
            if metrics:
                self._context.log_event(
                    dg.AssetObservation(self._context.asset_key, metadata={"training_job": name, **metrics})
                )
        self._told = len(messages)
