"""Leaving the spreadsheet of models: a CSV export becomes registered versions, linked to their files.

What belongs here: reading the sheet's columns, judging its rows, and adopting the good ones. A row is a version of
provider `imported`: its file is copied and named by digest and size, what the sheet says is kept word for word in its
manifest.json, and nothing is loaded or run (a pickle stays a file). A row that cannot be trusted is refused with file,
line, field and reason, and kept out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hoops_assets.errors import SourceError
from hoops_assets.services.registry.contract import IMPORTED, ModelVersion
from hoops_assets.services.registry.local import MANIFEST, LocalRegistry
from hoops_assets.sources.contract import Rejected
from hoops_assets.store.record import who
from hoops_assets.workloads.spec import FileDigest, canonical

FIELDS: dict[str, tuple[str, ...]] = {
    "name": ("name", "model", "model_name", "id", "model_id"),
    "date": ("date", "trained", "trained_on", "trained_at", "created", "created_at", "training_date", "day"),
    "file": ("file", "path", "file_path", "filepath", "model_file", "artefact", "artifact", "location"),
    "learner": ("learner", "algorithm", "method", "model_type", "type"),
    "dataset": ("dataset", "data", "data_set", "training_data", "training_set"),
    "commit": ("commit", "git_commit", "git", "git_sha", "sha", "revision"),
    "author": ("author", "by", "owner", "who", "trained_by", "created_by"),
    "parameters": ("parameters", "params", "hyperparameters", "hyper_parameters"),
    "features": ("features", "inputs"),
}
"""Field -> the headers that mean it, in lower case with _ for everything that is no letter or digit."""

REQUIRED = ("name", "date", "file")
METRICS = (
    "log_loss",
    "logloss",
    "brier",
    "brier_score",
    "accuracy",
    "acc",
    "auc",
    "roc_auc",
    "calibration_error",
    "ece",
)
"""Headers that are a metric, alone or behind train_, val_, validation_ or test_."""

_SAME = {"logloss": "log_loss", "brier_score": "brier", "acc": "accuracy", "roc_auc": "auc", "ece": "calibration_error"}
_METRIC = re.compile(rf"(?:metrics?_)?((?:train|val|valid|validation|test)_)?({'|'.join(METRICS)})")
_PARAMETER = re.compile(r"(?:param|parameter|hyperparameter|hp)s?_(.+)", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_UNIT = {"log_loss": math.inf, "brier": 1.0, "accuracy": 1.0, "auc": 1.0, "calibration_error": 1.0}
"""Greatest value that a metric can have; the least is 0."""


@dataclass(frozen=True)
class Imported:
    """One row that is a version now: whether it was added, or had been before."""

    version: int
    name: str
    added: bool
    file: str
    sha256: str
    size: int
    deployable: bool
    why_not: str


@dataclass
class ImportReport:
    """What became of a sheet.

    Attributes:
        columns: header -> what it was taken for; metrics.NAME, parameters.NAME, or "kept as text".
        rejected: rows that were kept out, in the sheet's order.
    """

    sheet: str
    columns: dict[str, str]
    imported: list[Imported] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True)
class _Row:
    line: int
    name: str
    at: datetime
    path: Path
    content: bytes
    learner: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    features: tuple[str, ...]
    commit: str
    author: str
    told: dict[str, str]

    @property
    def digest(self) -> str:
        """Of what a row is: name, date and file. The same row again is the same version."""
        return hashlib.sha256(
            canonical([self.name, self.at.isoformat(), hashlib.sha256(self.content).hexdigest()])
        ).hexdigest()


class _Bad(Exception):  # noqa: N818
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


def import_sheet(
    registry: LocalRegistry,
    league: str,
    sheet: Path,
    zone: ZoneInfo,
    now: datetime,
    columns: Mapping[str, str] | None = None,
    date_format: str | None = None,
) -> ImportReport:
    """Registers every good row of a sheet, oldest first. Doing it again adds only what is new.

    Args:
        sheet: CSV in UTF-8, separated by comma, semicolon or tab; the first line names the columns.
        zone: of dates without a time.
        columns: header -> field of FIELDS, metrics.NAME, parameters.NAME or ignore; for headers that are not understood.
        date_format: of strptime; without it dates are ISO 8601.

    Raises:
        SourceError: the sheet as a whole cannot be read, or a required column is missing.
    """
    header, rows, decimal_comma = _read(sheet)
    meaning = _meaning(header, columns or {}, sheet)
    report = ImportReport(str(sheet), meaning)
    good: list[_Row] = []
    for line, cells in rows:
        try:
            if len(cells) != len(header):
                raise _Bad("(whole row)", f"it has {len(cells)} cells, the header has {len(header)}")
            told = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            good.append(_row(line, told, meaning, sheet, zone, now, date_format, decimal_comma))
        except _Bad as bad:
            report.rejected.append(Rejected(str(sheet), line, bad.field, bad.reason, ",".join(cells)))
    lines = {row.line: row for row in good}
    for row in sorted(good, key=lambda row: (row.at, row.line)):
        try:
            report.imported.append(_adopt(registry, league, sheet, row, meaning))
        except _Bad as bad:
            cells = ",".join(lines[row.line].told.values())
            report.rejected.append(Rejected(str(sheet), row.line, bad.field, bad.reason, cells))
    report.rejected.sort(key=lambda one: one.line or 0)
    return report


# -- reading ----------------------------------------------------------------------------------------------------------


def _read(sheet: Path) -> tuple[list[str], list[tuple[int, list[str]]], bool]:
    """Header, (line, cells) of every row that is not empty, and whether decimals have a comma."""
    try:
        text = sheet.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceError(f"{sheet}: there is no such file; export the spreadsheet as CSV") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{sheet}: not UTF-8 at byte {error.start}; export the spreadsheet as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{sheet}, line {line}: not CSV: {error}; export the spreadsheet again") from None
    if not found:
        raise SourceError(f"{sheet}: it is empty; export the spreadsheet with its header line")
    header = [cell.strip() for cell in found[0][1]]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise SourceError(f"{sheet}, line 1: column {twice!r} stands twice; rename one")
    named = [name or f"column {place}" for place, name in enumerate(header, start=1)]
    return named, found[1:], delimiter == ";"


def _meaning(header: list[str], columns: Mapping[str, str], sheet: Path) -> dict[str, str]:
    unknown = [name for name in columns if name not in header]
    if unknown:
        raise SourceError(f"{sheet}: --column names {unknown[0]!r}, the sheet has {', '.join(header)}")
    meaning = {name: columns.get(name) or _guess(name) for name in header}
    allowed = (*FIELDS, "ignore", "kept as text")
    for name, taken in meaning.items():
        if taken not in allowed and not re.fullmatch(r"(metrics|parameters)\..+", taken):
            raise SourceError(
                f"--column {name}={taken}: write a field of {', '.join(FIELDS)}, metrics.NAME, parameters.NAME or ignore"
            )
    for wanted in FIELDS:
        taken = [name for name, what in meaning.items() if what == wanted]
        if len(taken) > 1:
            raise SourceError(
                f"{sheet}: the columns {' and '.join(map(repr, taken))} both look like the {wanted}; say which with"
                f" --column '{taken[1]}=ignore'"
            )
        if not taken and wanted in REQUIRED:
            raise SourceError(
                f"{sheet}: no column for the {wanted} among {', '.join(header)}; say which with --column 'HEADER={wanted}'"
            )
    return meaning


def _guess(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    for wanted, headers in FIELDS.items():
        if plain in headers:
            return wanted
    metric = _METRIC.fullmatch(plain)
    if metric:
        split = {"val_": "validation_", "valid_": "validation_"}.get(metric[1] or "", metric[1] or "")
        return f"metrics.{split}{_SAME.get(metric[2], metric[2])}"
    parameter = _PARAMETER.fullmatch(re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_"))
    return f"parameters.{parameter[1]}" if parameter else "kept as text"


# -- rows -------------------------------------------------------------------------------------------------------------


def _row(
    line: int, told: dict[str, str], meaning: dict[str, str], sheet: Path, zone: ZoneInfo, now: datetime,
    date_format: str | None, decimal_comma: bool,
) -> _Row:  # fmt: skip
    header = {what: name for name, what in meaning.items()}

    def cell(wanted: str) -> str:
        return told.get(header.get(wanted, ""), "")

    if not cell("name"):
        raise _Bad(header["name"], "it is empty; every model needs a name")
    at = _date(cell("date"), header["date"], zone, now, date_format)
    path, content = _file(cell("file"), header["file"], sheet)
    metrics = {
        what.removeprefix("metrics."): _metric(what.removeprefix("metrics."), told[name], name, decimal_comma)
        for name, what in meaning.items()
        if what.startswith("metrics.") and told[name]
    }
    parameters = _parameters(cell("parameters"), header.get("parameters", "")) | {
        what.removeprefix("parameters."): _value(told[name])
        for name, what in meaning.items()
        if what.startswith("parameters.") and told[name]
    }
    commit = cell("commit").casefold()
    if commit and not _COMMIT.fullmatch(commit):
        raise _Bad(header["commit"], f"{cell('commit')!r} is not a commit: 7 to 40 hex digits, or nothing")
    return _Row(
        line=line, name=cell("name"), at=at, path=path, content=content, learner=cell("learner") or "unknown",
        parameters=parameters, metrics=metrics, features=tuple(filter(None, re.split(r"[;,|\s]+", cell("features")))),
        commit=commit or "unknown", author=cell("author") or who(),
        told={name: value for name, value in told.items() if meaning[name] != "ignore"},
    )  # fmt: skip


def _date(text: str, name: str, zone: ZoneInfo, now: datetime, date_format: str | None) -> datetime:
    try:
        at = datetime.strptime(text, date_format) if date_format else datetime.fromisoformat(text)
    except ValueError:
        wanted = f"in the form {date_format}" if date_format else "as 2026-05-12, or say how with --date-format"
        raise _Bad(name, f"{text!r} is not a date; write it {wanted}") from None
    at = at if at.tzinfo else at.replace(tzinfo=zone)
    if at > now + timedelta(days=1):
        raise _Bad(name, f"{text} lies in the future")
    return at.astimezone(UTC)


def _file(text: str, name: str, sheet: Path) -> tuple[Path, bytes]:
    if not text:
        raise _Bad(name, "it is empty; a version needs the model's file")
    if "://" in text:
        raise _Bad(name, f"{text} is not on this machine; fetch it and write its path")
    path = Path(text).expanduser()
    path = path if path.is_absolute() else sheet.parent / path
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _Bad(name, f"there is no file {path}; find it or take the row out") from None
    except OSError as error:
        raise _Bad(name, f"{path} cannot be read: {error.strerror or error}") from None
    if not content:
        raise _Bad(name, f"{path} is empty")
    return path, content


def _metric(metric: str, text: str, name: str, decimal_comma: bool) -> float:
    plain = text.replace(",", ".") if decimal_comma else text
    percent = plain.endswith("%")
    try:
        value = float(plain.rstrip("% "))
    except ValueError:
        raise _Bad(name, f"{text!r} is not a number") from None
    value = value / 100 if percent else value
    most = next((bound for end, bound in _UNIT.items() if metric.endswith(end)), math.inf)
    if not math.isfinite(value) or (metric.endswith(tuple(_UNIT)) and not 0 <= value <= most):
        raise _Bad(name, f"{text} is no {metric}; it lies between 0 and {most:g}")
    return value


def _parameters(text: str, name: str) -> dict[str, Any]:
    """Parameters written as JSON, or as a=1; b=2."""
    if not text:
        return {}
    if text.startswith("{"):
        try:
            return dict(json.loads(text, parse_constant=_refuse))
        except ValueError as error:
            raise _Bad(name, f"not JSON: {error}") from None
    parts = [part.partition("=") for part in re.split(r"[;,\n]", text) if part.strip()]
    if not all(equals for _, equals, _ in parts):
        raise _Bad(name, f"{text!r}: write parameters as c=0.1; depth=3 or as JSON")
    return {key.strip(): _value(value.strip()) for key, _, value in parts}


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


# -- adopting ---------------------------------------------------------------------------------------------------------


def _adopt(registry: LocalRegistry, league: str, sheet: Path, row: _Row, meaning: dict[str, str]) -> Imported:
    artefact = "model.onnx" if row.path.suffix == ".onnx" else row.path.name
    if artefact in (MANIFEST, "version.json"):
        raise _Bad("file", f"a model's file cannot be called {artefact}; rename it")
    header = {what: name for name, what in meaning.items()}
    facts = {
        "sheet": f"{sheet.name}, line {row.line}", "name": row.name, "file": str(row.path),
        "dataset": row.told.get(header.get("dataset", ""), ""), "row": row.told, "columns": meaning,
    }  # fmt: skip
    manifest = {
        "league": league, "learner": row.learner, "parameters": row.parameters, "metrics": row.metrics,
        "features": list(row.features), IMPORTED: facts,
    }  # fmt: skip
    before: list[int] = []

    def describe(number: int, folder: Path) -> ModelVersion:
        before.append(number)
        return ModelVersion(
            league=league, version=number, learner=row.learner, parameters=row.parameters, features=row.features,
            metrics=row.metrics, commit=row.commit, dirty=None, lock_digest="unknown", created_at=row.at,
            created_by=row.author, trained_through=row.at.date(), training_job=row.name, provider=IMPORTED,
            digest=row.digest, manifest_digest=FileDigest.of(folder / MANIFEST).sha256, parity=None,
            artefacts={artefact: FileDigest.of(folder / artefact)}, uri=folder.absolute().as_uri(),
        )  # fmt: skip

    files = {artefact: row.content, MANIFEST: (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()}
    version = registry.adopt(league, row.digest, files, describe)
    if not before:
        _check_unchanged(version, row)
    why_not = ""
    if not version.deployable:
        why_not = "no model.onnx" if "model.onnx" not in version.artefacts else "the sheet does not name its features"
    kept = version.artefacts[artefact]
    return Imported(
        version.version, row.name, bool(before), artefact, kept.sha256, kept.size, version.deployable, why_not
    )


def _check_unchanged(version: ModelVersion, row: _Row) -> None:
    """A version is immutable: the sheet may not say something else about it than when it was imported."""
    for name in ("metrics", "parameters", "learner", "commit", "features"):
        stored, told = getattr(version, name), getattr(row, name)
        if stored != told:
            raise _Bad(
                name,
                f"{row.name} was imported as {version.name} with {name} {stored}, now the sheet says {told}; a version"
                " does not change: put it back, or give the row a name of its own",
            )
