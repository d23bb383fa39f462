"""Small files of games as somebody might have them, and a command line to give them to."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

TEAMS = ("Anthill", "Beeford", "Catwick", "Doewater", "Elkmoor", "Foxley")
HEADER = ["Date", "Home", "Away", "HomePts", "AwayPts"]
MAPPING = """\
time_zone: America/New_York
columns: {date: Date, home: Home, away: Away, home_score: HomePts, away_score: AwayPts}
"""
NOW = "2024-03-01T17:00:00+00:00"
Row = list[str]


def schedule(seasons: int = 1, game_days: int = 24, played_until: date = date(2024, 3, 1)) -> list[Row]:
    """Rows of HEADER, three games a day and two days a week; the seasons end in 2024 and before, the last is not over.

    Every team has a strength, so that there is something to learn.
    """
    draw = np.random.default_rng(11)
    strength = dict(zip(TEAMS, (9, 6, 2, -2, -6, -9), strict=True))
    rows = []
    for season in range(2025 - seasons, 2025):
        for number in range(game_days):
            day = date(season - 1, 11, 6) + timedelta(days=number * 7 // 2)
            order = list(draw.permutation(TEAMS))
            for home, away in zip(order[::2], order[1::2], strict=True):
                margin = round(draw.normal(strength[home] - strength[away] + 3, 10)) or 1
                score = (100 + max(margin, 0), 100 - min(margin, 0))
                rows.append([day.isoformat(), home, away, *(map(str, score) if day < played_until else ("", ""))])
    return rows


def write(path: Path, rows: list[Row], header: list[str] = HEADER, ends: str = "\n", start: str = "") -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator=ends).writerows([header, *rows])
    path.write_bytes((start + text.getvalue()).encode())
    return path


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Hoops:
    """`hoops`, in this process, writing to one home. An error without a message of its own is raised."""

    home: Path
    now: str = NOW

    def __call__(self, *arguments: str | Path, **environment: str) -> Said:
        from hoops_assets import cli

        out, err = io.StringIO(), io.StringIO()
        status: Any = 0
        with (
            _environment(self.variables | environment),
            mock.patch.object(sys, "argv", ["hoops", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                cli.main()
            except SystemExit as end:
                status = end.code or 0
        return Said(int(status), out.getvalue(), err.getvalue())

    @property
    def variables(self) -> dict[str, str]:
        return {"HOOPS_HOME": str(self.home), "HOOPS_NOW": self.now, "HOOPS_MLFLOW_TRACKING_URI": "", "COLUMNS": "200"}

    def add(self, name: str, *files: Path, mapping: str = MAPPING, options: Sequence[str] = ()) -> Said:
        """`hoops leagues add` of a csv league."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "mapping.yaml").write_text(mapping)
        games = [argument for file in files for argument in ("--games", file)]
        how = ("--source", "csv", *games, "--mapping", self.home / "mapping.yaml", *options, "--json")
        return self("leagues", "add", name, *how)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith(("HOOPS_", "DAGSTER_"))]:
            del os.environ[name]
        os.environ.update(variables)
        yield
