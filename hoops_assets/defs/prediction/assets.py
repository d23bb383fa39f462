"""Prediction: champion's and canary's forecasts of every fixture before tip-off, through the batch interface."""

import dagster as dg
import pandas as pd

from hoops_assets.basketball import predictions as p
from hoops_assets.defs import fallback
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import days_of, tell_rows
from hoops_assets.defs.resources import PredictionResource, RecordResource, RegistryResource, SourcesResource
from hoops_assets.errors import HoopsError
from hoops_assets.store.io_manager import TablesResource

STAGE = "prediction"


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    league = lane.league

    @lane.table(
        STAGE,
        "predictions",
        kinds=("deltalake", "onnx"),
        ins={"game_features": lane.input("game_features")},
        deps=[lane.key("canary_endpoint")],
    )
    def predictions(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        registry: RegistryResource,
        record: RecordResource,
        prediction: PredictionResource,
        sources: SourcesResource,
        game_features: pd.DataFrame,
    ) -> pd.DataFrame:
        from hoops_assets.services.prediction.trial import to_forecast

        days = days_of(context)
        stored = tables.store.read(league.name, "predictions", first=days[0], last=days[-1])
        models = registry.service()
        numbers = to_forecast(record.open(), models, league.name)
        if not numbers:
            context.log.info(f"{league.name} has no model yet: train one, then materialise these days again")
            return tell_rows(context, stored)
        troubles: list[str] = []
        for version in (models.get(league.name, number) for number in numbers):
            games, why = game_features[p.may_forecast(game_features["day"], version.trained_through)], ""
            try:
                probabilities = prediction.service(models).batch(version, games)
            except (HoopsError, ConnectionError, TimeoutError) as error:
                if not fallback.may_fall_back(context, lane, STAGE, error):
                    raise
                why = f"by Elo ratings: the model of version {version.version} could not be asked: {error}"
                probabilities = p.by_ratings(games)
                troubles.append(why)
            made = p.predictions(
                games,
                probabilities,
                version=version.version,
                learner=version.learner,
                now=sources.clock(),
                zone=league.zone,
                degraded=why,
            )
            stored = p.merge_predictions(stored, made, game_features["game_id"])
        fallback.tell(context, lane, record, "predictions", "; ".join(troubles) or None)
        if troubles:
            told = {"degraded": "; ".join(troubles), "degraded_forecasts": int((stored["degraded"] != "").sum())}
            context.add_asset_metadata(told, partition_key=days[-1].isoformat())
        return tell_rows(context, stored)

    return [predictions]
