"""Which hyper-parameters did best: paired on the same games, and honest about what cannot be told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hoops_assets.errors import HoopsError, StoreError
from hoops_assets.judging.comparison import paired_difference
from hoops_assets.judging.paired import losses
from hoops_assets.services.lineage.best import ask_best
from hoops_assets.services.lineage.forecasts import read_forecasts
from hoops_assets.services.lineage.questions import Places
from hoops_assets_tests.services.lineage.home import LEAGUE, Home, make_home, write_version


def copied(made: Home, folder: Path) -> Places:
    shutil.copytree(made.places.registry, folder / "registry", ignore=shutil.ignore_patterns("forecasts.npz"))
    return Places(folder, made.places.tables, made.places.record)


def test_settings_are_ranked_with_all_their_versions(made: Home) -> None:
    answer = ask_best(made.places, LEAGUE)
    assert [one.parameters for one in answer.ranking] == [{"c": 1}, {"c": 2}, {"c": 3}]
    assert [one.versions for one in answer.ranking] == [(1, 4, 7, 10), (2, 5, 8, 11), (3, 6, 9, 12)]
    assert [one.version for one in answer.ranking] == [10, 11, 12]
    assert (answer.games, answer.ranking[0].verdict, answer.ranking[2].verdict) == (200, "best", "worse")


def test_differences_are_those_of_the_paired_comparison(made: Home) -> None:
    answer = ask_best(made.places, LEAGUE, "brier")
    forecasts = read_forecasts(made.places.registry, LEAGUE)
    loss = losses(forecasts.probability, forecasts.home_win, "brier")
    best, other = answer.ranking[0], answer.ranking[1]
    days = [game[:10] for game in forecasts.game_ids]
    level = 1 - 0.05 / (len(answer.ranking) - 1)
    paired = paired_difference(loss[other.version - 1], loss[best.version - 1], days, level)
    assert (other.difference, other.low, other.high) == pytest.approx((paired.mean, paired.low, paired.high), rel=1e-5)
    assert best.loss == pytest.approx(loss[best.version - 1].mean())


def test_equal_settings_cannot_be_told_apart(tmp_path: Path) -> None:
    places = make_home(tmp_path, versions=9, settings=9).places
    verdicts = {one.parameters["c"]: one.verdict for one in ask_best(places, LEAGUE).ranking}
    assert {verdicts[c] for c in (1, 4, 7)} == {"best", "cannot be told apart"}
    assert {verdicts[c] for c in (3, 6, 9)} == {"worse"}


def test_a_version_tested_on_other_games_is_not_compared(made: Home, tmp_path: Path) -> None:
    places = copied(made, tmp_path)
    write_version(places.registry / LEAGUE / "000013", 13, made.games.head(300), 100)
    write_version(places.registry / LEAGUE / "000014", 14, made.games, 150)
    answer = ask_best(places, LEAGUE)
    assert (answer.not_compared, answer.games) == ((13,), 150)
    assert "1 versions were tested on other games" in answer.notes[1]


def test_what_was_read_before_is_kept_and_what_is_new_is_added(made: Home, tmp_path: Path) -> None:
    places = copied(made, tmp_path)
    before = ask_best(places, LEAGUE)
    for folder in (places.registry / LEAGUE).glob("0*"):
        (folder / "held_out.parquet").unlink()
    assert ask_best(places, LEAGUE) == before
    write_version(places.registry / LEAGUE / "000013", 13, made.games, 200)
    assert ask_best(places, LEAGUE).ranking[0].versions == (1, 4, 7, 10, 13)


@pytest.mark.parametrize("content", [b"", b"half a file", None])
def test_a_damaged_cache_is_made_anew(made: Home, tmp_path: Path, content: bytes | None) -> None:
    places = copied(made, tmp_path)
    before = ask_best(places, LEAGUE)
    kept = places.registry / LEAGUE / "forecasts.npz"
    kept.write_bytes(kept.read_bytes()[:-2000] if content is None else content)
    assert ask_best(places, LEAGUE) == before


def test_a_registry_restored_with_other_versions_is_read_anew(made: Home, tmp_path: Path) -> None:
    places = copied(made, tmp_path)
    ask_best(places, LEAGUE)
    for number in range(4, 13):
        shutil.rmtree(places.registry / LEAGUE / f"{number:06d}")
    assert [one.versions for one in ask_best(places, LEAGUE).ranking] == [(1,), (2,), (3,)]


def test_a_damaged_forecast_file_is_named(made: Home, tmp_path: Path) -> None:
    places = copied(made, tmp_path)
    (places.registry / LEAGUE / "000003" / "held_out.parquet").write_bytes(b"half")
    with pytest.raises(StoreError, match=r"000003/held_out\.parquet is damaged: it is not what was registered"):
        ask_best(places, LEAGUE)


def test_an_imported_version_is_counted_and_not_compared(made: Home, tmp_path: Path) -> None:
    places = copied(made, tmp_path)
    path = places.registry / LEAGUE / "000002" / "version.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "artefacts": {}}))
    assert ask_best(places, LEAGUE).untested == (2,)


def test_a_league_without_versions_is_told(made: Home) -> None:
    with pytest.raises(HoopsError, match="run: hoops train pacific"):
        ask_best(made.places, "pacific")


def test_a_score_that_is_none_is_told(made: Home) -> None:
    with pytest.raises(HoopsError, match="--score 'auc' is none of log_loss, brier"):
        ask_best(made.places, LEAGUE, "auc")  # type: ignore[arg-type]
