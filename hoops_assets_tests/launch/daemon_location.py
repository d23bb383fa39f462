"""The code location of the tests with a real daemon: the home's small league as shipped, looked at more often.

What belongs here: what makes waiting short; and, where TRAINING_HANGS is set, a training service that never answers.
"""

import os
import time
from typing import Any

from hoops_assets.definitions import build_defs
from hoops_assets.defs.resources import TrainingResource, resources
from hoops_assets.settings import load_settings
from hoops_assets.sources.leagues import get_league
from hoops_assets_tests.launch.small_league import NAME


class Hanging(TrainingResource):
    """A provider that takes the job and is never heard of again."""

    def service(self) -> Any:
        while True:
            time.sleep(0.2)


_settings = load_settings()
_training = resources(_settings)["training"]
assert isinstance(_training, TrainingResource)
defs = build_defs(
    _settings,
    overrides={"training": Hanging(**_training.model_dump())} if os.environ.get("TRAINING_HANGS") else {},
    leagues=[get_league(_settings.home, NAME)],
)
for _sensor in defs.sensors or ():
    _sensor._min_interval = 3  # type: ignore[union-attr]
