"""Experiments, trials and trial components.

What belongs here: their actions, the metrics of a component, and the search for components. moto's overwrite what has the
name already, and delete what is in use; UpdateTrialComponent, of which the documentation says two things, is not here.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from hoops_assets.emulators.aws.errors import Refused, invalid
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

EXPERIMENT, TRIAL, COMPONENT = "Experiment", "Trial", "TrialComponent"
KINDS = {EXPERIMENT: "experiment", TRIAL: "experiment-trial", COMPONENT: "experiment-trial-component"}
_SUMMARISED = ("Name", "Arn", "DisplayName", "Status", "StartTime", "EndTime", "CreationTime", "LastModifiedTime")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq, "NotEquals": operator.ne, "GreaterThan": operator.gt, "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt, "LessThanOrEqualTo": operator.le, "Contains": operator.contains,
}  # fmt: skip


class Experiments:
    """All of the account. Names are unique whatever their case."""

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self._things: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self._members: dict[tuple[str, str], None] = {}
        """(trial, component), in the order of association."""

        self._metrics: dict[str, dict[tuple[str, int, float], float]] = {}
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        found: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "AssociateTrialComponent": self._associate, "DisassociateTrialComponent": self._dissociate,
            "Search": self._search,
        }  # fmt: skip
        for kind in KINDS:
            found[f"Create{kind}"] = lambda request, kind=kind: self._create(kind, request)
            found[f"Describe{kind}"] = lambda request, kind=kind: self._describe(kind, request)
            found[f"List{kind}s"] = lambda request, kind=kind: self._list(kind, request)
            found[f"Delete{kind}"] = lambda request, kind=kind: self._delete(kind, request)
        return found

    def standing(self) -> dict[str, list[str]]:
        told = {"experiment": EXPERIMENT, "trial": TRIAL, "trial component": COMPONENT}
        return {name: sorted(self._things[kind]) for name, kind in told.items()}

    def running(self) -> list[int]:
        return []

    def close(self) -> None:
        """Nothing runs."""

    def put_metrics(self, request: dict[str, Any]) -> dict[str, Any]:
        """BatchPutMetrics of the service sagemaker-metrics: the same name, step and time is the same figure."""
        found = self._things[COMPONENT].get(request["TrialComponentName"].lower())
        if found is None:
            wrong = [{"Code": "VALIDATION_ERROR", "MetricIndex": n} for n in range(len(request["MetricData"]))]
            return {"Errors": wrong}
        with self._lock:
            figures = self._metrics.setdefault(found["TrialComponentName"].lower(), {})
            for one in request["MetricData"]:
                figures[one["MetricName"], one.get("Step", 0), float(one["Timestamp"])] = float(one["Value"])
        return {}

    def _create(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        name = request[f"{kind}Name"]
        if kind == TRIAL:
            self._thing(EXPERIMENT, request["ExperimentName"])
        with self._lock:
            if name.lower() in self._things[kind]:
                raise invalid(f"{kind} names must be unique within an AWS account. {kind} {name} already exists.")
            arn = self._emulator.arn(KINDS[kind], name.lower())
            self._things[kind][name.lower()] = {
                "DisplayName": name, **{key: value for key, value in request.items() if key != "Tags"},
                f"{kind}Arn": arn, "CreationTime": datetime.now(UTC), "LastModifiedTime": datetime.now(UTC),
            }  # fmt: skip
        return {f"{kind}Arn": arn}

    def _thing(self, kind: str, name: str) -> dict[str, Any]:
        found = self._things[kind].get(name.rpartition("/")[2].lower())
        if found is None:
            raise Refused("ResourceNotFound", f"{kind} '{name}' does not exist.")
        return found

    def _describe(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        found = self._thing(kind, request[f"{kind}Name"])
        if kind != COMPONENT:
            return found
        return {**found, "Metrics": self._summaries(found["TrialComponentName"].lower())}

    def _summaries(self, component: str) -> list[dict[str, Any]]:
        figures = self._metrics.get(component, {})
        found = []
        for name in sorted({name for name, _, _ in figures}):
            own = sorted((step, at, value) for (metric, step, at), value in figures.items() if metric == name)
            values = [value for _, _, value in own]
            found.append({
                "MetricName": name, "TimeStamp": own[-1][1], "Max": max(values), "Min": min(values), "Last": values[-1],
                "Count": len(values), "Avg": fmean(values), "StdDev": pstdev(values),
            })  # fmt: skip
        return found

    def _list(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        for parent in KINDS:
            if parent != kind and f"{parent}Name" in request:
                self._thing(parent, request[f"{parent}Name"])
        wanted = [one for one in self._things[kind].values() if self._fits(kind, one, request)]
        if request.get("SortOrder", "Descending") == "Descending":
            wanted.reverse()
        rows, more = page(wanted, request)
        shown = [f"{kind}{name}" if name in ("Name", "Arn") else name for name in _SUMMARISED]
        return {f"{kind}Summaries": [{key: row[key] for key in shown if key in row} for row in rows], **more}

    def _fits(self, kind: str, one: dict[str, Any], request: dict[str, Any]) -> bool:
        """Whether it is of the experiment, trial or component that is asked for."""
        name = one[f"{kind}Name"].lower()
        if kind == TRIAL and "TrialComponentName" in request:
            return (name, request["TrialComponentName"].lower()) in self._members
        if kind == TRIAL and "ExperimentName" in request:
            return one["ExperimentName"].lower() == request["ExperimentName"].lower()
        if kind == COMPONENT and "TrialName" in request:
            return (request["TrialName"].lower(), name) in self._members
        if kind == COMPONENT and "ExperimentName" in request:
            return any(
                member == name
                and self._things[TRIAL][trial]["ExperimentName"].lower() == request["ExperimentName"].lower()
                for trial, member in self._members
            )
        return True

    def _delete(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        name = self._thing(kind, request[f"{kind}Name"])[f"{kind}Name"].lower()
        if kind == EXPERIMENT and any(one["ExperimentName"].lower() == name for one in self._things[TRIAL].values()):
            raise invalid(f"Experiment {name} has trials; delete them first")
        if kind == TRIAL and any(trial == name for trial, _ in self._members):
            raise invalid(f"Trial {name} has trial components; disassociate them first")
        if kind == COMPONENT and any(member == name for _, member in self._members):
            raise invalid(f"TrialComponent {name} belongs to a trial; disassociate it first")
        self._metrics.pop(name, None)
        return {f"{kind}Arn": self._things[kind].pop(name)[f"{kind}Arn"]}

    def _pair(self, request: dict[str, Any]) -> tuple[tuple[str, str], dict[str, Any]]:
        trial, member = self._thing(TRIAL, request["TrialName"]), self._thing(COMPONENT, request["TrialComponentName"])
        arns = {"TrialArn": trial["TrialArn"], "TrialComponentArn": member["TrialComponentArn"]}
        return (trial["TrialName"].lower(), member["TrialComponentName"].lower()), arns

    def _associate(self, request: dict[str, Any]) -> dict[str, Any]:
        pair, arns = self._pair(request)
        self._members[pair] = None
        return arns

    def _dissociate(self, request: dict[str, Any]) -> dict[str, Any]:
        pair, arns = self._pair(request)
        self._members.pop(pair, None)
        return arns

    def _search(self, request: dict[str, Any]) -> dict[str, Any]:
        """Trial components alone, by plain filters that all must hold."""
        expression = request.get("SearchExpression", {})
        if request["Resource"] != "ExperimentTrialComponent" or set(expression) - {"Filters"}:
            raise invalid("the emulator searches ExperimentTrialComponent by Filters only")
        found = [self._with_parents(one) for one in self._things[COMPONENT].values()]
        wanted = [one for one in found if all(_holds(one, filter) for filter in expression.get("Filters", ()))]
        if "SortBy" in request:
            wanted = [one for one in wanted if _property(one, request["SortBy"])]
            wanted.sort(key=lambda one: _property(one, request["SortBy"])[0])
        if request.get("SortOrder", "Descending") == "Descending":
            wanted.reverse()
        rows, more = page(wanted, request)
        return {"Results": [{"TrialComponent": row} for row in rows], **more}

    def _with_parents(self, component: dict[str, Any]) -> dict[str, Any]:
        name = component["TrialComponentName"].lower()
        trials = [self._things[TRIAL][trial] for trial, member in self._members if member == name]
        parents = [{"TrialName": one["TrialName"], "ExperimentName": one["ExperimentName"]} for one in trials]
        return {**self._describe(COMPONENT, {"TrialComponentName": name}), "Parents": parents}


def _property(component: dict[str, Any], name: str) -> list[Any]:
    """Its values; none if the component lacks it."""
    head, _, rest = name.partition(".")
    if head == "Parents":
        return [parent[rest] for parent in component["Parents"] if rest in parent]
    if head == "Parameters":
        return list(component.get("Parameters", {}).get(rest, {}).values())
    if head == "Metrics":
        metric, _, figure = rest.rpartition(".")
        return [one[figure] for one in component["Metrics"] if one["MetricName"] == metric and figure in one]
    if rest or not isinstance(component.get(head, ""), str):
        raise invalid(f"Unknown property name: {name}")
    return [component[head]] if head in component else []


def _holds(component: dict[str, Any], asked: dict[str, Any]) -> bool:
    """A number is compared as one."""
    compare, value = _OPERATORS.get(asked.get("Operator", "Equals")), asked.get("Value", "")
    if compare is None:
        raise invalid(f"the emulator compares by {', '.join(_OPERATORS)}")
    own = _property(component, asked["Name"])
    return any(compare(one, type(one)(value)) for one in own)
