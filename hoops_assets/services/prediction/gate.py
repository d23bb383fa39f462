"""The gate before the canary: what a version must show before any customer meets it.

What belongs here: the findings, each a sentence with its figures. Heavy: imported when a version is about to be deployed.

- compared: its learner is on average not worse than the champion's by more than the margin, paired, by walk-forward over
  the last seasons of its training set; the interval is told. The gate looks for what is surely wrong, the trial decides:
  a young league has too few games to prove anything here. Without a champion there is nothing to compare with.
- calibrated: on the held-out games its calibration error is no larger than a perfect forecaster's may be by luck, plus
  CALIBRATION_TOLERANCE, or than the champion's: when the world has moved nobody is calibrated, and the better one is wanted.
- same_answers: its files are those that were registered, and ONNX answers as scikit-learn does.
- data_checks: the last checks of the tables it reads have passed.
- answers: asked for the held-out games, the provider gives the registered answers.
- not_withdrawn: it was not rolled back before, unless a person asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.errors import HoopsError, ModelError
from hoops_assets.judging.comparison import paired_difference
from hoops_assets.judging.scoring import brier_scores, calibration_error, calibration_error_by_luck
from hoops_assets.judging.sequential import DEFAULT, Outlook, Rule, expected
from hoops_assets.services.prediction.contract import PredictionService
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.store.delta import DeltaStore
from hoops_assets.workloads.evaluate import evaluate_training_set
from hoops_assets.workloads.export import PARITY
from hoops_assets.workloads.spec import HELD_OUT

SEASONS = 5
"""Last seasons over which two learners are compared: the present game, and a few seconds of fitting."""

CALIBRATION_TOLERANCE = 0.03
"""Calibration error beyond luck that is let through: roughly what our learners show from one season to the next."""


@dataclass(frozen=True)
class Finding:
    """One condition of the gate: whether it holds, and the figures behind it in a sentence."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Gate:
    """What the gate found.

    Attributes:
        champion: version compared with, or None.
        outlook: what the trial should come to if the coming games are like those of the walk-forward; None where the two
            cannot differ or there is no champion.
    """

    league: str
    version: int
    champion: int | None
    findings: tuple[Finding, ...]
    outlook: Outlook | None = None

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.findings)

    @property
    def reason(self) -> str:
        """One sentence for people."""
        told = [one.found for one in self.findings if not one.passed]
        return "; ".join(told) if told else f"version {self.version} holds all {len(self.findings)} conditions"

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(
            [[one.name, "holds" if one.passed else "FAILS", one.found] for one in self.findings],
            columns=["condition", "state", "found"],
        )

    def evidence(self) -> dict[str, Any]:
        """For the record; JSON."""
        return {
            "champion": self.champion,
            "gate": {one.name: {"passed": one.passed, "found": one.found} for one in self.findings},
            "outlook": asdict(self.outlook) if self.outlook else None,
        }


class Inspection:
    """Holds one version against the gate.

    Args:
        champion: the version that serves, or None.
        data_checks: check -> whether its last execution passed; None if it has never run.
        withdrawn: whether the version was rolled back; by_hand: whether a person asks for it all the same.
    """

    def __init__(
        self, candidate: ModelVersion, champion: ModelVersion | None, *, registry: Registry, store: DeltaStore,
        prediction: PredictionService, data_checks: Mapping[str, bool | None], withdrawn: bool = False,
        by_hand: bool = False, rule: Rule = DEFAULT,
    ) -> None:  # fmt: skip
        self._candidate, self._champion = candidate, champion
        self._registry, self._store, self._prediction = registry, store, prediction
        self._data_checks, self._rule = data_checks, rule
        self._withdrawn = withdrawn and not by_hand

    def gate(self) -> Gate:
        """All findings. A condition that cannot be looked at does not hold, and says why."""
        conditions = (
            ("not_withdrawn", self._not_withdrawn), ("data_checks", self._checks), ("same_answers", self._same_answers),
            ("calibrated", self._calibrated), ("answers", self._answers), ("compared", self._compared),
        )  # fmt: skip
        findings = []
        for name, look in conditions:
            try:
                findings.append(Finding(name, *look()))
            except HoopsError as error:
                findings.append(Finding(name, False, str(error)))
        champion, gains = self._champion, self._gains if findings[-1].passed else None
        outlook = expected(gains, self._rule) if gains is not None and len(gains) else None
        return Gate(
            self._candidate.league,
            self._candidate.version,
            champion.version if champion else None,
            tuple(findings),
            outlook,
        )

    def _not_withdrawn(self) -> tuple[bool, str]:
        name = f"version {self._candidate.version}"
        if self._withdrawn:
            return False, f"{name} was rolled back and is not deployed again by automation; pin it by hand to do so"
        return True, f"{name} was not rolled back, or is asked for by hand"

    def _checks(self) -> tuple[bool, str]:
        failed = sorted(name for name, passed in self._data_checks.items() if passed is False)
        never = sorted(name for name, passed in self._data_checks.items() if passed is None)
        if failed:
            return False, f"the last check of {', '.join(failed)} failed; mend the data and materialise again"
        if never:
            return False, f"the check of {', '.join(never)} has never run; backfill the league"
        return True, f"the last checks of {', '.join(sorted(self._data_checks))} passed"

    def _same_answers(self) -> tuple[bool, str]:
        self._registry.artefacts(self._candidate.league, self._candidate.version)
        parity = self._candidate.parity
        if parity is None:
            return False, "nobody measured whether ONNX answers as scikit-learn does: it was imported, not trained here"
        return (
            parity <= PARITY,
            f"files as registered; ONNX differs from scikit-learn by {parity:.1e} (limit {PARITY:.0e})",
        )

    def _calibrated(self) -> tuple[bool, str]:
        p = self._held_out["probability"].to_numpy()
        found = calibration_error(p, self._held_out["home_win"].to_numpy())
        limit = calibration_error_by_luck(p) + CALIBRATION_TOLERANCE
        told = f"calibration error {found:.4f} on {len(p)} held-out games (limit {limit:.4f}"
        if found <= limit or self._champion is None:
            return found <= limit, f"{told})"
        of_champion = calibration_error(
            self._prediction.batch(self._champion, self._held_out), self._held_out["home_win"].to_numpy()
        )
        return found <= of_champion, f"{told}, the champion's {of_champion:.4f})"

    def _answers(self) -> tuple[bool, str]:
        rows = self._held_out
        gap = np.abs(self._prediction.batch(self._candidate, rows) - rows["probability"].to_numpy()).max(initial=0.0)
        return bool(gap <= PARITY), f"{len(rows)} held-out games asked, answers differ by at most {gap:.1e}"

    def _compared(self) -> tuple[bool, str]:
        candidate, champion, rule = self._candidate, self._champion, self._rule
        if champion is None:
            return (
                True,
                f"no champion serves: the first version through the gate goes live at once ({candidate.learner})",
            )
        if self._gains is None:
            return True, f"the champion is a {candidate.learner} with the same parameters: only newer games differ"
        if self._walked.empty:
            return False, f"no game is left that neither {candidate.learner} nor {champion.learner} was fitted on"
        found = paired_difference(-self._gains, np.zeros(len(self._gains)), self._walked["day"])
        low, high = (found.low, found.high) if found.low is not None else (-rule.bound, rule.bound)
        return found.mean <= rule.margin, (
            f"{candidate.learner} loses {found.mean:+.4f} [{low:+.4f}, {high:+.4f}] in Brier score against the champion's"
            f" {champion.learner} on {found.n} {'walk-forward' if self._fittable else 'held-out'} games"
            f" (limit {rule.margin:+.4f})"
        )

    @cached_property
    def _held_out(self) -> pd.DataFrame:
        folder = self._registry.artefacts(self._candidate.league, self._candidate.version)
        if not (folder / HELD_OUT).exists():
            raise ModelError(
                f"version {self._candidate.version} has no held-out games ({HELD_OUT}), so nobody can say how it forecasts:"
                " it was imported without them; train it here"
            )
        return pd.read_parquet(folder / HELD_OUT)

    @cached_property
    def _walked(self) -> pd.DataFrame:
        """Both learners over the last seasons of the candidate's training set: day, candidate, champion, home_win."""
        assert self._champion is not None
        reference = self._registry.manifest(self._candidate.league, self._candidate.version).training_set
        frame = self._store.read(self._candidate.league, "training_set", version=reference.table_version)
        if not self._fittable:
            return self._asked(frame)
        forecasts = {
            role: evaluate_training_set(frame, version.learner, version.parameters, last=SEASONS).set_index("game_id")
            for role, version in (("candidate", self._candidate), ("champion", self._champion))
        }
        first = forecasts["candidate"]
        return first[["day", "home_win"]].assign(**{role: one["probability"] for role, one in forecasts.items()})

    @property
    def _fittable(self) -> bool:
        """Whether this code has both learners; a provider's own it has not."""
        return self._champion is None or {self._candidate.learner, self._champion.learner} <= LEARNERS.keys()

    def _asked(self, frame: pd.DataFrame) -> pd.DataFrame:
        """As `_walked`, but what both versions themselves answer to held-out games that neither was fitted on."""
        assert self._champion is not None
        versions = {"candidate": self._candidate, "champion": self._champion}
        known = max(version.trained_through for version in versions.values())
        rows = self._held_out.merge(frame[["game_id", "day"]], on="game_id")
        rows = rows.loc[rows["day"] > known, :]
        answers = {role: self._prediction.batch(version, rows) for role, version in versions.items()}
        return rows[["day", "home_win"]].assign(**answers)

    @cached_property
    def _gains(self) -> Any:
        """The candidate's gains in Brier score by walk-forward; None where the two cannot differ."""
        candidate, champion = self._candidate, self._champion
        if champion is None or (candidate.learner, candidate.parameters) == (champion.learner, champion.parameters):
            return None
        won = self._walked["home_win"].to_numpy()
        return brier_scores(self._walked["champion"], won) - brier_scores(self._walked["candidate"], won)
