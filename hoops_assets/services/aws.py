"""What the SageMaker providers of all steps share.

What belongs here: an SDK's error as one of ours, the settings that a step cannot do without, folders from an archive.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hoops_assets.clouds.aws import Aws, explain, kind_of
from hoops_assets.services.errors import ServiceError
from hoops_assets.settings import AwsSettings
from hoops_assets.store import atomic

NEEDED = ("region", "bucket", "role", "image")


def connect(settings: AwsSettings, endpoint_url: str | None = None) -> Aws:
    """Clients by the settings. Raises ServiceError invalid if one that every step needs is missing."""
    missing = [name for name in NEEDED if not getattr(settings, name)]
    if missing:
        told = ", ".join(f"aws.{name} (HOOPS_AWS__{name.upper()})" for name in missing)
        raise ServiceError("invalid", f"a step has provider sagemaker, but these settings are missing: {told}")
    return Aws(settings, endpoint_url)


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
