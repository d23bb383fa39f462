"""What every prediction provider keeps: see services/prediction/contract.py."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import Answer, BatchState, Game, Night, Packed, PredictionService
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets_tests.contracts.conftest import DAY, GAMES, MADE_AT, Pack, coming
from hoops_assets_tests.contracts.prediction_stages import Stage


@pytest.fixture
def service(stage: Stage, endpoint: str) -> Iterator[PredictionService]:
    yield stage.service
    stage.service.remove(endpoint)


def kind_of(call: Callable[[], object], match: str | None = None) -> str:
    with pytest.raises(ServiceError, match=match) as raised:
        call()
    return raised.value.kind


# -- the life of an endpoint --------------------------------------------------------------------------------------------


def test_an_endpoint_is_not_found_until_a_version_is_deployed_and_after_it_is_removed(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    assert kind_of(lambda: service.describe(endpoint)) == "not_found"
    made = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    assert (made.endpoint, made.status, made.traffic) == (endpoint, "in_service", {1: 100})
    assert made.address
    assert made.workers >= 1
    assert made.refused is None
    assert service.describe(endpoint) == made
    service.remove(endpoint)
    assert kind_of(lambda: service.describe(endpoint)) == "not_found"
    assert kind_of(lambda: service.invoke(endpoint, GAMES)) == "not_found"


def test_an_endpoint_that_was_removed_can_be_made_again(service: PredictionService, endpoint: str, pack: Pack) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    service.remove(endpoint)
    assert service.deploy(endpoint, pack(endpoint, 2), {2: 100}).traffic == {2: 100}
    assert {one.version for one in service.invoke(endpoint, GAMES)} == {2}


def test_what_is_not_there_is_removed_already(service: PredictionService, endpoint: str, pack: Pack) -> None:
    service.remove(endpoint)
    service.remove(endpoint, 1)
    made = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    service.remove(endpoint, 7)
    assert service.describe(endpoint) == made


def test_variants_stand_side_by_side_and_the_digest_is_the_models(
    service: PredictionService, endpoint: str, pack: Pack, models: dict[int, ModelVersion]
) -> None:
    first = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    both = service.deploy(endpoint, pack(endpoint, 2), {1: 90, 2: 10})
    assert both.traffic == {1: 90, 2: 10}
    assert both.revision > first.revision
    assert [one.version for one in both.variants] == [1, 2]
    assert [one.digest for one in both.variants] == [models[number].digest[:12] for number in (1, 2)]


def test_a_variant_without_traffic_stays_and_can_be_removed(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    moved = service.deploy(endpoint, pack(endpoint, 2), {2: 100})
    assert moved.traffic == {2: 100}
    assert [one.version for one in moved.variants] == [1, 2]
    assert {one.version for one in service.invoke(endpoint, GAMES * 20)} == {2}
    service.remove(endpoint, 1)
    assert [one.version for one in service.describe(endpoint).variants] == [2]
    assert kind_of(lambda: service.invoke(endpoint, GAMES, version=1)) == "not_found"


def test_a_variant_with_traffic_is_not_removed(service: PredictionService, endpoint: str, pack: Pack) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    made = service.deploy(endpoint, pack(endpoint, 2), {1: 99, 2: 1})
    assert kind_of(lambda: service.remove(endpoint, 2), "traffic") == "conflict"
    assert service.describe(endpoint) == made


def test_endpoints_stand_apart(service: PredictionService, endpoint: str, pack: Pack) -> None:
    other = f"{endpoint}_b"
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    service.deploy(other, pack(other, 2), {2: 100})
    assert {one.version for one in service.invoke(endpoint, GAMES)} == {1}
    service.remove(other)
    assert service.describe(endpoint).traffic == {1: 100}


# -- idempotency --------------------------------------------------------------------------------------------------------


def test_the_same_change_again_changes_nothing_not_even_the_revision(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    made = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    assert service.deploy(endpoint, pack(endpoint, 1), {1: 100}) == made
    assert service.set_traffic(endpoint, {1: 100}) == made
    both = service.deploy(endpoint, pack(endpoint, 2), {1: 70, 2: 30})
    assert service.deploy(endpoint, pack(endpoint, 2), {2: 30, 1: 70}) == both
    assert service.set_traffic(endpoint, {1: 70, 2: 30}) == both
    assert service.update_fixtures(endpoint, coming(endpoint)) == both


# -- traffic ------------------------------------------------------------------------------------------------------------


def test_traffic_moves_whole_and_back(service: PredictionService, endpoint: str, pack: Pack) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    service.deploy(endpoint, pack(endpoint, 2), {1: 90, 2: 10})
    for traffic in ({2: 100}, {1: 100}, {1: 1, 2: 99}):
        moved = service.set_traffic(endpoint, traffic)
        assert moved.traffic == traffic
        assert service.describe(endpoint).traffic == traffic


def test_the_share_of_answers_is_the_share_of_traffic(
    service: PredictionService, endpoint: str, pack: Pack, frame: pd.DataFrame, models: dict[int, ModelVersion]
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    service.deploy(endpoint, pack(endpoint, 2), {1: 75, 2: 25})
    rows = frame[list(models[1].features)]
    seen = Counter(service.invoke(endpoint, rows.iloc[[number]])[0].version for number in range(300))
    # Three hundred draws: outside of four standard deviations once in 16,000 runs.
    assert abs(seen[2] - 75) < 4 * math.sqrt(300 * 0.25 * 0.75)


def test_no_question_fails_and_no_other_version_answers_while_traffic_moves(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    service.deploy(endpoint, pack(endpoint, 2), {1: 50, 2: 50})
    moved = threading.Event()

    def ask() -> list[Answer]:
        answers = []
        while not moved.is_set():
            answers += service.invoke(endpoint, GAMES)
        return answers

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for traffic in ({1: 100}, {2: 100}) * 5:
                service.set_traffic(endpoint, traffic)
        finally:
            moved.set()
        answers = [answer for one in asking for answer in one.result()]
    assert {one.version for one in answers} == {1, 2}
    assert {one.degraded for one in answers} == {None}
    expected = {
        version: {one.home_win_probability for one in service.invoke(endpoint, GAMES, version)} for version in (1, 2)
    }
    assert all(one.home_win_probability in expected[one.version] for one in answers)


@pytest.mark.parametrize(
    ("traffic", "kind"),
    [
        ({1: 99}, "invalid"),
        ({1: 60, 2: 60}, "invalid"),
        ({1: 110, 2: -10}, "invalid"),
        ({1: 99.5, 2: 0.5}, "invalid"),
        ({1: True, 2: 99}, "invalid"),
        ({}, "invalid"),
        ({1: 50, 9: 50}, "not_found"),
    ],
    ids=["not 100", "over 100", "negative", "not whole", "not a number", "empty", "unknown version"],
)
def test_bad_traffic_is_refused_and_changes_nothing(
    service: PredictionService, endpoint: str, pack: Pack, traffic: dict[int, int], kind: str
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    made = service.deploy(endpoint, pack(endpoint, 2), {1: 90, 2: 10})
    assert kind_of(lambda: service.set_traffic(endpoint, traffic)) == kind
    assert kind_of(lambda: service.deploy(endpoint, pack(endpoint, 2), traffic)) == kind
    assert service.describe(endpoint) == made


def test_the_first_deployment_cannot_share_traffic_with_nobody(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    assert kind_of(lambda: service.deploy(endpoint, pack(endpoint, 1), {1: 10})) == "invalid"
    assert kind_of(lambda: service.describe(endpoint)) == "not_found"
    assert kind_of(lambda: service.set_traffic(endpoint, {1: 100})) == "not_found"


def test_a_version_of_another_league_is_refused(service: PredictionService, endpoint: str, pack: Pack) -> None:
    assert kind_of(lambda: service.deploy(endpoint, pack("elsewhere", 1), {1: 100}), "elsewhere") == "invalid"


# -- on demand ----------------------------------------------------------------------------------------------------------


def test_games_are_answered_in_order_each_naming_its_version(
    service: PredictionService, endpoint: str, pack: Pack, models: dict[int, ModelVersion]
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    answers = service.invoke(endpoint, GAMES)
    features = pd.DataFrame([one.features for one in coming(endpoint).fixtures])
    expected = service.batch(models[1], features)[::-1]
    np.testing.assert_allclose([one.home_win_probability for one in answers], expected, atol=1e-6)
    assert [(one.version, one.degraded) for one in answers] == [(1, None)] * 2


def test_rows_of_features_are_answered_as_the_batch_answers_them(
    service: PredictionService, endpoint: str, pack: Pack, frame: pd.DataFrame, models: dict[int, ModelVersion]
) -> None:
    service.deploy(endpoint, pack(endpoint, 2), {2: 100})
    rows = frame[list(models[2].features)].head(50)
    answers = [one.home_win_probability for one in service.invoke(endpoint, rows)]
    np.testing.assert_allclose(answers, service.batch(models[2], rows), atol=1e-6)


def test_a_pinned_version_answers_whatever_the_traffic(service: PredictionService, endpoint: str, pack: Pack) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    service.deploy(endpoint, pack(endpoint, 2), {1: 100, 2: 0})
    assert {one.version for one in service.invoke(endpoint, GAMES * 10)} == {1}
    assert {one.version for one in service.invoke(endpoint, GAMES * 10, version=2)} == {2}
    assert kind_of(lambda: service.invoke(endpoint, GAMES, version=9)) == "not_found"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ([Game(home="Nowhere", away="DOE", day=DAY)], "not_found"),
        ([Game(home="CAT", away="BEE", day=DAY)], "not_found"),
        ([Game(home="CAT", away="DOE", day=DAY + timedelta(days=400))], "invalid"),
        (pd.DataFrame({"no_such_feature": [1.0]}), "invalid"),
    ],
    ids=["unknown team", "no such game", "day out of range", "wrong features"],
)
def test_a_question_without_an_answer_is_refused(
    service: PredictionService, endpoint: str, pack: Pack, asked: list[Game] | pd.DataFrame, kind: str
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    assert kind_of(lambda: service.invoke(endpoint, asked)) == kind


def test_nothing_asked_is_nothing_answered(service: PredictionService, endpoint: str, pack: Pack) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    assert service.invoke(endpoint, []) == []


def test_fixtures_are_renewed_without_touching_the_models(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    made = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    before = service.invoke(endpoint, GAMES)
    later = MADE_AT + timedelta(hours=1)
    renewed = service.update_fixtures(endpoint, coming(endpoint, later, shift=300.0))
    assert renewed.fixtures_made_at == later
    assert renewed.variants == made.variants
    after = service.invoke(endpoint, GAMES)
    assert all(new.home_win_probability > old.home_win_probability for new, old in zip(after, before, strict=True))
    assert kind_of(lambda: service.update_fixtures(endpoint, coming("elsewhere")), "elsewhere") == "invalid"


def test_fixtures_of_an_endpoint_that_is_not_there_are_refused(service: PredictionService, endpoint: str) -> None:
    assert kind_of(lambda: service.update_fixtures(endpoint, coming(endpoint))) == "not_found"


# -- when it goes wrong -------------------------------------------------------------------------------------------------


def cut(packed: Packed) -> Packed:
    return Packed(packed.bundle, packed.onnx[: len(packed.onnx) // 2], packed.fixtures)


def test_a_model_cut_in_half_is_refused_and_the_old_one_serves_on(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    made = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    assert kind_of(lambda: service.deploy(endpoint, cut(pack(endpoint, 2)), {1: 90, 2: 10})) == "failed"
    assert service.describe(endpoint).variants == made.variants
    assert {one.version for one in service.invoke(endpoint, GAMES)} == {1}


def test_a_silent_roll_back_is_a_failure_with_the_serving_sides_reason(
    stage: Stage, service: PredictionService, endpoint: str, pack: Pack
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    with stage.spoil(2):
        assert kind_of(lambda: service.deploy(endpoint, pack(endpoint, 2), {1: 90, 2: 10}), r"model\.onnx") == "failed"
    assert service.describe(endpoint).traffic == {1: 100}
    assert {one.version for one in service.invoke(endpoint, GAMES * 10)} == {1}
    assert service.deploy(endpoint, pack(endpoint, 2), {1: 90, 2: 10}).traffic == {1: 90, 2: 10}


def test_a_first_deployment_that_cannot_be_loaded_leaves_no_endpoint(
    stage: Stage, service: PredictionService, endpoint: str, pack: Pack
) -> None:
    with stage.spoil(1):
        assert kind_of(lambda: service.deploy(endpoint, pack(endpoint, 1), {1: 100}), r"model\.onnx") == "failed"
    assert kind_of(lambda: service.describe(endpoint)) == "not_found"
    assert service.deploy(endpoint, pack(endpoint, 1), {1: 100}).traffic == {1: 100}
    assert [one.degraded for one in service.invoke(endpoint, GAMES)] == [None, None]


def test_a_serving_side_that_says_nothing_is_timed_out_and_the_old_state_serves_on(
    stage: Stage, service: PredictionService, endpoint: str, pack: Pack
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    with stage.silence() as impatient:
        assert kind_of(lambda: impatient.deploy(endpoint, pack(endpoint, 2), {2: 100})) == "timed_out"
    again = service.set_traffic(endpoint, {1: 100})
    assert (again.status, again.traffic) == ("in_service", {1: 100})
    assert {one.version for one in service.invoke(endpoint, GAMES)} == {1}


def test_a_scale_that_cannot_be_kept_is_refused(service: PredictionService, endpoint: str, pack: Pack) -> None:
    made = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    assert service.scale(endpoint, 1, 1) == made
    assert kind_of(lambda: service.scale(endpoint, 2, 1)) == "invalid"
    assert kind_of(lambda: service.scale(endpoint, -1, 1)) == "invalid"
    assert service.describe(endpoint) == made


def test_renewing_what_is_new_changes_nothing(service: PredictionService, endpoint: str, pack: Pack) -> None:
    made = service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    assert service.renew(endpoint) == made


def test_an_endpoint_that_is_not_there_has_no_nights_and_is_not_renewed(
    service: PredictionService, endpoint: str
) -> None:
    assert kind_of(lambda: service.renew(endpoint)) == "not_found"
    assert kind_of(lambda: service.plan_nights(endpoint, [])) == "not_found"


def test_nights_without_sense_are_refused_and_no_nights_end_a_plan(
    service: PredictionService, endpoint: str, pack: Pack
) -> None:
    service.deploy(endpoint, pack(endpoint, 1), {1: 100})
    night = Night(begin=MADE_AT, end=MADE_AT + timedelta(hours=5), least=2, most=4)
    later = night.model_copy(update={"begin": MADE_AT + timedelta(hours=4), "end": MADE_AT + timedelta(hours=9)})
    backwards = night.model_copy(update={"end": MADE_AT})
    for nights in ([night, later], [backwards], [night.model_copy(update={"least": 0})]):
        assert kind_of(lambda nights=nights: service.plan_nights(endpoint, nights)) == "invalid"
    service.plan_nights(endpoint, [])


# -- batch --------------------------------------------------------------------------------------------------------------


@pytest.mark.batch
def test_a_batch_is_answered_in_the_order_of_its_rows(
    service: PredictionService, frame: pd.DataFrame, models: dict[int, ModelVersion]
) -> None:
    rows = frame.head(40)
    forward, backward = service.batch(models[2], rows), service.batch(models[2], rows[::-1])
    assert forward.dtype == np.dtype("float64")
    assert ((forward > 0) & (forward < 1)).all()
    np.testing.assert_array_equal(forward, backward[::-1])


@pytest.mark.batch
def test_the_same_batch_is_the_same_job_and_any_other_is_another(
    service: PredictionService, frame: pd.DataFrame, models: dict[int, ModelVersion]
) -> None:
    rows = frame.head(40)
    name = service.submit(models[2], rows)
    assert service.submit(models[2], rows.assign(more="of no concern").reset_index(drop=True)) == name
    changed = rows.assign(elo_difference=rows["elo_difference"] + 1)
    others = [
        service.submit(models[2], changed),
        service.submit(models[2], rows[::-1]),
        service.submit(models[1], rows),
    ]
    assert len({name, *others}) == 4
    while not service.poll(name).finished:
        pass
    assert service.poll(name) == BatchState.SUCCEEDED
    np.testing.assert_array_equal(service.results(name), service.batch(models[2], rows))


@pytest.mark.batch
def test_an_interrupted_batch_is_cancelled_and_runs_when_it_is_asked_for_again(
    service: PredictionService, frame: pd.DataFrame, models: dict[int, ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, interrupted = frame.head(41), []

    def interrupt(job: str) -> BatchState:
        interrupted.append(job)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(service, "poll", interrupt)
        service.batch(models[2], rows)
    (name,) = interrupted
    # A provider that has answered before `submit` returns has nothing left to cancel.
    assert service.poll(name) in (BatchState.CANCELLED, BatchState.SUCCEEDED)
    if service.poll(name) is BatchState.CANCELLED:
        assert kind_of(lambda: service.results(name), "cancelled") == "conflict"
    answers = service.batch(models[2], rows)
    assert answers.shape == (41,)
    service.cancel(name)
    assert service.poll(name) is BatchState.SUCCEEDED
    np.testing.assert_array_equal(service.results(name), answers)


@pytest.mark.batch
def test_a_batch_of_no_rows_has_no_answers(
    service: PredictionService, frame: pd.DataFrame, models: dict[int, ModelVersion]
) -> None:
    assert service.batch(models[1], frame.head(0)).shape == (0,)


@pytest.mark.batch
@pytest.mark.parametrize("value", [math.nan, math.inf], ids=["missing", "infinite"])
def test_rows_that_no_model_can_answer_are_refused_before_a_job_is_made(
    service: PredictionService, frame: pd.DataFrame, models: dict[int, ModelVersion], value: float
) -> None:
    rows = frame.head(3).assign(elo_difference=[0.0, value, 0.0])
    assert kind_of(lambda: service.submit(models[1], rows), "elo_difference") == "invalid"
    assert kind_of(lambda: service.batch(models[1], frame.drop(columns="home_court")), "home_court") == "invalid"


@pytest.mark.batch
def test_a_job_that_nobody_submitted_is_not_found(service: PredictionService) -> None:
    for name in ("hoops-sim-1-0123456789abcdef", "../../etc/passwd", ""):
        assert kind_of(lambda name=name: service.poll(name)) == "not_found"
        assert kind_of(lambda name=name: service.results(name)) == "not_found"
        assert kind_of(lambda name=name: service.cancel(name)) == "not_found"
