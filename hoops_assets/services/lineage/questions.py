"""Three of the four questions: which games a model was trained on, which code made it, which version answered a customer.

What belongs here: one function a question, from plain arguments to a frozen answer. The fourth, which hyper-parameters
did best, is in best.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

from hoops_assets.errors import HoopsError
from hoops_assets.services.lineage import stored
from hoops_assets.services.lineage.games import PLAYED, Filter, Found, find_games, parse_filter
from hoops_assets.settings import AwsSettings

IMPORTED = "imported"
"""Part of the manifest of a version that came from a spreadsheet: what the sheet says, instead of games."""


@dataclass(frozen=True)
class Places:
    """Where the answers lie: HOOPS_HOME, the root of the tables (in which bucket's account), and the record's URL."""

    home: Path
    tables: str
    record: str
    aws: AwsSettings | None = None

    @property
    def registry(self) -> Path:
        return self.home / "registry"


# -- which games ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataAnswer:
    """Whether games were in what a model was fitted on.

    Attributes:
        answer: yes (all of them) | partly | no | no such game (no played game is meant) | unknown (not recorded).
        games: how many are meant.
        trained_on: ids of those that the model was fitted on, by day.
        splits: ids by split of the training set; a game of a split that is not in `fit_on` was not trained on.
        fit_on: splits that the model was fitted on.
        not_in: ids that are in no split.
        training_set: table, version, filter, digest: enough to read the very rows again.
        notes: sentences for people.
    """

    model: str
    filter: str
    answer: Literal["yes", "partly", "no", "no such game", "unknown"]
    games: int
    trained_on: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    fit_on: tuple[str, ...]
    not_in: tuple[str, ...]
    training_set: dict[str, Any]
    notes: tuple[str, ...] = ()


def ask_data(places: Places, model: str, games: str) -> DataAnswer:
    """Were these games in the training set of a model?

    The manifest says which games were, by id; stage, season, teams and day of a game are those of the league's tables.

    Args:
        model: LEAGUE/NUMBER, LEAGUE/live or LEAGUE/challenger.
        games: see `games.parse_filter`.

    Raises:
        HoopsError: the model or the filter is not understood, or a file or table cannot be read.
    """
    league, number = stored.model_of(places.registry, places.record, model)
    manifest = stored.read_manifest(places.registry, league, number)
    wanted = parse_filter(games, lambda: stored.read_league(places.home, league))
    name = f"{league}/{number}"
    if IMPORTED in manifest:
        said = manifest[IMPORTED].get("dataset") or "nothing"
        note = f"it came from {manifest[IMPORTED]['sheet']}; of its data the sheet says: {said}"
        return DataAnswer(name, games, "unknown", 0, (), {}, (), (), {"dataset": said}, (note,))

    found = find_games(places.tables, league, wanted, places.aws)
    split_of = {game: split for split, ids in manifest["games"].items() for game in ids}
    meant = sorted({*found.matching, *(game for game in wanted.game_ids if game in split_of)})
    splits = {split: tuple(game for game in meant if split_of.get(game) == split) for split in manifest["games"]}
    trained_on = tuple(game for game in meant if split_of.get(game) in manifest["fit_on"])
    notes = _notes(found, wanted, league, split_of, meant, places.tables)
    if not meant:
        answer = "no such game"
    elif not trained_on:
        answer = "no"
    else:
        answer = "yes" if len(trained_on) == len(meant) else "partly"
    return DataAnswer(
        model=name, filter=games, answer=answer, games=len(meant), trained_on=trained_on, splits=splits,
        fit_on=tuple(manifest["fit_on"]), not_in=tuple(game for game in meant if game not in split_of),
        training_set=manifest["training_set"], notes=notes,
    )  # fmt: skip


def _notes(
    found: Found, wanted: Filter, league: str, split_of: dict[str, str], meant: list[str], tables: str
) -> tuple[str, ...]:
    notes = []
    if not found.known:
        notes.append(
            f"there are no tables {' or '.join(PLAYED)} of {league} under {tables}: only game ids can be asked for"
        )
    elif wanted.stages and not {stage.casefold() for stage in found.stages} & set(wanted.stages):
        notes.append(f"{league} has played no game of stage {wanted.stages[0]!r}; there are {', '.join(found.stages)}")
    elif not meant:
        notes.append(f"no game that {league} has played is meant")
    gone = sum(1 for game in split_of if game not in found.known) if found.known else 0
    if gone:
        notes.append(
            f"{gone} games of its training set no longer stand in the tables under their ids (corrected since); ask for"
            " such a game by the id it had"
        )
    return tuple(notes)


# -- which code -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CodeAnswer:
    """Which code made a model.

    Attributes:
        commit: 40 hex digits, or "unknown".
        dirty: whether the tree had changes that the commit lacks; None when unknown.
        code_digest: sha256 over the source that defines learners and features; tells two dirty trees apart.
        lock_digest: sha256 of constraints.txt, or "unknown".
        packages: versions of the libraries that made the model.
        exact: the commit alone gives the code back.
    """

    model: str
    commit: str
    dirty: bool | None
    exact: bool
    code_digest: str
    lock_digest: str
    packages: dict[str, str]
    created_at: str
    created_by: str
    training_job: str
    notes: tuple[str, ...] = ()


def ask_code(places: Places, model: str) -> CodeAnswer:
    """Which commit made a model? Raises HoopsError as `ask_data`."""
    league, number = stored.model_of(places.registry, places.record, model)
    version = stored.read_version(places.registry, league, number)
    manifest = stored.read_manifest(places.registry, league, number)
    code = manifest.get("code", {})
    commit, dirty = version["commit"], version["dirty"]
    exact = commit != "unknown" and dirty is False
    notes = []
    if IMPORTED in manifest:
        notes.append(f"it came from {manifest[IMPORTED]['sheet']}; the commit is what the sheet says")
    elif dirty:
        notes.append(
            "the tree had changes that the commit lacks; the code digest tells whether another tree is the same"
        )
    elif commit == "unknown":
        notes.append("it was made outside a checkout; set HOOPS_COMMIT where models are trained without one")
    return CodeAnswer(
        model=f"{league}/{number}", commit=commit, dirty=dirty, exact=exact,
        code_digest=code.get("digest", "unknown"), lock_digest=version["lock_digest"],
        packages=manifest.get("packages", {}), created_at=version["created_at"], created_by=version["created_by"],
        training_job=version["training_job"], notes=tuple(notes),
    )  # fmt: skip


# -- who was served ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """One answer that a customer got; `at` is aware, UTC. `version` is None where no model answered (see `degraded`)."""

    at: datetime
    request_id: str
    league: str
    game_id: str | None
    home: str | None
    away: str | None
    version: int | None
    learner: str | None
    home_win_probability: float
    degraded: str | None
    traffic: dict[int, int]


@dataclass(frozen=True)
class ServedAnswer:
    """Which versions answered a customer on a day.

    Attributes:
        versions: "LEAGUE/NUMBER" (or "LEAGUE/-" where no model answered) -> number of answers, most first.
        answers: every answer, oldest first.
        traffic: by league, what served at the beginning of its day and after each change of that day:
            [{at, traffic {version: percent}, decided_by, reason}].
    """

    customer: str
    day: date
    versions: dict[str, int]
    answers: tuple[Served, ...]
    traffic: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def ask_served(
    places: Places, customer: str, day: date, *, game: str | None = None, league: str | None = None
) -> ServedAnswer:
    """Which version answered a customer on a day?

    Args:
        day: in the time zone of the league that was asked about.
        game: only answers about this game id.
        league: only answers about this league; by default all.

    Raises:
        HoopsError: a league's file, or the record, cannot be read.
    """
    # No zone is further than a day from UTC.
    middle = datetime.combine(day, time(12), UTC)
    equal = {"customer": customer} | ({"league": league} if league else {}) | ({"game_id": game} if game else {})
    around = stored.rows(
        places.record, "served_predictions", middle - timedelta(hours=36), middle + timedelta(hours=36), **equal
    )
    leagues = sorted({row["league"] for row in around} | ({league} if league else set()))
    bounds = {name: bounds_of(places.home, name, day) for name in leagues}
    inside = [row for row in around if bounds[row["league"]][0] <= row["at"] < bounds[row["league"]][1]]
    changes = {name: stored.deployments(places.record, name) for name in leagues}
    answers = tuple(_served(row, changes[row["league"]]) for row in sorted(inside, key=lambda row: row["at"]))
    asked = [name for name in leagues if name == league or any(one.league == name for one in answers)]
    return ServedAnswer(
        customer=customer, day=day,
        versions=dict(Counter(f"{one.league}/{one.version or '-'}" for one in answers).most_common()),
        answers=answers,
        traffic={name: _traffic(changes[name], *bounds[name]) for name in asked},
    )  # fmt: skip


def bounds_of(home: Path, league: str, day: date) -> tuple[datetime, datetime]:
    """Beginning and end of a league's day, aware, UTC; 23 or 25 hours apart where clocks change."""
    zone = stored.zone_of(home, league)
    first, last = (datetime.combine(one, time(), zone).astimezone(UTC) for one in (day, day + timedelta(days=1)))
    return first, last


def _served(row: dict[str, Any], changes: list[dict[str, Any]]) -> Served:
    traffic = stored.traffic_of(row["traffic"]) if row["traffic"] else stored.traffic_at(changes, row["at"])
    names = (
        "at",
        "request_id",
        "league",
        "game_id",
        "home",
        "away",
        "version",
        "learner",
        "home_win_probability",
        "degraded",
    )
    return Served(**{name: row[name] for name in names}, traffic=traffic)


def _traffic(changes: list[dict[str, Any]], first: datetime, last: datetime) -> list[dict[str, Any]]:
    before = [change for change in changes if change["at"] < first][-1:]
    during = [change for change in changes if first <= change["at"] < last]
    return [
        {name: change[name] for name in ("at", "traffic", "action", "decided_by", "reason")}
        for change in before + during
    ]


def as_json(answer: Any) -> dict[str, Any]:
    """An answer as plain values for JSON; times as ISO 8601."""
    return _plain(asdict(answer))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def last_days(text: str) -> timedelta:
    """A span written as `30d`. Raises HoopsError."""
    if not text.endswith("d") or not text[:-1].isdigit():
        raise HoopsError(f"--last {text!r}: write a number of days as 30d")
    return timedelta(days=int(text[:-1]))
