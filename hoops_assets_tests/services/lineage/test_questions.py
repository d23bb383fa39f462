"""Which games, which code, which version served: the answers are those of the files and rows that were written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import questions
from hoops_assets.errors import HoopsError, StoreError
from hoops_assets.services.lineage import stored
from hoops_assets.services.lineage.best import ask_best
from hoops_assets.services.lineage.games import parse_filter
from hoops_assets.services.lineage.questions import Places, ask_code, ask_data, ask_served, bounds_of
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets_tests.services.lineage.home import CUSTOMER, LEAGUE, SERVED_ON, Home, make_home, results


def meant(made: Home, condition: str) -> list[str]:
    return sorted(made.games.query(condition)["game_id"])


# -- data -------------------------------------------------------------------------------------------------------------


def test_games_that_a_model_was_fitted_on_are_named_with_their_split(made: Home) -> None:
    cut = made.games.iloc[100]["day"]
    answer = ask_data(made.places, f"{LEAGUE}/1", f"to={cut}")
    expected = sorted(made.games.loc[made.games["day"] <= cut, "game_id"])
    assert (answer.answer, answer.games) == ("yes", len(expected))
    assert list(answer.trained_on) == list(answer.splits["train"]) == expected
    assert answer.training_set["table_version"] == 3


def test_a_game_used_for_testing_was_not_trained_on(made: Home) -> None:
    answer = ask_data(made.places, f"{LEAGUE}/1", "stage=final season=2026")
    assert answer.answer == "no"
    assert list(answer.splits["test"]) == meant(made, "stage == 'final' and season == 2026")
    assert not answer.trained_on and not answer.not_in


def test_some_in_and_some_not_is_partly(made: Home) -> None:
    answer = ask_data(made.places, f"{LEAGUE}/1", "team=ALD")
    expected = meant(made, "home == 'ALD' or away == 'ALD'")
    assert answer.answer == "partly"
    assert sorted(game for ids in answer.splits.values() for game in ids) == expected
    assert set(answer.trained_on) == set(answer.splits["train"]) | set(answer.splits["validation"])


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("stage=quarter-final season=2026", "stage == 'quarter-final' and season == 2026"),
        ("qf season=2026", "stage == 'quarter-final' and season == 2026"),
        ("quarter-finals season=2025..2026", "stage == 'quarter-final' and season in (2025, 2026)"),
        ("home=BRK,away=ald", "home == 'BRK' and away == 'ALD'"),
        ("team='Capewick Cranes' stage=semi-final", "(home == 'CAP' or away == 'CAP') and stage == 'semi-final'"),
    ],
)
def test_a_filter_means_what_it_says(made: Home, text: str, condition: str) -> None:
    answer = ask_data(made.places, f"{LEAGUE}/1", text)
    expected = meant(made, condition)
    assert expected
    assert sorted({*answer.trained_on, *answer.not_in, *answer.splits["test"]}) == expected


def test_a_game_is_asked_for_by_its_id(made: Home) -> None:
    first, last = made.games.iloc[0]["game_id"], made.games.iloc[-1]["game_id"]
    assert ask_data(made.places, f"{LEAGUE}/1", first).answer == "yes"
    assert ask_data(made.places, f"{LEAGUE}/1", last).answer == "no"
    assert ask_data(made.places, f"{LEAGUE}/1", f"{first} {last}").answer == "partly"


def test_a_stage_that_was_never_played_is_not_answered_with_no(made: Home) -> None:
    answer = ask_data(made.places, f"{LEAGUE}/1", "stage=quater-final")
    assert answer.answer == "no such game"
    assert "there are final, quarter-final, regular, semi-final" in answer.notes[0]


def test_games_played_after_the_training_set_was_made_are_in_no_split(made: Home, tmp_path: Path) -> None:
    later = made.games.tail(4).assign(day=date(2026, 5, 25), game_id=[f"2026-05-25.{a}.X" for a in "ABCD"])
    DeltaStore(str(tmp_path)).overwrite(LEAGUE, "results", results(later))
    places = Places(made.places.home, str(tmp_path), made.places.record)
    answer = ask_data(places, f"{LEAGUE}/1", "day=2026-05-25")
    assert (answer.answer, list(answer.not_in)) == ("no", sorted(later["game_id"]))
    assert "600 games of its training set no longer stand in the tables" in answer.notes[-1]


def test_without_tables_game_ids_can_still_be_asked_for(made: Home, tmp_path: Path) -> None:
    places = Places(made.places.home, str(tmp_path), made.places.record)
    first = made.games.iloc[0]["game_id"]
    assert ask_data(places, f"{LEAGUE}/1", first).answer == "yes"
    answer = ask_data(places, f"{LEAGUE}/1", "qf")
    assert answer.answer == "no such game"
    assert "only game ids can be asked for" in answer.notes[0]


@pytest.mark.parametrize(
    ("games", "said"),
    [
        ("", "--games is empty"),
        ("stag=final", r"'stag=final' is not understood \(did you mean stage\?\)"),
        ("season=last", "write one season as 2026 or a span as 2024..2026"),
        ("from=May", "from 'May' is not a day"),
        ("team=BRX", r"has no team 'BRX' \(did you mean BRK\?\)"),
        ("team='ALD", "close the quotes"),
    ],
)
def test_a_filter_that_is_not_understood_is_told(made: Home, games: str, said: str) -> None:
    with pytest.raises(HoopsError, match=said):
        ask_data(made.places, f"{LEAGUE}/1", games)


def test_a_filter_cannot_smuggle_a_query() -> None:
    league = {"name": "sim", "teams": {"A": {"name": "O'Hara"}}}
    assert parse_filter("stage=\"x' OR 'a'='a\"", lambda: league).sql == "lower(stage) IN ('x'' or ''a''=''a')"


@pytest.mark.parametrize("stored_as", ["Playoffs", "playoff", "PLAYOFFS"])
def test_a_stage_is_found_as_the_source_spells_it(made: Home, tmp_path: Path, stored_as: str) -> None:
    DeltaStore(str(tmp_path)).overwrite(LEAGUE, "results", results(made.games.head(3).assign(stage=stored_as)))
    places = Places(made.places.home, str(tmp_path), made.places.record)
    assert ask_data(places, f"{LEAGUE}/1", "stage=Playoffs").games == 3


# -- models -----------------------------------------------------------------------------------------------------------


def test_live_is_the_version_with_most_of_the_traffic(made: Home) -> None:
    assert ask_code(made.places, f"{LEAGUE}/live").model == f"{LEAGUE}/12"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (LEAGUE, "write LEAGUE/NUMBER, LEAGUE/live or LEAGUE/challenger"),
        (f"{LEAGUE}/newest", "write LEAGUE/NUMBER"),
        (f"{LEAGUE}/99", "has no model version 99: it has 1 to 12"),
        (f"{LEAGUE}/challenger", "has no challenger yet"),
        ("pacific/live", "nothing of league pacific is deployed"),
        ("pacific/1", "has no model version 1: it has none yet"),
    ],
)
def test_a_model_that_is_none_is_told(made: Home, model: str, said: str) -> None:
    with pytest.raises(HoopsError, match=said):
        ask_code(made.places, model)


# -- code -------------------------------------------------------------------------------------------------------------


def test_the_commit_is_the_one_that_was_registered(made: Home) -> None:
    answer = ask_code(made.places, f"{LEAGUE}/10")
    assert (answer.commit, answer.dirty, answer.exact) == (f"{10:040x}", False, True)
    assert (answer.code_digest, answer.lock_digest) == ("a" * 64, "b" * 64)


@pytest.mark.parametrize(("commit", "dirty"), [("a" * 40, True), ("unknown", None), ("a" * 40, None)])
def test_a_dirty_or_unknown_tree_is_not_exact(made: Home, tmp_path: Path, commit: str, dirty: bool | None) -> None:
    shutil.copytree(made.places.registry / LEAGUE / "000001", tmp_path / "registry" / LEAGUE / "000001")
    path = tmp_path / "registry" / LEAGUE / "000001" / "version.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "commit": commit, "dirty": dirty}))
    assert not ask_code(Places(tmp_path, "", ""), f"{LEAGUE}/1").exact


def test_a_manifest_that_was_changed_is_not_believed(made: Home, tmp_path: Path) -> None:
    shutil.copytree(made.places.registry / LEAGUE / "000001", tmp_path / "registry" / LEAGUE / "000001")
    path = tmp_path / "registry" / LEAGUE / "000001" / "manifest.json"
    path.write_text(path.read_text().replace('"test": [', '"test": ["2026-05-01.A.B", '))
    for ask in (lambda: ask_code(Places(tmp_path, "", ""), f"{LEAGUE}/1"),
                lambda: ask_data(Places(tmp_path, "", ""), f"{LEAGUE}/1", "qf")):  # fmt: skip
        with pytest.raises(StoreError, match=r"manifest\.json is not what was registered"):
            ask()


# -- served -----------------------------------------------------------------------------------------------------------


def logged(made: Home) -> list[dict[str, object]]:
    return Record(made.places.record).rows("served_predictions", customer=CUSTOMER)


def test_the_day_is_the_leagues_own(made: Home) -> None:
    first, last = bounds_of(made.places.home, LEAGUE, SERVED_ON)
    assert (first, last) == (datetime(2026, 5, 12, 4, tzinfo=UTC), datetime(2026, 5, 13, 4, tzinfo=UTC))
    answer = ask_served(made.places, CUSTOMER, SERVED_ON)
    expected = [row["request_id"] for row in logged(made) if first <= row["at"] < last]  # type: ignore[operator]
    assert [one.request_id for one in answer.answers] == sorted(expected, key=lambda one: -int(str(one)[1:]))
    assert answer.versions == {f"{LEAGUE}/1": len(expected)} and expected


def test_a_day_on_which_the_clocks_change_has_another_length(made: Home) -> None:
    first, last = bounds_of(made.places.home, LEAGUE, date(2026, 3, 8))
    assert last - first == timedelta(hours=23)


def test_the_traffic_split_of_the_moment_stands_by_every_answer(made: Home) -> None:
    answer = ask_served(made.places, CUSTOMER, SERVED_ON)
    assert {tuple(one.traffic.items()) for one in answer.answers} == {((1, 100),)}
    changes = answer.traffic[LEAGUE]
    assert [change["traffic"] for change in changes] == [{1: 100}, {1: 90, 12: 10}]
    assert changes[1]["decided_by"] == "canary_verdict"


def test_without_a_split_in_the_log_the_deployments_tell_it(made: Home, tmp_path: Path) -> None:
    record = Record(tmp_path / "record.db")
    for row in Record(made.places.record).rows("deployments"):
        record.append("deployments", {name: value for name, value in row.items() if name != "id"})
    noon = datetime(2026, 5, 12, 12, tzinfo=UTC)
    for hours, version in ((0, 1), (9, 12), (33, 12)):
        record.append("served_predictions", {
            "at": noon + timedelta(hours=hours), "request_id": f"r{hours}", "customer": "c", "league": LEAGUE,
            "version": version, "home_win_probability": 0.5,
        })  # fmt: skip
    places = Places(made.places.home, "", record.url)
    answer = ask_served(places, "c", SERVED_ON)
    assert [(one.version, one.traffic) for one in answer.answers] == [(1, {1: 100}), (12, {1: 90, 12: 10})]
    assert answer.versions == {f"{LEAGUE}/1": 1, f"{LEAGUE}/12": 1}
    for one in answer.answers:
        assert one.traffic == deployments.serving_at(record, LEAGUE, one.at)


def test_one_game_can_be_asked_about(made: Home) -> None:
    game = made.games.iloc[-1]["game_id"]
    answer = ask_served(made.places, CUSTOMER, SERVED_ON, game=game, league=LEAGUE)
    assert {one.game_id for one in answer.answers} <= {game}
    assert len(answer.answers) < len(ask_served(made.places, CUSTOMER, SERVED_ON).answers)


def test_a_customer_who_was_not_served_gets_an_empty_answer(made: Home) -> None:
    answer = ask_served(made.places, "nobody", SERVED_ON, league=LEAGUE)
    assert not answer.answers and not answer.versions
    assert [change["traffic"] for change in answer.traffic[LEAGUE]] == [{1: 100}, {1: 90, 12: 10}]


def test_light_rows_are_those_of_the_record(made: Home, tmp_path: Path) -> None:
    since, until = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 12, 21, tzinfo=UTC)
    for table, equal in (("served_predictions", {"customer": CUSTOMER}), ("deployments", {"league": LEAGUE})):
        light = stored.rows(made.places.record, table, since, until, **equal)
        full = Record(made.places.record).rows(table, since, until, **equal)
        assert [{**row, "day": str(row.get("day"))} for row in light] == [
            {**row, "day": str(row.get("day"))} for row in full
        ]
        assert light
    assert stored.rows(f"sqlite:///{tmp_path}/none.db", "deployments") == []
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "bad.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"bad\.db cannot be read"):
        stored.rows(f"sqlite:///{tmp_path}/bad.db", "deployments")


# -- speed ------------------------------------------------------------------------------------------------------------

ASKED = f"""
import sys
from datetime import date
from pathlib import Path
from hoops_assets import settings, cli
from hoops_assets.cli import ask
from hoops_assets.services.lineage.best import ask_best
from hoops_assets.services.lineage.questions import Places, ask_code, ask_data, ask_served
home = Path(sys.argv[1])
places = Places(home, str(home / "tables"), f"sqlite:///{{home / 'record.db'}}")
ask_data(places, "{LEAGUE}/1", "qf"), ask_code(places, "{LEAGUE}/1"), ask_best(places, "{LEAGUE}")
ask_served(places, "{CUSTOMER}", date.fromisoformat("{SERVED_ON}"))
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def test_no_question_loads_a_heavy_library(made: Home) -> None:
    ask_best(made.places, LEAGUE)  # reads what is new, for which it needs pyarrow
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASKED, str(made.places.home)],
        capture_output=True, text=True, check=True, env={**os.environ, "HOOPS_HOME": str(made.places.home)},
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert not loaded & {"dagster", "mlflow", "pandas", "pyarrow", "scipy", "sklearn", "sqlalchemy"}


def test_the_questions_stay_fast_as_the_record_grows(tmp_path: Path) -> None:
    places = make_home(tmp_path, games=2000, versions=60, answers=20_000, test=300, settings=60).places
    asked = {
        "data": lambda: ask_data(places, f"{LEAGUE}/7", "qf season=2026"), "best": lambda: ask_best(places, LEAGUE),
        "code": lambda: ask_code(places, f"{LEAGUE}/7"), "served": lambda: ask_served(places, CUSTOMER, SERVED_ON),
    }  # fmt: skip
    for name, ask in asked.items():
        ask()
        times = []
        for _ in range(5):
            started = time.process_time()
            ask()
            times.append(time.process_time() - started)
        assert min(times) < 0.2, f"{name} took {min(times):.3f} s"


@pytest.mark.slow
def test_the_questions_keep_their_bounds_at_the_sizes_that_were_asked_for(tmp_path: Path) -> None:
    """The query's median wall time, and the CPU of the whole command: its wall time is that of whatever runs beside it."""
    rows = questions.measure(tmp_path, runs=5, versions=500, games=10_000, answers=100_000)
    assert {row["question"] for row in rows} == {"data", "best", "code", "served"}
    assert not questions.too_slow(rows, command="command_cpu")


def test_the_benchmark_fails_beyond_a_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"question": "data", "query": 0.1, "first": 9.0, "command_wall": 0.9, "command_cpu": 0.9}
    for argument in ("--runs=1", "--json"):
        monkeypatch.setattr(sys, "argv", ["questions", argument])
        for change, code in (({}, 0), ({"query": 0.21}, 1), ({"command_wall": 1.1}, 1)):
            monkeypatch.setattr(questions, "measure", lambda *_, change=change: [{**row, **change}])
            with pytest.raises(SystemExit) as ended:
                questions.main()
            assert ended.value.code == code
            assert "data" in capsys.readouterr().out
