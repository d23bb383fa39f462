"""What a server is given of a version and of the coming games."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.form import extend_form
from hoops_assets.basketball.games import fixtures, results
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.bundle import base_rate, coming_fixtures, latest_ratings, pack
from hoops_assets.services.registry.local import LocalRegistry
from hoops_assets.store.delta import DeltaStore
from hoops_assets.workloads.evaluate import league_features
from hoops_assets_tests.basketball.schedules import FIRST_DAY, LEAGUE, games_of
from hoops_assets_tests.contracts.conftest import frame, registry

__all__ = ["frame", "registry"]

GAMES = games_of([
    (1, "ANN", "BEA", 5, False), (2, "CAT", "DOT", -3, False), (3, "ANN", "CAT", 10, False), (4, "EVE", "ANN", 20, True),
    (15, "BEA", "ANN", -7, False), (20, "ANN", "DOT", None, False), (21, "CAT", "BEA", None, True),
    (24, "BEA", "ANN", None, False),
])  # fmt: skip
TODAY = FIRST_DAY + timedelta(days=20)
NOW = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)
SIM = LEAGUE.model_copy(update={"name": "sim"})


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    return league_features(LEAGUE, GAMES)


@pytest.fixture
def store(tmp_path: Path, features: pd.DataFrame) -> DeltaStore:
    store = DeltaStore(str(tmp_path / "tables"))
    store.overwrite("sim", "results", results(GAMES))
    store.overwrite("sim", "team_form", extend_form(None, GAMES, LEAGUE))
    coming = features[["game_id", *(name for name in features.columns if name != "game_id")]]
    declared = [name for name in coming.columns if name in {*fixtures(GAMES).columns, *FEATURES}]
    store.overwrite("sim", "game_features", coming[declared])
    return store


def test_the_base_rate_is_the_share_won_by_home_sides_on_their_own_ground(store: DeltaStore, tmp_path: Path) -> None:
    assert base_rate(store, SIM) == pytest.approx(2 / 4)
    assert base_rate(DeltaStore(str(tmp_path / "empty")), SIM) == 0.5


def test_ratings_are_those_before_the_next_game(store: DeltaStore, tmp_path: Path) -> None:
    form = extend_form(None, GAMES, LEAGUE)
    ratings = latest_ratings(store, SIM)
    assert sorted(ratings) == ["ANN", "BEA", "CAT", "DOT", "EVE"]
    played = form[(form["team"] == "BEA") & form["played"]].iloc[-1]
    assert ratings["BEA"] == pytest.approx(cast("float", played["elo_after"]))
    ahead = form[(form["team"] == "DOT") & ~form["played"]].iloc[0]
    assert ratings["DOT"] == pytest.approx(cast("float", ahead["elo_before"]))
    assert latest_ratings(DeltaStore(str(tmp_path / "empty")), SIM) == {}


def test_the_coming_games_are_those_from_today_on_with_the_tables_own_features(
    store: DeltaStore, features: pd.DataFrame
) -> None:
    coming = coming_fixtures(store, SIM, NOW, 3)
    assert (coming.league, coming.first_day, coming.last_day) == ("sim", TODAY, TODAY + timedelta(days=3))
    assert [(one.home, one.away, one.neutral) for one in coming.fixtures] == [
        ("ANN", "DOT", False),
        ("CAT", "BEA", True),
    ]
    expected = features.set_index("game_id").loc[[one.game_id for one in coming.fixtures], list(FEATURES)]
    found = np.array([[one.features[name] for name in FEATURES] for one in coming.fixtures])
    np.testing.assert_array_equal(found, expected.to_numpy())
    assert coming.teams["Ann"] == coming.teams["ANN"] == "ANN"


def test_the_day_is_the_leagues_own(store: DeltaStore) -> None:
    # Half past eleven at night in UTC is the next day in Madrid.
    late = datetime(TODAY.year, TODAY.month, TODAY.day, 23, 30, tzinfo=UTC) - timedelta(days=1)
    assert coming_fixtures(store, SIM, late, 0).first_day == TODAY


def test_a_version_is_packed_with_all_that_it_needs_to_answer(store: DeltaStore, registry: LocalRegistry) -> None:
    packed = pack(registry, store, SIM, 2, NOW, 7)
    model, bundle = registry.get("sim", 2), packed.bundle
    assert (bundle.league, bundle.version, bundle.learner, bundle.digest) == ("sim", 2, "logistic", model.digest)
    assert bundle.features == model.features
    assert bundle.teams["Ann"] == "ANN"
    assert bundle.home_advantage == LEAGUE.elo.home_advantage
    assert packed.onnx == (registry.artefacts("sim", 2) / "model.onnx").read_bytes()
    assert len(packed.fixtures.fixtures) == 3
    held_out = pd.read_parquet(registry.artefacts("sim", 2) / "held_out.parquet")
    assert sum(one.n for one in bundle.reliability) == len(held_out)
    assert all(one.low <= one.share <= one.high for one in bundle.reliability)


def test_a_version_that_is_missing_or_was_changed_is_not_packed(
    store: DeltaStore, registry: LocalRegistry, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError) as missing:
        pack(registry, store, SIM, 9, NOW, 7)
    assert missing.value.kind == "not_found"
    shutil.copytree(registry.root, tmp_path / "registry")
    changed = LocalRegistry(tmp_path / "registry")
    model = tmp_path / "registry" / "sim" / "000002" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ServiceError, match=r"model\.onnx is damaged") as damaged:
        pack(changed, store, SIM, 2, NOW, 7)
    assert damaged.value.kind == "failed"
