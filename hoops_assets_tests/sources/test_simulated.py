"""Simulated leagues: the same for ever, known only as far as `now`, and played like basketball."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.games import GAMES
from hoops_assets.basketball.league import League
from hoops_assets.basketball.sentiment import POSTS, team_sentiment, vader_scorer
from hoops_assets.errors import SettingsError
from hoops_assets.sources import simulated
from hoops_assets.sources.leagues import EMBEDDED, load_league
from hoops_assets.sources.simulated import SimulatedGames, SimulatedPosts
from hoops_assets_tests.conftest import REPOSITORY

NAMES = ("atlantic", "pacific")
LEAGUES = {name: load_league(EMBEDDED / f"{name}.yaml") for name in NAMES}
NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2018, 6, 1), datetime(2028, 12, 31), timezones=st.just(UTC))
NEWCOMERS = {"atlantic": ("TID", "SAL", 2027), "pacific": ("REE", "OPA", 2026)}


def changed(name: str, **options: Any) -> League:
    """An embedded league with other options of its games."""
    data = LEAGUES[name].model_dump(mode="json")
    data["sources"]["games"] |= options
    return League.model_validate(data)


def games_at(league: League, now: datetime = NOW) -> pd.DataFrame:
    return SimulatedGames(league).read(now).games


def sides(games: pd.DataFrame) -> pd.DataFrame:
    """One row a team and game: team, day, season, game_id, margin (NaN while unplayed)."""
    margin = (games["home_score"] - games["away_score"]).astype("float64")
    own = [
        games[["season", "day", "tip_off", "game_id"]].assign(team=games[side], margin=sign * margin)
        for side, sign in (("home", 1), ("away", -1))
    ]
    return pd.concat(own, ignore_index=True).sort_values(["team", "tip_off"], ignore_index=True)


def digest(*frames: pd.DataFrame) -> str:
    return hashlib.sha256("".join(frame.to_csv(index=False) for frame in frames).encode()).hexdigest()


def everything(name: str) -> str:
    posts = SimulatedPosts(LEAGUES[name]).read(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)).posts
    return digest(games_at(LEAGUES[name]), posts)


@pytest.mark.parametrize("name", NAMES)
def test_games_have_the_columns_and_types_of_the_contract(name: str) -> None:
    games = games_at(LEAGUES[name])
    assert {column: str(games[column].dtype) for column in GAMES} == GAMES
    assert games.columns[0] == "game_id"
    assert games["game_id"].is_unique
    assert games["day"].is_monotonic_increasing
    local = games["tip_off"].dt.tz_convert(LEAGUES[name].zone).dt.date
    assert (local == games["day"]).all()


def test_another_process_with_another_hash_seed_and_zone_simulates_the_same() -> None:
    code = "from hoops_assets_tests.sources.test_simulated import *\nprint(*map(everything, NAMES))"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert printed == [everything(name) for name in NAMES]


def test_the_draws_of_a_seed_are_those_of_the_first_release() -> None:
    """Fails if numpy's streams or the order of our draws change: every embedded league would get another past."""
    games = games_at(
        changed("atlantic", seed=7, home_advantage=2.0, published_days=90), datetime(2019, 7, 1, tzinfo=UTC)
    )
    assert len(games) == PINNED_GAMES
    assert digest(games) == PINNED_DIGEST


PINNED_GAMES = 282
PINNED_DIGEST = "7541f8e419429a4f95cacaa290ef1dfdb01890fd76cc6881edbc1d0b9c54d58b"


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(NAMES), MOMENTS, MOMENTS)
def test_what_is_known_once_never_changes_later(name: str, one: datetime, two: datetime) -> None:
    earlier, later = sorted((one, two))
    before, after = games_at(LEAGUES[name], earlier), games_at(LEAGUES[name], later).set_index("game_id")
    assert set(before["game_id"]) <= set(after.index)
    same = after.loc[before["game_id"]].reset_index()
    fixture = [column for column in before.columns if not column.endswith("_score")]
    pd.testing.assert_frame_equal(before[fixture], same[fixture])
    played = before["home_score"].notna()
    pd.testing.assert_frame_equal(before[played], same[played])


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(NAMES), MOMENTS)
def test_a_game_has_its_score_from_two_and_a_half_hours_after_tip_off(name: str, now: datetime) -> None:
    games = games_at(LEAGUES[name], now)
    over = games["tip_off"] + timedelta(hours=2.5) <= now
    assert (games["home_score"].notna() == over).all()
    assert (games["away_score"].notna() == over).all()


def test_years_ahead_there_are_the_seasons_up_to_then_and_the_past_is_the_same() -> None:
    league = changed("pacific", published_days=90)
    ahead = games_at(league, datetime(2041, 1, 15, tzinfo=UTC))
    assert sorted(ahead["season"].unique()) == [*range(2019, 2042)]
    assert digest(ahead[ahead["season"] <= 2026]) == digest(games_at(league))


def test_a_seasons_fixtures_are_published_ninety_days_before_it_can_begin() -> None:
    league = changed("pacific", published_days=90)
    zone = league.zone
    published = datetime(2026, 4, 3, 12, tzinfo=zone) - timedelta(days=90)
    assert games_at(league, published - timedelta(hours=2))["season"].max() == 2025
    games = games_at(league, published + timedelta(hours=2))
    assert set(games.loc[games["season"] == 2026, "stage"]) == {"regular"}
    assert games_at(league, datetime(2018, 1, 1, tzinfo=UTC)).empty


@pytest.mark.parametrize("name", NAMES)
def test_every_finished_season_has_all_rounds_and_a_neutral_final(name: str) -> None:
    games = games_at(LEAGUES[name])
    finished = games[games["season"] <= 2026]
    assert len(finished["season"].unique()) == 8
    for _, season in finished.groupby("season"):
        stages = season["stage"].value_counts()
        assert set(stages.index) == {"regular", "play-in", "quarter-final", "semi-final", "final"}
        assert stages["final"] == 1
        assert 8 <= stages["quarter-final"] <= 12
        assert 4 <= stages["semi-final"] <= 6
        assert 250 <= len(season) <= 300
        assert 80 <= season["day"].nunique() <= 110
        final = season.iloc[-1]
        assert (final["stage"], bool(final["neutral"])) == ("final", True)
        semi_finals = season[season["stage"] == "semi-final"]
        assert {final["home"], final["away"]} < {*semi_finals["home"], *semi_finals["away"]}
        meetings = season[season["stage"] == "regular"].groupby(["home", "away"]).size()
        assert meetings.nunique() == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_knock_out_pairing_exists_only_once_both_teams_are_decided(name: str) -> None:
    games = games_at(LEAGUES[name])
    season = games[games["season"] == 2026]
    over = season["tip_off"] + timedelta(hours=2.5)
    regular_end = over[season["stage"] == "regular"].max()
    for moment in (regular_end - timedelta(seconds=1), regular_end):
        at = games_at(LEAGUES[name], moment.to_pydatetime())
        stages = set(at.loc[at["season"] == 2026, "stage"])
        assert ("play-in" in stages) == (moment >= regular_end)
        assert not stages & {"semi-final", "final"}
    last_semi_final = over[season["stage"] == "semi-final"].max()
    assert "final" not in set(
        games_at(LEAGUES[name], last_semi_final - timedelta(seconds=1)).query("season == 2026")["stage"]
    )
    assert "final" in set(games_at(LEAGUES[name], last_semi_final).query("season == 2026")["stage"])


@pytest.mark.parametrize("name", NAMES)
def test_no_third_game_follows_a_series_that_is_decided(name: str) -> None:
    games = games_at(LEAGUES[name]).query("stage in ['quarter-final', 'semi-final']")
    tie = pd.Series([frozenset(pair) for pair in zip(games["home"], games["away"], strict=True)], index=games.index)
    winner = games["home"].where(games["home_score"] > games["away_score"], games["away"])
    for _, winners in winner.groupby([games["season"], games["stage"], tie]):
        assert winners.value_counts().iloc[0] == 2
        assert len(winners) == 2 or winners.iloc[0] != winners.iloc[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_deciding_game_is_known_only_once_the_games_before_left_it_open(name: str) -> None:
    games = games_at(LEAGUES[name]).query("stage in ['quarter-final', 'semi-final']")
    tie = pd.Series([frozenset(pair) for pair in zip(games["home"], games["away"], strict=True)], index=games.index)
    third = games[games.groupby([games["season"], games["stage"], tie]).cumcount() == 2].iloc[0]
    second_over = games.loc[tie == tie[third.name]].query("season == @third.season")["tip_off"].iloc[1] + timedelta(
        hours=2.5
    )
    for moment, known in ((second_over - timedelta(seconds=1), False), (second_over, True)):
        assert (third["game_id"] in set(games_at(LEAGUES[name], moment)["game_id"])) == known


@pytest.mark.parametrize("name", NAMES)
def test_a_promoted_team_plays_from_its_first_season_and_the_relegated_one_no_more(name: str) -> None:
    promoted, relegated, season = NEWCOMERS[name]
    teams = sides(games_at(LEAGUES[name])).groupby("team")["season"].agg(["min", "max"])
    assert teams.loc[promoted, "min"] == season
    assert teams.loc[relegated, "max"] == season - 1


@pytest.mark.parametrize("name", NAMES)
def test_no_team_plays_twice_on_a_day_nor_three_days_running_in_the_regular_season(name: str) -> None:
    games = games_at(LEAGUES[name])
    for _, days in sides(games[games["stage"] == "regular"]).groupby("team")["day"]:
        gaps = [(later - earlier).days for earlier, later in pairwise(days)]
        assert min(gaps) >= 1
        assert (1, 1) not in set(pairwise(gaps))
    rest = sides(games).groupby(["team", "season"])["day"].diff().dropna()
    back_to_back = (rest == timedelta(days=1)).mean()
    assert 0.05 < back_to_back < 0.22


def test_scores_look_like_basketball() -> None:
    games = pd.concat(games_at(changed(name, seed=seed)) for name in NAMES for seed in range(3))
    played = games[games["home_score"].notna()]
    margin = (played["home_score"] - played["away_score"]).astype("float64")
    assert (margin != 0).all()
    assert 0.57 < (margin > 0)[~played["neutral"]].mean() < 0.61
    assert 13 < margin.std() < 17
    assert played[["home_score", "away_score"]].min().min() >= 45
    assert 100 < played["away_score"].mean() < 112


def test_evenings_are_usual_and_matinees_are_at_the_weekend() -> None:
    for league in LEAGUES.values():
        games = games_at(league)
        hour = games["tip_off"].dt.tz_convert(league.zone).dt.hour
        weekend = pd.to_datetime(games["day"]).dt.dayofweek >= 5
        assert (hour[~weekend] >= 19).all()
        assert 0.2 < (hour[weekend] < 19).mean() < 0.4


def test_games_on_two_days_running_and_travel_cost_points() -> None:
    tired_home, tired_away, far, near = [], [], [], []
    for seed in range(8):
        games = games_at(changed("pacific", seed=seed))
        games = games[games["home_score"].notna() & ~games["neutral"]]
        both = sides(games)
        both["tired"] = both.groupby(["team", "season"])["day"].diff() == timedelta(days=1)
        tired = both.pivot(index="game_id", columns="team", values="tired").fillna(False).astype(bool)
        margin = (games["home_score"] - games["away_score"]).astype("float64").to_numpy()
        home = np.array([tired.at[g, t] for g, t in zip(games["game_id"], games["home"], strict=True)])
        away = np.array([tired.at[g, t] for g, t in zip(games["game_id"], games["away"], strict=True)])
        tired_home.append(margin[home & ~away].mean())
        tired_away.append(margin[away & ~home].mean())
        islands = games[["home", "away"]].isin(["ARO", "BEL", "CLA", "DRI", "FER"])
        crossing = (islands["home"] != islands["away"]).to_numpy()
        far.append(margin[crossing].mean())
        near.append(margin[~crossing].mean())
    assert np.mean(tired_away) - np.mean(tired_home) > 3
    assert np.mean(far) - np.mean(near) > 0.3


def test_a_shock_changes_games_from_its_date_on_and_none_before() -> None:
    plain = games_at(LEAGUES["atlantic"])
    shocked = games_at(changed("atlantic", shocks=[{"date": "2026-01-01", "home_advantage": -10.0}]))
    day = date(2026, 1, 1)
    pd.testing.assert_frame_equal(plain[plain["day"] < day], shocked[shocked["day"] < day])
    both = plain.merge(shocked, on="game_id", suffixes=("", "_shocked")).query("stage == 'regular'")
    both = both[(both["day"] >= day) & both["home_score"].notna()]
    change = (both["home_score_shocked"] - both["away_score_shocked"]) - (both["home_score"] - both["away_score"])
    assert change.astype("float64").mean() == pytest.approx(-13.0, abs=0.3)


def test_teams_that_join_later_leave_earlier_seasons_as_they_were() -> None:
    data = LEAGUES["pacific"].model_dump(mode="json")
    data["teams"]["NEW"] = {"name": "New Ones", "since": 2026}
    grown = games_at(League.model_validate(data)).query("season < 2026")
    pd.testing.assert_frame_equal(grown, games_at(LEAGUES["pacific"]).query("season < 2026"))


@settings(max_examples=15, deadline=None)
@given(st.integers(16, 21), st.integers(0, 40), st.sampled_from([2, 4]), st.integers(0, 2**40))
def test_any_number_of_teams_and_game_days_gives_a_season_without_clashes(
    teams: int, spare: int, meetings: int, seed: int
) -> None:
    rounds = meetings * (teams - 1 + teams % 2)
    data = changed("atlantic", seed=seed, meetings=meetings, game_days=rounds + spare, published_days=90).model_dump(
        mode="json"
    )
    data["teams"] = {f"T{number}": {"name": f"Team {number}"} for number in range(teams)}
    games = games_at(League.model_validate(data), datetime(2019, 7, 1, tzinfo=UTC))
    regular = games[games["stage"] == "regular"]
    assert len(regular) == meetings * teams * (teams - 1) // 2
    assert regular["day"].nunique() == rounds + spare
    assert not sides(games).duplicated(["team", "day"]).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sed": 1}, "sed"),
        ({"meetings": 3}, "meetings"),
        ({"regular_from": "13-40"}, "regular_from"),
        ({"game_days": 20}, "game_days"),
        ({"game_days": 300}, "game_days"),
        ({"direct_qualifiers": 4, "meetings": 2, "game_days": 60}, None),
        ({"regular_to": "06-28"}, "regular_to"),
        ({"shocks": [{"date": "2026-01-01"}]}, "home_advantage"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str | None) -> None:
    league = changed("atlantic", **options)
    if said is None:
        assert len(games_at(league))
        return
    with pytest.raises(SettingsError, match=said) as raised:
        SimulatedGames(league)
    assert "atlantic" in str(raised.value)


def test_too_few_teams_are_refused_with_the_number_needed() -> None:
    data = LEAGUES["pacific"].model_dump(mode="json")
    del data["teams"]["ARO"], data["teams"]["BEL"]
    with pytest.raises(SettingsError, match="season 2019 has 8 teams, the knock-out needs 9"):
        SimulatedGames(League.model_validate(data))


def test_simulated_posts_need_simulated_games() -> None:
    data = LEAGUES["pacific"].model_dump(mode="json")
    data["sources"]["games"] = {"kind": "csv"}
    with pytest.raises(SettingsError, match=r"sources\.games\.kind"):
        SimulatedPosts(League.model_validate(data))


def elo_accuracy(games: pd.DataFrame, first_scored: int) -> tuple[float, float]:
    """(accuracy of a plain walk-forward Elo, share of home wins) on games from a season on."""
    rating: dict[str, float] = {}
    season, hits, home_wins = 0, [], []
    for game in games[games["home_score"].notna()].sort_values("tip_off").itertuples():
        if game.season != season:
            season = game.season
            rating = {team: 1500 + 0.75 * (value - 1500) for team, value in rating.items()}
        home, away = rating.setdefault(game.home, 1500.0), rating.setdefault(game.away, 1500.0)
        expected = 1 / (1 + 10 ** (-(home - away + 75 * (not game.neutral)) / 400))
        won = game.home_score > game.away_score
        if season >= first_scored:
            hits.append((expected > 0.5) == won)
            home_wins.append(won)
        rating[game.home], rating[game.away] = home + 20 * (won - expected), away - 20 * (won - expected)
    return float(np.mean(hits)), float(np.mean(home_wins))


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_elo_beats_the_home_base_rate_but_is_no_oracle(name: str) -> None:
    accuracy, base_rate = elo_accuracy(games_at(LEAGUES[name]), first_scored=2021)
    assert base_rate + 0.04 < accuracy < 0.75


def test_posts_have_the_columns_and_order_of_the_contract() -> None:
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    posts = SimulatedPosts(LEAGUES["atlantic"]).read(start, end).posts
    assert posts.dtypes.astype(str).to_dict() == POSTS
    assert posts["post_id"].is_unique
    assert posts["created_at"].between(pd.Timestamp(start), pd.Timestamp(end), inclusive="left").all()
    pd.testing.assert_frame_equal(posts, posts.sort_values(["created_at", "post_id"], ignore_index=True))
    assert SimulatedPosts(LEAGUES["atlantic"]).read(end, start).posts.dtypes.astype(str).to_dict() == POSTS


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(NAMES), MOMENTS, st.floats(0.1, 40), st.floats(0, 1))
def test_two_windows_together_give_the_posts_of_the_whole(name: str, start: datetime, days: float, part: float) -> None:
    source = SimulatedPosts(LEAGUES[name])
    end = start + timedelta(days=days)
    middle = start + timedelta(days=days * part)
    halves = pd.concat([source.read(start, middle).posts, source.read(middle, end).posts], ignore_index=True)
    pd.testing.assert_frame_equal(halves, source.read(start, end).posts)


@pytest.mark.parametrize("name", NAMES)
def test_posts_surround_games_with_the_usual_mess_of_authors_and_texts(name: str) -> None:
    games = games_at(LEAGUES[name]).query("season == 2026")
    source = SimulatedPosts(LEAGUES[name])
    posts = source.read(datetime(2025, 9, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)).posts
    posts = posts[posts["post_id"].str.startswith("2026.")]
    assert 5.5 < len(posts) / (2 * len(games)) < 6.5
    tip_offs = sides(games).sort_values("tip_off")
    near = pd.merge_asof(
        posts.assign(shifted=(posts["created_at"] - timedelta(hours=3)).astype(POSTS["created_at"])),
        tip_offs[["team", "tip_off"]],
        left_on="shifted",
        right_on="tip_off",
        by="team",
        direction="forward",
        allow_exact_matches=False,
    )
    assert ((near["tip_off"] - near["created_at"]) <= timedelta(hours=60)).all()
    assert posts.duplicated(["author", "text"]).any()
    assert posts["text"].str.contains("link in bio").mean() < 0.1
    assert posts["text"].map(str.isascii).mean() < 0.9


def test_the_number_of_posts_is_an_option() -> None:
    data = LEAGUES["atlantic"].model_dump(mode="json")
    data["sources"]["posts"] = {"kind": "simulated", "posts_per_game": 30}
    window = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    many, usual = (
        SimulatedPosts(league).read(*window).posts for league in (League.model_validate(data), LEAGUES["atlantic"])
    )
    assert len(many) == pytest.approx(5 * len(usual), rel=0.15)


def test_no_post_knows_a_result_before_it_is_known() -> None:
    """Every game from a day on gets another result; no post written before the first of them is over changes."""
    day = date(2026, 2, 1)
    shocked = changed("atlantic", shocks=[{"date": day.isoformat(), "home_advantage": -60.0}])
    games = games_at(LEAGUES["atlantic"])
    first_result = games.loc[games["day"] >= day, "tip_off"].min() + timedelta(hours=2.5)
    window = datetime(2026, 1, 20, tzinfo=UTC), datetime(2026, 2, 20, tzinfo=UTC)
    plain, other = (SimulatedPosts(league).read(*window).posts for league in (LEAGUES["atlantic"], shocked))
    before = plain["created_at"] < first_result
    ahead = plain["created_at"] >= games.loc[games["day"] >= day, "tip_off"].min() - timedelta(hours=60)
    assert (before & ahead).sum() > 20
    pd.testing.assert_frame_equal(plain[before], other[other["created_at"] < first_result])
    assert not plain["text"].equals(other["text"])


@pytest.mark.parametrize("name", NAMES)
def test_mood_follows_past_form_weakly(name: str) -> None:
    league = LEAGUES[name]
    games = games_at(league).query("season in [2025, 2026]")
    posts = SimulatedPosts(league).read(datetime(2024, 7, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)).posts
    mood = team_sentiment(posts, games, vader_scorer(), league.zone)
    played = sides(games)
    played["form"] = played.groupby(["team", "season"])["margin"].transform(lambda m: m.shift().rolling(5).mean())
    both = mood.merge(played, on=["game_id", "team"]).dropna(subset=["form", "mean_score"])
    assert len(both) > 900
    assert 0.2 < both["mean_score"].corr(both["form"]) < 0.7


def test_reading_a_day_of_posts_costs_the_games_of_that_day(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SimulatedPosts(LEAGUES["atlantic"])
    source.read(datetime(2025, 8, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
    asked: list[str] = []
    posts_of = simulated._Fans.posts
    monkeypatch.setattr(
        simulated._Fans, "posts", lambda self, game, team: asked.append(team) or posts_of(self, game, team)
    )
    assert len(source.read(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)).posts)
    assert len(asked) <= 2 * 24
