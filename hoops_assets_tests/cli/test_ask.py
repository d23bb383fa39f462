"""The questions, the ledger of models and the import, as commands."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from hoops_assets_tests.cli.files import Hoops
from hoops_assets_tests.services.lineage.home import CUSTOMER, LEAGUE, SERVED_ON, make_home
from hoops_assets_tests.workloads.serve.served import serving

COMMANDS = {
    "data": ["ask", "data", "--model", f"{LEAGUE}/1", "--games", "stage=quarter-final season=2026"],
    "best": ["ask", "best", LEAGUE],
    "code": ["ask", "code", "--model", f"{LEAGUE}/live"],
    "served": ["ask", "served", "--customer", CUSTOMER, "--on", str(SERVED_ON)],
    "ledger": ["ledger", "--last", "90000d", "--models"],
}


@pytest.fixture(scope="module")
def hoops(tmp_path_factory: pytest.TempPathFactory) -> Hoops:
    home = tmp_path_factory.mktemp("ask") / "home"
    make_home(home, versions=4)
    return Hoops(home)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_question_answers_as_json_and_to_people(hoops: Hoops, name: str) -> None:
    asked = hoops(*COMMANDS[name], "--json")
    assert (asked.status, asked.err) == (0, "")
    assert json.loads(asked.out)
    told = hoops(*COMMANDS[name])
    assert (told.status, told.err) == (0, "")
    assert "[" not in told.out.partition("\n")[0]


def test_what_people_are_told_is_the_answer(hoops: Hoops) -> None:
    assert hoops(*COMMANDS["data"]).out.startswith(f"no: {LEAGUE}/1 was fitted on 0 of 36 games\n")
    assert "cannot be told apart" in hoops(*COMMANDS["best"]).out or "worse" in hoops(*COMMANDS["best"]).out
    assert hoops(*COMMANDS["code"]).out.startswith(f"{LEAGUE}/4: commit {4:040x} (clean)\n")
    served = hoops(*COMMANDS["served"]).out
    assert f"by version: {LEAGUE}/1" in served and "version 1: 90 %, version 4: 10 %" in served
    assert "deploy, 0 % to 10 %" in hoops(*COMMANDS["ledger"]).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", "served", "--customer", "c", "--on", "yesterday"], "--on 'yesterday' is not a day"),
        (
            ["ask", "served", "--customer", "c", "--on", "2026-01-01", "--league", "atlantis"],
            "did you mean 'atlantic'?",
        ),
        (["ask", "best", "pacific"], "run: hoops train pacific"),
        (["ask", "code", "--model", "7"], "write LEAGUE/NUMBER"),
        (["ledger", "--models", "--launches"], "choose one"),
        (["registry", "import", "none.csv", "--league", LEAGUE], "there is no such file"),
        (["registry", "import", "none.csv", "--league", LEAGUE, "--column", "name"], "write HEADER=FIELD"),
    ],
)
def test_what_cannot_be_answered_is_one_message(hoops: Hoops, arguments: list[str], said: str) -> None:
    asked = hoops(*arguments)
    assert (asked.status, asked.out) == (2, "")
    assert said in asked.err


def test_a_sheet_with_a_bad_row_ends_with_status_3_and_keeps_it(tmp_path: Path) -> None:
    hoops = Hoops(tmp_path / "home")
    (tmp_path / "a.pkl").write_bytes(b"model")
    sheet = tmp_path / "models.csv"
    sheet.write_text("name,date,file,log_loss\na,2024-01-05,a.pkl,0.61\nb,2024-01-06,lost.pkl,0.6\n")
    said = hoops("registry", "import", sheet, "--league", LEAGUE)
    assert said.status == 3
    assert "a.pkl" in said.out and "no model.onnx" in said.out
    assert f"{sheet}, line 3, field file: there is no file" in said.err
    kept = (hoops.home / "quarantine" / LEAGUE / "models.csv").read_text()
    assert "lost.pkl" in kept
    sheet.write_text("name,date,file,log_loss\na,2024-01-05,a.pkl,0.61\n")
    again = hoops("registry", "import", sheet, "--league", LEAGUE, "--json")
    assert again.status == 0
    assert [(one["version"], one["added"]) for one in again.json["imported"]] == [(1, False)]
    assert not (hoops.home / "quarantine" / LEAGUE / "models.csv").exists()
    assert [row["version"] for row in hoops("registry", "list", LEAGUE, "--json").json] == [1]


PAGES = {"data": f"{LEAGUE}/data-1", "best": f"{LEAGUE}/best", "code": f"{LEAGUE}/code-4",
         "served": f"questions/served-{CUSTOMER}-{SERVED_ON}"}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_every_question_has_a_page_that_says_the_same(hoops: Hoops, name: str) -> None:
    plain = hoops(*COMMANDS[name])
    told = hoops(*COMMANDS[name], "--page")
    file = hoops.home / "reports" / f"{PAGES[name]}.html"
    assert told.status == 0 and told.out == plain.out and told.err.split() == ["page:", str(file)]
    shown = file.read_text()
    assert shown.startswith("<!doctype html>") and "<script" not in shown and "http" not in shown
    said = json.loads(hoops(*COMMANDS[name], "--json").out)
    expected = {
        "data": [said.get("filter"), "not fitted on"],
        "best": [one["learner"] for one in said.get("ranking", [])] + ["data:image/png"],
        "code": [said.get("commit"), said.get("code_digest"), "The commit alone"],
        "served": [f"{len(said.get('answers', []))} answer", "version 1: 90 %, version 4: 10 %"],
    }[name]
    for text in expected:
        assert text in shown, text


def test_a_page_that_cannot_be_written_says_where(hoops: Hoops) -> None:
    (hoops.home / "reports" / "questions").mkdir(parents=True, exist_ok=True)
    folder = hoops.home / "reports" / LEAGUE / "code-4.html"
    if folder.exists():
        folder.unlink()
    folder.mkdir(parents=True)
    try:
        told = hoops(*COMMANDS["code"], "--page")
        assert told.status != 0 and "the page cannot be written" in told.err and "Traceback" not in told.err
    finally:
        folder.rmdir()


def test_a_running_server_shows_the_page_at_the_address_told(hoops: Hoops) -> None:
    with serving(hoops.home) as server:
        told = hoops(*COMMANDS["code"], "--page")
        address = told.err.split()[-1]
        assert address == f"{server.address}/reports/{LEAGUE}/code-4.html"
        with urllib.request.urlopen(address, timeout=20) as response:
            assert response.read() == (hoops.home / "reports" / LEAGUE / "code-4.html").read_bytes()
        with urllib.request.urlopen(f"{server.address}/reports/", timeout=20) as response:
            assert f"/reports/{LEAGUE}/code-4.html".encode() in response.read()
