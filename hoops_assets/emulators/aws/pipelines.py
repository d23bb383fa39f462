"""Pipelines: a graph of steps, of which each really runs its job on this emulator.

What belongs here: the actions of pipelines and their executions, and the part of the definition's language that we use:
steps Training, Processing, Condition, RegisterModel and Fail; Get, Std:Join and Std:JsonGet; DependsOn, RetryPolicies and
PropertyFiles. A definition that uses more is refused when it is created, as one that makes no sense is.
"""

from __future__ import annotations

import json
import operator
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from hoops_assets.emulators.aws.errors import Refused, in_use, invalid
from hoops_assets.emulators.aws.pages import page

if TYPE_CHECKING:
    from hoops_assets.emulators.aws.server import AwsEmulator

EVERY = 0.02
_JOBS = {"Training": "TrainingJob", "Processing": "ProcessingJob"}
_TYPES = (*_JOBS, "Condition", "RegisterModel", "Fail")
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq, "GreaterThan": operator.gt, "GreaterThanOrEqualTo": operator.ge, "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}  # fmt: skip
_EXCEPTIONS = {
    "CapacityError": "SageMaker.CAPACITY_ERROR", "ResourceLimitExceeded": "SageMaker.RESOURCE_LIMIT",
    "InternalServerError": "SageMaker.JOB_INTERNAL_ERROR", "ThrottlingException": "Step.THROTTLING",
    "InternalFailure": "Step.SERVICE_FAULT",
}  # fmt: skip


class _Failed(Exception):  # noqa: N818
    """An attempt of a step failed, with that reason."""


class _Stopped(Exception):  # noqa: N818
    """A step was stopped."""


@dataclass
class Step:
    """One step of a definition. `branch`: the condition that decides on it, and by which outcome."""

    told: dict[str, Any]
    needs: set[str]
    branch: tuple[str, bool] | None = None

    @property
    def name(self) -> str:
        return self.told["Name"]


@dataclass
class Done:
    """A step that was begun."""

    name: str
    status: str = "Starting"
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    reason: str = ""
    attempts: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "StepName": self.name, "StartTime": self.began, "StepStatus": self.status, "AttemptCount": self.attempts,
            "Metadata": self.metadata,
        }  # fmt: skip
        told |= {"EndTime": self.ended} if self.ended else {}
        return told | ({"FailureReason": self.reason} if self.reason else {})


class Execution:
    """One execution of a definition as it was when it began."""

    def __init__(self, emulator: AwsEmulator, pipeline: dict[str, Any], request: dict[str, Any]) -> None:
        self._emulator = emulator
        self.pipeline = pipeline
        self.id = secrets.token_hex(6)
        self.arn = emulator.arn("pipeline", f"{pipeline['PipelineName']}/execution/{self.id}")
        self.request = request
        self.definition = json.loads(pipeline["PipelineDefinition"])
        self.steps = {step.name: step for step in read(self.definition)}
        given = {one["Name"]: one["Value"] for one in request.get("PipelineParameters", ())}
        known = {one["Name"]: one.get("DefaultValue") for one in self.definition.get("Parameters", ())}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise invalid(f"Execution parameter {unknown[0]} is not a parameter of the pipeline")
        self.parameters = {**known, **given}
        missing = sorted(name for name, value in self.parameters.items() if value is None)
        if missing:
            raise invalid(f"Parameter {missing[0]} has no default value and must be given")
        parallel = request.get("ParallelismConfiguration") or pipeline.get("ParallelismConfiguration")
        self.parallel: dict[str, Any] | None = parallel
        self.created = self.modified = datetime.now(UTC)
        self.status, self.reason = "Executing", ""
        self.done: dict[str, Done] = {}
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    @property
    def finished(self) -> bool:
        return self.status in ("Stopped", "Failed", "Succeeded")

    def stop(self) -> None:
        if self.status != "Executing":
            raise Refused("ConflictException", f"Pipeline execution {self.arn} is {self.status}; it cannot be stopped.")
        self.status = "Stopping"
        self.stopping.set()

    def end(self) -> None:
        self.stopping.set()
        self.thread.join(30)

    # -- running ------------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        most = (self.parallel or {}).get("MaxParallelExecutionSteps", 50)
        while True:
            with self._lock:
                states = {name: done.status for name, done in self.done.items()}
            running = [name for name, state in states.items() if state in ("Starting", "Executing", "Stopping")]
            failed = "Failed" in states.values()
            ready = [] if failed or self.stopping.is_set() else self._ready(states)
            if not running and not ready:
                break
            for step in ready[: most - len(running)]:
                self.done[step.name] = done = Done(step.name)
                thread = threading.Thread(target=self._step, args=(step, done), daemon=True)
                self._threads.append(thread)
                thread.start()
            time.sleep(EVERY)
        for thread in self._threads:
            thread.join()
        failures = [done for done in self.done.values() if done.status == "Failed"]
        self.modified = datetime.now(UTC)
        if failures:
            self.reason = f"Step failure: One or multiple steps failed: {', '.join(done.name for done in failures)}"
        self.status = "Failed" if failures else "Stopped" if self.stopping.is_set() else "Succeeded"

    def _ready(self, states: dict[str, str]) -> list[Step]:
        def decided(step: Step) -> bool:
            if step.branch is None:
                return True
            condition, wanted = step.branch
            outcome = self.done[condition].metadata.get("Condition", {}).get("Outcome") if condition in states else None
            return states.get(condition) == "Succeeded" and outcome == str(wanted)

        return [
            step
            for name, step in self.steps.items()
            if name not in states and decided(step) and all(states.get(one) == "Succeeded" for one in step.needs)
        ]

    def _step(self, step: Step, done: Done) -> None:
        status = "Failed"
        try:
            while True:
                done.attempts += 1
                try:
                    self._attempt(step, done)
                    status = "Succeeded"
                    break
                except _Failed as failed:
                    policy = self._policy(step, str(failed))
                    if policy is None or done.attempts > policy["MaxAttempts"] or self.stopping.is_set():
                        done.reason = str(failed)[:1024]
                        break
                    self.stopping.wait(min(policy.get("IntervalSeconds", 1), 20 * self._emulator.pace))
        except _Stopped:
            status = "Stopped"
        except Exception as error:
            done.reason = f"ClientError: {type(error).__name__}: {error}"[:1024]
        done.ended = datetime.now(UTC)
        with self._lock:
            done.status = status

    def _policy(self, step: Step, reason: str) -> dict[str, Any] | None:
        kind = next((name for start, name in _EXCEPTIONS.items() if reason.startswith(start)), None)
        found = [one for one in step.told.get("RetryPolicies", ()) if kind in one["ExceptionType"]]
        return found[0] if found else None

    def _attempt(self, step: Step, done: Done) -> None:
        kind, arguments = step.told["Type"], step.told["Arguments"]
        if kind == "Condition":
            outcome = all(self._holds(one) for one in arguments["Conditions"])
            done.metadata = {"Condition": {"Outcome": str(outcome)}}
            return
        resolved = self._value(arguments)
        if kind == "Fail":
            done.metadata = {"Fail": {"ErrorMessage": resolved["ErrorMessage"]}}
            raise _Failed(resolved["ErrorMessage"])
        try:
            if kind == "RegisterModel":
                self._emulator.faults.refuse("CreateModelPackage")
                arn = self._emulator.act("CreateModelPackage", resolved)["ModelPackageArn"]
                done.metadata = {"RegisterModel": {"Arn": arn}}
                return
            self._job(step, done, _JOBS[kind], resolved)
        except Refused as refused:
            raise _Failed(f"{refused.code}: {refused.message}") from refused

    def _job(self, step: Step, done: Done, kind: str, request: dict[str, Any]) -> None:
        """Runs a job to its end."""
        name = f"pipelines-{self.id}-{step.name[:28].rstrip('-')}-{secrets.token_hex(5)}"
        self._emulator.faults.refuse(f"Create{kind}")
        arn = self._emulator.act(f"Create{kind}", {**request, f"{kind}Name": name})[f"{kind}Arn"]
        done.metadata = {kind: {"Arn": arn}}
        done.status = "Executing"
        asked_to_stop = False
        while True:
            try:
                told = self._emulator.act(f"Describe{kind}", {f"{kind}Name": name})
            except Refused:  # not yet visible
                told = {f"{kind}Status": "InProgress"}
            status = told[f"{kind}Status"]
            if status == "Completed":
                done.answer = told
                return
            if status == "Failed":
                raise _Failed(told["FailureReason"])
            if status == "Stopped":
                if self.stopping.is_set():
                    raise _Stopped
                raise _Failed(f"ClientError: {kind} {name} was stopped: {told.get('SecondaryStatus', 'Stopped')}")
            if self.stopping.is_set() and not asked_to_stop:
                asked_to_stop, done.status = True, "Stopping"
                try:
                    self._emulator.act(f"Stop{kind}", {f"{kind}Name": name})
                except Refused:
                    asked_to_stop = False  # not yet visible, or ended since
            time.sleep(EVERY)

    # -- expressions --------------------------------------------------------------------------------------------------

    def _holds(self, condition: dict[str, Any]) -> bool:
        if condition["Type"] == "Not":
            return not self._holds(condition["Expression"])
        if condition["Type"] == "Or":
            return any(self._holds(one) for one in condition["Conditions"])
        left, right = self._value(condition["LeftValue"]), self._value(condition["RightValue"])
        return _COMPARED[condition["Type"]](left, right)

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._value(one) for one in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Get"}:
            return self._get(value["Get"])
        if set(value) == {"Std:Join"}:
            join = value["Std:Join"]
            return join["On"].join(str(self._value(one)) for one in join["Values"])
        if set(value) == {"Std:JsonGet"}:
            return self._json(value["Std:JsonGet"])
        return {name: self._value(one) for name, one in value.items()}

    def _get(self, path: str) -> Any:
        scope, _, rest = path.partition(".")
        if scope == "Parameters":
            return self.parameters[rest]
        if scope == "Execution":
            return {
                "PipelineExecutionId": self.id, "PipelineExecutionArn": self.arn,
                "PipelineName": self.pipeline["PipelineName"], "PipelineArn": self.pipeline["PipelineArn"],
            }[rest]  # fmt: skip
        name, _, path = rest.partition(".")
        found: Any = self.done[name].answer
        for part in path.split("."):
            found = found[part]
        return found

    def _json(self, told: dict[str, Any]) -> Any:
        """A value of a property file: a JSON file that a processing step wrote."""
        name, _, file = told["PropertyFile"]["Get"].removeprefix("Steps.").partition(".PropertyFiles.")
        declared = {one["PropertyFileName"]: one for one in self.steps[name].told.get("PropertyFiles", ())}[file]
        outputs = {
            one["OutputName"]: one["S3Output"]["S3Uri"]
            for one in self.done[name].answer["ProcessingOutputConfig"]["Outputs"]
        }
        where = urlsplit(f"{outputs[declared['OutputName']].rstrip('/')}/{declared['FilePath']}")
        try:
            body = self._emulator.client("s3").get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"]
        except ClientError as error:
            raise _Failed(f"ClientError: property file {where.geturl()} cannot be read: {error}") from error
        found = json.loads(body.read())
        for part in told["Path"].split("."):
            found = found[part]
        return found

    # -- telling ------------------------------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        told = {
            "PipelineExecutionArn": self.arn, "StartTime": self.created, "PipelineExecutionStatus": self.status,
            **{
                name: self.request[name]
                for name in ("PipelineExecutionDisplayName", "PipelineExecutionDescription")
                if name in self.request
            },
        }  # fmt: skip
        return told | ({"PipelineExecutionFailureReason": self.reason} if self.reason else {})

    def describe(self) -> dict[str, Any]:
        told = self.summary()
        told.pop("StartTime")
        reason = told.pop("PipelineExecutionFailureReason", None)
        told |= {
            "PipelineArn": self.pipeline["PipelineArn"], "CreationTime": self.created, "LastModifiedTime": self.modified,
        }  # fmt: skip
        told |= {"FailureReason": reason} if reason else {}
        return told | ({"ParallelismConfiguration": self.parallel} if self.parallel else {})


class Pipelines:
    """All pipelines of the account."""

    def __init__(self, emulator: AwsEmulator) -> None:
        self._emulator = emulator
        self._pipelines: dict[str, dict[str, Any]] = {}
        self._executions: dict[str, Execution] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def actions(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "CreatePipeline": self._create, "UpdatePipeline": self._update, "DescribePipeline": self._describe,
            "DeletePipeline": self._delete, "ListPipelines": self._list, "StartPipelineExecution": self._start,
            "DescribePipelineExecution": self._describe_execution, "ListPipelineExecutions": self._list_executions,
            "ListPipelineExecutionSteps": self._list_steps, "StopPipelineExecution": self._stop,
            "ListPipelineParametersForExecution": self._list_parameters,
        }  # fmt: skip

    def standing(self) -> dict[str, list[str]]:
        return {
            "pipeline": sorted(self._pipelines),
            "running pipeline execution": sorted(arn for arn, one in self._executions.items() if not one.finished),
        }

    def running(self) -> list[int]:
        return []

    def close(self) -> None:
        for one in list(self._executions.values()):
            one.end()

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["PipelineName"]
        arn = self._emulator.arn("pipeline", name)
        check(request)
        with self._lock:
            if (name, request["ClientRequestToken"]) in self._tokens:
                return {"PipelineArn": arn}
            if name in self._pipelines:
                raise in_use("Pipeline names must be unique within an AWS account; pipeline", arn)
            now = datetime.now(UTC)
            self._pipelines[name] = {
                **request, "PipelineArn": arn, "PipelineStatus": "Active", "CreationTime": now, "LastModifiedTime": now,
            }  # fmt: skip
            self._tokens[name, request["ClientRequestToken"]] = arn
        return {"PipelineArn": arn}

    def _pipeline(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["PipelineName"].rpartition("/")[2]
        if name not in self._pipelines:
            arn = self._emulator.arn("pipeline", name)
            raise Refused("ResourceNotFound", f"Pipeline '{arn}' does not exist.")
        return self._pipelines[name]

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        pipeline = self._pipeline(request)
        if "PipelineDefinition" in request:
            check(request)
        pipeline |= request | {"LastModifiedTime": datetime.now(UTC)}
        return {"PipelineArn": pipeline["PipelineArn"]}

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        hidden = ("ClientRequestToken", "Tags", "PipelineDefinitionS3Location")
        return {name: value for name, value in self._pipeline(request).items() if name not in hidden}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        pipeline = self._pipeline(request)
        name = pipeline["PipelineName"]
        own = {arn: one for arn, one in self._executions.items() if one.pipeline["PipelineName"] == name}
        if any(not one.finished for one in own.values()):
            raise Refused("ConflictException", f"Pipeline {name} has running executions")
        del self._pipelines[name]
        for arn in own:
            del self._executions[arn]
        return {"PipelineArn": pipeline["PipelineArn"]}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = [
            one for name, one in self._pipelines.items() if name.startswith(request.get("PipelineNamePrefix", ""))
        ]
        rows, more = page(wanted, request)
        shown = ("PipelineArn", "PipelineName", "CreationTime", "LastModifiedTime", "RoleArn")
        return {"PipelineSummaries": [{name: row[name] for name in shown} for row in rows], **more}

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        pipeline = self._pipeline(request)
        token = (pipeline["PipelineName"], request["ClientRequestToken"])
        with self._lock:
            if token not in self._tokens:
                execution = Execution(self._emulator, dict(pipeline), request)
                self._executions[execution.arn] = execution
                self._tokens[token] = execution.arn
        return {"PipelineExecutionArn": self._tokens[token]}

    def _execution(self, request: dict[str, Any]) -> Execution:
        arn = request["PipelineExecutionArn"]
        if arn not in self._executions:
            raise Refused("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")
        return self._executions[arn]

    def _describe_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._execution(request).describe()

    def _list_executions(self, request: dict[str, Any]) -> dict[str, Any]:
        name = self._pipeline(request)["PipelineName"]
        wanted = [one for one in self._executions.values() if one.pipeline["PipelineName"] == name]
        wanted.sort(key=lambda one: one.created, reverse=request.get("SortOrder", "Descending") == "Descending")
        rows, more = page(wanted, request)
        return {"PipelineExecutionSummaries": [one.summary() for one in rows], **more}

    def _list_steps(self, request: dict[str, Any]) -> dict[str, Any]:
        done = list(self._execution(request).done.values())
        if request.get("SortOrder", "Ascending") == "Descending":
            done.reverse()
        rows, more = page(done, request)
        return {"PipelineExecutionSteps": [one.describe() for one in rows], **more}

    def _list_parameters(self, request: dict[str, Any]) -> dict[str, Any]:
        told = [{"Name": name, "Value": str(value)} for name, value in self._execution(request).parameters.items()]
        rows, more = page(told, request)
        return {"PipelineParameters": rows, **more}

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        execution = self._execution(request)
        execution.stop()
        return {"PipelineExecutionArn": execution.arn}


def check(request: dict[str, Any]) -> None:
    """Raises Refused if a definition makes no sense."""
    if "PipelineDefinition" not in request:
        raise invalid("PipelineDefinition is required (the emulator reads none from S3)")
    try:
        definition = json.loads(request["PipelineDefinition"])
    except ValueError as error:
        raise invalid(f"Unable to parse pipeline definition: {error}") from error
    if definition.get("Version") != "2020-12-01":
        raise invalid(f"Unable to parse pipeline definition: unknown version {definition.get('Version')!r}")
    steps = list(read(definition))
    names = [step.name for step in steps]
    if len(set(names)) != len(names):
        raise invalid("Step names must be unique within a pipeline")
    parameters = {one["Name"] for one in definition.get("Parameters", ())}
    for step in steps:
        if step.told["Type"] not in _TYPES:
            raise invalid(f"Step {step.name}: the emulator has no steps of type {step.told['Type']}")
        for needed in step.needs:
            if needed not in names:
                raise invalid(f"Step {step.name} refers to step {needed}, which is not in the pipeline")
        for path in _paths(step.told["Arguments"]):
            if path.startswith("Parameters.") and path.removeprefix("Parameters.") not in parameters:
                raise invalid(f"Step {step.name} refers to {path}, which is not in the pipeline")
    _refuse_cycles(steps)


def read(definition: dict[str, Any]) -> Iterator[Step]:
    """The steps of a definition, those in the branches of conditions among them."""
    yield from _read(definition.get("Steps", ()), None)


def _read(steps: Any, branch: tuple[str, bool] | None) -> Iterator[Step]:
    for told in steps:
        inner = {"IfSteps", "ElseSteps"} if told["Type"] == "Condition" else set[str]()
        own = {name: value for name, value in told["Arguments"].items() if name not in inner}
        needs = {path.split(".")[1] for path in _paths(own) if path.startswith("Steps.")}
        yield Step(told, needs | set(told.get("DependsOn", ())), branch)
        for name, outcome in (("IfSteps", True), ("ElseSteps", False)):
            yield from _read(told["Arguments"].get(name, ()) if inner else (), (told["Name"], outcome))


def _paths(value: Any) -> Iterator[str]:
    """Every {"Get": path} in a value."""
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            yield value["Get"]
        else:
            for one in value.values():
                yield from _paths(one)
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one)


def _refuse_cycles(steps: list[Step]) -> None:
    left = {step.name: step.needs | ({step.branch[0]} if step.branch else set()) for step in steps}
    while left:
        free = [name for name, needs in left.items() if not needs & set(left)]
        if not free:
            raise invalid(f"The pipeline has a cycle: {', '.join(sorted(left))}")
        for name in free:
            del left[name]
