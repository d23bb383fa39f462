"""The local prediction provider while no server runs, and its batches on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction import batches
from hoops_assets.services.prediction.contract import BatchState, Packed
from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.workloads.serve import bundle as files
from hoops_assets_tests.contracts.conftest import GAMES, Pack, coming, frame, models, pack, registry

__all__ = ["frame", "models", "pack", "registry"]

LEAGUE = "sim"


@pytest.fixture
def service(registry: LocalRegistry, tmp_path: Path) -> LocalPrediction:
    return LocalPrediction(registry, tmp_path)


def test_without_a_server_an_endpoint_stands_and_is_stopped(
    service: LocalPrediction, pack: Pack, models: dict[int, ModelVersion]
) -> None:
    made = service.deploy(LEAGUE, pack(LEAGUE, 1), {1: 100})
    assert (made.status, made.workers, made.address, made.revision) == ("stopped", 0, None, 1)
    assert made.fixtures_made_at == coming(LEAGUE).made_at
    both = service.deploy(LEAGUE, pack(LEAGUE, 2), {1: 90, 2: 10})
    assert both.traffic == {1: 90, 2: 10}
    assert [one.digest for one in both.variants] == [models[number].digest[:12] for number in (1, 2)]
    assert service.set_traffic(LEAGUE, {2: 100}).traffic == {2: 100}
    service.remove(LEAGUE, 1)
    assert [one.version for one in service.describe(LEAGUE).variants] == [2]
    with pytest.raises(ServiceError, match="hoops serve") as refused:
        service.invoke(LEAGUE, GAMES)
    assert refused.value.kind == "conflict"


def test_a_bundle_is_proven_before_it_is_to_serve(service: LocalPrediction, pack: Pack) -> None:
    made = service.deploy(LEAGUE, pack(LEAGUE, 1), {1: 100})
    whole = pack(LEAGUE, 2)
    with pytest.raises(ServiceError, match=r"readable ONNX") as refused:
        service.deploy(LEAGUE, Packed(whole.bundle, whole.onnx[: len(whole.onnx) // 2], whole.fixtures), {2: 100})
    assert refused.value.kind == "failed"
    assert service.describe(LEAGUE) == made


def test_a_new_variant_takes_its_share_behind_those_that_stand(
    service: LocalPrediction, pack: Pack, tmp_path: Path
) -> None:
    service.deploy(LEAGUE, pack(LEAGUE, 3), {3: 100})
    service.deploy(LEAGUE, pack(LEAGUE, 1), {3: 90, 1: 10})
    service.set_traffic(LEAGUE, {1: 50, 3: 50})
    state = files.read_endpoint(files.endpoint_folder(tmp_path, LEAGUE))
    assert [one.version for one in state.variants] == [3, 1]


def test_a_damaged_bundle_that_serves_nobody_is_written_anew(
    service: LocalPrediction, pack: Pack, tmp_path: Path
) -> None:
    packed = pack(LEAGUE, 1)
    folder = files.bundle_folder(tmp_path, packed.bundle)
    folder.mkdir(parents=True)
    (folder / files.BUNDLE).write_text("{")
    assert service.deploy(LEAGUE, packed, {1: 100}).traffic == {1: 100}


def spoil(tmp_path: Path, packed: Packed) -> None:
    (files.bundle_folder(tmp_path, packed.bundle) / files.MODEL).write_bytes(packed.onnx[:-1])


def test_a_bundle_that_was_damaged_is_told_and_deploying_it_again_mends_it(
    service: LocalPrediction, pack: Pack, tmp_path: Path
) -> None:
    made = service.deploy(LEAGUE, pack(LEAGUE, 1), {1: 100})
    spoil(tmp_path, pack(LEAGUE, 1))
    found = service.describe(LEAGUE)
    assert "model.onnx is not the file that was written" in (found.variants[0].broken or "")
    with pytest.raises(ServiceError, match="deploy version 1 again"):
        service.deploy(LEAGUE, pack(LEAGUE, 2), {1: 90, 2: 10})
    assert service.deploy(LEAGUE, pack(LEAGUE, 1), {1: 100}).variants == made.variants


def test_a_full_disk_is_a_failure_and_what_served_before_serves_on(
    service: LocalPrediction, pack: Pack, models: dict[int, ModelVersion], frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    made = service.deploy(LEAGUE, pack(LEAGUE, 1), {1: 100})
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        for call in (
            lambda: service.deploy(LEAGUE, pack(LEAGUE, 2), {1: 90, 2: 10}),
            lambda: service.update_fixtures(LEAGUE, coming(LEAGUE, shift=1.0)),
            lambda: service.submit(models[1], frame.head(3)),
        ):
            with pytest.raises(ServiceError, match="No space left") as failed:
                call()
            assert failed.value.kind == "failed"
    assert service.describe(LEAGUE) == made
    assert service.deploy(LEAGUE, pack(LEAGUE, 2), {1: 90, 2: 10}).traffic == {1: 90, 2: 10}


def test_a_registry_that_does_not_answer_fails_the_batch_and_asking_again_runs_it(
    service: LocalPrediction, frame: pd.DataFrame, models: dict[int, ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> Path:
        raise ServiceError("timed_out", "the registry does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(LocalRegistry, "artefacts", silent)
        job = service.submit(models[1], frame.head(3))
        assert service.poll(job) is BatchState.FAILED
        with pytest.raises(ServiceError, match="does not answer"):
            service.results(job)
    assert service.submit(models[1], frame.head(3)) == job
    assert service.poll(job) is BatchState.SUCCEEDED and len(service.results(job)) == 3


def test_removing_an_endpoint_leaves_nothing_of_it(service: LocalPrediction, pack: Pack, tmp_path: Path) -> None:
    service.deploy(LEAGUE, pack(LEAGUE, 1), {1: 100})
    service.remove(LEAGUE)
    assert not files.endpoint_folder(tmp_path, LEAGUE).exists()


@pytest.mark.parametrize("name", ["../x", "", "A", "a/b"])
def test_a_name_that_no_league_has_is_refused(service: LocalPrediction, name: str, tmp_path: Path) -> None:
    for call in (service.describe, service.remove, lambda one: service.set_traffic(one, {1: 100})):
        with pytest.raises(ServiceError) as refused:
            call(name)
        assert refused.value.kind == "invalid"
    assert not list(tmp_path.iterdir())


def test_a_finished_batch_is_not_run_again_and_a_failed_one_is(
    service: LocalPrediction, frame: pd.DataFrame, models: dict[int, ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, real, asked = frame.head(5), batches.forecast, []

    def broken(*given: object) -> np.ndarray:
        raise batches.ModelError("the model is ill")

    def counting(*given: object) -> np.ndarray:
        asked.append(given)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "forecast", broken)
    name = service.submit(models[1], rows)
    assert service.poll(name) == BatchState.FAILED
    with pytest.raises(ServiceError, match="the model is ill") as failed:
        service.results(name)
    assert failed.value.kind == "failed"
    monkeypatch.setattr(batches, "forecast", counting)
    assert service.submit(models[1], rows) == name
    assert service.poll(name) == BatchState.SUCCEEDED
    service.batch(models[1], rows)
    assert len(asked) == 1


def test_a_damaged_answer_is_an_error_that_names_the_file(
    service: LocalPrediction, frame: pd.DataFrame, models: dict[int, ModelVersion], tmp_path: Path
) -> None:
    name = service.submit(models[1], frame.head(5))
    file = next((tmp_path / "batches").rglob(f"{name}.json"))
    file.write_text(file.read_text()[:-40])
    with pytest.raises(ServiceError, match=r"is damaged.*remove it"):
        service.results(name)
