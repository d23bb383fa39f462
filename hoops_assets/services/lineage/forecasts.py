"""Every version's forecasts of the games that it was tested on, as one matrix.

What belongs here: reading held_out.parquet of all versions once, and keeping what was read in a file that may be deleted
at any time. Versions are immutable, so what was read once stays true; a new version is added when it is registered, or
else by the next question.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoops_assets.errors import StoreError
from hoops_assets.services.lineage import stored
from hoops_assets.store import atomic

HELD_OUT = "held_out.parquet"
SUMMARY = ("version", "learner", "parameters", "created_at", "digest", "manifest_digest")
KEPT = "forecasts.npz"
"""In a league's folder of the registry: what was read, for the next question. It may be deleted."""

LAYOUT = 1
"""Of the kept file; one of another layout is made anew."""


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of k versions of a league on the n games that any of them was tested on.

    Attributes:
        versions: k summaries with the keys SUMMARY, oldest first.
        game_ids: n, ascending.
        home_win: n; 0 or 1.
        probability: k x n of P(home win); NaN where the version was not tested on the game.
        untested: numbers of versions without forecasts (imported ones).
    """

    versions: list[dict[str, Any]]
    game_ids: NDArray[np.str_]
    home_win: NDArray[np.int8]
    probability: NDArray[np.float64]
    untested: tuple[int, ...]


def read_forecasts(registry: Path, league: str) -> Forecasts:
    """All versions of a league; what is new is added to the kept file.

    Raises:
        StoreError: a version's file is not what was registered.
    """
    path = registry / league / KEPT
    numbers = stored.numbers(registry, league)
    known = _kept(path)
    seen = {*(one["version"] for one in known.versions), *known.untested} if known else set()
    # A number is never given twice, but a restored backup may have fewer versions, or others.
    if known is None or not seen <= set(numbers) or not _same(registry, league, known):
        known, seen = _nothing(), set()
    new = [number for number in numbers if number not in seen]
    if not new:
        return known
    made = _joined(known, registry, league, new)
    _keep(path, made)
    return made


def _nothing() -> Forecasts:
    return Forecasts([], np.array([], dtype="U1"), np.array([], dtype=np.int8), np.empty((0, 0)), ())


def _same(registry: Path, league: str, known: Forecasts) -> bool:
    """Whether the newest version that was read is still the one that stands there."""
    if not known.versions:
        return True
    newest = known.versions[-1]
    return stored.read_version(registry, league, newest["version"])["digest"] == newest["digest"]


def _joined(known: Forecasts, registry: Path, league: str, new: list[int]) -> Forecasts:
    read: list[tuple[dict[str, Any], list[str], list[int], list[float]]] = []
    untested = list(known.untested)
    for number in new:
        version = stored.read_version(registry, league, number)
        if HELD_OUT in version["artefacts"]:
            read.append(({name: version[name] for name in SUMMARY}, *_held_out(registry, league, version)))
        else:
            untested.append(number)
    games = dict(zip(known.game_ids.tolist(), known.home_win.tolist(), strict=True))
    for _, ids, home_win, _ in read:
        games.update(zip(ids, home_win, strict=True))  # a corrected result: as the newest version has it
    order = sorted(games)
    place = {game: position for position, game in enumerate(order)}
    probability = np.full((len(known.versions) + len(read), len(order)), np.nan)
    probability[: len(known.versions), [place[game] for game in known.game_ids.tolist()]] = known.probability
    for row, (_, ids, _, forecast) in enumerate(read, start=len(known.versions)):
        probability[row, [place[game] for game in ids]] = forecast
    return Forecasts(
        [*known.versions, *(summary for summary, *_ in read)], np.array(order, dtype=np.str_),
        np.array([games[game] for game in order], dtype=np.int8), probability, tuple(untested),
    )  # fmt: skip


def _held_out(registry: Path, league: str, version: dict[str, Any]) -> tuple[list[str], list[int], list[float]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = stored.folder_of(registry, league, version["version"]) / HELD_OUT
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != version["artefacts"][HELD_OUT]["sha256"]:
            raise ValueError("it is not what was registered")
        rows = pq.ParquetFile(io.BytesIO(content)).read(["game_id", "home_win", "probability"], use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged: {error}; restore it from a backup") from error
    ids, home_win, probability = (rows.column(name).to_pylist() for name in ("game_id", "home_win", "probability"))
    return ids, home_win, probability


def _kept(path: Path) -> Forecasts | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            told = json.loads(str(kept["told"]))
            if told["layout"] != LAYOUT:
                return None
            return Forecasts(
                told["versions"], kept["game_ids"], kept["home_win"], kept["probability"], tuple(told["untested"])
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # never kept, or damaged: it is made anew


def _keep(path: Path, forecasts: Forecasts) -> None:
    told = {"layout": LAYOUT, "versions": forecasts.versions, "untested": forecasts.untested}
    content = io.BytesIO()
    np.savez(
        content, told=np.array(json.dumps(told)), game_ids=forecasts.game_ids, home_win=forecasts.home_win,
        probability=forecasts.probability,
    )  # fmt: skip
    # A registry that cannot be written to can still be asked: the answer is then made anew every time.
    with contextlib.suppress(OSError):
        atomic.write_bytes(path, content.getvalue())
