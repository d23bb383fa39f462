"""What the commands print and how they end, from a new league to its forecasts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store.delta import DeltaStore
from hoops_assets_tests.cli.files import Hoops, Said, schedule, write

SCORES = ["learner", "n", "log_loss", "brier", "accuracy", "calibration_error"]
LEARNERS = ["base_rate", "elo", "logistic", "boosting", "ensemble"]


@pytest.fixture(scope="module")
def hoops(tmp_path_factory: pytest.TempPathFactory) -> Hoops:
    """A home with one csv league of four seasons; of the last some games are still to come."""
    folder = tmp_path_factory.mktemp("cli")
    made = Hoops(folder / "home")
    added = made.add("tiny", write(folder / "games.csv", schedule(4, 40)), options=["--first-season", "2024"])
    assert (added.status, added.err, added.json["games"], added.json["first_season"]) == (0, "", 480, 2024)
    return made


@pytest.fixture(scope="module")
def backfilled(hoops: Hoops) -> Said:
    said = hoops("backfill", "tiny", "--json")
    assert said.status == 0, said.err
    return said


@pytest.fixture(scope="module")
def trained(hoops: Hoops, backfilled: Said) -> Said:
    said = hoops("train", "tiny", "--json")
    assert said.status == 0, said.err
    return said


def refusal(said: Said) -> str:
    """The one message of a command that could not do its work, and printed nothing else."""
    assert (said.status, said.out) == (2, "")
    assert "Traceback" not in said.err
    (message,) = said.err.splitlines()
    return message.removeprefix("error: ")


def alone(home: Hoops, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`hoops` as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "hoops_assets.cli", *arguments],
        capture_output=True, text=True, env={**environment, **home.variables}, timeout=180,
    )  # fmt: skip


# -- with nothing materialised ----------------------------------------------------------------------------------------


def test_a_new_league_can_be_judged_at_once(hoops: Hoops) -> None:
    done = alone(hoops, "evaluate", "tiny", "--seasons", "2023..2024", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert list(report) == ["learners", "paired"]
    assert [list(row) for row in report["learners"]] == [SCORES] * len(LEARNERS)
    played = sum(1 for row in schedule(4, 40) if row[3] and row[0] > "2022-07-01")
    assert [(row["learner"], row["n"]) for row in report["learners"]] == [(name, played) for name in LEARNERS]
    assert len(report["paired"]) == len(LEARNERS) * (len(LEARNERS) - 1) // 2
    assert {"learner", "against", "n", "log_loss_difference", "low", "high"} <= set(report["paired"][0])
    elo = next(row for row in report["learners"] if row["learner"] == "elo")
    assert elo["log_loss"] < report["learners"][0]["log_loss"], "the teams differ, and Elo sees it"


def test_the_worth_of_sentiment_is_an_added_key(tmp_path: Path) -> None:
    hoops, rows = Hoops(tmp_path / "home"), schedule(4, 40)
    hoops.add("tiny", write(tmp_path / "games.csv", rows))
    asked = ("evaluate", "tiny", "--seasons", "2023..2024", "--ablate", "sentiment", "--json")
    assert "no game of these seasons has both fan posts" in refusal(hoops(*asked))
    said = [
        {"at": f"{day}T08:00:00-05:00", "to": team, "said": f"{word} game by us", "by": f"fan {number % 7}"}
        for number, (day, home, away, *_) in enumerate(rows)
        for team, word in ((home, ("great", "awful", "fine")[number % 3]), (away, ("bad", "lovely")[number % 2]))
    ]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in said))
    file = hoops.home / "leagues" / "tiny.yaml"
    content = yaml.safe_load(file.read_text())
    fields = {"created_at": "at", "team": "to", "text": "said", "author": "by"}
    content["sources"]["posts"] = {"kind": "json_lines", "files": [str(tmp_path / "posts.jsonl")], "fields": fields}
    file.write_text(yaml.safe_dump(content))
    report = hoops(*asked).json
    assert list(report) == ["learners", "paired", "ablation"]
    assert report["ablation"]["games"] == report["learners"][0]["n"]
    assert [row["learner"] for row in report["ablation"]["learners"]] == LEARNERS[2:]
    shown = hoops(*asked[:-1])
    assert shown.status == 0
    assert f"{report['ablation']['games']} games have fan posts" in shown.out
    assert "--ablate 'weather': only sentiment" in refusal(hoops("evaluate", "tiny", "--ablate", "weather"))


def test_judging_writes_no_table_and_no_model(tmp_path: Path) -> None:
    hoops = Hoops(tmp_path / "home")
    hoops.add("tiny", write(tmp_path / "games.csv", schedule(4, 40)))
    assert hoops("evaluate", "tiny", "--json").status == 0
    assert [path.name for path in hoops.home.iterdir() if path.is_dir()] == ["leagues"]


def test_the_table_for_people_says_the_same(hoops: Hoops) -> None:
    report = hoops("evaluate", "tiny", "--seasons", "2024", "--json").json
    shown = hoops("evaluate", "tiny", "--seasons", "2024")
    assert shown.status == 0
    for row in report["learners"]:
        assert f"{row['log_loss']:.4f}" in shown.out


@pytest.mark.parametrize(
    ("seasons", "said"),
    [
        ("2024-2025", "write one season as 2019 or a span as 2009..2019"),
        ("2023..", "write one season as 2019 or a span as 2009..2019"),
        ("2024..2023", "the last season is before the first"),
        ("1999", "season 1999 has no games; there are 2021 to 2024"),
        ("2021", "base_rate for season 2021 cannot be trained on 0 games, at least 200 are needed"),
    ],
)
def test_seasons_that_cannot_be_judged_are_told(seasons: str, said: str, hoops: Hoops) -> None:
    assert said in refusal(hoops("evaluate", "tiny", "--seasons", seasons, "--json"))


@pytest.mark.parametrize(
    "command", ["leagues show", "leagues check", "evaluate", "backfill", "train", "predict", "registry list"]
)
def test_an_unknown_league_is_told_with_the_nearest_name(command: str, hoops: Hoops) -> None:
    message = refusal(hoops(*command.split(), "tiney"))
    assert message.startswith("no league 'tiney' (did you mean 'tiny'?); there are atlantic, pacific, tiny")


def test_a_process_of_its_own_ends_with_status_2_and_one_message(hoops: Hoops) -> None:
    done = alone(hoops, "leagues", "show", "pacifc")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0].startswith("error: no league 'pacifc' (did you mean 'pacific'?)")


def test_help_loads_nothing_heavy(hoops: Hoops) -> None:
    program = (
        "import sys; sys.argv = ['hoops', '--help']\n"
        "from hoops_assets.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    loaded = set(done.stderr.split())
    assert "backfill" in done.stdout
    assert "typer" in loaded
    assert (
        loaded & {"dagster", "pandas", "numpy", "pyarrow", "pydantic", "yaml", "sklearn", "deltalake", "mlflow"}
        == set()
    )


def test_leagues_are_listed_and_shown(hoops: Hoops) -> None:
    listed = hoops("leagues", "list", "--json").json
    assert {row["name"]: (row["games"], row["teams"]) for row in listed}["tiny"] == ("csv", 6)
    shown = hoops("leagues", "show", "tiny", "--json").json
    assert (shown["name"], shown["time_zone"], len(shown["teams"])) == ("tiny", "America/New_York", 6)
    assert "time_zone: America/New_York" in hoops("leagues", "show", "tiny").out


def test_what_show_prints_is_a_league_file_again(hoops: Hoops, tmp_path: Path) -> None:
    text = hoops("leagues", "show", "atlantic").out
    (tmp_path / "leagues").mkdir()
    (tmp_path / "leagues" / "atlantic.yaml").write_text(text)
    again = Hoops(tmp_path)
    assert again("leagues", "show", "atlantic", "--json").json == hoops("leagues", "show", "atlantic", "--json").json


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2024-13-01"], "--from '2024-13-01' is not a day; write it as 2026-11-23"),
        (["--to", "yesterday"], "--to 'yesterday' is not a day"),
        (["--from", "2024-02-01", "--to", "2024-01-01"], "tiny has no game day from 2024-02-01 to 2024-01-01"),
        (["--from", "1999-01-01", "--to", "1999-12-31"], "to 1999-12-31; there are 2023-11-06 to 2024-"),
    ],
)  # fmt: skip
def test_a_span_that_cannot_be_backfilled_is_told(arguments: list[str], said: str, hoops: Hoops) -> None:
    assert said in refusal(hoops("backfill", "tiny", *arguments, "--json"))


def test_a_wrong_setting_is_one_message(hoops: Hoops) -> None:
    assert refusal(hoops("leagues", "list", HOOPS_UPCOMING_DAYS="soon")).startswith("HOOPS_UPCOMING_DAYS: ")


def test_a_home_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    said = Hoops(tmp_path / "home")(
        "leagues", "add", "nba", "--source", "fivethirtyeight", "--games", tmp_path / "x.csv"
    )
    assert "x.csv: no such file" in refusal(said)
    path = write(tmp_path / "x.csv", [["2019-04-09", "2019", "0", "", "BOS", "NYK", "110", "100"]],
                 ["date", "season", "neutral", "playoff", "team1", "team2", "score1", "score2"])  # fmt: skip
    said = Hoops(tmp_path / "home")("leagues", "add", "nba", "--source", "fivethirtyeight", "--games", path)
    assert str(tmp_path / "home") in refusal(said)


# -- the order of things ----------------------------------------------------------------------------------------------


def test_training_before_there_are_games_says_what_to_do(tmp_path: Path) -> None:
    hoops = Hoops(tmp_path / "home")
    hoops.add("tiny", write(tmp_path / "games.csv", schedule()))
    message = refusal(hoops("train", "tiny", "--json"))
    assert "training tiny failed" in message
    assert "0 played games on 0 days are too few to split; backfill more days" in message


def test_a_backfill_tells_its_spans_as_json_alone(hoops: Hoops, backfilled: Said) -> None:
    assert backfilled.err == ""
    (span,) = backfilled.json["spans"]
    assert (span["season"], span["state"], span["first"]) == (2024, "materialised", "2023-11-06")
    assert backfilled.json["rejected"] == 0


def test_the_same_backfill_again_has_nothing_to_do(hoops: Hoops, backfilled: Said) -> None:
    again = hoops("backfill", "tiny")
    assert again.status == 0
    assert "0 season(s), 0 days in 0 s; 1 already up to date" in again.out


def test_no_forecast_without_a_model(hoops: Hoops, backfilled: Said) -> None:
    if LocalRegistry(hoops.home / "registry").challenger("tiny") is None:
        assert refusal(hoops("predict", "tiny", "--json")).endswith("train one: hoops train tiny")


def test_training_prints_the_challenger_and_nothing_else(trained: Said) -> None:
    assert trained.err == ""
    assert list(trained.json) == ["challenger", "evidence"]
    candidates = trained.json["evidence"]["candidates"]
    assert sorted(row["learner"] for row in candidates) == sorted(LEARNERS)
    assert trained.json["challenger"]["learner"] == candidates[0]["learner"]
    assert trained.json["challenger"]["status"] == "challenger"


def test_the_next_game_day_is_forecast(hoops: Hoops, trained: Said) -> None:
    said = hoops("predict", "tiny", "--json")
    assert (said.status, said.err) == (0, "")
    ahead = [row for row in schedule(4, 40) if row[0] >= "2024-03-01"]
    day = min(row[0] for row in ahead)
    assert [row["day"] for row in said.json] == [day] * 3
    names = {team["name"]: code for code, team in hoops("leagues", "show", "tiny", "--json").json["teams"].items()}
    assert {(row["home"], row["away"]) for row in said.json} == {
        (names[row[1]], names[row[2]]) for row in ahead if row[0] == day
    }
    for row in said.json:
        assert 0 < row["home_win_probability"] < 1
        assert (row["version"], row["backfilled"]) == (trained.json["challenger"]["version"], False)
    stored = DeltaStore(str(hoops.home / "tables")).read("tiny", "predictions", first=date.fromisoformat(day))
    assert {row["home_win_probability"] for row in said.json} <= set(stored["home_win_probability"])


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("tomorrow", "--date 'tomorrow' is not a day"),
        ("2024-03-02", "tiny has no games on 2024-03-02; the next is 2024-03-"),
        ("2030-01-01", "tiny has no games on 2030-01-01; the last was 2024-03-"),
        ("2023-11-06", "no model of tiny may forecast 2023-11-06: version "),
    ],
)
def test_a_day_that_cannot_be_forecast_is_told(day: str, said: str, hoops: Hoops, trained: Said) -> None:
    assert said in refusal(hoops("predict", "tiny", "--date", day, "--json"))


def test_the_ledger_says_who_launched_what(hoops: Hoops, trained: Said) -> None:
    rows = hoops("ledger", "--json").json
    training = [row for row in rows if row["what"] == "training"]
    assert sorted(row["learner"] for row in training) == sorted(LEARNERS)
    assert {row["status"] for row in training} == {"succeeded"}
    assert {row["launched_from"] for row in training} == {"cli"}
    assert {"started_at", "seconds", "billed_seconds", "launched_by", "run_id", "job", "model_version"} <= set(rows[0])
    assert hoops("ledger", "--league", "pacific", "--json").json == []
    assert hoops("ledger").status == 0


def test_a_span_of_the_ledger_that_is_none_is_told(hoops: Hoops) -> None:
    assert refusal(hoops("ledger", "--last", "a month")) == "--last 'a month': write a number of days as 30d"


def test_the_registry_lists_every_version(hoops: Hoops, trained: Said) -> None:
    versions = hoops("registry", "list", "tiny", "--json").json
    assert [row["version"] for row in versions] == [*range(1, len(LEARNERS) + 1)]
    assert [row["version"] for row in versions if row["status"] == "challenger"] == [
        trained.json["challenger"]["version"]
    ]
    assert hoops("registry", "list", "pacific", "--json").json == []
    shown = hoops("registry", "list", "tiny")
    assert all(learner in shown.out for learner in LEARNERS)


def test_watching_says_every_signal_and_leaves_a_page(hoops: Hoops, trained: Said) -> None:
    said = hoops("monitor", "tiny", "--json").json
    signals = {one["name"]: one["state"] for one in said["report"]["signals"]}
    assert {"residuals", "totals", "skew", "unseen"} <= set(signals) and "missing_posts" not in signals
    assert set(signals.values()) <= {"red", "green", "not enough"}
    page = Path(said["page"]).read_text()
    assert page.endswith("</html>\n") and "are the forecasts still right?" in page
    people = hoops("monitor", "tiny")
    assert all(name in people.out for name in signals) and said["page"] in people.out


def test_the_questions_are_answered_of_what_was_trained(hoops: Hoops, trained: Said) -> None:
    before = hoops("ask", "data", "--model", "tiny/challenger", "--games", "season=2021..2023", "--json").json
    assert (before["answer"], before["games"], len(before["not_in"])) == ("no", 360, 360), "they stand in history"
    played = sum(1 for row in schedule(4, 40) if row[3] and row[0] > "2023-07-01")
    now = hoops("ask", "data", "--model", "tiny/challenger", "--games", "season=2024", "--json").json
    assert (now["answer"], now["games"], now["not_in"]) == ("partly", played, [])
    assert sorted(now["trained_on"]) == sorted(now["splits"]["train"] + now["splits"]["validation"])
    best = hoops("ask", "best", "tiny", "--json").json
    assert sorted(one["learner"] for one in best["ranking"]) == sorted(LEARNERS)
    assert best["games"] == len(now["splits"]["test"])
    assert hoops("ask", "code", "--model", "tiny/1", "--json").json["lock_digest"] != "unknown"
    models = hoops("ledger", "--models", "--last", "9999d", "--json").json
    assert sorted(row["model"] for row in models) == [f"tiny/{number}" for number in range(1, len(LEARNERS) + 1)]
    assert sum(len(row["judged"]) for row in models) == 1


def test_a_mirror_that_is_switched_off_is_told(hoops: Hoops, trained: Said) -> None:
    assert "the mirror is switched off" in refusal(hoops("registry", "mirror", "tiny"))


def test_rows_that_go_bad_later_are_left_out_and_the_status_says_so(hoops: Hoops, trained: Said) -> None:
    path = hoops.home.parent / "games.csv"
    good = path.read_text()
    path.write_text(good + "2024-03-29,Anthill,Beefrd,,\n")
    try:
        for command in (["predict"], ["evaluate", "--seasons", "2024"], ["backfill"]):
            said = hoops(*command, "tiny", "--json")
            assert said.status == 3
            assert said.json
            (message,) = said.err.splitlines()
            assert (
                f"1 row refused (1 for Away); first: {path}, line {len(good.splitlines()) + 1}, field Away" in message
            )
            assert message.endswith(f"all in {hoops.home}/quarantine/tiny/games.csv")
    finally:
        path.write_text(good)


@pytest.mark.slow
def test_a_damaged_table_inside_a_run_is_one_message(hoops: Hoops, trained: Said) -> None:
    log = hoops.home / "tables" / "tiny" / "results" / "_delta_log" / "00000000000000000000.json"
    sound = log.read_text()
    log.write_text("{")
    try:
        message = refusal(hoops("backfill", "tiny", "--force", "--json"))
    finally:
        log.write_text(sound)
    assert message.startswith("tiny, season 2024 (2023-11-06 to ")
    assert f"failed: tiny/results: {hoops.home}/tables/tiny/results" in message
