"""A process that changes what serves: `python -m hoops_assets_tests.services.rollout_driver HOME REGISTRY TRAFFIC`."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from hoops_assets.services.prediction.local import LocalPrediction
from hoops_assets.services.prediction.rollout import Decision, Rollout
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store.record import Record
from hoops_assets_tests.contracts.conftest import packed_of

LEAGUE = "sim"


def begin(home: Path, registry: LocalRegistry) -> Rollout:
    """The roll-out of one league of a home; the record stands beside it."""
    record = Record(home / "record.db")
    return Rollout(LEAGUE, LocalPrediction(registry, home), record, partial(packed_of, registry, LEAGUE), home / "lock")


if __name__ == "__main__":
    asked = {int(version): percent for version, percent in json.loads(sys.argv[3]).items()}
    begin(Path(sys.argv[1]), LocalRegistry(Path(sys.argv[2]))).serve(asked, Decision("driver", "it was asked for"))
