"""How a step meets trouble: an error that may go away is tried again as often as the settings say, any other never."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import dagster as dg
import pytest

from hoops_assets.definitions import build_defs, build_lane
from hoops_assets.errors import SourceError, SourceUnreachable
from hoops_assets.services.errors import ServiceError
from hoops_assets.settings import Settings, Step, StepName
from hoops_assets.sources.leagues import get_league

AT_ONCE = {"delay_seconds": 0.0}
TRANSIENT = [SourceUnreachable("down"), ServiceError("throttled", "later"), ServiceError("quota", "full"),
             ServiceError("timed_out", "slow"), ConnectionError("reset"), TimeoutError("slow")]  # fmt: skip
LASTING = [SourceError("no such file"), ServiceError("invalid", "bad"), ServiceError("permission", "no"), KeyError("x")]


def _attempts(
    home: Path, errors: list[Exception], steps: dict[str, Step], stage: str = "training"
) -> tuple[int, dg.ExecuteInProcessResult]:
    """How often an asset was tried that meets one error after the other and then succeeds."""
    lane = build_lane(get_league(home, "atlantic"), Settings.model_validate({"home": home, "steps": steps}))
    tried, left = 0, iter(errors)

    @lane.asset(stage, "meets_trouble", "For a test.", kinds={"pandas"})
    def meets_trouble() -> None:
        nonlocal tried
        tried += 1
        for error in left:
            raise error

    result = dg.materialize([meets_trouble], raise_on_error=False)
    return tried, result


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_an_error_that_may_go_away_is_tried_again(tmp_path: Path, error: Exception) -> None:
    tried, result = _attempts(tmp_path, [error, error], {"training": Step(retries=2, **AT_ONCE)})
    assert (tried, result.success) == (3, True)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_an_error_that_will_not_go_away_is_tried_once_and_told_as_it_is(tmp_path: Path, error: Exception) -> None:
    tried, result = _attempts(tmp_path, [error], {"training": Step(retries=5, **AT_ONCE)})
    assert (tried, result.success) == (1, False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert str(error) in failure.step_failure_data.error.to_string()


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_the_settings_say_how_often(tmp_path: Path, retries: int) -> None:
    tried, result = _attempts(tmp_path, [TRANSIENT[0]] * 9, {"training": Step(retries=retries, **AT_ONCE)})
    assert (tried, result.success) == (retries + 1, False)


@pytest.mark.parametrize("stage", get_args(StepName))
def test_every_step_has_its_own_number(tmp_path: Path, stage: str) -> None:
    others = {name: Step(retries=0) for name in get_args(StepName) if name != stage}
    tried, result = _attempts(tmp_path, [TRANSIENT[0]] * 9, {**others, stage: Step(retries=2, **AT_ONCE)}, stage)
    assert (tried, result.success) == (3, False)


def test_another_steps_setting_does_not_count(tmp_path: Path) -> None:
    tried, _ = _attempts(tmp_path, [TRANSIENT[0]] * 9, {"ingest": Step(retries=9), "training": Step(retries=0)})
    assert tried == 1


def test_a_run_is_ended_after_its_steps_time(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, steps={"training": Step(max_runtime_seconds=60), "features": Step(max_runtime_seconds=9000)}
    )
    defs = build_defs(settings, leagues=[get_league(tmp_path, "atlantic")])
    limits = {
        name: defs.resolve_job_def(f"atlantic_{name}").tags["dagster/max_runtime"] for name in ("training", "game_days")
    }
    assert limits == {"training": "60", "game_days": "9000"}
