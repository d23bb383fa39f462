"""An SDK's errors become kinds of ours, whichever of its ways AWS says it."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from botocore import exceptions
from botocore.stub import Stubber

from hoops_assets.clouds.aws import Aws, Kind, explain, kind_of, split, tagged, tags
from hoops_assets.services.errors import ErrorKind
from hoops_assets.settings import AwsSettings


def refused(code: str, message: str = "", status: int = 400) -> exceptions.ClientError:
    told = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(told, "Operation")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused("ValidationException", "Requested resource not found."), "not_found"),
        (refused("ValidationException", 'Could not find endpoint "arn"'), "not_found"),
        (refused("ValidationError", "Endpoint e of account 1 not found."), "not_found"),
        (refused("ObjectNotFoundException", "No scalable target registered"), "not_found"),
        (refused("SomethingNew", status=404), "not_found"),
        (refused("NoSuchKey"), "not_found"),
        (refused("404", "Not Found"), "not_found"),
        (refused("ResourceInUse"), "conflict"),
        (refused("ValidationException", 'Cannot create already existing model "arn".'), "conflict"),
        (refused("ValidationException", 'Cannot update in-progress endpoint "arn".'), "conflict"),
        (refused("PreconditionFailed"), "conflict"),
        (refused("ConcurrentUpdateException", "There is a concurrent update pending"), "conflict"),
        (refused("LimitExceeded", "The maximum limit for an alarm resource"), "quota"),
        (refused("ResourceLimitExceeded"), "quota"),
        (refused("ThrottlingException"), "throttled"),
        (refused("SlowDown", status=503), "throttled"),
        (refused("SomethingNew", status=429), "throttled"),
        (refused("ExpiredTokenException"), "permission"),
        (refused("InvalidSignatureException", "The signature we calculated does not match"), "permission"),
        (refused("MissingAuthenticationTokenException"), "permission"),
        (refused("RequestExpired"), "permission"),
        (refused("RequestTimeTooSkewed", status=403), "permission"),
        (refused("SomethingNew", "Your key was not found", status=403), "permission"),
        (refused("SomethingNew", status=401), "permission"),
        (refused("AccessDenied", status=403), "permission"),
        (exceptions.NoCredentialsError(), "permission"),
        (refused("ValidationException", "1 validation errors detected"), "invalid"),
        (exceptions.ParamValidationError(report="missing"), "invalid"),
        (exceptions.NoRegionError(), "invalid"),
        (refused("InternalFailure", status=500), "timed_out"),
        (exceptions.EndpointConnectionError(endpoint_url="http://x"), "timed_out"),
        (exceptions.ReadTimeoutError(endpoint_url="http://x"), "timed_out"),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), "timed_out"),
        (ValueError("ours"), None),
    ],
    ids=repr,
)
def test_every_error_has_its_kind(error: Exception, kind: str | None) -> None:
    assert kind_of(error) == kind
    assert ("credentials come by" in explain(error)) == (kind == "permission")


def test_the_kinds_are_those_of_the_services() -> None:
    assert get_args(Kind) == get_args(ErrorKind)


def test_keys_and_tags() -> None:
    aws = Aws(AwsSettings(bucket="b", prefix="p"))
    assert aws.uri(aws.key("nba", "jobs")) == "s3://b/p/nba/jobs"
    assert Aws(AwsSettings(bucket="b", prefix="")).key("nba") == "nba"
    assert split("s3://b/p/nba/jobs") == ("b", "p/nba/jobs")
    with pytest.raises(ValueError, match="no s3"):
        split("file:///p")
    assert tagged(tags("nba", "training", version="1")) == {
        "hoops:league": "nba", "hoops:step": "training", "hoops:version": "1",
    }  # fmt: skip


def test_an_object_that_stays_is_an_error_though_the_call_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    aws = Aws(AwsSettings(bucket="b", region="us-east-1"))
    why = {"Code": "AccessDenied", "Message": "not authorized: s3:DeleteObject"}
    with Stubber(aws.s3) as s3:
        s3.add_response("list_objects_v2", {"Contents": [{"Key": "p/1"}, {"Key": "p/2"}]})
        s3.add_response("delete_objects", {"Errors": [{"Key": "p/1", **why}, {"Key": "p/2", **why}]})
        with pytest.raises(exceptions.ClientError, match=r"DeleteObject.*p/1 and 1 others stay") as refused:
            aws.delete_under("s3://b/p/")
    assert kind_of(refused.value) == "permission"


def test_nothing_of_the_sdk_is_imported_before_it_is_used() -> None:
    program = (
        "import sys; import hoops_assets.clouds.aws, hoops_assets.services.providers, hoops_assets.services.aws;"
        "print([name for name in ('boto3', 'botocore', 'moto', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
