"""The story: one tag that all runs carry which follow from one another without a hand.

What belongs here: its name, and how a later run finds it. An alarm's edge begins one, LEAGUE:ALARM:DAY, and the weekly
training LEAGUE:weekly:DAY; the runs of training, canary, verdict and live deployment carry it on, and the evidence of
every deployment names it. In the UI's page of runs one filter on the tag shows the chain.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from hoops_assets.store.record import Record

TAG = "hoops/story"

EVIDENCE = "story"
"""Where a deployment's evidence names it."""


def named(league: str, what: str, day: date) -> str:
    return f"{league}:{what}:{day.isoformat()}"


def tags(story: str | None) -> dict[str, str]:
    """For a run request."""
    return {TAG: story} if story else {}


def evidence(story: str | None) -> dict[str, str]:
    """For a deployment."""
    return {EVIDENCE: story} if story else {}


def of_version(instance: dg.DagsterInstance, record: Record, league: str, version: int | None) -> str | None:
    """The story of the run that last trained a version; None if a person started it or it is forgotten."""
    name = f"{league}/{version}"
    runs = [one.run_id for one in record.ledger(league=league) if one.model_version == name and one.run_id]
    run = instance.get_run_by_id(runs[-1]) if runs else None
    return run.tags.get(TAG) if run else None


def of_deployed(record: Record, league: str, version: int | None) -> str | None:
    """The story that the newest deployment of a version names."""
    from hoops_assets.store.deployments import history

    rows = [row for row in history(record, league) if row.version == version and row.action == "deploy"]
    return rows[-1].evidence.get(EVIDENCE) if rows else None


def carry(context: dg.AssetExecutionContext, story: str | None) -> str | None:
    """Gives the story to this run, unless it has one already; returns the run's own.

    A run that an automation condition asked for cannot be given a tag before it begins.
    """
    own = context.run.tags.get(TAG)
    if own or not story:
        return own
    context.instance.add_run_tags(context.run_id, {TAG: story})
    return story
