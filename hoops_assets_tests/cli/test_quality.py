"""`hoops quality` on the command line, and leagues that are not overwritten by a slip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hoops_assets_tests.cli.files import HEADER, MAPPING, Hoops, schedule, write


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Hoops:
    """A league with games in one file and a second source of them, which says one score otherwise."""
    folder = tmp_path_factory.mktemp("quality")
    hoops, rows = Hoops(folder / "home"), schedule()
    assert hoops.add("tiny", write(folder / "games.csv", rows)).status == 0
    other = [list(row) for row in rows]
    other[4][3] = str(int(other[4][3]) + 1)
    second = write(folder / "second.csv", other)
    file = hoops.home / "leagues" / "tiny.yaml"
    content = yaml.safe_load(file.read_text())
    content["sources"]["compare"] = {**content["sources"]["games"], "files": [str(second)]}
    file.write_text(yaml.safe_dump(content))
    return hoops


def test_a_persons_eye_is_led_to_what_is_wrong(home: Hoops) -> None:
    said = home("quality", "tiny")
    assert said.status == 0, said.err
    assert "sources_agree" in said.out
    assert "1 score" in said.out
    assert str(home.home / "data_docs" / "tiny" / "index.html") in said.out.replace("\n", "")


def test_the_same_as_json_lists_every_check_failing_ones_first(home: Hoops) -> None:
    told = json.loads(home("quality", "tiny", "--json").out)
    assert [(one["asset"], one["check"]) for one in told["checks"] if not one["passed"]] == [
        ("reconciliation", "sources_agree")
    ]
    assert told["checks"][0]["asset"] == "reconciliation"
    assert {one["check"] for one in told["checks"]} >= {"no_game_day_left_failed", "no_team_unseen"}
    assert Path(told["data_docs"]).exists()


def test_a_league_of_yours_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    hoops = Hoops(tmp_path / "home")
    few, more = (write(tmp_path / f"{n}.csv", schedule(n), HEADER) for n in (1, 2))
    assert hoops.add("tiny", few).json["games"] == 72
    refused = hoops.add("tiny", more)
    assert refused.status == 2 and "--replace" in refused.err
    assert "replace" in refused.err and hoops.home.joinpath("leagues", "tiny.yaml").exists()
    assert hoops.add("tiny", more, mapping=MAPPING, options=["--replace"]).json["games"] == 144
