"""One home for all questions."""

from __future__ import annotations

import pytest

from hoops_assets_tests.services.lineage.home import Home, make_home


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """600 games, 12 versions of three settings, 400 answers. Do not change its files."""
    return make_home(tmp_path_factory.mktemp("questions") / "home")
