"""Lineage as SageMaker knows it: training set -> training job -> model -> endpoint, mirrored from our record.

What belongs here: writing what is missing there, and reading it back by QueryLineage. The questions of `hoops ask` are
answered from our own record, whoever trained and served; this is for those who look in SageMaker.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hoops_assets.clouds.aws import Aws, dashed, tags
from hoops_assets.services.aws import asked
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.contract import Ancestry, described
from hoops_assets.services.registry.contract import Manifest, ModelVersion
from hoops_assets.services.training.contract import TrainingSet

DATA_SET, MODEL, TRAINING, ENDPOINT = "DataSet", "Model", "ModelTraining", "Endpoint"


class SageMakerLineage:
    """See the contract."""

    provider = "sagemaker"

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def note_model(self, version: ModelVersion, manifest: Manifest) -> None:
        """Training set, job and model of a version. Raises ServiceError."""
        used = manifest.training_set
        with asked(f"noting where {version.name} comes from"):
            data = self._artifact(
                DATA_SET, data_uri(used), used.digest,
                {**described(manifest), "trained_through": used.trained_through.isoformat()},
            )  # fmt: skip
            job = self._action(
                _name(version.training_job), f"hoops://jobs/{version.training_job}", version.league,
                {"learner": version.learner, "parameters": json.dumps(version.parameters), "commit": version.commit,
                 "dirty": str(version.dirty), "lock_digest": version.lock_digest},
            )  # fmt: skip
            model = self._model(version.league, version.version, version.digest)
            self._associate(data, job, "ContributedTo")
            self._associate(job, model, "Produced")

    def note_serving(self, league: str, version: int, digest: str) -> None:
        """That a version serves its league. Raises ServiceError."""
        with asked(f"noting that version {version} serves {league}"):
            model, name = self._model(league, version, digest), context_of(league)
            found = self._known(lambda: self._aws.sagemaker.describe_context(ContextName=name))
            made = found or self._aws.sagemaker.create_context(
                ContextName=name, ContextType=ENDPOINT, Source={"SourceUri": f"hoops://{league}/endpoint"},
                Tags=tags(league, "prediction"),
            )  # fmt: skip
            self._associate(model, made["ContextArn"], "AssociatedWith")

    def ancestry(self, league: str, version: int, digest: str) -> Ancestry:
        """What SageMaker's graph tells of a version. Raises ServiceError not_found."""
        with asked(f"asking for the lineage of {league}/{version}"):
            arn = self._find(MODEL, model_uri(league, version, digest))
            if arn is None:
                raise ServiceError("not_found", f"SageMaker's lineage knows no version {version} of {league}")
            above = {one["Type"]: one["Arn"] for one in self._query(arn, "Ascendants")}
            if not {DATA_SET, TRAINING} <= set(above):
                raise ServiceError("not_found", f"SageMaker's lineage does not say where {league}/{version} comes from")
            data = self._aws.sagemaker.describe_artifact(ArtifactArn=above[DATA_SET])["Properties"]
            job = self._aws.sagemaker.describe_action(ActionName=above[TRAINING].rpartition("/")[2])["Properties"]
            below = [
                league_of(one["Arn"].rpartition("/")[2])
                for one in self._query(arn, "Descendants")
                if one["Type"] == ENDPOINT
            ]
        return Ancestry(
            {name: data[name] for name in ("table", "table_version", "filter", "digest")}, job["commit"],
            json.loads(job["parameters"]), tuple(sorted(below)),
        )  # fmt: skip

    def _query(self, arn: str, direction: str) -> list[dict[str, Any]]:
        asking: dict[str, Any] = {"StartArns": [arn], "Direction": direction, "IncludeEdges": False}
        found: list[dict[str, Any]] = []
        while True:
            page = self._aws.sagemaker.query_lineage(**asking)
            found += page["Vertices"]
            if "NextToken" not in page:
                return found
            asking["NextToken"] = page["NextToken"]

    def _model(self, league: str, version: int, digest: str) -> str:
        told = {"league": league, "version": str(version), "digest": digest[:12]}
        return self._artifact(MODEL, model_uri(league, version, digest), digest[:12], told)

    def _artifact(self, kind: str, uri: str, digest: str, told: dict[str, str]) -> str:
        return self._find(kind, uri) or self._aws.sagemaker.create_artifact(
            ArtifactName=_name(uri), ArtifactType=kind, Properties=told,
            Source={"SourceUri": uri, "SourceTypes": [{"SourceIdType": "Custom", "Value": digest}]},
        )["ArtifactArn"]  # fmt: skip

    def _find(self, kind: str, uri: str) -> str | None:
        found = self._aws.sagemaker.list_artifacts(SourceUri=uri, ArtifactType=kind)["ArtifactSummaries"]
        return found[0]["ArtifactArn"] if found else None

    def _action(self, name: str, uri: str, league: str, told: dict[str, str]) -> str:
        found = self._known(lambda: self._aws.sagemaker.describe_action(ActionName=name))
        made = found or self._aws.sagemaker.create_action(
            ActionName=name, ActionType=TRAINING, Status="Completed", Source={"SourceUri": uri}, Properties=told,
            Tags=tags(league, "training"),
        )  # fmt: skip
        return made["ActionArn"]

    def _associate(self, source: str, destination: str, kind: str) -> None:
        known = self._aws.sagemaker.list_associations(SourceArn=source, DestinationArn=destination)
        if not known["AssociationSummaries"]:
            self._aws.sagemaker.add_association(SourceArn=source, DestinationArn=destination, AssociationType=kind)

    def _known(self, call: Any) -> dict[str, Any] | None:
        try:
            with asked("asking SageMaker"):
                return call()
        except ServiceError as error:
            if error.kind != "not_found":
                raise
            return None


def _name(text: str) -> str:
    """Something to read, within SageMaker's alphabet and length of a name."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text.removeprefix("hoops://")).strip("-")[:120].rstrip("-")


def data_uri(used: TrainingSet) -> str:
    """The source of a training set's artifact."""
    return f"hoops://{used.table}@{used.table_version}/{used.digest[:12]}"


def model_uri(league: str, version: int, digest: str) -> str:
    """The source of a version's artifact."""
    return f"hoops://{league}/models/{version}-{digest[:12]}"


def context_of(league: str) -> str:
    """Name of the context of a league's endpoint."""
    return f"hoops-{dashed(league)}-endpoint"


def league_of(context: str) -> str:
    """The league of an endpoint's context."""
    return context.removeprefix("hoops-").removesuffix("-endpoint").replace("-", "_")
