"""Training as one pipeline makes the same assets as training step by step."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoops_assets.definitions import build_defs
from hoops_assets.defs.training.pipeline import made_of
from hoops_assets.services.pipelines.steps import CANDIDATES, training_steps
from hoops_assets.settings import Settings
from hoops_assets_tests.defs.snapshot import LEAGUE


@pytest.mark.parametrize("provider", ["local", "sagemaker"])
def test_a_pipeline_has_the_assets_parents_checks_and_tags_of_single_steps(provider: str, tmp_path: Path) -> None:
    def of(pipelines: str) -> dict[str, tuple[object, ...]]:
        settings = Settings(home=tmp_path, pipelines=pipelines, mlflow_tracking_uri="")  # pyright: ignore[reportArgumentType]
        graph = build_defs(settings).resolve_asset_graph()
        keys = [key for key in graph.get_all_asset_keys() if key.path[0] == LEAGUE]
        checks = {key: sorted(check.name for check in graph.get_check_keys_for_assets({key})) for key in keys}
        return {
            key.path[-1]: (
                sorted(parent.path[-1] for parent in graph.get(key).parent_keys),
                checks[key], graph.get(key).tags.get("hoops/step"), graph.get(key).group_name, graph.get(key).owners,
            )
            for key in keys
        }  # fmt: skip

    assert of(provider) == of("dagster")


def test_every_asset_of_training_is_a_step_of_the_pipeline() -> None:
    steps = {step.name: step for step in training_steps(CANDIDATES)}
    made = made_of(CANDIDATES)
    assert set(made) == {name for name, step in steps.items() if step.kind in ("train", "evaluate", "register")}
    assert all(set(steps[name].needs) <= set(one.needs) for name, one in made.items() if steps[name].kind != "register")
