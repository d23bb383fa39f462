"""Posts in JSON lines: fields as declared, windows, refusals, and memory that does not grow with the file."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.errors import SettingsError, SourceError
from hoops_assets.sources.contract import PostsRead
from hoops_assets.sources.json_lines import JsonLines
from hoops_assets.sources.open import check_options, open_posts
from hoops_assets.sources.posts import moment_of
from hoops_assets_tests.sources.leagues import league

FIELDS = {"id": "id", "created_at": "created_utc", "team": "subreddit", "author": "author", "text": "body"}
START = datetime(2020, 1, 1, tzinfo=UTC)
END = datetime(2020, 2, 1, tzinfo=UTC)
MOMENT = 1578000000  # 2020-01-02 21:20 UTC
WHOLE = (datetime(1971, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def post(**more: Any) -> dict[str, Any]:
    good = {"id": "a1", "created_utc": MOMENT, "subreddit": "lakers", "author": "fan", "body": "we won\nagain"}
    return good | more


def source(path: Path, **options: Any) -> JsonLines:
    spec = {"kind": "json_lines", "files": [str(path)], "fields": FIELDS, "teams": {"lakers": "LAL"}, **options}
    return JsonLines(league(posts=spec))


def read(folder: Path, *posts: Any, span: tuple[datetime, datetime] = (START, END), **options: Any) -> PostsRead:
    file = folder / "posts.jsonl"
    file.write_text("\n".join(p if isinstance(p, str) else json.dumps(p) for p in posts) + "\n")
    return source(file, **options).read(*span)


def test_a_line_becomes_a_post_of_typed_columns(tmp_path: Path) -> None:
    found = read(tmp_path, post())
    (row,) = found.posts.itertuples(index=False)
    assert row == (
        "json_lines.a1",
        pd.Timestamp("2020-01-02 21:20", tz="UTC"),
        "LAL",
        "fan",
        "we won\nagain",
        "json_lines",
    )
    assert str(found.posts["created_at"].dtype) == "datetime64[us, UTC]"


def test_the_window_holds_its_start_and_not_its_end(tmp_path: Path) -> None:
    stamps = [START - timedelta(microseconds=1), START, END - timedelta(microseconds=1), END]
    found = read(tmp_path, *(post(id=str(n), created_utc=at.isoformat()) for n, at in enumerate(stamps)))
    assert found.posts["post_id"].tolist() == ["json_lines.1", "json_lines.2"]


def test_two_readings_of_adjoining_windows_are_one_of_both(tmp_path: Path) -> None:
    posts = [post(id=str(n), created_utc=MOMENT + n * 977) for n in range(50)]
    middle = datetime.fromtimestamp(MOMENT + 25 * 977, UTC)
    parts = [read(tmp_path, *posts, span=span).posts for span in ((START, middle), (middle, END))]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), read(tmp_path, *posts).posts)


@pytest.mark.parametrize(
    ("line", "field", "said"),
    [
        ('{"id": "a2", "body": "cut', "line", "not whole JSON"),
        ("[1, 2]", "line", "a list where an object is expected"),
        (json.dumps(post(body=None)), "body", "body is not given"),
        (json.dumps(post(body=7)), "text", "7 is not a text"),
        (json.dumps(post(created_utc="yesterday")), "created_at", "'yesterday' is not a moment"),
        (json.dumps(post(created_utc="2020-01-02T10:00:00")), "created_at", "declare time_zone"),
        (json.dumps(post(created_utc=True)), "created_at", "True is not a moment"),
        (json.dumps(post(created_utc=1e300)), "created_at", "1e+300 is not a moment"),
        (json.dumps(post(subreddit="laker")), "subreddit", "did you mean 'Lakers'"),
    ],
)
def test_a_bad_line_is_refused_with_line_field_and_reason_and_the_good_ones_go_on(
    tmp_path: Path, line: str, field: str, said: str
) -> None:
    found = read(tmp_path, post(), "", line, post(id="a3"))
    assert found.posts["post_id"].tolist() == ["json_lines.a1", "json_lines.a3"]
    (refused,) = found.rejected
    assert (refused.line, refused.field, refused.row) == (3, field, line)
    assert said in refused.reason


def test_a_line_cut_off_at_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_text(json.dumps(post()) + "\n" + json.dumps(post(id="a2"))[:40])
    found = source(file).read(START, END)
    assert (len(found.posts), [row.line for row in found.rejected]) == (1, [2])


def test_declared_fields_that_no_line_has_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"posts\.jsonl: not one of 2 lines can be taken .*text is not given.*fields"):
        read(tmp_path, post(), post(id="a2"), fields=FIELDS | {"text": "text"})


def test_nested_fields_zone_and_aliases(tmp_path: Path) -> None:
    line = {"data": {"at": "2020-01-02T16:20:00", "to": "Boston", "said": "hm"}}
    fields = {"created_at": "data.at", "team": "data.to", "text": "data.said"}
    found = read(tmp_path, line, fields=fields, time_zone="America/New_York")
    assert found.posts["created_at"].tolist() == [pd.Timestamp(MOMENT, unit="s", tz="UTC")]
    assert found.posts["team"].tolist() == ["BOS"]
    assert found.posts["author"].tolist() == [""]
    assert (
        found.posts["post_id"].tolist()
        == read(tmp_path, line, fields=fields, time_zone="America/New_York").posts["post_id"].tolist()
    )


def test_an_earlier_name_means_its_team_of_the_season(tmp_path: Path) -> None:
    assert read(tmp_path, post(subreddit="NOK")).posts["team"].tolist() == ["NOP"]


def test_a_post_twice_counts_once_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    found = read(tmp_path, post(), post(), post(id="a2", body="[deleted]"), post(id="a3", body="[removed]"))
    assert len(found.posts) == 1
    assert found.notes == [
        "json_lines: 1 posts stand in another place as well: left out",
        "json_lines: 2 posts were deleted or removed: left out",
    ]


def test_posts_of_no_team_can_be_skipped_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, post(), post(id="a2", subreddit="nba"), unknown_team="skip")
    assert (len(found.posts), found.rejected) == (1, [])
    assert found.notes == ["json_lines: 1 posts are of no team of the league: left out"]


def test_gzip_is_read_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl.gz"
    packed = gzip.compress((json.dumps(post()) + "\n").encode() * 3)
    file.write_bytes(packed)
    assert len(source(file).read(START, END).posts) == 1
    file.write_bytes(packed[:-9])
    with pytest.raises(SourceError, match=r"posts\.jsonl\.gz, line \d+: cannot be read on"):
        source(file).read(START, END)


def test_a_team_that_the_league_does_not_have_is_named() -> None:
    spec = {"kind": "json_lines", "files": ["x"], "fields": FIELDS, "teams": {"lakers": "LAK"}}
    with pytest.raises(SettingsError, match="names LAK"):
        open_posts(league(posts=spec))


def test_options_are_checked_by_name() -> None:
    spec = {"kind": "json_lines", "files": ["x"], "fields": FIELDS | {"texxt": "body"}}
    with pytest.raises(SettingsError, match=r"unknown field sources\.posts\.fields\.texxt \(did you mean 'text'\?\)"):
        check_options(
            league({"kind": "csv", "files": ["x"], "columns": {"date": "d", "home": "h", "away": "a"}}, posts=spec),
            "nba.yaml",
        )


@given(st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1)))
def test_a_moment_is_the_same_however_it_is_written(naive: datetime) -> None:
    moment = naive.replace(microsecond=naive.microsecond // 1000 * 1000, tzinfo=UTC)
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    written = [moment.isoformat(), moment.isoformat().replace("+00:00", "Z"), milliseconds / 1000]
    if milliseconds >= 1e11:
        written += [milliseconds, str(milliseconds)]
    assert {moment_of(value, None) for value in written} == {moment}


def test_a_stream_needs_memory_for_a_batch_and_not_for_the_file(tmp_path: Path) -> None:
    """Ten times the limit goes through: 40 MB of posts in less than 4 MB."""
    limit = 4 * 2**20
    file = tmp_path / "posts.jsonl.gz"
    text = "go " * 1000
    with gzip.open(file, "wt", compresslevel=1) as out:
        for n in range(14_000):
            out.write(json.dumps(post(id=f"a{n}", created_utc=MOMENT + n, body=f"{n} {text}")) + "\n")
    tracemalloc.start()
    count = size = 0
    for part in source(file).stream(*WHOLE, batch=100):
        count += len(part.posts)
        size += sum(map(len, part.posts["text"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 14_000
    assert size > 10 * limit
    assert peak < limit
