"""Lineage: artifacts, actions, contexts and the associations between them.

What belongs here: their actions, and QueryLineage's walk.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hoops_assets.emulators.aws.errors import Refused, invalid
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

KINDS = ("Artifact", "Action", "Context")
_MOST = 50


class Lineage:
    """All of the account."""

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self._things: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self._edges: dict[tuple[str, str], dict[str, Any]] = {}
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        found: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "AddAssociation": self._associate, "DeleteAssociation": self._dissociate,
            "ListAssociations": self._associations, "QueryLineage": self._query,
        }  # fmt: skip
        for kind in KINDS:
            found[f"Create{kind}"] = lambda request, kind=kind: self._create(kind, request)
            found[f"Describe{kind}"] = lambda request, kind=kind: self._describe(kind, request)
            found[f"List{kind}s"] = lambda request, kind=kind: self._list(kind, request)
            found[f"Delete{kind}"] = lambda request, kind=kind: self._delete(kind, request)
        return found

    def standing(self) -> dict[str, list[str]]:
        return {kind.lower(): sorted(self._things[kind]) for kind in KINDS}

    def running(self) -> list[int]:
        return []

    def close(self) -> None:
        """Nothing runs."""

    def _create(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if kind == "Artifact":
                told = f"{request['Source']['SourceUri']}{request['ArtifactType']}{len(self._things[kind])}"
                name = hashlib.sha256(told.encode()).hexdigest()[:32]
            else:
                name = request[f"{kind}Name"]
                if name in self._things[kind]:
                    raise invalid(f"{kind} {name} already exists")
            arn = self._emulator.arn(kind.lower(), name)
            self._things[kind][name] = {
                **{key: value for key, value in request.items() if key != "Tags"},
                f"{kind}Arn": arn, "CreationTime": datetime.now(UTC), "LastModifiedTime": datetime.now(UTC),
            }  # fmt: skip
        return {f"{kind}Arn": arn}

    def _thing(self, kind: str, name: str) -> dict[str, Any]:
        found = self._things[kind].get(name.rpartition("/")[2])
        if found is None:
            raise Refused("ResourceNotFound", f"{kind} {name} does not exist")
        return found

    def _asked(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        return self._thing(kind, request.get(f"{kind}Arn") or request[f"{kind}Name"])

    def _describe(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        return self._asked(kind, request)

    def _delete(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        found = self._asked(kind, request)
        arn = found[f"{kind}Arn"]
        if any(arn in edge for edge in self._edges):
            raise invalid(f"{arn} has associations; delete them first")
        del self._things[kind][arn.rpartition("/")[2]]
        return {f"{kind}Arn": arn}

    def _list(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            one
            for one in self._things[kind].values()
            if request.get("SourceUri", one["Source"]["SourceUri"]) == one["Source"]["SourceUri"]
            and request.get(f"{kind}Type", one[f"{kind}Type"]) == one[f"{kind}Type"]
        ]
        rows, more = page(wanted, request)
        shown = (f"{kind}Arn", f"{kind}Name", "Source", f"{kind}Type", "Status", "CreationTime", "LastModifiedTime")
        return {f"{kind}Summaries": [{key: row[key] for key in shown if key in row} for row in rows], **more}

    def _associate(self, request: dict[str, Any]) -> dict[str, Any]:
        source, destination = request["SourceArn"], request["DestinationArn"]
        for arn in (source, destination):
            self._of(arn)
        with self._lock:
            if (source, destination) in self._edges:
                raise invalid(f"Association between {source} and {destination} already exists")
            self._edges[source, destination] = {
                "SourceArn": source, "DestinationArn": destination, "CreationTime": datetime.now(UTC),
                "AssociationType": request.get("AssociationType", "AssociatedWith"),
            }  # fmt: skip
        return {"SourceArn": source, "DestinationArn": destination}

    def _dissociate(self, request: dict[str, Any]) -> dict[str, Any]:
        key = (request["SourceArn"], request["DestinationArn"])
        if key not in self._edges:
            raise Refused("ResourceNotFound", f"there is no association between {key[0]} and {key[1]}")
        del self._edges[key]
        return {"SourceArn": key[0], "DestinationArn": key[1]}

    def _associations(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            edge
            for edge in self._edges.values()
            if all(
                request.get(key, edge[key]) == edge[key] for key in ("SourceArn", "DestinationArn", "AssociationType")
            )
        ]
        rows, more = page(wanted, request)
        return {"AssociationSummaries": rows, **more}

    def _of(self, arn: str) -> tuple[str, dict[str, Any]]:
        kind = arn.rpartition(":")[2].partition("/")[0].capitalize()
        if kind not in KINDS:
            raise invalid(f"{arn} is no lineage entity")
        return kind, self._thing(kind, arn)

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        """Everything within MaxDepth of the start, by the direction; the start itself is not told."""
        (start,) = request["StartArns"]
        self._of(start)
        direction, seen, edges, front = request.get("Direction", "Both"), {start}, [], {start}
        for _ in range(request.get("MaxDepth", 10)):
            beyond: set[str] = set()
            for (source, destination), edge in self._edges.items():
                up, down = destination in front, source in front
                if (up and direction != "Descendants") or (down and direction != "Ascendants"):
                    if edge not in edges:
                        edges.append(edge)
                    beyond |= {source if up else destination}
            front = beyond - seen
            seen |= front
        vertices = []
        for arn in sorted(seen - {start}):
            kind, thing = self._of(arn)
            vertices.append({"Arn": arn, "Type": thing[f"{kind}Type"], "LineageType": kind})
        types = request.get("Filters", {}).get("Types")
        wanted = [one for one in vertices if types is None or one["Type"] in types]
        rows, more = page(wanted, request, _MOST)
        told = [{key: edge[key] for key in ("SourceArn", "DestinationArn", "AssociationType")} for edge in edges]
        return {"Vertices": rows, **({"Edges": told} if request.get("IncludeEdges", True) else {}), **more}
