"""Monitoring: what was forecast, held against what happened."""

import dagster as dg
import pandas as pd

from hoops_assets.basketball import predictions as p
from hoops_assets.defs.lane import TABLE_IO, Lane
from hoops_assets.defs.metadata import tell_reading, tell_rows
from hoops_assets.defs.resources import SourcesResource
from hoops_assets.store.schemas import TABLES

STAGE = "monitoring"


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    @lane.table(
        STAGE,
        "scored_predictions",
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

    return [scored_predictions, *_closing_odds(lane)]


def _closing_odds(lane: Lane) -> list[dg.AssetsDefinition]:
    """The market's closing line of a league that has a source of it. Nothing but judging may read it."""
    if lane.league.sources.odds is None:
        return []

    @lane.asset(
        STAGE,
        "closing_odds",
        TABLES["closing_odds"].description,
        kinds={"deltalake", "pandas"},
        io_manager_key=TABLE_IO,
        deps=[dg.AssetDep(lane.key("results"), partition_mapping=dg.AllPartitionMapping())],
    )
    def closing_odds(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        read = sources.odds(lane.league, sources.games(lane.league).games)
        assert read is not None
        tell_reading(context, read.notes, len(read.rejected))
        return read.odds

    return [closing_odds]
