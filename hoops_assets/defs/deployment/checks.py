"""What must hold before traffic moves: the gate of the canary and the verdict over it, as checks of their assets.

What belongs here: the specifications, and reading what an earlier check found. The assets evaluate them.
"""

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from hoops_assets.defs.checks import SUITE
from hoops_assets.defs.lane import Lane

GATE, ROLL_OUT = "gate", "roll_out"

DATA_CHECKS = ("results", "game_features")
"""Tables whose last check must have passed before a version is deployed."""


def gate_spec(lane: Lane) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        GATE,
        asset=lane.key("canary_endpoint"),
        blocking=True,
        description="Compared with the champion, calibrated, same answers in both files, data in order, answers given.",
    )


def roll_out_spec(lane: Lane) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        ROLL_OUT,
        asset=lane.key("canary_verdict"),
        description="The canary is not worse than the champion by more than the margin; live_endpoint waits for this.",
    )


def refused_by_gate(instance: dg.DagsterInstance, canary_endpoint: dg.AssetKey) -> set[str]:
    """Ids of the last runs whose version the gate refused."""
    history = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(canary_endpoint, GATE), limit=50
    )
    return {one.run_id for one in history if one.status == AssetCheckExecutionRecordStatus.FAILED}


def last_passed(instance: dg.DagsterInstance, table: dg.AssetKey) -> bool | None:
    """Whether the last execution of a table's suite passed; None if it has never run."""
    history = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(table, SUITE), limit=10)
    for execution in history:
        event = execution.event.dagster_event if execution.event else None
        if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
            return event.asset_check_evaluation_data.passed
    return None
