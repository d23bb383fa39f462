"""Monitoring: what was forecast, held against what happened."""

import dagster as dg
import pandas as pd

from hoops_assets.basketball import predictions as p
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import tell_rows
from hoops_assets.store.schemas import TABLES

STAGE = "monitoring"


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    @dg.asset(
        **lane.table(STAGE, "scored_predictions", TABLES["scored_predictions"].description),
        ins={name: lane.input(name) for name in ("predictions", "results")},
    )
    def scored_predictions(
        context: dg.AssetExecutionContext, predictions: pd.DataFrame, results: pd.DataFrame
    ) -> pd.DataFrame:
        from hoops_assets.judging.scoring import brier_scores, log_losses

        settled = p.with_outcomes(predictions, results)
        forecast, outcome = settled["home_win_probability"], settled["home_win"]
        return tell_rows(
            context, settled.assign(log_loss=log_losses(forecast, outcome), brier=brier_scores(forecast, outcome))
        )

    return [scored_predictions]
