"""Who serves in which role, which pairs count, and what the trial says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction import decide
from hoops_assets.services.prediction.rollout import Decision
from hoops_assets.services.prediction.trial import Serving, looks, serving, settled_pairs, to_forecast, trial
from hoops_assets.services.registry.contract import IMPORTED
from hoops_assets.store import deployments
from hoops_assets.store.deployments import Action, Deployment
from hoops_assets.store.record import Record
from hoops_assets.workloads.spec import HELD_OUT
from hoops_assets_tests.services.trials import (
    ANN,
    AUTOMATION,
    BASE_RATE,
    ELO,
    LEAGUE,
    LOGISTIC,
    NOW,
    START,
    Home,
    made_up_trial,
    make_models,
    write_trial,
)

WELL = {ELO: 0.15, LOGISTIC: 0.15}
BADLY = {ELO: 0.15, LOGISTIC: 1.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models") / "home")


@pytest.fixture
def home(models: Path, tmp_path: Path) -> Home:
    return Home.copy_of(models, tmp_path / "home")


# -- roles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (None, None, 0)),
        ([("deploy", {1: 100})], (1, None, 0)),
        ([("deploy", {1: 100}), ("deploy", {1: 90, 2: 10})], (1, 2, 10)),
        ([("deploy", {1: 100}), ("deploy", {1: 90, 2: 10}), ("traffic", {1: 40, 2: 60})], (1, 2, 60)),
        ([("deploy", {2: 100}), ("deploy", {2: 90, 1: 10})], (2, 1, 10)),
        ([("deploy", {1: 100}), ("deploy", {1: 90, 2: 10}), ("traffic", {2: 100})], (2, None, 0)),
        ([("deploy", {1: 100}), ("deploy", {2: 100}), ("deploy", {1: 5, 2: 95})], (2, 1, 5)),
        ([("deploy", {1: 100}), ("remove", {})], (None, None, 0)),
    ],
)
def test_the_version_that_came_last_is_on_trial_if_another_serves_beside_it(
    rows: list[tuple[Action, Mapping[int, int]]], expected: tuple[int | None, int | None, int], tmp_path: Path
) -> None:
    record = Record(tmp_path / "record.db")
    for number, (action, traffic) in enumerate(rows):
        at = NOW + timedelta(hours=number)
        deployments.append(record, Deployment(LEAGUE, action, None, traffic, "ann", "", "local", "cli", at=at))
    found = serving(record, LEAGUE)
    assert (found.champion, found.canary, found.share) == expected
    assert (found.since is not None) == (found.canary is not None)


def test_champion_and_canary_forecast_and_before_them_the_challenger(home: Home) -> None:
    assert to_forecast(home.record, home.registry, LEAGUE) == [LOGISTIC]
    home.enter(BASE_RATE)
    assert to_forecast(home.record, home.registry, LEAGUE) == [BASE_RATE]
    home.enter(ELO)
    assert to_forecast(home.record, home.registry, LEAGUE) == [ELO, BASE_RATE]


# -- pairs ------------------------------------------------------------------------------------------------------------


def test_only_forecasts_of_both_made_before_tip_off_during_the_trial_are_pairs(home: Home) -> None:
    scored = made_up_trial(10, 4, WELL)
    late = (scored["version"] == LOGISTIC) & (scored["game_id"] == f"{START}.T0.AWAY")
    lone = (scored["version"] == LOGISTIC) & (scored["game_id"] == f"{START}.T1.AWAY")
    write_trial(home.store, scored.assign(backfilled=late)[~lone])
    pairs = settled_pairs(home.store, home.league, ELO, LOGISTIC, NOW)
    assert len(pairs) == 10 * 4 - 2
    later = settled_pairs(home.store, home.league, ELO, LOGISTIC, NOW + timedelta(days=3))
    assert later["day"].min() == START + timedelta(days=3)
    row, wide = pairs.iloc[5], scored.set_index(["game_id", "version"])
    champion, canary = (wide.loc[(row["game_id"], version)] for version in (ELO, LOGISTIC))
    assert row["gain"] == pytest.approx(champion["brier"] - canary["brier"])
    assert (row["champion"], row["canary"]) == (champion["home_win_probability"], canary["home_win_probability"])


def test_a_day_counts_once_all_its_games_are_settled(home: Home) -> None:
    home.play(3, 4)
    results = home.store.read(LEAGUE, "results")
    scored = home.store.read(LEAGUE, "scored_predictions")
    open_game = f"{START + timedelta(days=1)}.T2.AWAY"
    home.store.overwrite(LEAGUE, "results", results[results["game_id"] != open_game].reset_index(drop=True))
    pairs = settled_pairs(home.store, home.league, ELO, LOGISTIC, NOW)
    assert sorted(pairs["day"].unique()) == [START, START + timedelta(days=2)]
    assert looks(pairs) == [4, 8]
    assert len(scored) == 24


def test_there_are_no_pairs_before_any_game_is_settled(home: Home) -> None:
    home.on_trial()
    judged = trial(home.store, home.record, home.league)
    assert judged
    assert (judged.verdict.choice, judged.verdict.games, list(judged.days)) == ("wait", 0, [])
    assert judged.evidence()["through"] is None


# -- what comes of it -------------------------------------------------------------------------------------------------


def test_a_good_canary_is_promoted_on_evidence_and_asking_again_changes_nothing(home: Home) -> None:
    home.on_trial().play(80)
    endpoint = decide.promote(home.rollout, home.store, home.record, home.league, AUTOMATION)
    assert endpoint.traffic == {LOGISTIC: 100}
    last = decide.last_change(home.record, LEAGUE)
    assert (last.action, last.version) == ("traffic", LOGISTIC)
    assert last.evidence["choice"] == "roll_out"
    assert last.evidence["games"] > 0
    assert "not worse than the champion" in last.reason
    rows = deployments.history(home.record, LEAGUE)
    assert decide.promote(home.rollout, home.store, home.record, home.league, AUTOMATION).traffic == {LOGISTIC: 100}
    assert deployments.history(home.record, LEAGUE) == rows


@pytest.mark.parametrize(("days", "noise"), [(3, WELL), (60, BADLY)])
def test_what_the_verdict_does_not_allow_is_not_promoted(home: Home, days: int, noise: dict[int, float]) -> None:
    home.on_trial().play(days, worse=noise)
    with pytest.raises(ServiceError, match="is not rolled out") as refused:
        decide.promote(home.rollout, home.store, home.record, home.league, AUTOMATION)
    assert refused.value.kind == "conflict"
    assert home.prediction.describe(LEAGUE).traffic == {ELO: 90, LOGISTIC: 10}


def test_a_withdrawn_canary_is_marked_and_only_a_person_brings_it_back(home: Home) -> None:
    home.on_trial()
    withdrawn, endpoint = decide.withdraw(home.rollout, home.record, LEAGUE, AUTOMATION)
    assert (withdrawn, endpoint.traffic) == (LOGISTIC, {ELO: 100})
    assert deployments.rolled_back(home.record, LEAGUE) == {LOGISTIC}
    refused = home.enter(decision=AUTOMATION)
    assert refused.endpoint is None
    assert "was rolled back and is not deployed again by automation" in refused.reason
    assert home.enter(LOGISTIC, decision=AUTOMATION).endpoint is None, "a sensor that names it is no person"
    assert home.enter(LOGISTIC, decision=ANN).endpoint is not None


def test_withdrawing_a_champion_goes_back_to_the_one_before(home: Home) -> None:
    home.on_trial().play(80)
    decide.promote(home.rollout, home.store, home.record, home.league, AUTOMATION)
    assert decide.withdraw(home.rollout, home.record, LEAGUE, ANN)[1].traffic == {ELO: 100}
    assert serving(home.record, LEAGUE) == Serving(ELO)


def test_pinning_a_version_that_served_withdraws_the_others_and_a_new_one_is_promoted(home: Home) -> None:
    home.on_trial()
    assert decide.pin(home.rollout, home.record, LEAGUE, LOGISTIC, ANN).traffic == {LOGISTIC: 100}
    assert deployments.rolled_back(home.record, LEAGUE) == set(), "the former champion may come back"
    assert decide.pin(home.rollout, home.record, LEAGUE, ELO, ANN).traffic == {ELO: 100}
    assert deployments.rolled_back(home.record, LEAGUE) == {LOGISTIC}
    rows = deployments.history(home.record, LEAGUE)
    decide.pin(home.rollout, home.record, LEAGUE, ELO, ANN)
    assert deployments.history(home.record, LEAGUE) == rows


def test_nothing_can_be_promoted_or_withdrawn_before_anything_serves(home: Home) -> None:
    for change in (
        lambda: decide.promote(home.rollout, home.store, home.record, home.league, ANN),
        lambda: decide.withdraw(home.rollout, home.record, LEAGUE, ANN),
    ):
        with pytest.raises(ServiceError, match="nothing serves") as refused:
            change()
        assert refused.value.kind == "not_found"


# -- advice -----------------------------------------------------------------------------------------------------------


def advice(home: Home) -> decide.Advice:
    return decide.advise(home.store, home.record, home.registry, home.league)


def test_advice_follows_the_trial_from_the_first_deployment_to_its_end(home: Home) -> None:
    first = advice(home)
    assert (first.serve, first.action) == (LOGISTIC, "deploy")
    home.enter(ELO)
    assert (advice(home).serve, advice(home).action) == (ELO, "try")
    home.enter()
    home.play(10)
    waiting = advice(home)
    assert (waiting.serve, waiting.action) == (ELO, "wait")
    assert waiting.more_games
    assert f"about {waiting.more_games} more games" in waiting.reason
    home.play(80)
    assert (advice(home).serve, advice(home).action) == (LOGISTIC, "roll_out")
    decide.promote(home.rollout, home.store, home.record, home.league, AUTOMATION)
    assert (advice(home).serve, advice(home).action) == (LOGISTIC, "nothing")


def test_advice_is_against_a_canary_that_is_worse(home: Home) -> None:
    home.on_trial().play(60, worse=BADLY)
    found = advice(home)
    assert (found.serve, found.action) == (ELO, "roll_back")
    decide.withdraw(home.rollout, home.record, LEAGUE, AUTOMATION)
    after = advice(home)
    assert (after.serve, after.action) == (ELO, "nothing")
    assert "was rolled back" in after.reason


def test_versions_are_ranked_with_their_intervals_and_what_these_rest_on(home: Home) -> None:
    home.on_trial().play(10)
    ranked = {one.version: one for one in advice(home).ranked}
    assert {version: one.role for version, one in ranked.items()} == {
        ELO: "champion", LOGISTIC: "canary", BASE_RATE: "candidate"
    }  # fmt: skip
    canary, other = ranked[LOGISTIC], ranked[BASE_RATE]
    assert (canary.basis, canary.games) == ("trial", 10 * 8)
    assert (other.basis, other.games) == ("walk_forward", 240)
    for one in (canary, other):
        assert one.low is not None
        assert one.high is not None
        assert one.gain is not None
        assert one.low < one.gain < one.high
    gains = [one.gain for one in advice(home).ranked if one.gain is not None]
    assert gains == sorted(gains, reverse=True)


def test_without_any_model_there_is_no_advice_but_to_train(home: Home, tmp_path: Path) -> None:
    from hoops_assets.services.registry.local import LocalRegistry

    found = decide.advise(home.store, home.record, LocalRegistry(tmp_path / "empty"), home.league)
    assert (found.serve, found.action, found.ranked) == (None, "nothing", ())
    assert "hoops train" in found.reason


# -- the entrance -----------------------------------------------------------------------------------------------------


def failing(home: Home, **given: object) -> dict[str, str]:
    entered = home.enter(**given)  # type: ignore[arg-type]
    assert entered.endpoint is None
    return {one.name: one.found for one in entered.gate.findings if not one.passed}


def test_the_first_version_goes_live_at_once_and_the_next_gets_its_share(home: Home) -> None:
    first = home.enter(ELO)
    assert first.endpoint
    assert first.endpoint.traffic == {ELO: 100}
    assert "went live at once, without a trial" in first.reason
    second = home.enter(share=25)
    assert second.endpoint
    assert second.endpoint.traffic == {ELO: 75, LOGISTIC: 25}
    assert second.gate.outlook
    assert f"a decision after {second.gate.outlook.games:.0f} games" in second.outlook
    row = deployments.history(home.record, LEAGUE)[-1]
    assert row.evidence["gate"]["compared"]["passed"] is True
    assert row.evidence["outlook"]["games"] == second.gate.outlook.games


def test_entering_again_changes_nothing_but_a_new_share(home: Home) -> None:
    home.on_trial()
    rows = deployments.history(home.record, LEAGUE)
    assert home.enter(ELO).endpoint
    assert home.enter(LOGISTIC).endpoint
    assert deployments.history(home.record, LEAGUE) == rows
    raised = home.enter(LOGISTIC, share=50).endpoint
    assert raised
    assert raised.traffic == {ELO: 50, LOGISTIC: 50}


def test_while_a_version_is_on_trial_another_waits_unless_it_is_named(home: Home) -> None:
    home.on_trial(BASE_RATE, ELO)
    told = failing(home)
    assert list(told) == ["place_free"]
    assert "version 1 is on trial" in told["place_free"]
    named = home.enter(LOGISTIC).endpoint
    assert named
    assert named.traffic == {BASE_RATE: 90, LOGISTIC: 10}


@pytest.mark.parametrize(
    ("checks", "words"),
    [({"results": False, "game_features": True}, "check of results failed"), ({"results": None}, "has never run")],
)
def test_data_that_did_not_pass_their_checks_keep_a_version_out(
    home: Home, checks: dict[str, bool | None], words: str
) -> None:
    assert words in failing(home, version=ELO, checks=checks)["data_checks"]
    assert home.rollout.describe() is None


def test_a_learner_that_is_worse_by_more_than_the_margin_is_kept_out(home: Home) -> None:
    home.enter(ELO)
    told = failing(home, version=BASE_RATE)
    assert list(told) == ["compared"]
    assert "base_rate loses +0.0197" in told["compared"]
    assert home.prediction.describe(LEAGUE).traffic == {ELO: 100}


def test_a_damaged_model_is_kept_out_with_the_file_named(home: Home) -> None:
    home.enter(ELO)
    model = next((home.path / "registry" / LEAGUE).glob(f"*{LOGISTIC}/model.onnx"))
    model.write_bytes(model.read_bytes()[:100])
    told = failing(home)
    assert "model.onnx is damaged" in told["same_answers"]


def test_a_version_without_held_out_games_is_kept_out_and_not_an_error(home: Home) -> None:
    home.enter(ELO)
    folder = home.registry.artefacts(LEAGUE, LOGISTIC)
    (folder / HELD_OUT).unlink()
    version = json.loads((folder / "version.json").read_text())
    version["artefacts"].pop(HELD_OUT)
    (folder / "version.json").write_text(json.dumps({**version, "provider": IMPORTED}))
    told = failing(home)
    assert "version 2 has no held-out games" in told["calibrated"]
    assert told["answers"] == told["calibrated"]


def test_a_forecaster_that_is_not_calibrated_is_kept_out(home: Home) -> None:
    from hoops_assets.services.prediction.gate import Inspection

    rng = np.random.default_rng(0)
    certain = pd.DataFrame({"probability": np.full(400, 0.95), "home_win": rng.random(400) < 0.6})
    inspection = Inspection(
        home.registry.get(LEAGUE, ELO), None, registry=home.registry, store=home.store, prediction=home.prediction,
        data_checks={"results": True},
    )  # fmt: skip
    inspection.__dict__["_held_out"] = certain
    gate = inspection.gate()
    assert "calibrated" in [one.name for one in gate.findings if not one.passed]


@pytest.mark.parametrize(("champions", "passes"), [(0.95, True), (0.6, False)])
def test_when_nobody_is_calibrated_the_better_one_is_let_through(
    home: Home, champions: float, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hoops_assets.services.prediction.gate import Inspection
    from hoops_assets.services.prediction.local import LocalPrediction

    monkeypatch.setattr(LocalPrediction, "batch", lambda self, version, rows: np.full(len(rows), champions))
    rng = np.random.default_rng(0)
    moved = pd.DataFrame({"probability": np.full(400, 0.8), "home_win": rng.random(400) < 0.5})
    inspection = Inspection(
        home.registry.get(LEAGUE, LOGISTIC), home.registry.get(LEAGUE, ELO), registry=home.registry, store=home.store,
        prediction=home.prediction, data_checks={"results": True},
    )  # fmt: skip
    inspection.__dict__["_held_out"] = moved
    (found,) = [one for one in inspection.gate().findings if one.name == "calibrated"]
    assert found.passed == passes
    assert "the champion's" in found.found


def test_an_endpoint_that_answers_wrongly_by_the_new_version_keeps_it_from_customers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hoops_assets.services.prediction.contract import Answer
    from hoops_assets.services.prediction.local import LocalPrediction

    home.enter(ELO)

    def a_half(self: object, league: str, asked: pd.DataFrame, version: int) -> list[Answer]:
        return [Answer(home_win_probability=0.5, version=version)] * len(asked)

    monkeypatch.setattr(LocalPrediction, "invoke", a_half)
    told = failing(home)
    assert list(told) == ["endpoint_answers"]
    assert [one.version for one in home.prediction.describe(LEAGUE).variants] == [ELO]


def test_a_league_without_a_challenger_says_how_to_get_one(home: Home, tmp_path: Path) -> None:
    from hoops_assets.services.prediction.enter import Entrance
    from hoops_assets.services.registry.local import LocalRegistry

    entrance = Entrance(
        home.league, LocalRegistry(tmp_path / "empty"), home.store, home.record, home.prediction, home.rollout, NOW
    )
    with pytest.raises(ServiceError, match="hoops train small"):
        entrance.enter(version=None, share=10, data_checks={}, decision=Decision("ann", ""))
