"""The files that a prediction server reads, and that the deploying side writes.

What belongs here: their content, their places under HOME/serving, and reading and writing them whole.

    HOME/serving/server.json                             RunningServer, while one runs
    HOME/serving/{league}/endpoint.json                  EndpointState: what should serve
    HOME/serving/{league}/fixtures.json                  Fixtures: features of the coming games, renewed daily
    HOME/serving/{league}/deployments.json               optional, a list of rows for the page for people
    HOME/serving/{league}/bundles/{version}-{digest12}/  a bundle: bundle.json and model.onnx, never changed
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from hoops_assets.basketball.league import League
from hoops_assets.basketball.ratings import SCALE
from hoops_assets.errors import ModelError
from hoops_assets.store import atomic

BUNDLE = "bundle.json"
MODEL = "model.onnx"
ENDPOINT = "endpoint.json"
FIXTURES = "fixtures.json"
DEPLOYMENTS = "deployments.json"
SERVER = "server.json"

Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Content(BaseModel):
    """A frozen model that refuses unknown fields, numbers that are not finite among them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ReliabilityBin(_Content):
    """One row of `judging.scoring.reliability`.

    Attributes:
        n: games.
        mean_probability: mean forecast.
        share: of games that the home side won.
        low, high: interval of the share.
    """

    n: int
    mean_probability: Probability
    share: Probability
    low: Probability
    high: Probability


class Bundle(_Content):
    """Everything about one version that a server needs beside its model.onnx.

    Attributes:
        version: number of the version in its league's registry.
        digest: of the model, as the registry tells it.
        features: the model's inputs in their order.
        time_zone: IANA zone of the league's game days.
        teams: every accepted name or code -> code of the team; compared without regard to case.
        base_rate: share of games won by the home side, for want of anything better; one half on neutral ground.
        ratings: team -> Elo, the ladder's second rung.
        home_advantage: rating points of the home side.
        scale: rating points that multiply the odds by ten.
        reliability: of the version's forecasts when it was judged.
        model_sha256: of model.onnx; `write_bundle` fills it in.
    """

    league: str
    version: int = Field(ge=1)
    learner: str
    digest: Sha256
    features: tuple[str, ...] = Field(min_length=1)
    time_zone: str
    teams: dict[str, str]
    base_rate: Probability
    ratings: dict[str, FiniteFloat]
    home_advantage: FiniteFloat
    scale: Annotated[float, Field(gt=0)] = SCALE
    reliability: tuple[ReliabilityBin, ...] = ()
    made_at: AwareDatetime
    model_sha256: str = ""


class Fixture(_Content):
    """A coming game and what a model sees of it.

    Attributes:
        day: game day, date in the league's zone.
        tip_off: aware, or None when unknown.
        home, away: codes of the teams.
        features: by name, all that any serving version needs.
    """

    game_id: str
    day: date
    tip_off: AwareDatetime | None = None
    home: str
    away: str
    neutral: bool = False
    stage: str
    season: int
    features: dict[str, FiniteFloat]


class Fixtures(_Content):
    """The coming games of a league; all days from `first_day` to `last_day` are covered, with games or without.

    Attributes:
        teams: as `Bundle.teams`, as of `made_at`: a team that came after a version was deployed is known by them.
    """

    league: str
    made_at: AwareDatetime
    first_day: date
    last_day: date
    teams: dict[str, str] = {}
    fixtures: tuple[Fixture, ...]


class Variant(_Content):
    """A version and its share of the requests.

    Attributes:
        bundle: folder, absolute or relative to the endpoint's.
        traffic: per cent.
    """

    version: int = Field(ge=1)
    bundle: str
    traffic: int = Field(ge=0, le=100)


class EndpointState(_Content):
    """What should serve. The order of the variants matters: see `endpoint.LoadedEndpoint.draw`.

    Attributes:
        revision: raised by one with every change.
        variants: their traffic sums to 100.
    """

    endpoint: str
    league: str
    revision: int = Field(ge=1)
    variants: tuple[Variant, ...] = Field(min_length=1)
    changed_at: AwareDatetime

    @model_validator(mode="after")
    def _whole(self) -> EndpointState:
        if sum(variant.traffic for variant in self.variants) != 100:
            raise ValueError(f"traffic must sum to 100, it is {[variant.traffic for variant in self.variants]}")
        versions = [variant.version for variant in self.variants]
        if len(set(versions)) != len(versions):
            raise ValueError(f"every variant must be another version, they are {versions}")
        return self


Content = TypeVar("Content", bound=BaseModel)


def serving_root(home: Path) -> Path:
    """HOME/serving."""
    return Path(home) / "serving"


def endpoint_folder(home: Path, league: str) -> Path:
    """HOME/serving/LEAGUE."""
    return serving_root(home) / league


def bundle_folder(home: Path, bundle: Bundle) -> Path:
    """Where a bundle stands."""
    return endpoint_folder(home, bundle.league) / "bundles" / f"{bundle.version}-{bundle.digest[:12]}"


def team_names(league: League) -> dict[str, str]:
    """Every accepted name or code of the league's teams -> code; earlier identities that have one successor included."""
    names: dict[str, str] = {}
    for code, team in league.teams.items():
        for spelling in (code, team.name, *team.aliases):
            names.setdefault(spelling, code)
    for code, team in league.teams.items():
        for succession in team.was:
            names.setdefault(succession.code, code)
    return names


def write_bundle(folder: Path, bundle: Bundle, onnx: bytes) -> Bundle:
    """Writes a bundle, whole or not at all. A folder that holds the same model already is left as it is.

    Returns:
        The bundle as it stands in the folder.

    Raises:
        ModelError: the folder holds another model.
    """
    folder = Path(folder)
    written = bundle.model_copy(update={"model_sha256": hashlib.sha256(onnx).hexdigest()})
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            temporary.chmod(0o755)
            (temporary / MODEL).write_bytes(onnx)
            (temporary / BUNDLE).write_text(written.model_dump_json(indent=1))
            atomic.commit_folder(temporary, folder)
        except FileExistsError:  # somebody else was first
            shutil.rmtree(temporary, ignore_errors=True)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    found = read_bundle(folder)
    if found.model_sha256 != written.model_sha256 or found.version != written.version:
        raise ModelError(
            f"{folder} holds version {found.version} with model {found.model_sha256[:12]}, not version"
            f" {written.version} with {written.model_sha256[:12]}; a bundle never changes: use another folder"
        )
    return found


def read_bundle(folder: Path) -> Bundle:
    """The bundle.json of a folder. Raises ModelError if it is missing or broken."""
    return _read(Path(folder) / BUNDLE, Bundle)


def read_model(folder: Path, bundle: Bundle) -> bytes:
    """The model.onnx of a bundle's folder. Raises ModelError if it is missing or not what was written."""
    file = Path(folder) / MODEL
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}; deploy version {bundle.version} again") from error
    if hashlib.sha256(content).hexdigest() != bundle.model_sha256:
        raise ModelError(
            f"{file} is not the file that was written ({len(content)} bytes, other digest);"
            f" deploy version {bundle.version} again"
        )
    return content


def read_endpoint(folder: Path) -> EndpointState:
    """The endpoint.json of HOME/serving/LEAGUE. Raises ModelError if it is missing or broken."""
    return _read(Path(folder) / ENDPOINT, EndpointState)


def write_endpoint(folder: Path, state: EndpointState) -> None:
    """Replaces endpoint.json; a running server notices by itself."""
    _write(Path(folder) / ENDPOINT, state)


def read_fixtures(folder: Path) -> Fixtures:
    """The fixtures.json of HOME/serving/LEAGUE. Raises ModelError if it is missing or broken."""
    return _read(Path(folder) / FIXTURES, Fixtures)


def write_fixtures(folder: Path, fixtures: Fixtures) -> None:
    """Replaces fixtures.json; a running server notices by itself."""
    _write(Path(folder) / FIXTURES, fixtures)


def write_deployments(folder: Path, rows: list[Mapping[str, Any]]) -> None:
    """Replaces deployments.json: newest first, `at`, `action`, `version`, `traffic`, `decided_by`, `reason` as strings."""
    atomic.write_json(Path(folder) / DEPLOYMENTS, [{name: str(value) for name, value in row.items()} for row in rows])


def _write(file: Path, content: BaseModel) -> None:
    atomic.write_text(file, content.model_dump_json(indent=1) + "\n")


def _read(file: Path, kind: type[Content]) -> Content:
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}; deploy again") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{file}: {where}: {first['msg']}; deploy again") from None
