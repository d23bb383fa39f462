"""AWS: clients, what their errors mean, object storage, names and tags.

What belongs here: what every SageMaker step shares. Credentials come by boto3's own chain alone (environment, profile,
role of the machine) and are never settings of ours; an address other than AWS's own comes by botocore's own variables
(AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_SAGEMAKER, AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from hoops_assets.settings import AwsSettings

Kind = Literal["not_found", "conflict", "quota", "throttled", "permission", "invalid", "failed", "timed_out"]

ATTEMPTS = 4
"""How often one call is tried: botocore's standard mode, which waits longer each time and retries only what may pass."""

_KINDS: dict[Kind, tuple[str, ...]] = {
    "not_found": ("ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException", "NoSuchKey", "NoSuchBucket",
                  "NotFound", "404"),
    "conflict": ("ResourceInUse", "ResourceInUseException", "ConflictException", "ConcurrentUpdateException",
                 "PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"),
    "quota": ("ResourceLimitExceeded", "LimitExceeded", "LimitExceededException", "ServiceQuotaExceededException"),
    "throttled": ("Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "SlowDown",
                  "TooManyRequestsException", "RequestThrottled", "ServiceUnavailable", "ServiceUnavailableException"),
    "permission": ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException",
                   "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException",
                   "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
                   "ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed", "NotAuthorized",
                   "OptInRequired", "403"),
    "timed_out": ("RequestTimeout", "RequestTimeoutException", "InternalError"),
}  # fmt: skip
_BY_STATUS: dict[int, Kind] = {401: "permission", 403: "permission", 404: "not_found", 429: "throttled"}
_BY_CODE: dict[str, Kind] = {code: kind for kind, codes in _KINDS.items() for code in codes}
_NOT_FOUND = re.compile(r"could not find|not found|does not exist|cannot find", re.IGNORECASE)
_IN_USE = re.compile(r"already exist|cannot (create|update|delete) .*(exist|progress|status)", re.IGNORECASE)


def kind_of(error: Exception) -> Kind | None:
    """What kind of error of the services an SDK's error is; None for an error that is not botocore's."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _kind_of_answer(error.response)
    if isinstance(
        error,
        exceptions.NoCredentialsError | exceptions.PartialCredentialsError | exceptions.CredentialRetrievalError
        | exceptions.TokenRetrievalError | exceptions.SSOError,
    ):  # fmt: skip
        return "permission"
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | exceptions.IncompleteReadError):
        return "timed_out"  # no whole answer within the client's patience, whatever stood in the way
    return "invalid" if isinstance(error, exceptions.BotoCoreError) else None


def _kind_of_answer(answer: Mapping[str, Any]) -> Kind:
    code, message = answer.get("Error", {}).get("Code", ""), answer.get("Error", {}).get("Message", "")
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    # SageMaker says ValidationException for most of what is missing, and for what stands already.
    if _NOT_FOUND.search(message):
        return "not_found"
    if _IN_USE.search(message):
        return "conflict"
    return "timed_out" if status >= 500 else "invalid"


def explain(error: Exception) -> str:
    """An SDK's error in one line, with what to do about credentials."""
    told = " ".join(str(error).split())
    if kind_of(error) == "permission":
        return (
            f"{told} (credentials come by boto3's chain: environment, profile or role; `aws sts get-caller-identity`)"
        )
    return told


class Aws:
    """Clients of one account and region, made when first asked for. Not to be shared between processes.

    Args:
        settings: region, bucket and the rest.
        endpoint_url: of every service; None leaves it to botocore (and its variables).
    """

    def __init__(self, settings: AwsSettings, endpoint_url: str | None = None) -> None:
        self.settings = settings
        self.endpoint_url = endpoint_url
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """boto3's client of a service."""
        if service not in self._clients:
            from botocore.config import Config

            config = Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS}, connect_timeout=10, read_timeout=60,
                region_name=self.settings.region, user_agent_extra="hoops-assets",
            )  # fmt: skip
            self._clients[service] = _session().client(service, config=config, endpoint_url=self.endpoint_url)
        return self._clients[service]

    @property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @property
    def runtime(self) -> Any:
        return self.client("sagemaker-runtime")

    @property
    def s3(self) -> Any:
        return self.client("s3")

    def key(self, *parts: str) -> str:
        """PREFIX/part/part of an object."""
        return "/".join(part for part in (self.settings.prefix, *parts) if part)

    def uri(self, key: str) -> str:
        return f"s3://{self.settings.bucket}/{key}"

    def put(self, key: str, content: bytes, *, only_new: bool = False) -> str:
        """Writes one object and returns its URI.

        Args:
            only_new: refuse (412, a conflict) if the key exists.
        """
        condition = {"IfNoneMatch": "*"} if only_new else {}
        self.s3.put_object(Bucket=self.settings.bucket, Key=key, Body=content, **condition, **self.encryption())
        return self.uri(key)

    def get(self, uri: str) -> bytes:
        bucket, key = split(uri)
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def fetch(self, uri: str, file: Path) -> None:
        """Downloads one object to a file. boto3's own download asks by HEAD first, whose refusals do not say why."""
        bucket, key = split(uri)
        body = self.s3.get_object(Bucket=bucket, Key=key)["Body"]
        with file.open("wb") as sink:
            for part in body.iter_chunks(1 << 20):
                sink.write(part)

    def keys(self, uri: str) -> Iterator[str]:
        """Keys of all objects under a URI."""
        bucket, prefix = split(uri)
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (found["Key"] for found in page.get("Contents", ()))

    def delete_under(self, uri: str) -> int:
        """Deletes all objects under a URI; returns how many there were. Raises ClientError if one of them stays."""
        from botocore.exceptions import ClientError

        bucket, _ = split(uri)
        keys = list(self.keys(uri))
        for start in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[start : start + 1000]]
            answer = self.s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            # The call itself succeeds (200): what S3 did not delete it tells key by key.
            for first in answer.get("Errors", ())[:1]:
                told = f"{first.get('Message', '')} ({first.get('Key')} and {len(answer['Errors']) - 1} others stay)"
                raise ClientError({"Error": {"Code": first.get("Code", ""), "Message": told}}, "DeleteObjects")
        return len(keys)

    def encryption(self) -> dict[str, str]:
        """Arguments of an S3 write."""
        if not self.settings.kms_key:
            return {}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.settings.kms_key}


def _session() -> Any:
    """A session of its own, with its own credentials, over descriptions of the services that the process reads once:
    SageMaker's alone takes half a second."""
    import boto3.session
    import botocore.session

    loader = _loader()
    core = botocore.session.get_session()
    core.register_component("data_loader", loader)
    session = boto3.session.Session(botocore_session=core)
    loader.search_paths[:] = dict.fromkeys(loader.search_paths)  # every session adds boto3's once more
    return session


@lru_cache(maxsize=1)
def _loader() -> Any:
    import botocore.loaders

    return botocore.loaders.create_loader()


def split(uri: str) -> tuple[str, str]:
    """(bucket, key) of s3://BUCKET/KEY. Raises ValueError for any other."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"{uri} is no s3:// URI")
    return parts.netloc, parts.path.removeprefix("/")


def tags(league: str, step: str, **more: str) -> list[dict[str, str]]:
    """Tags of whatever a step makes for a league."""
    told = {"hoops:league": league, "hoops:step": step, **{f"hoops:{name}": value for name, value in more.items()}}
    return [{"Key": name, "Value": value[:256]} for name, value in told.items()]


def tagged(found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Tags as AWS lists them, by name."""
    return {tag["Key"]: tag["Value"] for tag in found}


def dashed(league: str) -> str:
    """A league's name in SageMaker's alphabet (letters, digits, single dashes inside)."""
    return league.replace("_", "-")
