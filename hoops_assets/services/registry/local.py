"""A registry of plain files on this machine.

What belongs here: the local provider of the registry contract. ROOT/LEAGUE/NNNNNN/ holds one version:

    version.json   ModelVersion without uri and status
    manifest.json  Manifest, with the game ids
    MLmodel        for MLflow, which then can load the folder as it stands
    model.skops model.onnx metrics.json held_out.parquet spec.json   as the training job wrote them

A version is built under a temporary name and gets its number by one rename, under a lock: it is whole or not there.
ROOT/LEAGUE/challengers.json holds the challenger events; ROOT/LEAGUE/forecasts.npz may be deleted (services/lineage).
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from hoops_assets.errors import ModelError, StoreError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.forecasts import read_forecasts
from hoops_assets.services.registry.contract import (
    IMPORTED,
    ChallengerEvent,
    Manifest,
    ModelVersion,
    Status,
)
from hoops_assets.services.training.contract import TrainedModel, artefact_folder
from hoops_assets.store import atomic
from hoops_assets.store.faults import fault_point
from hoops_assets.store.record import who
from hoops_assets.workloads import spec as layout
from hoops_assets.workloads.spec import FileDigest

VERSION = "version.json"
MANIFEST = "manifest.json"
MLMODEL = "MLmodel"
CHALLENGERS = "challengers.json"
KEPT = (layout.SKOPS, layout.ONNX, layout.METRICS, layout.HELD_OUT, layout.SPEC)
OPTIONAL = (layout.HISTORY,)
_BUILDING = ".building-"
_ABANDONED_SECONDS = 3600.0

_EVENTS = TypeAdapter(list[ChallengerEvent])


class LocalRegistry:
    """Keeps models under `root`; several processes may use it at once."""

    provider = "local"

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def register(self, trained: TrainedModel) -> ModelVersion:
        """See the contract."""
        league = trained.job.league
        existing = self._with_digest(league, trained.digest)
        if existing is not None:
            return existing
        source = artefact_folder(trained.artefacts)
        _check_files(source, trained)
        parity = _ask_both(source, trained)

        home = self._home(league)
        home.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=home, prefix=_BUILDING))
        try:
            for name in (*KEPT, *(one for one in OPTIONAL if (source / one).exists())):
                shutil.copyfile(source / name, temporary / name)
            atomic.write_text(temporary / MLMODEL, _mlmodel(trained))
            manifest = _manifest(source, trained)
            atomic.write_text(temporary / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
            version = self._commit(
                league, trained.digest, temporary, lambda number: _version(trained, number, parity, temporary)
            )
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        # Which hyper-parameters did best is then answered at once; another version's damage is told by whoever asks.
        with contextlib.suppress(StoreError):
            read_forecasts(self.root, league)
        return version

    def adopt(
        self, league: str, digest: str, files: Mapping[str, bytes], describe: Callable[[int, Path], ModelVersion]
    ) -> ModelVersion:
        """A version that was made elsewhere, with files of its own; the same digest again gives the version that exists.

        Args:
            files: name -> content; manifest.json among them.
            describe: (number, folder with the files) -> the version.
        """
        existing = self._with_digest(league, digest)
        if existing is not None:
            return existing
        home = self._home(league)
        home.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=home, prefix=_BUILDING))
        try:
            for name, content in files.items():
                atomic.write_bytes(temporary / name, content)
            return self._commit(league, digest, temporary, lambda number: describe(number, temporary))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _commit(
        self, league: str, digest: str, temporary: Path, describe: Callable[[int], ModelVersion]
    ) -> ModelVersion:
        """Gives a complete folder the next number, unless its digest has one."""
        fault_point("registry.before_register")
        with self._locked(league):
            existing = self._with_digest(league, digest)
            if existing is not None:
                return existing
            self._sweep(league)
            number = self._next(league)
            content = describe(number).model_dump_json(indent=1, exclude={"uri", "status"})
            atomic.write_text(temporary / VERSION, content + "\n")
            temporary.chmod(0o755)
            atomic.commit_folder(temporary, self._folder(league, number))
            fault_point("registry.after_register")
        return self.get(league, number)

    def get(self, league: str, version: int) -> ModelVersion:
        """See the contract."""
        return self._read(league, version, self._status(league))

    def list(self, league: str) -> builtins.list[ModelVersion]:
        """See the contract."""
        statuses = self._status(league)
        return [self._read(league, number, statuses) for number in self._numbers(league)]

    def manifest(self, league: str, version: int) -> Manifest:
        """See the contract."""
        path = self._folder(league, version) / MANIFEST
        found = self.get(league, version)
        content = self._checked(path, found.manifest_digest)
        if found.provider == IMPORTED:
            raise ServiceError(
                "not_found",
                f"{found.name} was imported from a spreadsheet: nobody recorded the games it was made from. Train it again"
                " to have a manifest",
            )
        return Manifest.model_validate_json(content)

    def artefacts(self, league: str, version: int) -> Path:
        """See the contract."""
        for name, digest in self.get(league, version).artefacts.items():
            self._checked(self._folder(league, version) / name, digest.sha256)
        return self._folder(league, version)

    def name_challenger(self, league: str, version: int, evidence: dict[str, Any]) -> ChallengerEvent:
        """See the contract."""
        self.get(league, version)
        with self._locked(league):
            events = self.challengers(league)
            event = ChallengerEvent(at=datetime.now(UTC), version=version, named_by=who(), evidence=evidence)
            if events and (events[-1].version, events[-1].evidence) == (event.version, event.evidence):
                return events[-1]
            content = _EVENTS.dump_json([*events, event], indent=1)
            atomic.write_bytes(self._home(league) / CHALLENGERS, content + b"\n")
        return event

    def challenger(self, league: str) -> ModelVersion | None:
        """See the contract."""
        events = self.challengers(league)
        return self.get(league, events[-1].version) if events else None

    def challengers(self, league: str) -> builtins.list[ChallengerEvent]:
        """See the contract."""
        path = self._home(league) / CHALLENGERS
        try:
            return _EVENTS.validate_json(path.read_bytes())
        except FileNotFoundError:
            return []
        except ValidationError as error:
            raise _corrupt(path, str(error.errors()[0]["msg"])) from error

    def _home(self, league: str) -> Path:
        return self.root / league

    def _folder(self, league: str, version: int) -> Path:
        return self._home(league) / f"{version:06d}"

    def _numbers(self, league: str) -> builtins.list[int]:
        try:
            return sorted(int(path.name) for path in self._home(league).iterdir() if path.name.isdigit())
        except FileNotFoundError:
            return []

    def _next(self, league: str) -> int:
        """The next number; one whose folder was moved aside as NNNNNN.WHATEVER is not given again."""
        used = [path.name.partition(".")[0] for path in self._home(league).iterdir()]
        return max((int(name) for name in used if name.isdigit()), default=0) + 1

    def _sweep(self, league: str) -> None:
        """Removes what a killed registration left half built."""
        for path in self._home(league).glob(f"{_BUILDING}*"):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    def _status(self, league: str) -> dict[int, Status]:
        events = self.challengers(league)
        return {events[-1].version: "challenger"} if events else {}

    def _read(self, league: str, number: int, statuses: dict[int, Status]) -> ModelVersion:
        folder = self._folder(league, number)
        path = folder / VERSION
        try:
            told = json.loads(path.read_bytes())
            where = {"uri": folder.absolute().as_uri(), "status": statuses.get(number, "registered")}
            version = ModelVersion.model_validate_json(json.dumps({**told, **where}))
        except FileNotFoundError as error:
            if folder.exists():
                raise _corrupt(path, "it is missing") from error
            numbers = self._numbers(league)
            known = (
                f"it has {numbers[0]} to {numbers[-1]}"
                if numbers
                else "it has none yet; materialise the candidates first"
            )
            raise ServiceError("not_found", f"league {league} has no model version {number}: {known}") from error
        except (ValidationError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise _corrupt(path, str(reason)) from error
        if (version.league, version.version) != (league, number):
            raise _corrupt(path, f"it describes {version.name}")
        return version

    def _with_digest(self, league: str, digest: str) -> ModelVersion | None:
        return next((version for version in self.list(league) if version.digest == digest), None)

    def _checked(self, path: Path, sha256: str) -> bytes:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise _corrupt(path, "it is missing") from error
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise _corrupt(path, f"its sha256 is {found[:12]}, registered was {sha256[:12]}")
        return content

    @contextmanager
    def _locked(self, league: str) -> Iterator[None]:
        with atomic.locked(self._home(league) / ".lock"):
            yield


def _corrupt(path: Path, reason: str) -> ServiceError:
    return ServiceError(
        "failed",
        f"{path} is damaged: {reason}. Restore it from a backup, or rename its folder to {path.parent.name}.damaged"
        " and train the model again (it then gets a new version)",
    )


def _check_files(source: Path, trained: TrainedModel) -> None:
    for name, digest in trained.outcome.files.items():
        try:
            found = FileDigest.of(source / name)
        except FileNotFoundError as error:
            raise ServiceError("invalid", f"{source / name} is missing; train {trained.name} again") from error
        if found != digest:
            raise ServiceError(
                "invalid",
                f"{source / name} is not what training job {trained.name} wrote (sha256 {found.sha256[:12]}, not"
                f" {digest.sha256[:12]}); submit the job again, which replaces a damaged model",
            )


def _ask_both(source: Path, trained: TrainedModel) -> float:
    """Greatest difference between the answers of both files and of the job on the held-out rows."""
    import pandas as pd

    from hoops_assets.workloads import export, inputs

    try:
        rows = pd.read_parquet(source / layout.HELD_OUT)
        if rows.empty:
            raise ModelError(f"{source / layout.HELD_OUT} holds no games: the model's two files cannot be compared")
        values = export.model_input(rows, trained.job.features)
        skops = export.from_skops(inputs.read(source, layout.SKOPS))
        asked = export.home_win_probability(skops, values)
        answered = export.OnnxModel(inputs.read(source, layout.ONNX)).home_win_probability(values)
        recorded = rows["probability"].to_numpy()
        return max(
            export.check_parity(asked, answered, layout.ONNX, layout.SKOPS, rows),
            export.check_parity(recorded, asked, layout.SKOPS, "the training job's record", rows),
        )
    except ModelError as error:
        raise ServiceError("invalid", f"{trained.name} is not registered: {error}") from error


def _manifest(source: Path, trained: TrainedModel) -> Manifest:
    job = trained.job
    return Manifest(
        league=job.league, training_job=trained.name, learner=job.learner, parameters=job.parameters,
        metrics=trained.metrics, features=job.features, seed=job.seed, fit_on=job.fit_on, training_set=job.training_set,
        games=json.loads((source / layout.GAMES).read_bytes()), code=job.code, packages=trained.outcome.packages,
    )  # fmt: skip


def _mlmodel(trained: TrainedModel) -> str:
    """MLflow's description of a model folder (its "onnx" flavor), so that no copy in MLflow's own form is needed."""
    packages = trained.outcome.packages
    onnx = {"data": layout.ONNX, "onnx_version": packages["onnx"], "providers": ["CPUExecutionProvider"], "code": None}
    pyfunc = {"loader_module": "mlflow.onnx", "data": layout.ONNX, "python_version": packages["python"]}
    return yaml.safe_dump({"flavors": {"onnx": onnx, "python_function": pyfunc}}, sort_keys=False)


def _version(trained: TrainedModel, number: int, parity: float, folder: Path) -> ModelVersion:
    job = trained.job
    return ModelVersion(
        league=job.league, version=number, learner=job.learner, parameters=job.parameters, features=job.features,
        metrics=trained.metrics, commit=job.code.commit, dirty=job.code.dirty, lock_digest=job.code.lock_digest,
        created_at=datetime.now(UTC), created_by=who(), trained_through=job.training_set.trained_through,
        training_job=trained.name, provider=trained.provider, digest=trained.digest,
        manifest_digest=FileDigest.of(folder / MANIFEST).sha256, parity=parity,
        artefacts={name: FileDigest.of(folder / name) for name in (*KEPT, *OPTIONAL, MLMODEL) if (folder / name).exists()},
        uri=folder.absolute().as_uri(),
    )  # fmt: skip
