"""What serves right now, kept in step with the files.

What belongs here: noticing that a file changed, loading everything it names whole, and one assignment that puts it in
place. A state that cannot be loaded leaves the one before it serving, and is told as refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.workloads.serve import bundle as files
from hoops_assets.workloads.serve.endpoint import LoadedEndpoint, container_state, load_endpoint

EVERY = 0.1
"""Seconds between two looks."""

AGAIN = 2.0
"""Seconds after which what was refused is tried again, changed or not."""

Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class RefusedRevision:
    """A state that was not taken.

    Attributes:
        revision: its number, None if it could not be read.
        at: seconds since the epoch.
    """

    revision: int | None
    error: str
    at: float


def signature(*paths: Path) -> Signature:
    """What changes whenever one of the files is replaced."""
    return tuple(_stat(path) for path in paths)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


class Endpoints:
    """All endpoints of a home, or the one of a container's bundle.

    Args:
        home: endpoints stand in HOME/serving/LEAGUE; with `only` it is not read.
        only: folder of a bundle; fixtures.json may stand in it or beside it.

    Attributes:
        now: league -> what serves. Read it once per request; it is replaced, never changed.
        refused: league -> what was not taken; empty if all is as the files say.
    """

    def __init__(self, home: Path, only: Path | None = None) -> None:
        self._home, self._only = Path(home), only
        self.now: dict[str, LoadedEndpoint] = {}
        self.refused: dict[str, RefusedRevision] = {}
        self._seen: dict[str, tuple[Signature, float]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched: list[tuple[Path, Callable[[], None]]] = []

    def also(self, path: Path, changed: Callable[[], None]) -> None:
        """Calls `changed`, in the watching thread, at the start and whenever that file was replaced."""
        self._watched.append((path, changed))

    def start(self) -> None:
        """Loads what there is, then watches."""
        seen: dict[Path, Signature] = {path: () for path, _ in self._watched}  # it may have changed since it was read
        self.look()
        self._thread = threading.Thread(target=self._watch, args=(seen,), name="hoops-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watching."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _watch(self, seen: dict[Path, Signature]) -> None:
        while not self._ended.wait(EVERY):
            self.look()
            for path, changed in self._watched:
                if (current := signature(path)) != seen[path]:
                    seen[path] = current
                    changed()

    def look(self) -> None:
        """Takes over what changed since the last look."""
        folders = self._folders()
        for league in [league for league in self.now if league not in folders]:
            self.now = {name: endpoint for name, endpoint in self.now.items() if name != league}
            self._seen.pop(league, None)
        for league in [league for league in self.refused if league not in folders]:
            self.refused = {name: refused for name, refused in self.refused.items() if name != league}
            self._seen.pop(league, None)
        for league, folder in folders.items():
            current = signature(folder / files.ENDPOINT, *self._fixture_files(folder))
            before, tried = self._seen.get(league, (None, 0.0))
            if current == before and (league not in self.refused or time.monotonic() - tried < AGAIN):
                continue
            self._seen[league] = current, time.monotonic()
            self._load(league, folder)

    def _folders(self) -> dict[str, Path]:
        """Key -> folder; a container's only bundle has the key "" until it is read."""
        if self._only is not None:
            return {next(iter(self.now), ""): self._only}
        try:
            found = [path.parent for path in files.serving_root(self._home).glob(f"*/{files.ENDPOINT}")]
        except OSError:
            return {league: files.endpoint_folder(self._home, league) for league in self.now}
        return {folder.name: folder for folder in found}

    def _fixture_files(self, folder: Path) -> list[Path]:
        places = [folder / files.FIXTURES]
        return [*places, folder.parent / files.FIXTURES] if self._only is not None else places

    def _load(self, league: str, folder: Path) -> None:
        before = self.now.get(league)
        revision, trouble = None, None
        try:
            state = container_state(files.read_bundle(folder)) if self._only else files.read_endpoint(folder)
            revision = state.revision
            if not self._only and state.league != league:
                raise ModelError(f"{folder / files.ENDPOINT} is of league {state.league}")
            fixtures, trouble = self._fixtures(folder, before)
            if fixtures is not None and fixtures.league != state.league:
                fixtures, trouble = before and before.fixtures, f"{files.FIXTURES} is of league {fixtures.league}"
            loaded = load_endpoint(folder, state, fixtures, before)
        except (HoopsError, ValidationError, OSError, MemoryError) as error:
            self._refuse(league, revision, error)
            return
        self.now = {**{name: one for name, one in self.now.items() if name != league}, state.league: loaded}
        if self._only is not None and league != state.league:
            self._seen[state.league] = self._seen.pop(league)
        causes = [variant.cause for variant in loaded.variants if variant.cause]
        if trouble or causes:
            self._refuse(state.league, revision, trouble or causes[0] or "")
        elif league in self.refused:
            self.refused = {name: refused for name, refused in self.refused.items() if name != league}

    def _fixtures(self, folder: Path, before: LoadedEndpoint | None) -> tuple[files.Fixtures | None, str | None]:
        """(the fixtures to answer from, what is wrong with the file)."""
        place = next((file.parent for file in self._fixture_files(folder) if file.exists()), folder)
        try:
            return files.read_fixtures(place), None
        except ModelError as error:
            return before and before.fixtures, str(error)

    def _refuse(self, league: str, revision: int | None, error: Any) -> None:
        self.refused = {**self.refused, league: RefusedRevision(revision, str(error)[:1000], time.time())}
