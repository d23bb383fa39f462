"""The calendar file is written only when it changes, whole or not at all."""

from __future__ import annotations

import signal
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.calendar import Calendar
from hoops_assets.errors import StoreError
from hoops_assets.store.calendar import calendar_digest, calendar_path, read_calendar, write_calendar
from hoops_assets_tests.workloads.kills import die_at

NEW_YEAR = date(2024, 1, 1)
CALENDAR = Calendar((NEW_YEAR, date(2024, 1, 3)), {2024: (NEW_YEAR, date(2024, 1, 3))})
LATER = Calendar((NEW_YEAR, date(2024, 1, 4)), {2024: (NEW_YEAR, date(2024, 1, 4))})

offsets = st.sets(st.integers(0, 900), min_size=1).map(sorted)
calendars = offsets.map(
    lambda numbers: Calendar(
        tuple(NEW_YEAR + timedelta(days=number) for number in numbers),
        {2024: (NEW_YEAR, NEW_YEAR + timedelta(days=numbers[-1])), 1947: (date(1946, 11, 1), date(1947, 4, 22))},
    )
)


def test_a_league_that_was_never_ingested_has_no_calendar(tmp_path: Path) -> None:
    assert read_calendar(tmp_path, "l") is None
    assert calendar_digest(None) == "none"


@settings(max_examples=30, deadline=None)
@given(calendar=calendars)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, calendar: Calendar) -> None:
    home = tmp_path_factory.mktemp("home")
    assert write_calendar(home, "l", calendar)
    assert read_calendar(home, "l") == calendar


def test_an_unchanged_calendar_is_not_written_again(tmp_path: Path) -> None:
    write_calendar(tmp_path, "l", CALENDAR)
    before = calendar_path(tmp_path, "l").stat()
    assert not write_calendar(tmp_path, "l", CALENDAR)
    after = calendar_path(tmp_path, "l").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_calendar(tmp_path, "l", LATER)
    assert calendar_digest(read_calendar(tmp_path, "l")) == calendar_digest(LATER) != calendar_digest(CALENDAR)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"days": []}', '{"days": ["2024-13-01"], "seasons": {}}', '{"days": [], "seasons": {"x": 1}}'],
)
def test_a_damaged_calendar_says_what_to_do_and_is_written_anew(tmp_path: Path, content: str) -> None:
    path = calendar_path(tmp_path, "l")
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(StoreError, match=f"{path}: not a calendar .*; delete it, the next ingestion writes it anew"):
        read_calendar(tmp_path, "l")
    assert write_calendar(tmp_path, "l", CALENDAR)
    assert read_calendar(tmp_path, "l") == CALENDAR


def write_later(home: Path) -> None:
    write_calendar(home, "l", LATER)


def test_a_kill_leaves_the_old_calendar_or_the_new_one(tmp_path: Path) -> None:
    expected = {"file.before_rename": CALENDAR, "file.after_rename": LATER}
    homes = {place: tmp_path / place for place in expected}
    for home in homes.values():
        write_calendar(home, "l", CALENDAR)
    died = die_at(f"{__name__}:write_later", homes)
    assert died == dict.fromkeys(expected, signal.SIGKILL)
    assert {place: read_calendar(home, "l") for place, home in homes.items()} == expected
