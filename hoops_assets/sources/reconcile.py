"""Two sources of the same games: where they disagree.

What belongs here: the comparison, pure, on frames of games. Which source is believed is not decided here.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

DISAGREEMENTS = {
    "kind": "object",
    "season": "int32",
    "day": "object",  # as the left source has it, else the right one
    "home": "object",
    "away": "object",
    "left": "object",  # what each source says
    "right": "object",
    "left_game_id": "object",  # None where missing
    "right_game_id": "object",
}
"""Columns and pandas types of a report; `kind` is one of KINDS, and a game may have several rows."""

KINDS = ("missing left", "missing right", "day", "home side", "neutral", "score", "winner")

_PAIR = ["season", "first", "second"]


def reconcile(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Every disagreement of two sources about games.

    Games are recognised in steps, each among what the step before left over: by day, the two teams and both their
    scores; by day and the two teams; by season, the two teams and both their scores (a game moved); by season and the
    two teams, in order of days (moved, and another score). What then is left is missing on one side. Only seasons that
    both sources have are compared, and within them only days that both cover, so a source that begins later misses
    nothing.

    Args:
        left, right: game_id, season, day, home, away, neutral, home_score, away_score (<NA> while unplayed); an
            unplayed game disagrees with no score.

    Returns:
        Columns DISAGREEMENTS, sorted by (day, home, kind).
    """
    ours, theirs = _prepared(left), _prepared(right)
    both = set(ours["season"]) & set(theirs["season"])
    ours, theirs = ours[ours["season"].isin(both)], theirs[theirs["season"].isin(both)]
    rows: list[dict[str, Any]] = []
    steps = (
        [*_PAIR, "day", "first_score", "second_score"],
        [*_PAIR, "day"],
        [*_PAIR, "first_score", "second_score"],
        _PAIR,
    )
    for key in steps:
        ours, theirs, pairs = _matched(ours, theirs, key)
        for pair in pairs.to_dict("records"):
            rows += _differences({str(name): value for name, value in pair.items()})
    rows += _missing(ours, theirs, left, right)
    report = pd.DataFrame(rows, columns=list(DISAGREEMENTS)).astype(DISAGREEMENTS)
    return report.sort_values(["day", "home", "away", "kind"], kind="stable").reset_index(drop=True)


def summary(report: pd.DataFrame) -> str:
    """One line for people: how many disagreements of each kind."""
    if report.empty:
        return "the two sources agree on every game"
    counts = report["kind"].value_counts()
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if kind in counts)


def _prepared(games: pd.DataFrame) -> pd.DataFrame:
    """The games with their two teams in alphabetical order, whoever was at home."""
    home_first = games["home"] < games["away"]
    frame = games[["game_id", "season", "day", "home", "away", "neutral"]].assign(
        first=games["home"].where(home_first, games["away"]),
        second=games["away"].where(home_first, games["home"]),
        home_score=games["home_score"].astype("Int64"),
        away_score=games["away_score"].astype("Int64"),
    )
    frame["first_score"] = frame["home_score"].where(home_first, frame["away_score"])
    frame["second_score"] = frame["away_score"].where(home_first, frame["home_score"])
    frame["season"] = frame["season"].astype("int64")
    return frame.astype({"day": "object"}).sort_values(["day", "game_id"], kind="stable")


def _matched(
    ours: pd.DataFrame, theirs: pd.DataFrame, key: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """What is left on either side, and the pairs that agree in the key, in order of days where several do."""
    sides = []
    for frame in (ours, theirs):
        whole = frame.dropna(subset=key)
        sides.append(whole.assign(turn=whole.groupby(key).cumcount()))
    pairs = sides[0].merge(sides[1], on=[*key, "turn"], suffixes=("_left", "_right"))
    for name in key:
        pairs[f"{name}_left"] = pairs[f"{name}_right"] = pairs[name]
    rest = ours[~ours["game_id"].isin(pairs["game_id_left"])], theirs[~theirs["game_id"].isin(pairs["game_id_right"])]
    return *rest, pairs


def _differences(pair: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def differ(kind: str, left: object, right: object) -> None:
        rows.append(
            {
                "kind": kind,
                "season": pair["season"],
                "day": pair["day_left"],
                "home": pair["home_left"],
                "away": pair["away_left"],
                "left": str(left),
                "right": str(right),
                "left_game_id": pair["game_id_left"],
                "right_game_id": pair["game_id_right"],
            }
        )

    if pair["day_left"] != pair["day_right"]:
        differ("day", pair["day_left"], pair["day_right"])
    if pair["home_left"] != pair["home_right"]:
        differ("home side", pair["home_left"], pair["home_right"])
    if bool(pair["neutral_left"]) != bool(pair["neutral_right"]):
        differ("neutral", bool(pair["neutral_left"]), bool(pair["neutral_right"]))
    scores = [(pair[f"first_score_{side}"], pair[f"second_score_{side}"]) for side in ("left", "right")]
    if any(pd.isna(score) for both in scores for score in both):
        return rows
    if scores[0] != scores[1]:
        differ("score", *(_result(pair, side) for side in ("left", "right")))
    winners = [_winner(pair, *score) for score in scores]
    if winners[0] != winners[1]:
        differ("winner", *winners)
    return rows


def _result(pair: dict[str, Any], side: str) -> str:
    return f"{pair['first']} {pair[f'first_score_{side}']}, {pair['second']} {pair[f'second_score_{side}']}"


def _winner(pair: dict[str, Any], first: int, second: int) -> str:
    return "nobody" if first == second else pair["first"] if first > second else pair["second"]


def _missing(ours: pd.DataFrame, theirs: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for rest, other, kind in ((ours, right, "missing right"), (theirs, left, "missing left")):
        days = other.groupby("season")["day"]
        begin, end = rest["season"].map(days.min()), rest["season"].map(days.max())
        for game in rest[(rest["day"] >= begin) & (rest["day"] <= end)].itertuples():
            said = "unplayed" if pd.isna(game.home_score) else f"{game.home_score}-{game.away_score}"
            here, there = ("left", "right") if kind == "missing right" else ("right", "left")
            rows.append(
                {
                    "kind": kind,
                    "season": game.season,
                    "day": game.day,
                    "home": game.home,
                    "away": game.away,
                    here: said,
                    there: "missing",
                    f"{here}_game_id": game.game_id,
                    f"{there}_game_id": None,
                }
            )
    return rows
