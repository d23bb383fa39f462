"""What fans feel about a team as of tip-off: scoring of texts and its aggregation by team and fixture.

What belongs here: pure functions over frames of posts and fixtures, and the protocol of a scorer of texts. Who reads
posts from where is in `sources`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

POSTS = {
    "post_id": "object",
    "created_at": "datetime64[us, UTC]",
    "team": "object",  # franchise code of the team whose fans wrote it
    "author": "object",
    "text": "object",
    "source": "object",
}
"""Columns and pandas types of the frame of fan posts that every source returns, one row a post."""

SENTIMENT = {
    "game_id": "object",
    "season": "int32",
    "day": "object",  # datetime.date, in the league's zone
    "team": "object",  # franchise code
    "posts": "int32",  # posts that counted
    "authors": "int32",  # their distinct authors
    "mean_score": "float64",  # NaN without posts, as the rest
    "score_spread": "float64",
    "share_positive": "float64",
    "share_negative": "float64",
}
"""Columns and pandas types of `team_sentiment`, one row a team and fixture."""

WINDOW_HOURS = 72.0

NEUTRAL_BAND = 0.05
"""A score of at least this is positive, of at most minus this negative (VADER's own thresholds: C. Hutto and
E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014)."""

_NOON = pd.Timedelta(hours=12)


class Scorer(Protocol):
    """Gives every text a score from -1 (most negative) to 1 (most positive), the same whatever its neighbours are."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Scores of n texts, float64 of shape (n,)."""
        ...


def vader_scorer() -> Scorer:
    """VADER's compound score (Hutto and Gilbert 2014), by vaderSentiment with its own lexicon; English only."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()

    def score(texts: Sequence[str]) -> np.ndarray:
        return np.array([analyzer.polarity_scores(text)["compound"] for text in texts], dtype="float64")

    return score


def post_days(created_at: pd.Series, game_days: Sequence[date], zone: ZoneInfo) -> pd.Series:
    """The game day whose partition holds each post.

    A game day holds the posts stamped after the end of the game day before it, up to its own end in league time; so
    posts of days without games belong to the next game day.

    Args:
        created_at: datetime64 with a zone, n posts.
        game_days: the known game days, in any order.

    Returns:
        n dates (object) with the index of `created_at`; None for posts after the last known game day.
    """
    days = np.array(sorted(set(game_days)), dtype="datetime64[D]")
    local = created_at.dt.tz_convert(zone).dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    holders = np.array([*days.astype(object), None], dtype=object)
    return pd.Series(holders[np.searchsorted(days, local)], index=created_at.index, dtype="object")


def posts_of_days(posts: pd.DataFrame, days: Sequence[date], zone: ZoneInfo) -> pd.DataFrame:
    """The posts that belong to some of consecutive game days, with `day`, the game day whose partition holds them.

    Args:
        posts: columns of `sources.contract.POSTS`, none stamped before the end of the game day before the first of
            `days` (it would be taken for a post of that first day).
        days: consecutive game days.

    Returns:
        A new frame with the column `day` added, without the posts after the last of `days`, index reset.
    """
    held = posts.assign(day=post_days(posts["created_at"], days, zone))
    return held[held["day"].notna()].reset_index(drop=True)


def team_sentiment(
    posts: pd.DataFrame,
    fixtures: pd.DataFrame,
    scorer: Scorer,
    zone: ZoneInfo,
    window_hours: float = WINDOW_HOURS,
) -> pd.DataFrame:
    """Sentiment of each team's fans as of tip-off.

    A post counts for a game of its team if stamped in the `window_hours` before tip-off, never at tip-off or later;
    without a tip-off time, before noon of the game day in league time. A post may count for several games.
    An author's texts that are exactly equal count once per game. A team's figures are means over authors of each
    author's mean score, so one author moves `mean_score` by at most 2 / authors, however much they write; posts
    without author count as one author together.

    Every row follows from the posts in its own window alone, to the last bit: sums run in the order of the scores, so
    neither later posts nor the size of the batch can change a digit.

    Args:
        posts: columns of `sources.contract.POSTS`, in any order; must hold every post of every fixture's window.
        fixtures: columns `basketball.games.FIXTURE_COLUMNS`.
        scorer: gives texts scores in [-1, 1]; is asked once per distinct text.
        zone: the league's.

    Returns:
        Columns of SENTIMENT, two rows a fixture in the fixtures' order, home first: `posts` and `authors` that
        counted; `mean_score`; `score_spread`, the standard deviation over authors; `share_positive` and
        `share_negative` of authors. Without posts the counts are 0 and the rest NaN.

    Raises:
        ValueError: the scorer gave something other than one number in [-1, 1] a text.
    """
    rows = _rows(fixtures, zone)
    row, post = _pairs(posts, rows, pd.Timedelta(hours=window_hours))
    used = np.unique(post)
    counted = posts.iloc[used]
    authors = pd.factorize(counted["author"].fillna(""))[0]
    texts, distinct = pd.factorize(counted["text"].fillna(""))
    scores = _scores(scorer, [str(text) for text in distinct])
    place = np.searchsorted(used, post)
    voices = pd.DataFrame({"row": row, "author": authors[place], "text": texts[place]}).drop_duplicates()
    return rows.drop(columns="cut").join(_figures(voices, scores, len(rows))).astype(SENTIMENT)[list(SENTIMENT)]


def _rows(fixtures: pd.DataFrame, zone: ZoneInfo) -> pd.DataFrame:
    """Two rows a fixture, home first, with `cut`, the moment (UTC) from which posts no longer count."""
    noon = (pd.to_datetime(fixtures["day"]) + _NOON).dt.tz_localize(zone).dt.tz_convert("UTC")
    cut = fixtures["tip_off"].fillna(noon.astype(fixtures["tip_off"].dtype))
    both = fixtures[["game_id", "season", "day"]].assign(cut=cut)
    sides = [both.assign(team=fixtures[side]) for side in ("home", "away")]
    order = np.arange(2 * len(fixtures)).reshape(2, -1).T.ravel()
    return pd.concat(sides, ignore_index=True).iloc[order].reset_index(drop=True)


def _microseconds(moments: pd.Series) -> np.ndarray:
    return moments.dt.as_unit("us").astype("int64").to_numpy()


def _pairs(posts: pd.DataFrame, rows: pd.DataFrame, window: pd.Timedelta) -> tuple[np.ndarray, np.ndarray]:
    """Every (position of a row, position of a post that counts for it)."""
    teams = pd.Index(rows["team"].unique())
    team_of_post, team_of_row = (teams.get_indexer(pd.Index(frame["team"])) for frame in (posts, rows))
    created, cuts = _microseconds(posts["created_at"]), _microseconds(rows["cut"])
    order = np.lexsort((created, team_of_post))
    bounds = np.searchsorted(team_of_post[order], np.arange(len(teams) + 1))
    first, stop = np.empty(len(rows), dtype="int64"), np.empty(len(rows), dtype="int64")
    for team in range(len(teams)):
        own = team_of_row == team
        stamps = created[order[bounds[team] : bounds[team + 1]]]
        first[own] = bounds[team] + np.searchsorted(stamps, cuts[own] - window // pd.Timedelta(microseconds=1))
        stop[own] = bounds[team] + np.searchsorted(stamps, cuts[own])
    count = stop - first
    row = np.repeat(np.arange(len(rows)), count)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, order[np.repeat(first, count) + offset]


def _scores(scorer: Scorer, texts: list[str]) -> np.ndarray:
    scores = np.asarray(scorer(texts) if texts else [], dtype="float64")
    if scores.shape != (len(texts),):
        raise ValueError(
            f"the scorer gave scores of shape {scores.shape} for {len(texts)} texts; give one number a text"
        )
    wrong = np.flatnonzero(~(np.abs(scores) <= 1))
    if len(wrong):
        raise ValueError(f"the scorer gave {scores[wrong[0]]} for {texts[wrong[0]]!r}; scores lie in [-1, 1]")
    return scores


def _sums(group: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Sum by group, added up in the order of the values, so that the order of the rows changes no digit."""
    order = np.lexsort((values, group))
    return np.bincount(group[order], weights=values[order], minlength=size)


def _figures(voices: pd.DataFrame, scores: np.ndarray, size: int) -> pd.DataFrame:
    """The figures of each of `size` rows from its voices, one (row, author, text) each."""
    by_author = voices.groupby(["row", "author"], sort=False)
    voice = by_author.ngroup().to_numpy()
    row = by_author.size().index.get_level_values("row").to_numpy()
    mean = _sums(voice, scores[voices["text"].to_numpy()], len(row)) / np.bincount(voice, minlength=len(row))
    authors = np.bincount(row, minlength=size)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as documented
        mean_score = _sums(row, mean, size) / authors
        return pd.DataFrame(
            {
                "posts": np.bincount(voices["row"], minlength=size),
                "authors": authors,
                "mean_score": mean_score,
                "score_spread": np.sqrt(_sums(row, (mean - mean_score[row]) ** 2, size) / authors),
                "share_positive": np.bincount(row[mean >= NEUTRAL_BAND], minlength=size) / authors,
                "share_negative": np.bincount(row[mean <= -NEUTRAL_BAND], minlength=size) / authors,
            }
        )
