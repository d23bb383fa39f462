"""A mirror of the registry in MLflow, for people who look there. Never the record: it can be thrown away and repaired.

What belongs here: writing what MLflow lacks. Imported lazily: mlflow is heavy. Each version becomes one run
(parameters, metrics, tags) and one model version of the registered model named as the league; the tag `hoops.version`
gives our number. The version's source is our own folder, which holds an MLmodel file, so `models:/LEAGUE@challenger`
loads where that folder can be read; a tracking server reached over HTTP refuses local folders and is sent a copy.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from hoops_assets.services.registry.contract import MirrorReport, ModelVersion, Registry
from hoops_assets.services.training.contract import artefact_folder
from hoops_assets.store import atomic
from hoops_assets.store.faults import fault_point
from hoops_assets.workloads.spec import HISTORY

# MLflow's own defaults let an unreachable server hold a run for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
# What MLflow does to its own database is no news to the user of a mirror.
for _noisy in ("mlflow", "alembic"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)

ALIAS = "challenger"
AT_ONCE = 1000
"""Metrics that MLflow takes in one request."""
_DIGEST = "hoops.digest"
_VERSION = "hoops.version"
_log = logging.getLogger(__name__)


class MlflowMirror:
    """Mirrors to one tracking server or database.

    Args:
        tracking_uri: MLflow's, for example sqlite:////home/me/.hoops/mlflow.db or http://host:5000.
        folder: for the lock and for what others log to the mirror's experiments; ours stays where it is.
    """

    def __init__(self, tracking_uri: str, folder: Path) -> None:
        self.tracking_uri = tracking_uri
        self.folder = Path(folder)
        self._over_http = urlsplit(tracking_uri).scheme in ("http", "https")

    def repair(self, registry: Registry, league: str) -> MirrorReport:
        """Adds the versions that the mirror lacks, and points its alias at the challenger. Repeating changes nothing.

        A failure is logged and reported, never raised: a mirror must not stop what it mirrors.
        """
        report = MirrorReport()
        try:
            with atomic.locked(self.folder / ".mirror.lock"):
                self._repair(registry, league, report)
        except Exception as error:  # whatever a tracking server may answer
            report.problem = f"{type(error).__name__}: {str(error)[:500]}"
            _log.warning(
                "the MLflow mirror at %s lacks versions of league %s: %s. The registry itself is complete; the next"
                " repair adds them once the mirror answers", self.tracking_uri, league, report.problem,
            )  # fmt: skip
        return report

    def _repair(self, registry: Registry, league: str, report: MirrorReport) -> None:
        versions = registry.list(league)
        if not versions:
            return
        client = self._client()
        mirrored = self._mirrored(client, league)
        experiment = self._experiment(client, league)
        for version in versions:
            if version.digest in mirrored:
                report.present += 1
                continue
            mirrored[version.digest] = self._add(client, experiment, version)
            report.added.append(version.version)
        challenger = registry.challenger(league)
        if challenger is not None:
            number = mirrored[challenger.digest]
            if client.get_registered_model(league).aliases.get(ALIAS) != number:
                client.set_registered_model_alias(league, ALIAS, number)

    def _client(self) -> MlflowClient:
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def _mirrored(self, client: MlflowClient, league: str) -> dict[str, str]:
        """MLflow's number of each mirrored version, by digest. Makes the registered model if it is missing."""
        try:
            client.create_registered_model(league, tags={"hoops.league": league})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found: dict[str, str] = {}
        token: str | None = None
        while True:
            page = client.search_model_versions(f"name = '{league}'", max_results=1000, page_token=token)
            found |= {version.tags[_DIGEST]: str(version.version) for version in page if _DIGEST in version.tags}
            token = page.token
            if not token:
                return found

    def _experiment(self, client: MlflowClient, league: str) -> str:
        existing = client.get_experiment_by_name(league)
        if existing is not None:
            return existing.experiment_id
        where = None if self._over_http else (self.folder.absolute() / "mlflow_artifacts").as_uri()
        return client.create_experiment(league, artifact_location=where)

    def _add(self, client: MlflowClient, experiment: str, version: ModelVersion) -> str:
        """Writes one version; a run left by an earlier repair that was killed is completed, not doubled."""
        tags = _tags(version)
        left = client.search_runs([experiment], f"tags.`{_DIGEST}` = '{version.digest}'", max_results=1)
        made = int(version.created_at.timestamp() * 1000)
        run = left[0] if left else client.create_run(experiment, made, tags, version.name)
        parameters = [Param(name, value) for name, value in _parameters(version).items()]
        metrics = [*(Metric(name, value, made, 0) for name, value in version.metrics.items()), *_steps(version, made)]
        client.log_batch(run.info.run_id, params=parameters)
        for start in range(0, len(metrics), AT_ONCE):
            client.log_batch(run.info.run_id, metrics=metrics[start : start + AT_ONCE])
        client.set_terminated(run.info.run_id)
        fault_point("mirror.before_version")
        source = version.uri
        if self._over_http:
            client.log_artifacts(run.info.run_id, str(artefact_folder(version.uri)), "model")
            source = f"{run.info.artifact_uri}/model"
        made_version = client.create_model_version(version.league, source=source, run_id=run.info.run_id, tags=tags)
        fault_point("mirror.after_version")
        return str(made_version.version)


def _steps(version: ModelVersion, made: int) -> list[Metric]:
    """Losses after each step of training, as MLflow draws them; none of a learner that does not learn in steps."""
    if HISTORY not in version.artefacts:
        return []
    history = json.loads((artefact_folder(version.uri) / HISTORY).read_bytes())
    return [
        Metric(f"training/{name}", value, made, step)
        for name in ("train_log_loss", "validation_log_loss")
        for step, value in enumerate(history[name], start=1)
    ]


def _parameters(version: ModelVersion) -> dict[str, str]:
    own = {name: value if isinstance(value, str) else json.dumps(value) for name, value in version.parameters.items()}
    return {"learner": version.learner, "trained_through": str(version.trained_through), **own}


def _tags(version: ModelVersion) -> dict[str, Any]:
    return {
        _DIGEST: version.digest,
        _VERSION: str(version.version),
        "hoops.league": version.league,
        "hoops.learner": version.learner,
        "hoops.uri": version.uri,
        "hoops.manifest_digest": version.manifest_digest,
        "hoops.training_job": version.training_job,
        "hoops.dirty": json.dumps(version.dirty),
        "hoops.lock_digest": version.lock_digest,
        "hoops.created_by": version.created_by,
        "mlflow.source.git.commit": version.commit,
        "mlflow.user": version.created_by,
    }
