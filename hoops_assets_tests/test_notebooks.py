"""Notebooks are for looking: they carry no outputs, and nothing of the platform runs them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

from hoops_assets_tests.conftest import REPOSITORY

NOTEBOOKS = REPOSITORY / "notebooks"


def _check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check", NOTEBOOKS / "check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_notebook_stores_outputs() -> None:
    assert list(NOTEBOOKS.glob("*.ipynb"))
    assert _check().main() == 0


def test_a_stored_output_is_found(tmp_path: Path) -> None:
    cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [{"text": "secret"}], "execution_count": 1}]
    notebook = tmp_path / "dirty.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    assert _check().stored(notebook) == [2]


def test_nothing_of_the_platform_runs_a_notebook() -> None:
    forbidden = ("papermill", "nbconvert", "dagstermill", "jupyter")
    for path in (REPOSITORY / "hoops_assets").rglob("*.py"):
        assert not [word for word in forbidden if word in path.read_text()], path


def test_the_code_of_every_notebook_compiles() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for number, cell in enumerate(json.loads(path.read_text())["cells"], start=1):
            if cell["cell_type"] == "code":
                compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec")
