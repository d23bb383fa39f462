"""Which version should serve a league, and going back to one: what assets, sensors and commands share.

What belongs here: the ranking of versions with its reasons, promotion, and the way back. Every change goes through `Rollout`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from hoops_assets.basketball.league import League
from hoops_assets.judging.sequential import DEFAULT, Rule
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.prediction.contract import Endpoint
from hoops_assets.services.prediction.rollout import Decision, Rollout
from hoops_assets.services.prediction.trial import Serving, Trial, serving, trial
from hoops_assets.services.registry.contract import Registry
from hoops_assets.store import deployments
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.deployments import Deployment
from hoops_assets.store.record import Record

Basis = Literal["trial", "walk_forward", "none"]


def has_served(record: Record, league: str, version: int) -> bool:
    """Whether a version has ever been alone in serving a league."""
    return any(set(row.traffic) == {version} for row in deployments.history(record, league))


def pin(
    rollout: Rollout, record: Record, league: str, version: int, decision: Decision, *, back: bool | None = None
) -> Endpoint:
    """Gives a version all traffic, whatever the evidence says; idempotent.

    Args:
        back: whether this is a way back, so that what served instead is withdrawn and marked; if not, the version is
            promoted and the former champion may be gone back to. By default it is one if the version served alone before.

    Raises:
        ServiceError: as `Rollout` does.
    """
    others = [one for one in serving(record, league).versions if one != version]
    if has_served(record, league, version) if back is None else back:
        for withdrawn in others:
            rollout.roll_back(withdrawn, decision, to=version)
    return rollout.serve({version: 100}, decision)


def promote(
    rollout: Rollout, store: DeltaStore, record: Record, league: League, decision: Decision, rule: Rule = DEFAULT
) -> Endpoint:
    """Gives the canary all traffic if its trial, judged anew, says so; without a canary the champion keeps it; idempotent.

    Raises:
        ServiceError: conflict (the verdict is not to roll out), not_found (nothing serves), and as `Rollout.serve` does.
    """
    found = serving(record, league.name)
    if found.champion is None:
        raise ServiceError("not_found", f"nothing serves {league.name}: materialise canary_endpoint first")
    judged = trial(store, record, league, rule)
    if judged is None or found.canary is None:
        reason = f"version {found.champion} serves alone; no canary is on trial"
        return rollout.serve({found.champion: 100}, replace(decision, reason=reason))
    if judged.verdict.choice != "roll_out":
        raise ServiceError("conflict", f"version {found.canary} is not rolled out: {judged.verdict.reason}")
    reason = f"version {found.canary} is rolled out: {judged.verdict.reason}"
    evidence = {**decision.evidence, **judged.evidence()}
    return rollout.serve({found.canary: 100}, replace(decision, reason=reason, evidence=evidence))


def last_change(record: Record, league: str) -> Deployment:
    """The last row of the record about a league that serves."""
    return deployments.history(record, league)[-1]


def withdraw(rollout: Rollout, record: Record, league: str, decision: Decision) -> tuple[int, Endpoint]:
    """Takes back the last step: the canary if there is one, else the champion in favour of its predecessor.

    Returns:
        The version withdrawn, and what serves now.

    Raises:
        ServiceError: not_found (nothing serves), conflict (no predecessor), and as `Rollout` does.
    """
    found = serving(record, league)
    withdrawn = found.canary if found.canary is not None else found.champion
    if withdrawn is None:
        raise ServiceError("not_found", f"nothing serves {league}; there is nothing to roll back")
    return withdrawn, rollout.roll_back(withdrawn, decision)


def withdraw_canary(rollout: Rollout, record: Record, league: str, canary: int, decision: Decision) -> Endpoint | None:
    """Takes back a version if it is still the one on trial; else changes nothing and returns None.

    Raises:
        ServiceError: as `Rollout.roll_back` does.
    """
    return rollout.roll_back(canary, decision) if serving(record, league).canary == canary else None


@dataclass(frozen=True)
class Standing:
    """One version's place in the ranking.

    Attributes:
        traffic: percent that it serves.
        basis: where gain and interval come from: `trial` (forecasts of this trial before tip-off; low and high are its
            confidence sequence) or `walk_forward` (its learner over the training set; 95 % interval).
        games: on which. gain: mean gain in Brier score over the champion, positive if better; None if unknown.
        reason: one sentence for people.
    """

    version: int
    learner: str
    role: Literal["champion", "canary", "challenger", "rolled back", "candidate"]
    traffic: int
    basis: Basis
    games: int
    gain: float | None
    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True)
class Advice:
    """What should serve a league.

    Attributes:
        serve: the version that should serve all traffic now; None if there is no model.
        action: what to do about it.
        more_games: about how many more settle the trial; None when decided or when it cannot be said.
        ranked: best first; versions whose evidence cannot tell them apart stand in the order of their gain.
    """

    league: str
    serve: int | None
    action: Literal["deploy", "roll_out", "roll_back", "wait", "try", "nothing"]
    reason: str
    more_games: int | None
    ranked: tuple[Standing, ...]

    def json(self) -> dict[str, Any]:
        return asdict(self)


def advise(store: DeltaStore, record: Record, registry: Registry, league: League, rule: Rule = DEFAULT) -> Advice:
    """Ranks the versions that are deployed and the candidates of the last training, and says what to do."""
    name = league.name
    found = serving(record, name)
    under_way = trial(store, record, league, rule)
    challenger = registry.challenger(name)
    withdrawn = deployments.rolled_back(record, name)
    reference = found.champion or (challenger.version if challenger else None)
    if reference is None:
        return Advice(name, None, "nothing", f"{name} has no model yet: hoops train {name}", None, ())
    named = challenger.version if challenger else None
    standings = _standings(registry, name, found, reference, named, withdrawn, under_way)
    serve, action, reason, more = _next_step(name, found, named, withdrawn, under_way)
    ranked = sorted(
        standings, key=lambda one: (one.gain is None, -(one.gain or 0.0), one.role != "champion", one.version)
    )
    return Advice(name, serve, action, reason, more, tuple(ranked))


def _next_step(
    league: str, found: Serving, challenger: int | None, withdrawn: set[int], under_way: Trial | None
) -> tuple[int | None, Literal["deploy", "roll_out", "roll_back", "wait", "try", "nothing"], str, int | None]:
    if found.champion is None:
        return challenger, "deploy", f"nothing serves yet; deploy version {challenger}: hoops deploy {league}", None
    if under_way:
        verdict = under_way.verdict
        canary, champion = found.canary, found.champion
        if verdict.choice == "roll_out":
            return canary, "roll_out", f"roll out version {canary}: {verdict.reason}", None
        if verdict.choice in ("roll_back", "keep_champion"):
            return champion, "roll_back", f"withdraw version {canary} and keep {champion}: {verdict.reason}", None
        return (
            champion,
            "wait",
            f"keep version {champion} and go on trying {canary}: {verdict.reason}",
            verdict.more_games,
        )
    if challenger is None or challenger == found.champion:
        return found.champion, "nothing", f"version {found.champion} serves and nothing challenges it", None
    if challenger in withdrawn:
        said = f"version {found.champion} stays: the challenger, version {challenger}, was rolled back"
        return found.champion, "nothing", said, None
    said = f"keep version {found.champion} and try version {challenger} as a canary: hoops deploy {league}"
    return found.champion, "try", said, None


def _standings(
    registry: Registry, league: str, found: Serving, reference: int, challenger: int | None, withdrawn: set[int],
    under_way: Trial | None,
) -> list[Standing]:  # fmt: skip
    events = registry.challengers(league)
    evidence: dict[str, Any] = dict(events[-1].evidence) if events else {}
    candidates = {int(row["version"]): str(row["learner"]) for row in evidence.get("candidates", [])}
    base = registry.get(league, reference).learner
    traffic = {found.champion: 100 - found.share, found.canary: found.share}
    out = []
    for version in sorted({reference, *found.versions, *candidates}):
        learner = candidates.get(version) or registry.get(league, version).learner
        role = (
            "champion" if version == found.champion
            else "canary" if version == found.canary
            else "rolled back" if version in withdrawn
            else "challenger" if version == challenger
            else "candidate"
        )  # fmt: skip
        share = traffic.get(version, 0)
        if version == reference:
            said = "what the others are compared with"
            out.append(Standing(version, learner, role, share, "none", 0, 0.0, None, None, said))
        elif under_way and version == found.canary and under_way.verdict.games:
            told = under_way.verdict
            out.append(
                Standing(
                    version, learner, role, share, "trial", told.games, told.mean, told.low, told.high, told.reason
                )
            )
        else:
            out.append(_by_walk_forward(version, learner, role, share, base, evidence))
    return out


def _by_walk_forward(
    version: int, learner: str, role: Any, share: int, base: str, evidence: dict[str, Any]
) -> Standing:
    if learner == base:
        said = f"also a {base}: only the games that it was fitted on differ"
        return Standing(version, learner, role, share, "none", 0, None, None, None, said)
    for pair in evidence.get("walk_forward", {}).get("paired", []):
        if {pair["learner"], pair["against"]} != {learner, base}:
            continue
        sign = -1.0 if pair["learner"] == learner else 1.0
        gain, ends = sign * pair["brier_difference"], [pair["brier_low"], pair["brier_high"]]
        if None in ends:
            break
        low, high = sorted(sign * end for end in ends)
        told = (
            "better than the champion's learner" if low > 0
            else "worse than the champion's learner" if high < 0
            else "cannot be told from the champion's learner"
        )  # fmt: skip
        said = f"{told} on {pair['n']} walk-forward games"
        return Standing(version, learner, role, share, "walk_forward", pair["n"], gain, low, high, said)
    said = f"never compared with a {base}: train again (hoops train)"
    return Standing(version, learner, role, share, "none", 0, None, None, None, said)
