"""Fan sentiment: as of tip-off, bounded per author, and the same to the last bit whatever else is in the batch."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.sentiment import (
    FAN_SENTIMENT,
    SENTIMENT,
    STEADYING_VOTES,
    USUAL_DAYS,
    fan_sentiment,
    post_days,
    posts_of_days,
    team_sentiment,
    vader_scorer,
    with_usual,
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


LONG = "this front office has no idea what it is doing"


def test_texts_of_an_author_that_hardly_differ_are_one_text_with_its_weakest_score() -> None:
    scores = {"trash team": -0.5, "TRASH TEAM!!!": -0.9, "trash team 7 @nba": -0.6, "good win": 0.8}
    written = posts(*[(-1 - n, "ALD", "bot", text) for n, text in enumerate(scores)], (-1, "ALD", "ann", "so so"))
    found = one(team_sentiment(written, GAME, lambda texts: np.array([scores.get(t, 0) for t in texts]), ZONE))
    assert (found["volume"], found["posts"], found["authors"]) == (5, 3, 2)
    assert found["mean_score"] == pytest.approx(((-0.5 + 0.8) / 2 + 0) / 2)


def test_a_long_text_from_many_accounts_counts_once_and_a_chant_counts_for_each() -> None:
    def scorer(texts: Sequence[str]) -> np.ndarray:
        return np.array([-0.8 if "office" in text.lower() else 0.4 for text in texts])

    fans = [(-1.0, "ALD", f"fan {n}", "let's go") for n in range(10)]
    bots = [(-1.0, "ALD", f"bot {n}", f"{LONG.upper()} https://a.example/{n}") for n in range(500)]
    found = one(team_sentiment(posts(*fans, *bots), GAME, scorer, ZONE))
    assert (found["volume"], found["posts"], found["authors"], found["votes"]) == (510, 11, 11, 11)
    assert found["mean_score"] == pytest.approx((10 * 0.4 - 0.8) / 11)
    assert found["share_negative"] == pytest.approx(1 / 11)


def test_who_copies_many_texts_takes_none_of_their_writers_votes() -> None:
    fans = [(-1.0, "ALD", f"fan {n}", f"{n / 100} {'abcdefghij'[n] * 2}x {LONG}") for n in range(10)]
    copier = [(-0.5, "ALD", "copier", text) for _, _, _, text in fans]
    plain = one(team_sentiment(posts(*fans), GAME, number_scorer, ZONE))
    copied = one(team_sentiment(posts(*fans, *copier), GAME, number_scorer, ZONE))
    assert copied["mean_score"] == plain["mean_score"]
    assert (copied["authors"], copied["posts"]) == (10, 10)


WORDS = st.sampled_from(
    [f"{word * 9} {word * 3} {'xyz'[n % 3] * 20}{word}" for n, word in enumerate(("ab", "cd", "ef", "gh", "kl"))]
)
TALK = st.tuples(st.integers(-100, 100), st.one_of(WORDS, st.sampled_from(("hi", "ho", "hu")))).map(
    lambda parts: f"{parts[0] / 100} {parts[1]}"
)
CROWD = st.lists(st.tuples(st.sampled_from("abcdefgh"), TALK), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(CROWD, st.lists(TALK, max_size=12), st.lists(TALK, max_size=12))
def test_no_author_moves_a_team_by_more_than_the_stated_bound_even_by_copying(crowd, one_way, other_way) -> None:
    others = [(-1.0, "ALD", author, text) for author, text in crowd]

    def mean_with(texts: list[str]) -> tuple[float, float]:
        written = posts(*others, *[(-1.0, "ALD", "loud", text) for text in texts])
        row = one(team_sentiment(written, GAME, number_scorer, ZONE))
        return row["mean_score"], row["votes"]

    (alone, _), (first, votes) = mean_with([]), mean_with(one_way)
    assert abs(first - alone) <= 4 / votes + 1e-12
    second, more_votes = mean_with(other_way)
    assert abs(second - first) <= 4 / votes + 4 / more_votes + 1e-12


def test_what_cannot_be_scored_is_counted_and_moves_nothing() -> None:
    said = posts((-1, "ALD", "ann", "0.5 good"))
    noise = [
        "",
        "  ",
        "[deleted]",
        "[removed]",
        "https://a.example",
        "Das ist nicht gut und der ist schlecht",
        "最高の試合",
    ]
    written = pd.concat([said, posts(*[(-2, "ALD", f"x{n}", text) for n, text in enumerate(noise)])], ignore_index=True)
    asked: list[str] = []

    def scorer(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return number_scorer(texts)

    found = one(team_sentiment(written, GAME, scorer, ZONE))
    assert (found["volume"], found["unscorable"], found["posts"], found["authors"]) == (8, 7, 1, 1)
    assert found["mean_score"] == 0.5
    assert asked == ["0.5 good"]
    only_noise = one(team_sentiment(written.iloc[1:], GAME, scorer, ZONE))
    assert (only_noise["unscorable"], only_noise["posts"]) == (7, 0)
    assert np.isnan(only_noise["mean_score"])


def test_removed_authors_are_one_author() -> None:
    written = posts(*[(-1, "ALD", name, f"-1 {word}") for name, word in ((None, "a"), ("[deleted]", "b"), ("", "c"))])
    assert one(team_sentiment(written, GAME, number_scorer, ZONE))["authors"] == 1


def test_a_sampled_post_counts_in_the_volume_by_its_weight() -> None:
    written = posts((-1, "ALD", "ann", "1 a"), (-1, "ALD", "bob", "-1 b"), (1, "ALD", "bob", "-1 late"))
    found = one(team_sentiment(written.assign(weight=[1.0, 4.0, 4.0]), GAME, number_scorer, ZONE))
    assert (found["volume"], found["posts"], found["mean_score"]) == (5, 2, 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(ROWS, max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_posts_in_pieces_give_the_figures_of_the_whole_to_the_last_bit(written: list, cuts: list) -> None:
    frame = posts(*written)
    bounds = [0, *sorted(min(cut, len(frame)) for cut in cuts), len(frame)]
    pieces = (frame.iloc[first:stop] for first, stop in pairwise(bounds))
    whole = team_sentiment(frame, GAMES, number_scorer, ZONE)
    pd.testing.assert_frame_equal(team_sentiment(pieces, GAMES, number_scorer, ZONE), whole, check_exact=True)


def test_gathering_voices_early_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    frame = posts(*[(-float(h), "ALD", f"fan {h % 9}", f"{random.uniform(-1, 1)} {'ab' * (h % 4)}") for h in range(70)])
    pieces = [frame.iloc[first : first + 5] for first in range(0, 70, 5)]
    expected = team_sentiment(frame, GAME, number_scorer, ZONE)
    monkeypatch.setattr("hoops_assets.basketball.sentiment._KEPT_VOICES", 8)
    pd.testing.assert_frame_equal(team_sentiment(pieces, GAME, number_scorer, ZONE), expected, check_exact=True)


def rows_of(*rows: tuple[int, str, float, float]) -> pd.DataFrame:
    """Rows of SENTIMENT of (days after 1 January 2026, team, votes, mean score)."""
    first = date(2026, 1, 1)
    frame = pd.DataFrame(rows, columns=["day", "team", "votes", "mean_score"])
    frame["game_id"] = [f"g{number:03d}" for number in range(len(frame))]
    frame["day"] = [first + timedelta(days=day) for day in frame["day"]]
    return frame.assign(**{name: 0 for name in SENTIMENT if name not in frame}).astype(SENTIMENT)[list(SENTIMENT)]


def test_the_usual_is_that_of_the_teams_own_earlier_games_of_the_last_days() -> None:
    found = with_usual(
        rows_of(
            (0, "ALD", 9, 1.0),  # too old for the last one
            (5, "ALD", 9, 0.5),
            (5, "BRK", 9, -1.0),
            (6, "ALD", 0, np.nan),
            (7, "ALD", 27, -0.1),
            (USUAL_DAYS + 5, "ALD", 9, 0.3),
            (USUAL_DAYS + 5, "ALD", 9, 0.9),
        )
    )
    assert found.dtypes.astype(str).to_dict() == FAN_SENTIMENT
    usual = (0.5 * 0.5 + 0.75 * -0.1) / 1.25
    assert found["usual_score"].tolist() == pytest.approx([np.nan, 1, np.nan, 0.75, 0.75, usual, usual], nan_ok=True)
    assert found["change"].iloc[5] == pytest.approx(0.5 * (0.3 - usual))
    assert found["change"].isna().tolist() == [True, False, True, True, False, False, False]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(TEAMS), st.integers(0, 30), st.integers(-9, 9)), max_size=25
    ),
    st.integers(0, 60),
)
def test_the_usual_knows_nothing_of_the_same_or_a_later_day(rows: list, cut: int) -> None:
    frame = rows_of(*[(day, team, votes, mean / 9 if votes else np.nan) for day, team, votes, mean in rows])
    day = date(2026, 1, 1) + timedelta(days=cut)
    known = frame[frame["day"] <= day].reset_index(drop=True)
    later = frame["day"] == day
    told = frame["votes"] > 0
    changed = frame.assign(mean_score=frame["mean_score"].mask(told & (frame["day"] > day), -1.0))
    expected = with_usual(known)
    expected = expected[expected["day"] == day].reset_index(drop=True)
    pd.testing.assert_frame_equal(with_usual(changed)[later].reset_index(drop=True), expected, check_exact=True)
    same_day = frame.assign(mean_score=frame["mean_score"].mask(told & later, -1.0))
    assert with_usual(same_day)["usual_score"][later].tolist() == pytest.approx(
        expected["usual_score"].tolist(), nan_ok=True
    )


@settings(max_examples=40, deadline=None)
@given(CROWD, st.lists(TALK, min_size=1, max_size=8), st.integers(-10, 10))
def test_one_author_moves_the_change_by_at_most_the_stated_bound(crowd: list, loud: list, tenth: int) -> None:
    games = pd.concat([fixtures(("g0", -48.0, "ALD", "BRK")), GAME], ignore_index=True)
    usual = [(-119.0, "ALD", f"fan {n}", f"{tenth / 10} {'abcde'[n]}") for n in range(5)]
    others = [(-1.0, "ALD", author, text) for author, text in crowd]
    added = [(-1.0, "ALD", "loud", text) for text in loud]
    first = games["day"].iloc[1]
    before, after = (
        one(fan_sentiment(posts(*usual, *rows), games, first, number_scorer, ZONE)) for rows in (others, others + added)
    )
    assert before["usual_score"] == after["usual_score"] == pytest.approx(tenth / 10)
    assert abs(after["change"] - before["change"]) <= 8 / (after["votes"] + STEADYING_VOTES) + 1e-12


def test_rows_of_days_do_not_depend_on_where_the_range_begins() -> None:
    games = fixtures(*[(f"g{n}", 24.0 * n, "ALD", "BRK") for n in range(6)])
    written = posts(*[(24.0 * n - 3, "ALD", f"fan {n % 4}", f"{((7 * n) % 20) / 10 - 1} go") for n in range(-3, 6)])
    days = games["day"].tolist()
    whole = fan_sentiment(written, games, days[0], number_scorer, ZONE)
    assert whole.dtypes.astype(str).to_dict() == FAN_SENTIMENT
    for first in days:
        part = fan_sentiment(written, games, first, number_scorer, ZONE)
        expected = whole[whole["day"] >= first].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, expected, check_exact=True)


STREAM = """
import resource, sys
import pandas as pd
from hoops_assets.basketball.sentiment import POSTS, team_sentiment, vader_scorer
from hoops_assets_tests.basketball import test_sentiment as t
from hoops_assets_tests.basketball.posts import made_posts

how, limit, many = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
texts = [text for text in made_posts(3000) if 30 < len(text) < 300]
scorer, size, given = vader_scorer(), 256, 0


def chunks():
    global given
    for number in range(many):
        distinct = [" ".join([texts[(number * 31 + n) % len(texts)], texts[(number * 7 + n * 3) % len(texts)]] * 48)
                    for n in range(size // 16)]
        body = distinct * 16
        given += sum(map(len, body))
        body = [f"{text} " for text in body]  # every post has its own copy, as from a source
        created = t.TIP_OFF - pd.Timedelta(hours=2)
        frame = {"post_id": "x", "created_at": created, "team": "ALD", "text": body, "source": "test",
                 "author": [f"fan {(number * size + n) % 5000}" for n in range(size)]}
        yield pd.DataFrame(frame).astype(POSTS)


team_sentiment([next(chunks())], t.GAME, scorer, t.ZONE)  # what is loaded and learnt once
status = open("/proc/self/status").read()
data = int(status.split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (data + limit, data + limit))
given = 0
frames = chunks() if how == "stream" else list(chunks())
found = team_sentiment(frames, t.GAME, scorer, t.ZONE)
print(given, int(found["volume"].max()), float(found["mean_score"].max()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_ten_times_the_memory_limits_worth_of_posts_streams_through() -> None:
    limit, many = 20 << 20, 100

    def run(how: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", STREAM, how, str(limit), str(many)], capture_output=True, text=True, timeout=200
        )

    streamed, held = run("stream"), run("hold")
    assert streamed.returncode == 0, streamed.stderr[-2000:]
    size, volume, _ = streamed.stdout.split()
    assert int(size) > 10 * limit
    assert int(volume) == many * 256
    assert held.returncode != 0
    assert "MemoryError" in held.stderr or "realloc" in held.stderr
