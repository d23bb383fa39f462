"""Leaving the spreadsheet of models: good rows become versions, bad ones are named and kept out."""

from __future__ import annotations

import csv
import hashlib
import signal
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hoops_assets.errors import SourceError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.lineage.questions import Places, ask_code, ask_data
from hoops_assets.services.prediction.bundle import pack
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.services.registry.sheet import ImportReport, import_sheet
from hoops_assets.sources.leagues import EMBEDDED, load_league
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.workloads.kills import die_at

LEAGUE = "atlantic"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = ["Model", "Trained on", "File", "Test log loss", "Accuracy", "param: C", "Dataset", "Commit", "Notes", "By"]
ROWS = [
    ["second", "2026-03-02", "models/b.onnx", "0.611", "66 %", "0.5", "games v2", "abcdef1", "with rest days", "Ann"],
    ["first", "2026-02-01", "models/a.pkl", "0.642", "", "1", "games v1", "", "", "Bob"],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.pkl").write_bytes(b"pickled")
    (tmp_path / "models" / "b.onnx").write_bytes(b"onnx")
    return tmp_path


def write(folder: Path, rows: list[list[str]], header: list[str] = HEADER, delimiter: str = ",") -> Path:
    path = folder / "models.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def take(folder: Path, rows: list[list[str]], header: list[str] = HEADER, **options: object) -> ImportReport:
    registry = LocalRegistry(folder / "registry")
    sheet = write(folder, rows, header)
    return import_sheet(registry, LEAGUE, sheet, ZoneInfo("America/New_York"), NOW, **options)  # type: ignore[arg-type]


def test_rows_become_versions_oldest_first_with_their_files(folder: Path) -> None:
    report = take(folder, ROWS)
    assert not report.rejected
    assert [(one.version, one.name, one.added) for one in report.imported] == [(1, "first", True), (2, "second", True)]
    first, second = LocalRegistry(folder / "registry").list(LEAGUE)
    assert (first.training_job, first.provider, first.created_by) == ("first", "imported", "Bob")
    assert (first.parameters, first.metrics, first.commit) == ({"C": 1}, {"test_log_loss": 0.642}, "unknown")
    assert second.metrics == {"test_log_loss": 0.611, "accuracy": 0.66}
    assert (second.commit, second.trained_through) == ("abcdef1", date(2026, 3, 2))
    assert first.artefacts["a.pkl"].sha256 == hashlib.sha256(b"pickled").hexdigest()
    assert first.artefacts["a.pkl"].size == 7
    assert (LocalRegistry(folder / "registry").artefacts(LEAGUE, 1) / "a.pkl").read_bytes() == b"pickled"


def test_importing_again_adds_only_what_is_new(folder: Path) -> None:
    take(folder, ROWS)
    (folder / "models" / "c.pkl").write_bytes(b"third")
    report = take(folder, [*ROWS, ["third", "2026-04-01", "models/c.pkl", *[""] * 7]])
    assert [(one.version, one.added) for one in report.imported] == [(1, False), (2, False), (3, True)]
    assert len(LocalRegistry(folder / "registry").list(LEAGUE)) == 3


@pytest.mark.parametrize(
    ("column", "value", "field", "reason"),
    [
        (0, "", "Model", "it is empty"),
        (1, "last May", "Trained on", "'last May' is not a date"),
        (1, "2027-01-01", "Trained on", "lies in the future"),
        (2, "", "File", "a version needs the model's file"),
        (2, "models/lost.pkl", "File", "there is no file"),
        (2, "models", "File", "cannot be read"),
        (2, "s3://bucket/model.pkl", "File", "is not on this machine"),
        (3, "good", "Test log loss", "'good' is not a number"),
        (3, "nan", "Test log loss", "is no test_log_loss"),
        (4, "166 %", "Accuracy", "it lies between 0 and 1"),
        (7, "main", "Commit", "is not a commit"),
    ],
)
def test_a_bad_row_is_kept_out_and_named(folder: Path, column: int, value: str, field: str, reason: str) -> None:
    bad = list(ROWS[0])
    bad[column] = value
    report = take(folder, [bad, ROWS[1]])
    assert [one.name for one in report.imported] == ["first"]
    (rejected,) = report.rejected
    assert (rejected.line, rejected.field) == (2, field)
    assert reason in rejected.reason
    assert rejected.file == str(folder / "models.csv")
    assert len(LocalRegistry(folder / "registry").list(LEAGUE)) == 1


def test_a_row_of_another_length_is_kept_out_and_lines_are_those_of_the_file(folder: Path) -> None:
    noted = [*ROWS[0][:8], "two\nlines", "Ann"]
    report = take(folder, [noted, ROWS[1][:4]])
    assert [(one.line, one.field) for one in report.rejected] == [(4, "(whole row)")]


def test_a_version_does_not_change_when_the_sheet_does(folder: Path) -> None:
    take(folder, ROWS)
    edited = [[*ROWS[0][:3], "0.5", *ROWS[0][4:]], ROWS[1]]
    report = take(folder, edited)
    (rejected,) = report.rejected
    assert (rejected.field, rejected.line) == ("metrics", 2)
    assert "second was imported as atlantic/2 with metrics" in rejected.reason
    assert LocalRegistry(folder / "registry").get(LEAGUE, 2).metrics["test_log_loss"] == 0.611


def test_an_imported_version_says_that_it_cannot_be_deployed(folder: Path) -> None:
    report = take(folder, ROWS)
    assert [(one.deployable, one.why_not) for one in report.imported] == [
        (False, "no model.onnx"),
        (False, "the sheet does not name its features"),
    ]
    named = take(folder, [["third", "2026-05-01", "models/b.onnx", "elo; rest"]], ["name", "date", "file", "features"])
    assert named.imported[0].deployable
    assert LocalRegistry(folder / "registry").get(LEAGUE, 3).features == ("elo", "rest")


def test_deploying_what_cannot_serve_is_refused(folder: Path) -> None:
    take(folder, ROWS)
    league = load_league(EMBEDDED / f"{LEAGUE}.yaml")
    for number in (1, 2):
        with pytest.raises(ServiceError, match=f"atlantic/{number} cannot be deployed: it was imported without"):
            pack(LocalRegistry(folder / "registry"), DeltaStore(str(folder / "tables")), league, number, NOW, 7)


def test_an_imported_model_with_its_features_can_be_packed(folder: Path) -> None:
    take(folder, [["third", "2026-05-01", "models/b.onnx", "elo; rest"]], ["name", "date", "file", "features"])
    league = load_league(EMBEDDED / f"{LEAGUE}.yaml")
    packed = pack(LocalRegistry(folder / "registry"), DeltaStore(str(folder / "tables")), league, 1, NOW, 7)
    assert (packed.onnx, packed.bundle.features, packed.bundle.reliability) == (b"onnx", ("elo", "rest"), ())


def test_an_imported_version_has_no_manifest_and_says_why(folder: Path) -> None:
    take(folder, ROWS)
    with pytest.raises(ServiceError, match="atlantic/1 was imported from a spreadsheet") as error:
        LocalRegistry(folder / "registry").manifest(LEAGUE, 1)
    assert error.value.kind == "not_found"


def test_the_questions_say_what_the_sheet_said(folder: Path) -> None:
    take(folder, ROWS)
    places = Places(folder, str(folder / "tables"), "sqlite:///none.db")
    asked = ask_data(places, f"{LEAGUE}/1", "qf")
    assert asked.answer == "unknown"
    assert "models.csv, line 3; of its data the sheet says: games v1" in asked.notes[0]
    code = ask_code(places, f"{LEAGUE}/2")
    assert (code.commit, code.exact, code.code_digest) == ("abcdef1", False, "unknown")


def test_headers_are_understood_or_named_by_the_user(folder: Path) -> None:
    header = ["Bezeichnung", "Datum", "path", "val acc", "hp_depth", "Kommentar"]
    rows = [["erstes", "01.02.2026", "models/a.pkl", "0.7", "3", "gut"]]
    with pytest.raises(SourceError, match="no column for the name among Bezeichnung"):
        take(folder, rows, header)
    report = take(folder, rows, header, columns={"Bezeichnung": "name", "Datum": "date"}, date_format="%d.%m.%Y")
    assert report.columns == {
        "Bezeichnung": "name", "Datum": "date", "path": "file", "val acc": "metrics.validation_accuracy",
        "hp_depth": "parameters.depth", "Kommentar": "kept as text",
    }  # fmt: skip
    assert len(report.imported) == 1


def test_semicolons_and_decimal_commas_are_read(folder: Path) -> None:
    sheet = write(folder, [["a", "2026-01-01", "models/a.pkl", "0,61"]], ["name", "date", "file", "brier"], ";")
    registry = LocalRegistry(folder / "registry")
    import_sheet(registry, LEAGUE, sheet, ZoneInfo("UTC"), NOW)
    assert registry.get(LEAGUE, 1).metrics == {"brier": 0.61}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "it is empty"),
        (b"name,date\xff", "not UTF-8 at byte 9"),
        (b"name,date,file,file\n", "column 'file' stands twice"),
        (b"name,model,date,file\n", "both look like the name"),
    ],
)
def test_a_sheet_that_cannot_be_read_is_told(folder: Path, content: bytes | None, said: str) -> None:
    sheet = folder / "models.csv"
    if content is not None:
        sheet.write_bytes(content)
    with pytest.raises(SourceError, match=said):
        import_sheet(LocalRegistry(folder / "registry"), LEAGUE, sheet, ZoneInfo("UTC"), NOW)


def take_rows(folder: Path) -> None:
    take(folder, ROWS)


@pytest.mark.parametrize(("point", "left"), [("registry.before_register", []), ("registry.after_register", [1])])
def test_a_killed_import_is_finished_by_the_next(folder: Path, point: str, left: list[int]) -> None:
    assert die_at(f"{__name__}:take_rows", {point: folder}) == {point: signal.SIGKILL}
    assert [one.version for one in LocalRegistry(folder / "registry").list(LEAGUE)] == left
    report = take(folder, ROWS)
    assert [(one.version, one.added) for one in report.imported] == [(1, 1 not in left), (2, True)]
