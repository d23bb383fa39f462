"""Letting a version in: the gate, standing by, the first question, and then its share of the traffic.

What belongs here: the order of these steps. Heavy, as the gate is: imported when a version is about to be deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from hoops_assets.basketball.league import League
from hoops_assets.judging.sequential import DEFAULT, Outlook, Rule
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import Endpoint, PredictionService
from hoops_assets.services.prediction.gate import Finding, Gate, Inspection
from hoops_assets.services.prediction.rollout import Decision, Rollout
from hoops_assets.services.prediction.trial import TRIAL_FROM, Serving, serving, trial
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets.workloads.export import PARITY
from hoops_assets.workloads.spec import HELD_OUT

FIRST_QUESTIONS = 20
"""Held-out games that the endpoint itself is asked for, by the version's number, before any customer is sent there."""


@dataclass(frozen=True)
class Entered:
    """What became of a version.

    Attributes:
        gate: what the gate found; without findings where it was not asked, since nothing new is let in.
        outlook: a sentence on what the trial should come to, stated before it begins.
        endpoint: what serves now; None if the version was refused.
    """

    version: int
    learner: str
    gate: Gate
    reason: str
    outlook: str
    endpoint: Endpoint | None


class Entrance:
    """Lets versions of one league in.

    Args:
        now: aware; from when on the forecasts of a new canary count.
    """

    def __init__(
        self, league: League, registry: Registry, store: DeltaStore, record: Record, prediction: PredictionService,
        rollout: Rollout, now: datetime, rule: Rule = DEFAULT,
    ) -> None:  # fmt: skip
        self._league, self._registry, self._store, self._record = league, registry, store, record
        self._prediction, self._rollout, self._rule, self._now = prediction, rollout, rule, now

    def enter(
        self, *, version: int | None, share: int, data_checks: Mapping[str, bool | None], decision: Decision
    ) -> Entered:
        """Brings a version through the gate to its share of the traffic; idempotent.

        Args:
            version: by default the challenger. Naming one replaces a canary on trial, and by hand brings back one that was
                rolled back.
            share: percent beside a champion; without a champion it gets all.
            data_checks: table -> whether its last check passed; None if it never ran.
            decision: who asks; its reason is filled in here, and its evidence added to.

        Raises:
            ServiceError: not_found (no such version, no challenger), and as `Rollout.serve`.
        """
        found = serving(self._record, self._league.name)
        model = self._model(version)
        if model.version == found.champion:
            return self._stays(model, found, decision)
        if model.version == found.canary and found.champion is not None:
            return self._share(model, found.champion, share, decision)
        gate = self._gate(model, found, data_checks, pinned=version is not None, by_hand=decision.by_hand)
        if gate.passed and found.champion is not None:
            self._rollout.stage(model.version)
            gate = replace(gate, findings=(*gate.findings, self._first_questions(model)))
            if not gate.passed:
                self._prediction.remove(self._league.name, model.version)
        if not gate.passed:
            return Entered(model.version, model.learner, gate, gate.reason, "", None)
        return self._let_in(model, found.champion, share, gate, decision)

    def _model(self, version: int | None) -> ModelVersion:
        name = self._league.name
        model = self._registry.get(name, version) if version is not None else self._registry.challenger(name)
        if model is None:
            raise ServiceError("not_found", f"{name} has no challenger yet: hoops train {name}")
        return model

    def _stays(self, model: ModelVersion, found: Serving, decision: Decision) -> Entered:
        beside = f", beside version {found.canary} on trial" if found.canary is not None else ""
        reason = f"version {model.version} is the champion and serves{beside}; nothing is changed"
        traffic = {model.version: 100 - found.share} | ({found.canary: found.share} if found.canary is not None else {})
        endpoint = self._rollout.serve(traffic, replace(decision, reason=reason))
        return Entered(model.version, model.learner, self._unasked(model, None), reason, "", endpoint)

    def _share(self, model: ModelVersion, champion: int, share: int, decision: Decision) -> Entered:
        reason = f"version {model.version} is on trial with {share} % of the traffic beside version {champion}"
        traffic = {champion: 100 - share, model.version: share}
        endpoint = self._rollout.serve(traffic, replace(decision, reason=reason))
        return Entered(model.version, model.learner, self._unasked(model, champion), reason, "", endpoint)

    def _unasked(self, model: ModelVersion, champion: int | None) -> Gate:
        return Gate(self._league.name, model.version, champion, ())

    def _gate(
        self,
        model: ModelVersion,
        found: Serving,
        data_checks: Mapping[str, bool | None],
        *,
        pinned: bool,
        by_hand: bool,
    ) -> Gate:
        under_way = trial(self._store, self._record, self._league, self._rule) if not pinned else None
        if under_way:
            told = (
                f"version {found.canary} is on trial; {under_way.verdict.reason}. Name the version to try it instead of that"
                " one, or wait"
            )
            return replace(self._unasked(model, found.champion), findings=(Finding("place_free", False, told),))
        champion = self._registry.get(self._league.name, found.champion) if found.champion is not None else None
        return Inspection(
            model, champion, registry=self._registry, store=self._store, prediction=self._prediction,
            data_checks=data_checks, rule=self._rule, by_hand=pinned and by_hand,
            withdrawn=model.version in deployments.rolled_back(self._record, self._league.name),
        ).gate()  # fmt: skip

    def _let_in(self, model: ModelVersion, champion: int | None, share: int, gate: Gate, decision: Decision) -> Entered:
        if champion is None:
            traffic = {model.version: 100}
            reason = (
                f"no champion served {self._league.name}: version {model.version} went live at once, without a trial"
            )
        else:
            traffic = {champion: 100 - share, model.version: share}
            reason = (
                f"version {model.version} passed the gate and is tried with {share} % of the traffic beside {champion}"
            )
        evidence = {**decision.evidence, TRIAL_FROM: self._now.isoformat(), **gate.evidence()}
        endpoint = self._rollout.serve(traffic, replace(decision, reason=reason, evidence=evidence))
        outlook = _sentence(gate.outlook, self._rule) if champion is not None else ""
        return Entered(model.version, model.learner, gate, reason, outlook, endpoint)

    def _first_questions(self, model: ModelVersion) -> Finding:
        folder = self._registry.artefacts(model.league, model.version)
        rows = pd.read_parquet(folder / HELD_OUT).head(FIRST_QUESTIONS)
        name = "endpoint_answers"
        try:
            answers = self._prediction.invoke(self._league.name, rows[list(model.features)], model.version)
        except ServiceError as error:
            if error.kind == "conflict":
                return Finding(name, True, "no server runs yet: its bundle was loaded and proved in this process")
            return Finding(name, False, f"the endpoint cannot answer by version {model.version}: {error}")
        gap = np.abs([one.home_win_probability for one in answers] - rows["probability"].to_numpy()).max(initial=0.0)
        ill = next((one.degraded for one in answers if one.degraded), None)
        others = {one.version for one in answers} - {model.version}
        passed = bool(gap <= PARITY) and ill is None and not others
        told = f"{len(answers)} questions by number, answers differ by at most {gap:.1e}" + (
            f", degraded: {ill}" * bool(ill)
        )
        return Finding(name, passed, told + (f", version {min(others)} answered" if others else ""))


def _sentence(outlook: Outlook | None, rule: Rule) -> str:
    if outlook is None:
        return f"the trial ends with a decision, or after {rule.max_games} games with the champion"
    return (
        f"if the coming games are like the walk-forward: a decision after {outlook.games:.0f} games on average (half of the"
        f" trials by {outlook.median:.0f}); rolled out in {outlook.roll_out:.0%}, rolled back in {outlook.roll_back:.0%},"
        f" undecided after {rule.max_games} games in {outlook.keep_champion:.0%}"
    )
