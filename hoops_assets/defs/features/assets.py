"""Features: what was known of teams and their fans before each game."""

from datetime import timedelta

import dagster as dg
import pandas as pd

from hoops_assets.basketball import games as g
from hoops_assets.basketball.form import STATE, extend_form, has_gap
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import days_of, tell_rows
from hoops_assets.defs.resources import SourcesResource
from hoops_assets.store.io_manager import TablesResource

STAGE = "features"
_YESTERDAY = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    league = lane.league

    @lane.table(
        STAGE,
        "team_form",
        ins={"fixtures": lane.input("fixtures"), "results": lane.input("results")},
        deps=[dg.AssetDep(lane.key("team_form"), partition_mapping=_YESTERDAY), lane.key("history")],
    )
    def team_form(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        sources: SourcesResource,
        fixtures: pd.DataFrame,
        results: pd.DataFrame,
    ) -> pd.DataFrame:
        first = days_of(context)[0]
        previous = tables.store.read(league.name, "team_form", before=first, columns=STATE)
        if has_gap(previous, lane.game_days_since_start(), first):
            context.log.info(f"not every game day before {first} is materialised: form begins from the source's games")
            games = sources.games(league).games
            previous = extend_form(None, games[games["day"] < first], league)
        elif previous.empty:
            previous = extend_form(None, tables.store.read(league.name, "history", before=first), league)
        return tell_rows(context, extend_form(previous, g.with_scores(fixtures, results), league))

    @lane.table(
        STAGE,
        "fan_sentiment",
        kinds=("deltalake", "vader"),
        ins={"fixtures": lane.input("fixtures")},
        deps=[lane.key("fan_posts")],
    )
    def fan_sentiment(
        context: dg.AssetExecutionContext, tables: TablesResource, fixtures: pd.DataFrame
    ) -> pd.DataFrame:
        from hoops_assets.basketball.sentiment import WINDOW_HOURS, team_sentiment, vader_scorer

        days = days_of(context)
        reach = timedelta(hours=WINDOW_HOURS) + timedelta(days=1)
        posts = tables.store.read(league.name, "fan_posts", first=days[0] - reach, last=days[-1])
        return tell_rows(context, team_sentiment(posts, fixtures, vader_scorer(), league.zone))

    @lane.table(
        STAGE,
        "game_features",
        ins={name: lane.input(name) for name in ("fixtures", "team_form", "fan_sentiment")},
    )
    def game_features(
        context: dg.AssetExecutionContext, fixtures: pd.DataFrame, team_form: pd.DataFrame, fan_sentiment: pd.DataFrame
    ) -> pd.DataFrame:
        from hoops_assets.basketball import features

        return tell_rows(context, features.game_features(fixtures, team_form, fan_sentiment, league))

    return [team_form, fan_sentiment, game_features]
