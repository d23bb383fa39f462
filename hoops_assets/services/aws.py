"""What the SageMaker providers of all steps share.

What belongs here: an SDK's error as one of ours, the settings that a step cannot do without, archives of models.
"""

from __future__ import annotations

import io
import logging
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoops_assets.clouds.aws import Aws, explain, kind_of
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.services.errors import ErrorKind, ServiceError
from hoops_assets.settings import AwsSettings
from hoops_assets.store import atomic

if TYPE_CHECKING:
    from hoops_assets.services.registry.contract import ModelVersion
    from hoops_assets.workloads.serve.bundle import Bundle

_REFUSALS: dict[int, ErrorKind] = {
    400: "invalid", 401: "permission", 403: "permission", 404: "not_found", 413: "invalid", 415: "invalid",
    422: "invalid", 429: "throttled",
}  # fmt: skip
NEEDED = ("region", "bucket", "role", "image")
_log = logging.getLogger(__name__)


def connect(settings: AwsSettings, endpoint_url: str | None = None) -> Aws:
    """Clients by the settings. Raises ServiceError invalid if one that every step needs is missing."""
    missing = unset_of(settings)
    if missing:
        told = ", ".join(f"aws.{name} (HOOPS_AWS__{name.upper()})" for name in missing)
        raise ServiceError("invalid", f"a step has provider sagemaker, but these settings are missing: {told}")
    return Aws(settings, endpoint_url)


def unset_of(settings: AwsSettings) -> list[str]:
    """Names of the settings that every step needs and that are not set."""
    return [name for name in NEEDED if not getattr(settings, name)]


@contextmanager
def asked(doing: str) -> Iterator[None]:
    """Turns an SDK's error inside into a ServiceError of its kind that begins with what was being done."""
    try:
        yield
    except ServiceError:
        raise
    except Exception as error:
        kind = kind_of(error)
        if kind is None:
            raise
        raise ServiceError(kind, f"{doing}: {explain(error)}") from error


def one_by_one(versions: Iterable[ModelVersion], doing: str, act: Callable[[ModelVersion], None]) -> list[str]:
    """Does it to every version; returns what was refused of single ones, which stops none after it.

    Raises:
        ServiceError: transient, or permission: the next version would fare no better.
    """
    refused: list[str] = []
    for version in versions:
        try:
            with asked(f"{doing} {version.name}"):
                act(version)
        except HoopsError as error:
            if isinstance(error, ServiceError) and (error.transient or error.kind == "permission"):
                raise
            refused.append(str(error))
    return refused


def clean_up(aws: Aws, uri: str) -> None:
    """Deletes all objects under a URI after something else was done or went wrong, which matters more: if it cannot, it
    says so in the log."""
    try:
        with asked(f"deleting {uri}"):
            aws.delete_under(uri)
    except ServiceError as error:
        _log.warning("%s; objects of no use are left there", error)


@contextmanager
def refusal_of(doing: str) -> Iterator[None]:
    """Turns what a container of ours refused (SageMaker's ModelError) into the kind of its own HTTP status."""
    try:
        yield
    except Exception as error:
        answer: dict[str, Any] = getattr(error, "response", {})
        if answer.get("Error", {}).get("Code") != "ModelError":
            raise
        status, told = answer.get("OriginalStatusCode", 500), answer.get("OriginalMessage", str(error))
        raise ServiceError(_REFUSALS.get(status, "failed"), f"{doing}: {told}") from error


def kind_of_reason(reason: str) -> ErrorKind:
    """What kind of failure a job's or an endpoint's FailureReason tells of: AWS's own trouble may pass, ours does not."""
    if reason.startswith(("CapacityError", "ResourceLimitExceeded")) or "Unable to provision requested" in reason:
        return "quota"
    return "throttled" if reason.startswith("InternalServerError") else "failed"


def over_its_limit(told: Mapping[str, Any]) -> bool:
    """Whether its stopping condition stopped a processing job, by its description: there is no status for that alone."""
    if told["ProcessingJobStatus"] != "Stopped" or "ProcessingStartTime" not in told:
        return False
    ran = (told["ProcessingEndTime"] - told["ProcessingStartTime"]).total_seconds()
    return ran >= told["StoppingCondition"]["MaxRuntimeInSeconds"]


def unpack(aws: Aws, uri: str, final: Path) -> None:
    """Downloads a tar.gz and unpacks it as a folder that appears whole; a folder that stands there is replaced.

    Raises:
        ServiceError: failed (the archive is damaged), not_found, permission and the other kinds of a download.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".unpack-") as temporary:
        archive, folder = Path(temporary) / "model.tar.gz", Path(temporary) / "folder"
        with asked(f"downloading {uri}"):
            aws.fetch(uri, archive)
        try:
            with tarfile.open(archive, "r:gz") as opened:
                opened.extractall(folder, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ServiceError("failed", f"{uri} is not a whole archive ({error}); ask for the job again") from error
        if final.exists():
            shutil.rmtree(final)
        atomic.commit_folder(folder, final)


def archive_of(bundle: Bundle, onnx: bytes) -> bytes:
    """The bundle as SageMaker's model.tar.gz. Raises ServiceError failed if it does not load here."""
    from hoops_assets.workloads.serve import bundle as files
    from hoops_assets.workloads.serve.endpoint import LoadedVariant

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        try:
            files.write_bundle(folder, bundle, onnx)
            LoadedVariant.load(folder, files.Variant(version=bundle.version, bundle=".", traffic=100), None)
        except ModelError as error:
            raise ServiceError("failed", str(error)) from error
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=6) as archive:
            for name in (files.BUNDLE, files.MODEL):
                archive.add(folder / name, arcname=name)
        return out.getvalue()


def bare_bundle(version: ModelVersion) -> Bundle:
    """A bundle that answers rows of features and knows no team."""
    from hoops_assets.workloads.serve.bundle import Bundle

    return Bundle(
        league=version.league, version=version.version, learner=version.learner, digest=version.digest,
        features=version.features, time_zone="UTC", teams={}, base_rate=0.5, ratings={}, home_advantage=0.0,
        made_at=version.created_at,
    )  # fmt: skip
