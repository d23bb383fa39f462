"""What fans feel about a team as of tip-off: scoring of texts and its aggregation by team and fixture.

What belongs here: pure functions over frames of posts and fixtures, and the protocol of a scorer of texts. Who reads
posts from where is in `sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from hoops_assets.basketball.post_text import TextReader, author_keys

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
    "volume": "float64",  # posts written in the window, whatever they say; sampled ones count by their weight
    "unscorable": "int32",  # of these, posts that are empty, removed or not in English
    "posts": "int32",  # posts that counted
    "authors": "int32",  # their distinct authors
    "votes": "float64",  # authors, each by the share of their texts that counted
    "mean_score": "float64",  # NaN without posts, as the rest
    "score_spread": "float64",
    "share_positive": "float64",
    "share_negative": "float64",
}
"""Columns and pandas types of `team_sentiment`, one row a team and fixture."""

FAN_SENTIMENT = {
    **SENTIMENT,
    "usual_score": "float64",  # the team's own, of its games in the USUAL_DAYS before; NaN without such games
    "change": "float64",  # of mean_score against it, drawn towards 0 when few wrote; NaN where either is
}
"""Columns and pandas types of `fan_sentiment`, one row a team and fixture."""

WINDOW_HOURS = 72.0

NEUTRAL_BAND = 0.05
"""A score of at least this is positive, of at most minus this negative (VADER's own thresholds: C. Hutto and
E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014)."""

USUAL_DAYS = 30

STEADYING_VOTES = 9.0
"""So many votes at the team's usual are added before `change` is taken, and a game with so many weighs half in the
usual: one author alone moves `change` by at most 0.4."""

COPY_LETTERS = 30
"""A text of at least so many letters counts once per team and game, whoever posts it; shorter ones are chants."""

_NOON = pd.Timedelta(hours=12)
_KEPT_VOICES = 1 << 20


class Scorer(Protocol):
    """Gives every text a score from -1 (most negative) to 1 (most positive), the same whatever its neighbours are."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Scores of n texts, float64 of shape (n,)."""
        ...


def vader_scorer() -> Scorer:
    """VADER's compound score (Hutto and Gilbert 2014), equal to vaderSentiment's to its last digit; English only."""
    from hoops_assets.basketball.vader import Vader

    return Vader()


def basketball_scorer() -> Scorer:
    """VADER's rules over its lexicon and, in its stead where both know a word, `basketball.lexicon`; English only."""
    from hoops_assets.basketball.lexicon import words_and_phrases
    from hoops_assets.basketball.vader import Vader

    return Vader(*words_and_phrases())


SCORERS: dict[str, Callable[[], Scorer]] = {"basketball": basketball_scorer, "vader": vader_scorer}
"""Every scorer by the name that a league gives it (`league.SentimentRules.scorer`)."""


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
    posts: pd.DataFrame | Iterable[pd.DataFrame],
    fixtures: pd.DataFrame,
    scorer: Scorer,
    zone: ZoneInfo,
    window_hours: float = WINDOW_HOURS,
) -> pd.DataFrame:
    """Sentiment of each team's fans as of tip-off.

    A post counts for a game of its team if stamped in the `window_hours` before tip-off, never at tip-off or later;
    without a tip-off time, before noon of the game day in league time. A post may count for several games. Posts that
    are empty, removed or not in English are told in `unscorable` and count no further (`post_text.TextFacts.scorable`).

    Every author has one vote a game, spread evenly over their different texts; posts without author are one author's.
    Texts of an author that differ only in capitals, digits, punctuation, emoji, repeated letters, addresses, mentions
    or the order of their words are one text, with the score nearest 0 among them. A text of COPY_LETTERS letters or more
    counts once, for the author whose vote on it is the largest. `mean_score` is the mean of the scores by these votes.
    Hence whatever one author writes instead of something else, and however much, moves `mean_score` by at most
    2 / votes, or 4 / votes where texts of others are copied; so does their writing at all. Many accounts with texts of
    their own cannot be told from many fans.

    Every row follows from the posts in its own window alone, to the last bit: sums run in the order of the values, so
    neither later posts nor the size of the batch can change a digit.

    Args:
        posts: columns of POSTS, in any order; must hold every post of every fixture's window, once. Optional `weight`
            (float64): how many written posts a sampled one stands for (`store.post_buffer`). An iterable of such frames
            is read once, one frame after the other; of each post that counts 33 bytes are kept (for a moment at the
            end, some 150), whatever its length.
        fixtures: columns `basketball.games.FIXTURE_COLUMNS`.
        scorer: gives texts scores in [-1, 1]; is asked once per distinct text of a frame.
        zone: the league's.

    Returns:
        Columns of SENTIMENT, two rows a fixture in the fixtures' order, home first: `score_spread` is the standard
        deviation over authors of each author's mean score, `share_positive` and `share_negative` the shares of authors,
        all by votes. Without posts that count the counts are 0 and the rest NaN.

    Raises:
        ValueError: the scorer gave something other than one number in [-1, 1] a text.
    """
    rows = _rows(fixtures, zone)
    tally = _Tally(rows, scorer, pd.Timedelta(hours=window_hours))
    for frame in [posts] if isinstance(posts, pd.DataFrame) else posts:
        tally.add(frame)
    return rows.drop(columns="cut").join(tally.figures()).astype(SENTIMENT)[list(SENTIMENT)]


def fan_sentiment(
    posts: pd.DataFrame | Iterable[pd.DataFrame],
    fixtures: pd.DataFrame,
    first: date,
    scorer: Scorer,
    zone: ZoneInfo,
    window_hours: float = WINDOW_HOURS,
) -> pd.DataFrame:
    """`team_sentiment` of the fixtures from a game day on, against what was usual for each team before.

    Everything follows from posts stamped before each tip-off; no row of an earlier run is read, so rows may be made in
    any order, and a late post changes the later ones at their next backfill.

    Args:
        posts: as in `team_sentiment`, for all of `fixtures`.
        fixtures: those from `first` on and those of the USUAL_DAYS before it.
        first: the first game day whose rows are wanted.

    Returns:
        Columns of FAN_SENTIMENT, two rows a fixture on or after `first`, in the fixtures' order.
    """
    rows = with_usual(team_sentiment(posts, fixtures, scorer, zone, window_hours))
    return rows[np.array([day >= first for day in rows["day"]], dtype=bool)].reset_index(drop=True)


def with_usual(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds each team's usual score and the change against it.

    `usual_score` is the mean of `mean_score` over the team's games on earlier days, at most USUAL_DAYS back, a game
    weighing votes / (votes + STEADYING_VOTES). `change` is votes / (votes + STEADYING_VOTES) times the difference, that
    is the mean after STEADYING_VOTES more votes at the usual. The usual given, one author moves `change` by at most
    4 / (votes + STEADYING_VOTES), and twice that where texts of others are copied.

    Args:
        rows: columns of SENTIMENT, in any order.

    Returns:
        Columns of FAN_SENTIMENT, in the order of `rows`.
    """
    days = pd.to_datetime(rows["day"]).to_numpy().astype("datetime64[D]").astype("int64")
    votes, mean = rows["votes"].to_numpy(), rows["mean_score"].to_numpy()
    trust = votes / (votes + STEADYING_VOTES)
    told = ~np.isnan(mean)
    usual = np.full(len(rows), np.nan)
    for team in rows["team"].unique():
        places = np.flatnonzero(rows["team"] == team)
        own = places[np.lexsort((rows["game_id"].to_numpy()[places].astype(str), days[places]))]
        when = days[own]
        starts, stops = np.searchsorted(when, when - USUAL_DAYS), np.searchsorted(when, when)
        for place, start, stop in zip(own.tolist(), starts.tolist(), stops.tolist(), strict=True):
            earlier = own[start:stop]
            earlier = earlier[told[earlier]]
            if len(earlier):
                usual[place] = (trust[earlier] * mean[earlier]).sum() / trust[earlier].sum()
    change = trust * (mean - usual)
    return rows.assign(usual_score=usual, change=change).astype(FAN_SENTIMENT)[list(FAN_SENTIMENT)]


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


class _Tally:
    """Who says what before which game, gathered frame by frame: a voice is one (row, author, text)."""

    def __init__(self, rows: pd.DataFrame, scorer: Scorer, window: pd.Timedelta) -> None:
        self._rows, self._scorer, self._window = rows, scorer, window
        self._read = TextReader()
        self._volume = np.zeros(len(rows))
        self._unscorable = np.zeros(len(rows), dtype="int64")
        self._voices = [_no_voices()]
        self._kept = 0

    def add(self, posts: pd.DataFrame) -> None:
        row, post = _pairs(posts, self._rows, self._window)
        used = np.unique(post)
        counted = posts.iloc[used]
        place = np.searchsorted(used, post)
        weight = counted["weight"].to_numpy(dtype="float64")[place] if "weight" in counted else None
        self._volume += np.bincount(row, weight, len(self._rows))
        text_of, distinct = pd.factorize(counted["text"].fillna(""))
        texts = [str(text) for text in distinct]
        facts = self._read(texts)
        self._unscorable += np.bincount(row[~facts.scorable[text_of][place]], minlength=len(self._rows))
        score = np.full(len(texts), np.nan)
        score[facts.scorable] = _scores(self._scorer, [texts[i] for i in np.flatnonzero(facts.scorable)])
        voices = pd.DataFrame(
            {
                "row": row,
                "author": author_keys(counted["author"])[place],
                "text": facts.key[text_of][place],
                "score": score[text_of][place],
                "copyable": (facts.letters >= COPY_LETTERS)[text_of][place],
            }
        )
        self._voices.append(_weakest(voices[voices["score"].notna()]))
        self._kept += len(self._voices[-1])
        if self._kept > _KEPT_VOICES:
            self._gather()

    def _gather(self) -> pd.DataFrame:
        self._voices = [_weakest(pd.concat(self._voices, ignore_index=True))]
        self._kept = 0
        return self._voices[0]

    def figures(self) -> pd.DataFrame:
        figures = _figures(self._gather(), len(self._rows))
        return figures.assign(volume=self._volume, unscorable=self._unscorable)


def _no_voices() -> pd.DataFrame:
    kinds = {"row": "int64", "author": "uint64", "text": "uint64", "score": "float64", "copyable": "bool"}
    return pd.DataFrame({name: np.zeros(0, kind) for name, kind in kinds.items()})


def _weakest(voices: pd.DataFrame) -> pd.DataFrame:
    """One voice a (row, author, text): that with the score nearest 0, of two as near the lower."""
    row, author, text, score = (voices[name].to_numpy() for name in ("row", "author", "text", "score"))
    order = np.lexsort((score, np.abs(score), text, author, row))
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.any([np.diff(column[order]) != 0 for column in (row, author, text)], axis=0)
    return voices.iloc[order[first]]


def _figures(voices: pd.DataFrame, size: int) -> pd.DataFrame:
    """The figures of each of `size` rows from its voices, sorted by row and author."""
    voices = voices.assign(voice=voices.groupby(["row", "author"], sort=False).ngroup())
    texts = np.bincount(voices["voice"])
    voices["vote"] = 1 / texts[voices["voice"]]
    voices = _without_copies(voices)
    voice, held = np.unique(voices["voice"], return_inverse=True)
    counted = np.bincount(held, minlength=len(voice))
    row = np.zeros(len(voice), dtype="int64")
    row[held] = voices["row"]
    mean = _sums(held, voices["score"].to_numpy(), len(voice)) / counted
    vote = counted / texts[voice]
    votes = _sums(row, vote, size)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as documented
        mean_score = _sums(row, vote * mean, size) / votes
        return pd.DataFrame(
            {
                "posts": np.bincount(voices["row"], minlength=size),
                "authors": np.bincount(row, minlength=size),
                "votes": votes,
                "mean_score": mean_score,
                "score_spread": np.sqrt(_sums(row, vote * (mean - mean_score[row]) ** 2, size) / votes),
                "share_positive": _sums(row, vote * (mean >= NEUTRAL_BAND), size) / votes,
                "share_negative": _sums(row, vote * (mean <= -NEUTRAL_BAND), size) / votes,
            }
        )


def _without_copies(voices: pd.DataFrame) -> pd.DataFrame:
    """Of a long text that several authors posted before a game, the voice with the largest vote."""
    order = np.lexsort((voices["author"], -voices["vote"], voices["text"], voices["row"]))
    ordered = voices.iloc[order]
    copy = ordered["copyable"].to_numpy() & ordered.duplicated(["row", "text"]).to_numpy()
    return ordered[~copy]
