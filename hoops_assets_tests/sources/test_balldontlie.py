"""balldontlie's games: pages, days and tip-offs, what is not a result, and what a changed answer does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hoops_assets.basketball.league import League
from hoops_assets.errors import SourceError
from hoops_assets.sources.balldontlie import BallDontLie
from hoops_assets.sources.contract import GamesRead
from hoops_assets.sources.http import Cache, Client, Clock, TokenBucket
from hoops_assets.sources.open import check_options
from hoops_assets_tests.sources.loopback import Answer, FakeClock, Provider, Request, provider

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
NAMES = {"BOS": "Celtics", "LAL": "Lakers", "NYK": "Knicks", "DEN": "Nuggets"}


def team(code: str) -> dict[str, Any]:
    return {
        "id": sorted(NAMES).index(code) + 1,
        "conference": "East",
        "division": "Atlantic",
        "city": "Boston",
        "name": NAMES.get(code, code),
        "full_name": f"Boston {NAMES.get(code, code)}",
        "abbreviation": code,
    }


def game(number: int, day: str, home: str = "BOS", visitor: str = "LAL", **more: Any) -> dict[str, Any]:
    """An NBAGame as openapi/nba.yml of balldontlie-api/mcp describes it."""
    return {
        "id": number,
        "date": day,
        "season": 2024,
        "status": "Final",
        "period": 4,
        "time": "Final",
        "period_detail": "Final",
        "datetime": None,
        "postseason": False,
        "home_team_score": 115,
        "visitor_team_score": 105,
        "home_team": team(home),
        "visitor_team": team(visitor),
        "ist_stage": None,
        **more,
    }


def page(*games: Any, following: int | None = None) -> dict[str, Any]:
    meta: dict[str, Any] = {"per_page": 100}
    return {"data": list(games), "meta": meta if following is None else {**meta, "next_cursor": following}}


def league(there: Provider, zone: str = "America/New_York", **options: Any) -> League:
    return League.model_validate(
        {
            "name": "nba",
            "time_zone": zone,
            "first_season": 2025,
            "season_starts": "10-14",
            "sources": {"games": {"kind": "balldontlie", "base_url": there.url, **options}},
            "teams": {code: {"name": name} for code, name in NAMES.items()},
        }
    )


def read(answer: Callable[[Request], Answer], cache: Path | None = None, **options: Any) -> GamesRead:
    with provider(answer) as there:
        return source(there, cache, **options).read(NOW)


def source(there: Provider, cache: Path | None = None, clock: FakeClock | None = None, **options: Any) -> BallDontLie:
    clock = clock or FakeClock()
    times = Clock(clock.now, clock.sleep)
    client = Client("balldontlie", 6000, Cache(cache) if cache else None, clock=times)
    client.bucket = TokenBucket(6000, 1000, times)
    client.headers = {"Authorization": "key"}
    return BallDontLie(league(there, **options), client)


def of(*games: Any) -> Callable[[Request], Answer]:
    return lambda request: Answer(page(*games))


def test_a_record_becomes_a_game_of_typed_columns() -> None:
    found = read(of(game(1, "2025-01-05", datetime="2025-01-06T00:30:00.000Z")))
    assert not found.rejected
    row = found.games.iloc[0]
    assert (row.game_id, row.season, row.day) == ("2025-01-05.BOS.LAL", 2025, date(2025, 1, 5))
    assert (row.home_score, row.away_score, row.stage, row.neutral) == (115, 105, "regular", False)
    assert row.tip_off == pd.Timestamp("2025-01-06T00:30Z")


def test_the_season_is_asked_for_by_its_first_year_and_every_page_is_read() -> None:
    pages = {
        None: page(game(1, "2025-01-05"), following=77),
        "77": page(game(2, "2025-01-07"), following=99),
        "99": page(),
    }

    def answer(request: Request) -> Answer:
        assert request.path == "/nba/v1/games"
        assert request.query["seasons[]"] == ["2024"]
        assert request.query["per_page"] == ["100"]
        return Answer(pages[request.query.get("cursor", [None])[0]])

    assert len(read(answer).games) == 2


def test_every_season_since_the_first_is_asked_for() -> None:
    def answer(request: Request) -> Answer:
        start = int(request.query["seasons[]"][0])
        return Answer(page(game(start, f"{start}-12-25", season=start)))

    assert read(answer, since=2021).games["season"].tolist() == [2021, 2022, 2023, 2024, 2025]


def test_a_scheduled_game_has_its_moment_in_status_and_midnight_utc_in_date() -> None:
    """The form of a recorded answer of 2024: the day stays the day, though midnight UTC is the evening before in zone."""
    scheduled = game(
        1,
        "2025-04-04T00:00:00.000Z",
        status="2025-04-04T23:30:00Z",
        period=0,
        time=None,
        home_team_score=0,
        visitor_team_score=0,
    )
    games = read(of(scheduled)).games
    assert games["day"].tolist() == [date(2025, 4, 4)]
    assert games["tip_off"].tolist() == [pd.Timestamp("2025-04-04T23:30Z")]
    assert games["home_score"].isna().all()


@pytest.mark.parametrize(
    ("zone", "day", "moment", "kept"),
    [
        ("America/New_York", "2025-01-05", "2025-01-06T03:30:00Z", True),
        ("America/New_York", "2025-01-05", "2025-01-05T00:00:00Z", False),
        ("Asia/Manila", "2025-01-06", "2025-01-05T16:30:00Z", True),
        ("Asia/Manila", "2025-01-05", "2025-01-05T16:30:00Z", False),
    ],
)
def test_midnight_elsewhere_moves_no_game_and_a_tip_off_on_another_day_is_dropped_and_said(
    zone: str, day: str, moment: str, kept: bool
) -> None:
    found = read(of(game(1, day, datetime=moment)), zone=zone)
    assert found.games["day"].tolist() == [date.fromisoformat(day)]
    assert found.games["tip_off"].notna().tolist() == [kept]
    assert any("tip-off that is not on their day" in note for note in found.notes) is not kept


@pytest.mark.parametrize("status", ["1st Qtr", "Halftime", "3rd Qtr", "7:30 pm ET", None])
def test_a_game_that_is_on_has_no_result_yet(status: str | None) -> None:
    games = read(of(game(1, "2025-01-05", status=status))).games
    assert games["home_score"].isna().all()


@pytest.mark.parametrize(
    "off",
    [{"status": "Postponed"}, {"status": "Cancelled"}, {"status": "Canceled"}, {"status": None, "postponed": True}],
)
def test_a_game_called_off_is_gone_until_it_has_a_day(off: dict[str, Any]) -> None:
    found = read(of(game(1, "2025-01-05", **off), game(2, "2025-02-05")))
    assert found.games["day"].tolist() == [date(2025, 2, 5)]
    assert "1 games are postponed or cancelled" in found.notes[0]


def test_a_game_once_postponed_and_then_played_counts() -> None:
    assert read(of(game(1, "2025-01-05", postponed=True))).games["home_score"].tolist() == [115]


def test_overtime_is_final_and_the_play_offs_are_a_stage() -> None:
    games = read(of(game(1, "2025-01-05", status="Final/OT", postseason=True))).games
    assert (games["stage"].iat[0], games["home_score"].iat[0]) == ("post-season", 115)


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"home_team": team("BOS") | {"abbreviation": "BSO"}}, "home_team", "did you mean 'BOS'"),
        ({"home_team": None}, "home_team", "the team is not given"),
        ({"visitor_team": team("BOS")}, "visitor_team", "BOS cannot play itself"),
        ({"date": "05.01.2025"}, "date", "'05.01.2025' is not a date"),
        ({"date": None}, "date", "the date is not given"),
        ({"season": 2019}, "season", "2019 in an answer for 2024"),
        ({"home_team_score": None}, "home_team_score", "only one side has a score"),
        ({"home_team_score": 0, "visitor_team_score": 0}, "home_team_score/visitor_team_score", "0-0 is not a result"),
        ({"home_team_score": 105}, "home_team_score/visitor_team_score", "is a tie"),
        ({"home_team_score": "many"}, "home_team_score", "'many' is not a whole number"),
        ({"postseason": "perhaps"}, "postseason", "neither true nor false"),
    ],
)
def test_a_bad_record_is_refused_with_field_and_reason_and_the_good_ones_go_on(
    change: dict[str, Any], field: str, said: str
) -> None:
    found = read(of(game(1, "2025-01-05"), game(2, "2025-01-06") | change, game(3, "2025-01-07")))
    assert found.games["day"].tolist() == [date(2025, 1, 5), date(2025, 1, 7)]
    (refused,) = found.rejected
    assert (refused.line, refused.field) == (2, field)
    assert said in refused.reason
    assert '"id": 2' in refused.row


def test_a_record_that_is_none_and_a_game_stated_twice_are_refused() -> None:
    found = read(of(game(1, "2025-01-05"), "no game", game(9, "2025-01-05")))
    assert len(found.games) == 1
    assert sorted(row.reason.split(":")[0] for row in found.rejected) == [
        "a str where a record is expected",
        "duplicate",
    ]


def test_a_record_on_two_pages_counts_as_it_was_last() -> None:
    pages = {None: page(game(1, "2025-01-05", status="Halftime"), following=1), "1": page(game(1, "2025-01-05"))}
    games = read(lambda request: Answer(pages[request.query.get("cursor", [None])[0]])).games
    assert games["home_score"].tolist() == [115]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"games": []}, "has no list `data`"),
        ([], "has no list `data`"),
        (page({"id": 1, "day": "2025-01-05"}, {"id": 2}), "all 2 games are refused for season"),
        (page(game(1, "2025-01-05") | {"home_team": {"code": "BOS"}}), "all 1 games are refused for home_team"),
    ],
)
def test_a_changed_shape_is_an_error_and_never_an_empty_season(body: Any, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read(lambda _: Answer(body))


def test_an_empty_season_is_empty() -> None:
    found = read(of())
    assert found.games.empty
    assert str(found.games["day"].dtype) == "object"
    assert str(found.games["season"].dtype) == "int32"


def test_a_cursor_that_runs_in_a_circle_ends() -> None:
    with pytest.raises(SourceError, match="the cursor 5 came twice"):
        read(lambda _: Answer(page(game(1, "2025-01-05"), following=5)))


def test_a_fetch_that_broke_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pages = {None: page(game(1, "2025-01-05"), following=1), "1": page(game(2, "2025-01-06"), following=2)}
    broken = [True]

    def answer(request: Request) -> Answer:
        cursor = request.query.get("cursor", [None])[0]
        if cursor == "2":
            return Answer(status=500) if broken else Answer(page(game(3, "2025-01-07")))
        return Answer(pages[cursor])

    with provider(answer) as there:
        with pytest.raises(SourceError, match="cursor=2: status 500 after 5 attempts; run it again later"):
            source(there, tmp_path).read(NOW)
        broken.clear()
        asked = len(there.requests)
        assert len(source(there, tmp_path).read(NOW).games) == 3
        assert [request.query["cursor"] for request in there.requests[asked:]] == [["2"]]


def test_a_running_season_is_asked_for_again_and_a_past_one_rests(tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        start = int(request.query["seasons[]"][0])
        return Answer(page(game(start, f"{start}-12-25", season=start)))

    clock = FakeClock()
    with provider(answer) as there:
        source(there, tmp_path, clock, since=2024).read(NOW)
        clock.at += 3600
        source(there, tmp_path, clock, since=2024).read(NOW)
        assert [request.query["seasons[]"] for request in there.requests] == [["2023"], ["2024"], ["2024"]]


def test_the_key_comes_from_the_environment_and_is_named_when_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOOPS_HOME", str(tmp_path))
    with provider(of(game(1, "2025-01-05"))) as there:
        tested = league(there, api_key_env="TESTED_KEY", requests_per_minute=6000)
        monkeypatch.delenv("TESTED_KEY", raising=False)
        with pytest.raises(SourceError, match=r"TESTED_KEY .*league nba"):
            BallDontLie(tested).read(NOW)
        monkeypatch.setenv("TESTED_KEY", "k-1")
        assert len(BallDontLie(tested).read(NOW).games) == 1
        assert there.requests[0].headers["authorization"] == "k-1"
    kept = list((tmp_path / "cache" / "nba" / "balldontlie").iterdir())
    assert len(kept) == 1


def test_options_are_checked_by_name() -> None:
    with provider(of()) as there:
        check_options(league(there), "nba.yaml")
        with pytest.raises(Exception, match=r"sources\.games\.base_url: use an https"):
            check_options(league(there, base_url="http://api.example.org"), "nba.yaml")
