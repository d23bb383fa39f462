"""Fails if a notebook has stored outputs or execution counts: they hinder versioning and may hold data that is not ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def stored(path: Path) -> list[int]:
    """Numbers (from 1) of the cells of a notebook that hold outputs or an execution count."""
    cells = json.loads(path.read_text())["cells"]
    return [number for number, cell in enumerate(cells, start=1) if cell.get("outputs") or cell.get("execution_count")]


def main() -> int:
    bad = {path: cells for path in sorted(Path(__file__).parent.glob("*.ipynb")) if (cells := stored(path))}
    for path, cells in bad.items():
        sys.stderr.write(f"{path.name}: cells {cells} hold outputs; clear them before committing\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
