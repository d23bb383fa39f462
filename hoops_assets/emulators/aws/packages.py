"""Model package groups and packages.

What belongs here: their actions. moto's lose the customer's metadata and give a version's number twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hoops_assets.emulators.aws.errors import Refused, invalid
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

_CREATOR = {"UserProfileName": "emulated"}
_KEPT = (
    "ModelPackageDescription", "InferenceSpecification", "ModelApprovalStatus", "MetadataProperties", "ModelMetrics",
    "CustomerMetadataProperties", "DriftCheckBaselines", "Domain", "Task", "SamplePayloadUrl", "SourceUri", "ModelCard",
)  # fmt: skip


class Packages:
    """All groups and packages of the account."""

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self._groups: dict[str, dict[str, Any]] = {}
        self._packages: dict[str, dict[str, Any]] = {}
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "CreateModelPackageGroup": self._create_group, "DescribeModelPackageGroup": self._describe_group,
            "ListModelPackageGroups": self._list_groups, "DeleteModelPackageGroup": self._delete_group,
            "CreateModelPackage": self._create, "DescribeModelPackage": self._describe,
            "ListModelPackages": self._list, "UpdateModelPackage": self._update, "DeleteModelPackage": self._delete,
        }  # fmt: skip

    def standing(self) -> dict[str, list[str]]:
        return {"model package group": sorted(self._groups), "model package": sorted(self._packages)}

    def running(self) -> list[int]:
        return []

    def close(self) -> None:
        self._groups.clear()
        self._packages.clear()

    def _create_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelPackageGroupName"]
        with self._lock:
            if name in self._groups:
                raise invalid(f"Model Package Group already exists: {self._groups[name]['ModelPackageGroupArn']}")
            self._groups[name] = {
                "ModelPackageGroupName": name, "ModelPackageGroupArn": self._emulator.arn("model-package-group", name),
                "CreationTime": datetime.now(UTC), "CreatedBy": _CREATOR, "ModelPackageGroupStatus": "Completed",
                **({"ModelPackageGroupDescription": request["ModelPackageGroupDescription"]}
                   if "ModelPackageGroupDescription" in request else {}),
            }  # fmt: skip
        return {"ModelPackageGroupArn": self._groups[name]["ModelPackageGroupArn"]}

    def _group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelPackageGroupName"].rpartition("/")[2]
        if name not in self._groups:
            arn = self._emulator.arn("model-package-group", name)
            raise invalid(f"ModelPackageGroup {arn} does not exist.")
        return self._groups[name]

    def _describe_group(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._group(request)

    def _list_groups(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [group for name, group in self._groups.items() if request.get("NameContains", "") in name]
        rows, more = page(wanted, request)
        return {
            "ModelPackageGroupSummaryList": [{k: v for k, v in row.items() if k != "CreatedBy"} for row in rows],
            **more,
        }

    def _delete_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._group(request)["ModelPackageGroupName"]
        if any(package["ModelPackageGroupName"] == name for package in self._packages.values()):
            raise Refused("ConflictException", f"Model Package Group {name} cannot be deleted: it has model packages")
        del self._groups[name]
        return {}

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        if "ModelPackageGroupName" not in request:
            raise invalid("the emulator keeps versioned packages only: name a ModelPackageGroupName")
        with self._lock:
            group = self._group(request)["ModelPackageGroupName"]
            self._last[group] = version = self._last.get(group, 0) + 1
            arn = self._emulator.arn("model-package", f"{group}/{version}")
            self._packages[arn] = {
                "ModelPackageName": group, "ModelPackageGroupName": group, "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "CreationTime": datetime.now(UTC), "ModelPackageStatus": "Completed", "CreatedBy": _CREATOR,
                "ModelPackageStatusDetails": {"ValidationStatuses": []},
                "ModelApprovalStatus": "PendingManualApproval",
                **{name: request[name] for name in _KEPT if name in request},
            }  # fmt: skip
        return {"ModelPackageArn": arn}

    def _package(self, arn: str) -> dict[str, Any]:
        if arn not in self._packages:
            raise invalid(f"ModelPackage {arn} does not exist.")
        return self._packages[arn]

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._package(request["ModelPackageName"])

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        group = self._group(request)["ModelPackageGroupName"] if "ModelPackageGroupName" in request else None
        wanted = [
            package
            for package in self._packages.values()
            if package["ModelPackageGroupName"] == group
            and request.get("ModelApprovalStatus", package["ModelApprovalStatus"]) == package["ModelApprovalStatus"]
        ]
        if request.get("SortOrder") == "Descending":
            wanted.reverse()
        rows, more = page(wanted, request)
        shown = ("ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime",
                 "ModelPackageStatus", "ModelApprovalStatus", "ModelPackageDescription")  # fmt: skip
        return {
            "ModelPackageSummaryList": [{name: row[name] for name in shown if name in row} for row in rows],
            **more,
        }

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        package = self._package(request["ModelPackageArn"])
        for name in ("ModelApprovalStatus", "ApprovalDescription"):
            if name in request:
                package[name] = request[name]
        properties = {
            **package.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {}),
        }  # fmt: skip
        for name in request.get("CustomerMetadataPropertiesToRemove", ()):
            properties.pop(name, None)
        package["CustomerMetadataProperties"] = properties
        package["LastModifiedTime"] = datetime.now(UTC)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        self._package(request["ModelPackageName"])
        del self._packages[request["ModelPackageName"]]
        return {}
