"""What a step does when nothing else helps: how often it tried, what stands in, and that this is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.ratings import expected_probability
from hoops_assets.definitions import build_defs
from hoops_assets.defs.resources import PredictionResource, SourcesResource, resources
from hoops_assets.errors import SourceUnreachable
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.trial import settled_pairs
from hoops_assets.settings import Step
from hoops_assets.store import alarms
from hoops_assets.store.schemas import TABLES
from hoops_assets_tests.defs.test_deployment import QUIET, Graph, key
from hoops_assets_tests.launch import small_league as small
from hoops_assets_tests.services.trials import ELO, LEAGUE, LOGISTIC, NOW, START, Home, make_models

AWAY, BROKEN = ServiceError("throttled", "come back later"), ServiceError("failed", "model.onnx is damaged")


class Troubled(PredictionResource):
    """The model of one version meets errors; the others answer."""

    version: int
    errors: ClassVar[list[Exception]] = []
    tried: ClassVar[list[int]] = []

    def service(self, registry: Any) -> Any:
        true = super().service(registry)

        class Service:
            def __getattr__(self, name: str) -> Any:
                return getattr(true, name)

            def batch(self, version: Any, rows: pd.DataFrame) -> np.ndarray:
                if version.version == troubled:
                    Troubled.tried.append(version.version)
                    if Troubled.errors:
                        raise Troubled.errors.pop(0)
                return true.batch(version, rows)

        troubled = self.version
        return Service()


class Silent(SourcesResource):
    """Fan posts cannot be had."""

    tried: ClassVar[list[date]] = []

    def posts(self, league: Any, start: Any, end: Any) -> Iterator[Any]:
        Silent.tried.append(start.date())
        raise SourceUnreachable("the API does not answer")
        yield


@dataclass(frozen=True)
class Lane(Graph):
    """A home with two versions on trial and the features of the coming games; steps as a test says."""

    @classmethod
    def with_steps(cls, home: Home, step: Step, overrides: dict[str, Any]) -> Lane:
        graph = Graph.of(home)
        step_of = {"prediction": step, "ingest": step}
        settings = small.settings(home.path, NOW.isoformat()).model_copy(update={"steps": step_of})
        return cls(home, build_defs(settings, overrides, leagues=[home.league]), graph.instance)

    def days(self) -> list[date]:
        partitions = self.location.resolve_asset_graph().get(key("predictions")).partitions_def
        assert partitions
        return [day for name in partitions.get_partition_keys() if (day := date.fromisoformat(name)) >= START]

    def run_days(self, name: str) -> dg.ExecuteInProcessResult:
        days = self.days()
        tags = {
            "dagster/asset_partition_range_start": days[0].isoformat(),
            "dagster/asset_partition_range_end": days[-1].isoformat(),
        }
        return self.location.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=[key(name)], run_config=QUIET, tags=tags, raise_on_error=False
        )

    @property
    def alarm(self) -> dict[str, str]:
        return {name: edge.state for name, edge in alarms.current(self.home.record, LEAGUE).items()}

    def forecasts(self, version: int) -> pd.DataFrame:
        stored = self.home.store.read(LEAGUE, "predictions")
        return stored[stored["version"] == version].reset_index(drop=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with small.without_flushing():
        return Home(make_models(tmp_path_factory.mktemp("models") / "home")).on_trial().path


@pytest.fixture
def home(models: Path, tmp_path: Path) -> Iterator[Home]:
    Troubled.errors.clear()
    Troubled.tried.clear()
    Silent.tried.clear()
    with small.without_flushing():
        yield Home.copy_of(models, tmp_path / "home")


def troubled(home: Home, errors: list[Exception], **step: Any) -> Lane:
    """The lane with the coming games' features, and a canary whose model meets these errors."""
    given = PredictionResource(provider="local", home=str(home.path), aws={}).model_dump()
    lane = Lane.with_steps(home, Step(delay_seconds=0, **step), {"prediction": Troubled(**given, version=LOGISTIC)})
    Troubled.errors.extend(errors)
    days = lane.days()
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(len(days), len(FEATURES))).astype("float32"), columns=list(FEATURES))
    games = features.astype("float64").assign(
        game_id=[f"{day}.ANT.BEE" for day in days], season=2025, day=days, home="ANT", away="BEE", neutral=False,
        tip_off=pd.to_datetime(pd.Series(days)).dt.tz_localize("UTC") + timedelta(hours=23), stage="regular",
    )  # fmt: skip
    spec = TABLES["game_features"]
    home.store.overwrite(LEAGUE, "game_features", games[list(spec.columns)].astype(spec.columns))
    return lane


@pytest.mark.parametrize(
    ("error", "retries", "attempts"), [(AWAY, 2, 3), (AWAY, 0, 1), (BROKEN, 2, 1), (ConnectionError("reset"), 1, 2)]
)
def test_a_model_that_cannot_be_asked_is_stood_in_for_by_ratings_after_its_retries_and_it_is_said(
    home: Home, error: Exception, retries: int, attempts: int
) -> None:
    lane = troubled(home, [error] * 9, retries=retries)
    assert lane.run_days("predictions").success
    assert Troubled.tried == [LOGISTIC] * attempts
    canary, features = lane.forecasts(LOGISTIC), home.store.read(LEAGUE, "game_features")
    assert len(canary) == len(features)
    by_elo = [expected_probability(difference) for difference in features["elo_difference"]]
    assert np.allclose(canary["home_win_probability"], by_elo)
    said = f"by Elo ratings: the model of version {LOGISTIC} could not be asked: {error}"
    assert set(canary["degraded"]) == {said}
    assert set(lane.forecasts(ELO)["degraded"]) == {""}, "the other version answered itself"
    told = alarms.current(home.record, LEAGUE)["degraded/predictions"]
    assert (told.state, told.text) == ("red", said)


@pytest.mark.parametrize(("error", "attempts"), [(AWAY, 3), (BROKEN, 1)])
def test_with_fall_back_off_the_step_fails_with_the_reason_and_writes_nothing(
    home: Home, error: Exception, attempts: int
) -> None:
    lane = troubled(home, [error] * 9, retries=2, fall_back=False)
    result = lane.run_days("predictions")
    assert not result.success
    assert len(Troubled.tried) == attempts
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert str(error) in str(failure.step_failure_data.error)
    assert home.store.read(LEAGUE, "predictions").empty
    assert not lane.alarm


def test_degraded_forecasts_give_way_to_the_models_and_never_replace_them(home: Home) -> None:
    lane = troubled(home, [BROKEN], retries=0)
    assert lane.run_days("predictions").success
    assert lane.alarm == {"degraded/predictions": "red"}
    assert lane.run_days("predictions").success
    own = lane.forecasts(LOGISTIC)
    assert set(own["degraded"]) == {""}
    assert lane.alarm == {"degraded/predictions": "green"}
    Troubled.errors.append(BROKEN)
    assert lane.run_days("predictions").success
    assert lane.alarm == {"degraded/predictions": "red"}
    pd.testing.assert_frame_equal(lane.forecasts(LOGISTIC), own)


def test_degraded_forecasts_are_no_evidence_for_or_against_a_version(home: Home) -> None:
    home.play(20)
    pairs = settled_pairs(home.store, home.league, ELO, LOGISTIC, NOW)
    scored = home.store.read(LEAGUE, "scored_predictions")
    first = scored["day"] == START
    scored["degraded"] = np.where(first & (scored["version"] == LOGISTIC), "by Elo ratings: broken", "")
    home.store.overwrite(LEAGUE, "scored_predictions", scored)
    left = settled_pairs(home.store, home.league, ELO, LOGISTIC, NOW)
    assert set(left["day"]) == set(pairs["day"]) - {START}


def test_without_the_fans_posts_the_features_are_made_of_what_is_stored(home: Home) -> None:
    step = Step(retries=2, delay_seconds=0)
    settings = small.settings(home.path, NOW.isoformat())
    true = resources(settings)["sources"]
    assert isinstance(true, SourcesResource)
    lane = Lane.with_steps(home, step, {"sources": Silent(**true.model_dump())})
    assert lane.run_days("fan_posts").success
    assert len(Silent.tried) == 3
    edge = alarms.current(home.record, LEAGUE)["degraded/fan_posts"]
    assert "the API does not answer" in edge.text
    whole = Lane.with_steps(home, step, {"sources": true})
    assert whole.run_days("fan_posts").success
    assert whole.alarm["degraded/fan_posts"] == "green"


def test_with_fall_back_off_a_silent_source_of_posts_ends_the_run(home: Home) -> None:
    true = resources(small.settings(home.path, NOW.isoformat()))["sources"]
    assert isinstance(true, SourcesResource)
    lane = Lane.with_steps(
        home, Step(retries=1, delay_seconds=0, fall_back=False), {"sources": Silent(**true.model_dump())}
    )
    assert not lane.run_days("fan_posts").success
    assert len(Silent.tried) == 2
    assert not lane.alarm
