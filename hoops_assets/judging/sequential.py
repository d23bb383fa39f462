"""Judging a challenger against a champion again and again while the games come in.

What belongs here: the rule that decides (roll out, roll back, keep the champion, wait), its confidence sequence, and how
many games more it may need. numpy only; nothing here knows basketball or what serves.

A *gain* is the champion's Brier score less the challenger's on one game: positive when the challenger was better.

Method. Against the claim "the mean gain is at most m" one bets a fixed share f of the capital on every game:

    capital(m, f) = product over games of  1 - f + f (gain + bound) / (m + bound)

and spreads the first capital evenly over the shares SHARES. Under the claim the capital is a supermartingale, so by
Ville's inequality (1939) it ever reaches 1 / alpha with probability at most alpha, however often one looks. The lower
end is the least m not yet refuted; the upper end is the same for the reversed gains. Source: Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting" (JRSS B 86, 2024), section 4 and its grid of bets. The shares
are constant in time, so since 1 + x <= exp(x) the claim may be about the running average of means that change from game
to game, as Choe and Ramdas demand for forecasters ("Comparing sequential forecasters", Operations Research 72, 2024);
games of a day need not be independent, only forecast before they begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Choice = Literal["roll_out", "roll_back", "keep_champion", "wait"]

SHARES = tuple(np.geomspace(0.02, 0.98, 12).round(6).tolist())
"""Shares of the capital that are staked; the first capital is spread evenly over them."""

STEPS = 30
"""Halvings of the range in which an end is sought: to 1e-9 of the bound."""

_LONGEST_PRODUCT = 64
"""Games whose factors, each between .02 and 3, are multiplied before a logarithm is taken."""

_BLOCK = 500
"""Seasons computed at once, so that they stay in the processor's cache."""

FEWEST_FOR_A_GUESS = 30
"""Games without which nothing is said of how many more are needed."""


@dataclass(frozen=True)
class Rule:
    """When a challenger is rolled out or back.

    Attributes:
        alpha: probability, at most, of a false roll-out and (apart) of a false roll-back, over all looks together.
        margin: loss in Brier score that is tolerated: not worse by more than this is good enough.
        bound: gains are clipped to [-bound, bound].
        max_games: games after which an undecided challenger gives way to the champion.
        hidden: the clipping may hide at most this loss per game, on average, else there is no roll-out.
    """

    alpha: float = 0.05
    margin: float = 0.01
    bound: float = 0.25
    max_games: int = 1230
    hidden: float = 0.001

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is a probability between 0 and 1, not {self.alpha}")
        if not 0 < self.margin < self.bound <= 1:
            raise ValueError(f"0 < margin < bound <= 1 must hold, not margin {self.margin} and bound {self.bound}")
        if self.max_games < 1 or self.hidden < 0:
            raise ValueError(f"max_games >= 1 and hidden >= 0 must hold, not {self.max_games} and {self.hidden}")


DEFAULT = Rule()


@dataclass(frozen=True)
class Verdict:
    """What the rule says after some games.

    Attributes:
        choice: what to do; "wait" is the only one that may change with further games.
        games: that were looked at: up to the deciding look if one decided.
        mean: gain per game, not clipped; None without games.
        low, high: ends of the confidence sequence for the mean gain, each missing it with probability alpha at most.
        clipped: share of games whose gain was clipped.
        more_games: how many more it may take if the gains go on as they were; None when decided or when it cannot be said.
        reason: one sentence for people.
    """

    choice: Choice
    games: int
    mean: float | None
    low: float
    high: float
    clipped: float
    more_games: int | None
    reason: str

    @property
    def decided(self) -> bool:
        return self.choice != "wait"


def log_capital(gains: Floats, looks: Sequence[int], least: float, bound: float) -> Floats:
    """Log of the capital won against "the mean gain is at most `least`".

    Args:
        gains: within [-bound, bound]; [seasons, games].
        looks: numbers of games, ascending, from 1.

    Returns:
        [seasons, looks].
    """
    ends = sorted({*looks, *range(_LONGEST_PRODUCT, looks[-1], _LONGEST_PRODUCT)})
    starts = [0, *ends[:-1]]
    shown = np.searchsorted(ends, looks)
    total = np.full((len(gains), len(looks)), -np.inf)
    for block in range(0, len(gains), _BLOCK):
        odds = (gains[block : block + _BLOCK, : looks[-1]] + bound) / (least + bound) - 1.0
        of_block = total[block : block + _BLOCK]
        for share in SHARES:
            grown = np.multiply.reduceat(1.0 + share * odds, starts, axis=1)
            np.logaddexp(of_block, np.cumsum(np.log(grown), axis=1)[:, shown], out=of_block)
    return total - np.log(len(SHARES))


def _final(gains: Floats, least: float, bound: float) -> float:
    odds = (gains + bound) / (least + bound) - 1.0
    logs = np.log1p(np.multiply.outer(np.asarray(SHARES), odds)).sum(axis=1)
    return float(np.logaddexp.reduce(logs) - np.log(len(SHARES)))


def lower_end(gains: ArrayLike, rule: Rule = DEFAULT) -> float:
    """Lower end of the confidence sequence for the mean of clipped gains; -bound without games."""
    x = np.clip(np.asarray(gains, dtype=np.float64), -rule.bound, rule.bound)
    below, above, reached = -rule.bound, rule.bound, -np.log(rule.alpha)
    for _ in range(STEPS):
        middle = (below + above) / 2
        if _final(x, middle, rule.bound) >= reached:
            below = middle
        else:
            above = middle
    return below


def interval(gains: ArrayLike, rule: Rule = DEFAULT) -> tuple[float, float]:
    """Both ends of the confidence sequence after these games."""
    x = np.asarray(gains, dtype=np.float64)
    return lower_end(x, rule), -lower_end(-x, rule)


def confidence_sequence(gains: ArrayLike, looks: Sequence[int], rule: Rule = DEFAULT) -> Floats:
    """Mean gain, lower and upper end after each look.

    Args:
        gains: one per game in order of time. looks: numbers of games after which one looked, ascending, from 1.

    Returns:
        [looks, 3].
    """
    x = np.asarray(gains, dtype=np.float64)
    return np.array([(x[:n].mean(), *interval(x[:n], rule)) for n in looks]).reshape(-1, 3)


def decisions(gains: Floats, looks: Sequence[int], rule: Rule = DEFAULT) -> tuple[NDArray[np.str_], NDArray[np.intp]]:
    """What the rule decides in many seasons at once, each looked at after the same numbers of games.

    Args:
        gains: [seasons, games], not clipped.
        looks: numbers of games, ascending, from 1.

    Returns:
        The choice of each season, and after how many games it fell (at a look; all games looked at while "wait").
    """
    looks_used = [n for n in looks if n < rule.max_games] + [rule.max_games] * (looks[-1] >= rule.max_games)
    used = np.asarray(looks_used, dtype=np.intp)
    raw = gains[:, : used[-1]]
    x = np.clip(raw, -rule.bound, rule.bound)
    reached = -np.log(rule.alpha)
    hidden = np.cumsum(x - raw, axis=1)[:, used - 1] <= rule.hidden * used
    out = (log_capital(x, looks_used, -rule.margin, rule.bound) >= reached) & hidden
    back = log_capital(-x, looks_used, 0.0, rule.bound) >= reached
    decided = out | back
    first = np.where(decided.any(axis=1), decided.argmax(axis=1), len(used) - 1)
    rows = np.arange(len(x))
    last: Choice = "keep_champion" if looks[-1] >= rule.max_games else "wait"
    # Both at once says that the gain lies between -margin and 0: not worse by more than is tolerated, but worse.
    choice = np.where(back[rows, first], "roll_back", np.where(out[rows, first], "roll_out", last))
    return choice, used[first]


def judge(gains: ArrayLike, looks: Sequence[int], rule: Rule = DEFAULT) -> Verdict:
    """What the rule says of one challenger. Looks after the deciding one change nothing.

    Args:
        gains: the champion's Brier score less the challenger's, one per settled game, in order of time.
        looks: numbers of games after which one looked, ascending, from 1: one per settled game day.

    Raises:
        ValueError: a gain is missing or not finite, or looks do not fit the games.
    """
    x = np.asarray(gains, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError("a gain is missing; judge only settled games that both versions forecast")
    if not len(x):
        return Verdict("wait", 0, None, -rule.bound, rule.bound, 0.0, None, "no game is settled that both forecast")
    if not looks or list(looks) != sorted(set(looks)) or looks[0] < 1 or looks[-1] != len(x):
        raise ValueError(f"looks must ascend from 1 to the {len(x)} games")
    choices, games = decisions(x[None, :], looks, rule)
    choice: Choice = str(choices[0])  # type: ignore[assignment]
    n = int(games[0])
    seen = x[:n]
    low, high = interval(seen, rule)
    more = games_to_go(seen, rule) if choice == "wait" else None
    clipped = float((np.abs(seen) > rule.bound).mean())
    mean = float(seen.mean())
    return Verdict(choice, n, mean, low, high, clipped, more, _reason(choice, n, mean, low, high, more, rule))


def games_to_go(gains: ArrayLike, rule: Rule = DEFAULT) -> int | None:
    """Games after which a decision is likely if the gains go on as they were; None if not before max_games.

    The capital on the side that the gains favour grows by the same factor with every game: what it lacks, divided by that.
    """
    raw = np.asarray(gains, dtype=np.float64)
    if len(raw) < FEWEST_FOR_A_GUESS:
        return None
    x = np.clip(raw, -rule.bound, rule.bound)
    reached, shares = -np.log(rule.alpha), np.asarray(SHARES)
    needed = []
    for side, least in ((x, -rule.margin), (-x, 0.0)):
        rate = float(np.log1p(np.multiply.outer(shares, (side + rule.bound) / (least + rule.bound) - 1)).mean(1).max())
        if rate > 0:
            needed.append(max(1, int(np.ceil((reached - _final(side, least, rule.bound)) / rate))))
    fewest = min(needed, default=rule.max_games)
    return fewest if len(raw) + fewest <= rule.max_games else None


@dataclass(frozen=True)
class Outlook:
    """What may be expected of a trial before it begins.

    Attributes:
        roll_out, roll_back, keep_champion: probability of each end within max_games.
        games: mean number of games until the end. median: half of the trials have ended by then.
    """

    roll_out: float
    roll_back: float
    keep_champion: float
    games: float
    median: float


def outlook(gains: Floats, looks: Sequence[int], rule: Rule = DEFAULT) -> Outlook:
    """Shares and numbers of games over many seasons of gains, [seasons, games]."""
    choices, games = decisions(gains, looks, rule)
    shares = {choice: float((choices == choice).mean()) for choice in ("roll_out", "roll_back")}
    return Outlook(
        **shares,
        keep_champion=1.0 - sum(shares.values()),
        games=float(games.mean()),
        median=float(np.median(games)),
    )


def expected(past: ArrayLike, rule: Rule = DEFAULT, *, seasons: int = 400, each: int = 7, seed: int = 0) -> Outlook:
    """What a trial would come to if the coming gains were like `past` ones: drawn from them with replacement.

    Args:
        past: gains of games that both have forecast already, for example by walk-forward; at least one.
        each: games between two looks.
    """
    pool = np.asarray(past, dtype=np.float64)
    drawn = np.random.default_rng(seed).choice(pool, size=(seasons, rule.max_games))
    return outlook(drawn, looks_of(rule.max_games, each), rule)


def looks_of(games: int, each: int) -> list[int]:
    """Looks after every `each` games, and after the last."""
    return sorted({*range(each, games + 1, each), games})


def _reason(choice: Choice, n: int, mean: float, low: float, high: float, more: int | None, rule: Rule) -> str:
    found = f"after {n} games the mean gain in Brier score is {mean:+.4f}, in [{low:+.4f}, {high:+.4f}]"
    if choice == "roll_out":
        return f"{found}: not worse than the champion by more than {rule.margin}"
    if choice == "roll_back":
        return f"{found}: worse than the champion"
    if choice == "keep_champion":
        return f"{found}: undecided within {rule.max_games} games, so the champion stays"
    if more is not None:
        return f"{found}: cannot tell yet, about {more} more games"
    left = rule.max_games - n
    if n < FEWEST_FOR_A_GUESS:
        return f"{found}: cannot tell yet, and {n} games are too few to say how many more are needed"
    return f"{found}: cannot tell yet, and at this rate not within the {left} games that are left"
