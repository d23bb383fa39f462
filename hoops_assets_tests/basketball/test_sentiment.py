"""Fan sentiment: as of tip-off, bounded per author, and the same to the last bit whatever else is in the batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.sentiment import (
    SENTIMENT,
    post_days,
    posts_of_days,
    team_sentiment,
    vader_scorer,
)

ZONE = ZoneInfo("America/New_York")
TIP_OFF = pd.Timestamp("2026-01-10 19:00", tz=ZONE).tz_convert("UTC")
TEAMS = ("ALD", "BRK", "CAP", "DUN")


def number_scorer(texts: Sequence[str]) -> np.ndarray:
    """Reads the score from the text itself."""
    return np.array([float(text.split()[0]) for text in texts])


def posts(*rows: tuple[float, str, str | None, str]) -> pd.DataFrame:
    """Posts of (hours relative to TIP_OFF, team, author, text)."""
    frame = pd.DataFrame(rows, columns=["hours", "team", "author", "text"])
    created = TIP_OFF + pd.to_timedelta(frame["hours"].astype("float64"), unit="h")
    return pd.DataFrame(
        {
            "post_id": [str(number) for number in range(len(frame))],
            "created_at": pd.Series(created, dtype="datetime64[ns, UTC]").astype("datetime64[us, UTC]"),
            "team": frame["team"].astype("object"),
            "author": frame["author"].astype("object"),
            "text": frame["text"].astype("object"),
            "source": "test",
        }
    )


def fixtures(*rows: tuple[str, float | None, str, str]) -> pd.DataFrame:
    """Fixtures of (game_id, hours of the tip-off after TIP_OFF or None for unknown, home, away)."""
    tip_off = [pd.NaT if hours is None else TIP_OFF + pd.Timedelta(hours=hours) for _, hours, _, _ in rows]
    frame = pd.DataFrame(
        {
            "game_id": [row[0] for row in rows],
            "season": np.full(len(rows), 2026, dtype="int32"),
            "tip_off": pd.Series(tip_off, dtype="datetime64[ns, UTC]").astype("datetime64[us, UTC]"),
            "home": [row[2] for row in rows],
            "away": [row[3] for row in rows],
            "neutral": False,
            "stage": "regular",
        }
    )
    known = frame["tip_off"].fillna(TIP_OFF)
    return frame.assign(day=known.dt.tz_convert(ZONE).dt.date)


def one(found: pd.DataFrame, team: str = "ALD") -> pd.Series:
    rows = found[found["team"] == team]
    assert len(rows) == 1
    return rows.iloc[0]


GAME = fixtures(("g", 0.0, "ALD", "BRK"))


def test_a_row_has_the_figures_of_its_teams_authors() -> None:
    written = posts(
        (-1, "ALD", "ann", "0.5 good"),
        (-2, "ALD", "ann", "0.1 fine"),
        (-3, "ALD", "bob", "-0.9 bad"),
        (-3, "BRK", "cem", "0.02 meh"),
    )
    found = team_sentiment(written, GAME, number_scorer, ZONE)
    assert found.dtypes.astype(str).to_dict() == SENTIMENT
    assert found[["game_id", "team"]].to_numpy().tolist() == [["g", "ALD"], ["g", "BRK"]]
    home, away = one(found), one(found, "BRK")
    assert (home["posts"], home["authors"]) == (3, 2)
    assert home["mean_score"] == pytest.approx(-0.3)
    assert home["score_spread"] == pytest.approx(0.6)
    assert (home["share_positive"], home["share_negative"]) == (0.5, 0.5)
    assert (away["posts"], away["mean_score"], away["share_positive"], away["share_negative"]) == (1, 0.02, 0, 0)


def test_a_team_nobody_wrote_about_has_a_row_of_no_posts_and_null_figures() -> None:
    found = team_sentiment(posts(), GAME, number_scorer, ZONE)
    assert found.dtypes.astype(str).to_dict() == SENTIMENT
    assert found["posts"].tolist() == found["authors"].tolist() == [0, 0]
    assert found[["mean_score", "score_spread", "share_positive", "share_negative"]].isna().all(axis=None)
    assert team_sentiment(posts(), GAME.iloc[:0], number_scorer, ZONE).dtypes.astype(str).to_dict() == SENTIMENT


@pytest.mark.parametrize(("hours", "counts"), [(-72.001, 0), (-72, 1), (-1e-6, 1), (0, 0), (1, 0)])
def test_the_window_holds_its_first_moment_but_not_tip_off(hours: float, counts: int) -> None:
    assert one(team_sentiment(posts((hours, "ALD", "ann", "1")), GAME, number_scorer, ZONE))["posts"] == counts


def test_the_window_can_be_shorter() -> None:
    written = posts((-30, "ALD", "ann", "1"), (-5, "ALD", "bob", "1"))
    assert one(team_sentiment(written, GAME, number_scorer, ZONE, window_hours=24))["posts"] == 1


def test_without_a_tip_off_time_posts_count_until_noon_in_league_time() -> None:
    game = fixtures(("g", None, "ALD", "BRK"))
    assert game["day"].tolist() == [date(2026, 1, 10)]
    written = posts((-7 - 1 / 60, "ALD", "ann", "1"), (-7, "ALD", "bob", "1"))
    assert one(team_sentiment(written, game, number_scorer, ZONE))["posts"] == 1


def test_a_post_counts_for_every_game_of_its_team_whose_window_holds_it() -> None:
    games = fixtures(("g1", 0.0, "ALD", "BRK"), ("g2", 24.0, "CAP", "ALD"))
    found = team_sentiment(posts((-1, "ALD", "ann", "1"), (1, "ALD", "bob", "-1")), games, number_scorer, ZONE)
    counts = {game: count for game, team, count in found[["game_id", "team", "posts"]].to_numpy() if team == "ALD"}
    assert counts == {"g1": 1, "g2": 2}


def test_equal_texts_of_an_author_count_once_and_of_two_authors_twice() -> None:
    written = posts(*[(-h, "ALD", "bot", "-1 buy") for h in range(1, 9)], (-1, "ALD", "ann", "-1 buy"))
    found = one(team_sentiment(written, GAME, number_scorer, ZONE))
    assert (found["posts"], found["authors"]) == (2, 2)


def test_posts_without_author_count_as_one_author() -> None:
    written = posts((-1, "ALD", None, "1 a"), (-2, "ALD", None, "0 b"), (-3, "ALD", "ann", "-1 c"))
    found = one(team_sentiment(written, GAME, number_scorer, ZONE))
    assert (found["authors"], found["mean_score"]) == (2, -0.25)


SCORES = st.integers(-100, 100).map(lambda hundredth: f"{hundredth / 100} {hundredth % 7}")
ROWS = st.tuples(st.integers(-500, 300).map(lambda n: n / 5), st.sampled_from(TEAMS), st.sampled_from("abcdef"), SCORES)
GAMES = fixtures(
    ("g1", 0.0, "ALD", "BRK"), ("g2", 0.0, "CAP", "DUN"), ("g3", 22.0, "BRK", "CAP"), ("g4", 48.0, "DUN", "ALD")
)


@settings(max_examples=50, deadline=None)
@given(st.lists(ROWS, max_size=40), st.lists(ROWS, max_size=40), st.randoms(use_true_random=False))
def test_posts_at_or_after_tip_off_change_nothing_of_a_game(before: list, after: list, random) -> None:
    for game in GAMES.itertuples():
        tip_off = (game.tip_off - TIP_OFF) / pd.Timedelta(hours=1)
        known = [row for row in before if row[0] < tip_off]
        future = [(abs(hours) + tip_off, *rest) for hours, *rest in after]
        mixed = known + future
        random.shuffle(mixed)
        own = GAMES[GAMES["game_id"] == game.game_id]
        expected = team_sentiment(posts(*known), own, number_scorer, ZONE)
        found = team_sentiment(posts(*mixed), GAMES, number_scorer, ZONE)
        found = found[found["game_id"] == game.game_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_the_order_of_posts_of_the_same_moment_changes_no_digit() -> None:
    random = np.random.default_rng(3)
    rows = [
        (-float(random.integers(1, 4)), team, f"fan {random.integers(80)}", f"{random.uniform(-1, 1)}")
        for team in ("ALD", "BRK")
        for _ in range(400)
    ]
    expected = team_sentiment(posts(*rows), GAME, number_scorer, ZONE)
    for _ in range(5):
        shuffled = [rows[i] for i in random.permutation(len(rows))]
        found = team_sentiment(posts(*shuffled), GAME, number_scorer, ZONE)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(ROWS, max_size=40), st.lists(SCORES, max_size=40), st.sampled_from("abcdef"))
def test_one_author_moves_the_mean_by_at_most_two_over_authors(written: list, flood: list, author: str) -> None:
    others = [(hours, team, name, text) for hours, team, name, text in written if name != author]
    loud = [(-1.0, "ALD", author, text) for text in flood]
    plain = one(team_sentiment(posts(*written, (-1.0, "ALD", author, "0")), GAME, number_scorer, ZONE))
    flooded = one(team_sentiment(posts(*others, *loud, (-1.0, "ALD", author, "0")), GAME, number_scorer, ZONE))
    assert flooded["authors"] == plain["authors"]
    assert abs(flooded["mean_score"] - plain["mean_score"]) <= 2 / flooded["authors"] + 1e-12


@settings(max_examples=50, deadline=None)
@given(st.lists(ROWS, max_size=40))
def test_the_figures_are_those_of_a_plain_loop(written: list) -> None:
    frame = posts(*written)
    for row in team_sentiment(frame, GAMES, number_scorer, ZONE).itertuples():
        tip_off = GAMES.loc[GAMES["game_id"] == row.game_id, "tip_off"].iloc[0]
        window = (frame["created_at"] >= tip_off - pd.Timedelta(hours=72)) & (frame["created_at"] < tip_off)
        mine = frame[window & (frame["team"] == row.team)].drop_duplicates(["author", "text"])
        assert row.posts == len(mine)
        by_author = (
            pd.Series(number_scorer(mine["text"].tolist()), dtype="float64").groupby(mine["author"].to_numpy()).mean()
        )
        assert row.authors == len(by_author)
        if len(by_author):
            assert row.mean_score == pytest.approx(by_author.mean())
            assert row.score_spread == pytest.approx(by_author.std(ddof=0))
            assert row.share_positive == pytest.approx((by_author >= 0.05).mean())
            assert row.share_negative == pytest.approx((by_author <= -0.05).mean())


@pytest.mark.parametrize("scores", [[2.0], [float("nan")], [0.1, 0.2], [[0.1]]])
def test_a_scorer_that_breaks_its_promise_is_refused(scores: list) -> None:
    with pytest.raises(ValueError, match="the scorer gave"):
        team_sentiment(posts((-1, "ALD", "ann", "x")), GAME, lambda _: np.array(scores), ZONE)


def test_vader_scores_words_emoji_and_nothing() -> None:
    glad, sour, emoji, nothing = vader_scorer()(["I love this team", "this is awful", "😍", ""])
    assert glad > 0.3
    assert sour < -0.3
    assert emoji > 0.3
    assert nothing == 0


def test_the_scorer_sees_each_distinct_text_of_a_window_once() -> None:
    asked: list[str] = []

    def scorer(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.zeros(len(texts))

    written = posts(
        (-1, "ALD", "ann", "x"), (-1, "BRK", "bob", "x"), (5, "ALD", "ann", "late"), (-1, "DUN", "ann", "other")
    )
    team_sentiment(written, GAME, scorer, ZONE)
    assert asked == ["x"]


def test_a_post_belongs_to_the_next_game_day_in_league_time() -> None:
    days = [date(2026, 1, 10), date(2026, 1, 13)]
    stamps = {
        "2025-12-01 12:00": days[0],
        "2026-01-10 23:59": days[0],
        "2026-01-11 00:00": days[1],
        "2026-01-13 23:59": days[1],
        "2026-01-14 00:00": None,
    }
    created = pd.Series(pd.to_datetime(list(stamps)), index=list("abcde")).dt.tz_localize(ZONE).dt.tz_convert("UTC")
    found = post_days(created, [days[1], days[0], days[1]], ZONE)
    assert found.tolist() == list(stamps.values())
    assert list(found.index) == list("abcde")
    assert post_days(created, [], ZONE).tolist() == [None] * 5


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.dates(date(2026, 3, 1), date(2026, 4, 15)), max_size=12, unique=True),
    st.lists(st.datetimes(pd.Timestamp("2026-02-20"), pd.Timestamp("2026-04-30")), max_size=30),
    st.sampled_from(["America/New_York", "Pacific/Auckland"]),
)
def test_game_days_are_those_of_a_plain_search(days: list, stamps: list, zone: str) -> None:
    created = pd.Series(pd.to_datetime(stamps, utc=True), dtype="datetime64[us, UTC]")
    local = [stamp.astimezone(ZoneInfo(zone)).date() for stamp in created]
    expected = [min((day for day in days if day >= when), default=None) for when in local]
    assert post_days(created, days, ZoneInfo(zone)).tolist() == expected


def test_posts_of_days_carry_their_day_and_leave_later_ones_out() -> None:
    written = posts((-60, "ALD", "ann", "1"), (-1, "ALD", "bob", "1"), (30, "ALD", "cem", "1"))
    found = posts_of_days(written, [date(2026, 1, 9), date(2026, 1, 10)], ZONE)
    assert found["author"].tolist() == ["ann", "bob"]
    assert found["day"].tolist() == [date(2026, 1, 9), date(2026, 1, 10)]


def test_a_season_of_a_quarter_million_posts_takes_about_a_second() -> None:
    random = np.random.default_rng(0)
    teams = np.array([f"T{number:02d}" for number in range(30)])
    start, games, count = pd.Timestamp("2025-10-20 23:00", tz="UTC"), 1230, 250_000
    pairs = np.array([random.choice(30, 2, replace=False) for _ in range(games)])
    tip_off = pd.Series(start + pd.to_timedelta(random.integers(0, 170, games), unit="D")).astype("datetime64[us, UTC]")
    season = pd.DataFrame(
        {
            "game_id": [f"g{number}" for number in range(games)],
            "season": np.int32(2026),
            "day": tip_off.dt.tz_convert(ZONE).dt.date,
            "tip_off": tip_off,
            "home": teams[pairs[:, 0]],
            "away": teams[pairs[:, 1]],
        }
    )
    seconds = pd.to_timedelta(random.integers(0, 170 * 86_400, count), unit="s")
    written = pd.DataFrame(
        {
            "created_at": pd.Series(start + seconds).astype("datetime64[us, UTC]"),
            "team": random.choice(teams, count),
            "author": [f"fan {number}" for number in random.integers(0, 20_000, count)],
            "text": [f"text {number}" for number in random.integers(0, 200_000, count)],
        }
    )
    times = []
    for _ in range(3):
        began = time.process_time()
        found = team_sentiment(written, season, lambda texts: np.zeros(len(texts)), ZONE)
        times.append(time.process_time() - began)
    assert len(found) == 2 * games
    assert found["posts"].sum() > count / 2
    assert min(times) < 2, timedelta(seconds=min(times))
