"""The answers to the four questions, and the advice which version should serve, as pages for people.

What belongs here: which parts of an answer a page shows, in which order, and where the page is kept. How a page looks is in
`judging.pages`. Loads pandas and matplotlib; only `--page` needs it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoops_assets.judging import plots
from hoops_assets.judging.pages import Heading, Mark, Part, Picture, Table, Text, page
from hoops_assets.judging.sequential import DEFAULT, confidence_sequence
from hoops_assets.services.lineage.best import BestAnswer
from hoops_assets.services.lineage.questions import CodeAnswer, DataAnswer, ServedAnswer
from hoops_assets.services.prediction.decide import Advice
from hoops_assets.services.prediction.trial import Trial, looks
from hoops_assets.store import atomic

QUESTIONS = "questions"
"""Folder of the pages that are of no league."""

DRAWN = 30
"""Rows of a picture at most."""

LISTED = 2000
"""Rows of a table at most; the command with --json gives all."""


@dataclass(frozen=True)
class AnswerPage:
    """A page before it is written.

    Attributes:
        folder: the league, or QUESTIONS.
        name: of the file, without its end.
    """

    folder: str
    name: str
    title: str
    parts: Sequence[Part]

    def write(self, home: Path) -> Path:
        """Writes HOME/reports/FOLDER/NAME.html atomically and returns its path. Raises OSError."""
        file = Path(home) / "reports" / self.folder / f"{self.name}.html"
        atomic.write_text(file, page(self.title, self.parts))
        return file


def data_page(answer: DataAnswer) -> AnswerPage:
    """Were these games in the training set?"""
    league, _, number = answer.model.partition("/")
    verdict = {"yes": "good", "no": "warn", "partly": "warn"}.get(answer.answer, "")
    told = f"{answer.answer}: {answer.model} was fitted on {len(answer.trained_on)} of {answer.games} games."
    rows = [
        (game, split, Mark("fitted on", "green") if split in answer.fit_on else Mark("not fitted on", "grey"))
        for split, games in answer.splits.items()
        for game in games
    ]
    rows += [(game, "", Mark("not in the training set", "grey")) for game in answer.not_in]
    parts: list[Part] = [
        Text(f"Question: was \u201c{answer.filter}\u201d in the training set of {answer.model}?", "soft"),
        Text(told if answer.games else f"{answer.answer}.", verdict),  # type: ignore[arg-type]
        *_notes(answer.notes),
        *_facts("The training set", answer.training_set),
        *_table("The games", rows, ("game", "split", "meaning")),
    ]
    return AnswerPage(league, f"data-{number}", f"Was it in the training set of {answer.model}?", parts)


def best_page(answer: BestAnswer) -> AnswerPage:
    """Which hyper-parameters did best?"""
    over = f"{answer.games} games on {answer.game_days} days, {answer.first_day} to {answer.last_day}"
    marks = {"best": "green", "worse": "red"}
    rows = [
        (one.rank, one.learner, _parameters(one.parameters), one.version, one.loss, one.difference, one.low, one.high,
         Mark(one.verdict, marks.get(one.verdict, "grey")))  # type: ignore[arg-type]
        for one in answer.ranking
    ]  # fmt: skip
    columns = ("rank", "learner", "parameters", "version", answer.score, "difference", "low", "high", "verdict")
    drawn = answer.ranking[:DRAWN]
    names = [f"{one.rank}. {one.learner}, version {one.version}" for one in drawn]
    picture = plots.intervals_plot(
        names, [one.difference for one in drawn], [one.low for one in drawn], [one.high for one in drawn],
        f"{answer.score} more than the best (less is better)", f"{100 * answer.level:.0f} % intervals, paired game by game",
    )  # fmt: skip
    first, near = answer.ranking[0], sum(one.verdict == "cannot be told apart" for one in answer.ranking)
    known = "and is better than all others" if not near else f"but {near} other settings cannot be told apart from it"
    parts = [
        Text(
            f"{first.learner} with {_parameters(first.parameters)} (version {first.version}) did best, {known}.", "good"
        ),
        Text(f"{answer.league}: every setting on the same {over}.", "soft"),
        *_notes(answer.notes),
        Picture(picture, "Difference of every setting from the best, with its interval"),
        *_table("All settings", rows, columns),
    ]
    return AnswerPage(answer.league, "best", f"{answer.league}: which hyper-parameters did best?", parts)


def code_page(answer: CodeAnswer) -> AnswerPage:
    """Which code made a model?"""
    league, _, number = answer.model.partition("/")
    dirty = {True: "with changes that are in no commit", False: "clean", None: "unknown whether it had changes"}
    told = (
        "The commit alone gives this code back." if answer.exact else "The commit alone does not give this code back."
    )
    facts = {
        "commit": answer.commit, "working tree": dirty[answer.dirty], "digest of the code": answer.code_digest,
        "digest of the locked packages": answer.lock_digest, "made": answer.created_at, "by": answer.created_by,
        "training job": answer.training_job,
    }  # fmt: skip
    parts = [
        Text(told, "good" if answer.exact else "warn"),
        *_notes(answer.notes),
        *_facts("The code", facts),
        *_facts("The packages", answer.packages),
    ]
    return AnswerPage(league, f"code-{number}", f"Which code made {answer.model}?", parts)


def served_page(answer: ServedAnswer, league: str | None = None) -> AnswerPage:
    """Which version answered a customer on a day?"""
    told = ", ".join(f"{version} ({count})" for version, count in answer.versions.items())
    count = len(answer.answers)
    said = f"{answer.customer} got {count} {'answer' if count == 1 else 'answers'} on {answer.day}, by version: {told}."
    rows = [
        (f"{one.at:%H:%M:%S %Z}", one.league, one.game_id, one.version, one.home_win_probability, one.degraded,
         _split(one.traffic))
        for one in answer.answers
    ]  # fmt: skip
    changes = [
        (name, f"{change['at']:%Y-%m-%d %H:%M %Z}", _split(change["traffic"]), change["action"], change["decided_by"],
         change["reason"])
        for name, found in answer.traffic.items()
        for change in found
    ]  # fmt: skip
    parts = [
        Text(said) if answer.answers else Text(f"{answer.customer} got no answer on {answer.day}.", "warn"),
        *_table("Who served what", changes, ("league", "from", "traffic", "what", "decided by", "reason")),
        *_table("Answers", rows, ("at", "league", "game", "version", "home win", "degraded", "traffic")),
    ]
    name = f"served-{answer.customer}-{answer.day}"
    return AnswerPage(league or QUESTIONS, name, f"What served {answer.customer} on {answer.day}?", parts)


def decide_page(advice: Advice, trial: Trial | None = None) -> AnswerPage:
    """Which version should serve?

    Args:
        trial: the one under way.
    """
    serve = f"Version {advice.serve}" if advice.serve is not None else "Nothing"
    marks = {"champion": "green", "rolled back": "red"}
    rows = [
        (one.version, one.learner, Mark(one.role, marks.get(one.role, "grey")), f"{one.traffic} %", one.gain, one.low,  # type: ignore[arg-type]
         one.high, one.games, one.basis.replace("_", " "), one.reason)
        for one in advice.ranked
    ]  # fmt: skip
    columns = ("version", "learner", "role", "traffic", "gain", "low", "high", "games", "evidence", "reason")
    drawn = [one for one in advice.ranked if one.gain is not None and one.low is not None and one.high is not None]
    parts: list[Part] = [
        Text(f"{serve} should serve: {advice.reason}", "good" if advice.serve is not None else "warn"),
    ]
    if trial is not None and trial.verdict.games:
        seen = trial.pairs.head(trial.verdict.games)
        sequence = confidence_sequence(seen["gain"], looks(seen), DEFAULT)
        drawn_trial = plots.confidence_sequence_plot(sorted(seen["day"].unique()), sequence, DEFAULT.margin)
        parts.append(Picture(drawn_trial, "Gain of the canary with its confidence sequence", "The trial under way"))
    if drawn:
        names = [f"version {one.version} ({one.learner})" for one in drawn[:DRAWN]]
        values, lows, highs = zip(*((one.gain, one.low, one.high) for one in drawn[:DRAWN]), strict=True)
        picture = plots.intervals_plot(
            names, values, lows, highs, "gain in Brier score (more is better)", "Against the one that serves"
        )
        parts.append(Picture(picture, "Gain of every version with its interval"))
    parts += _table("Versions, best first", rows, columns)
    return AnswerPage(advice.league, "decide", f"{advice.league}: which version should serve?", parts)


def _notes(notes: Sequence[str]) -> list[Part]:
    return [Text(note, "soft") for note in notes]


def _table(title: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> list[Part]:
    if not rows:
        return []
    more = len(rows) - LISTED
    left_out: list[Part] = [Text(f"and {more:,} more; the command with --json lists all", "soft")] if more > 0 else []
    return [Heading(title), Table(rows[:LISTED], columns), *left_out]


def _facts(title: str, facts: dict[str, Any]) -> list[Part]:
    # As text: a table would set a column of some numbers to the right and group the digits of a version.
    return _table(title, [(name.replace("_", " "), str(value)) for name, value in facts.items()], ("what", "which"))


def _split(traffic: dict[int, int]) -> str:
    return ", ".join(f"version {number}: {percent} %" for number, percent in traffic.items()) or "nothing served"


def _parameters(parameters: dict[str, Any]) -> str:
    return json.dumps(parameters) if parameters else "defaults"
