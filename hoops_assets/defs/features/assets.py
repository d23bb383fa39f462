"""Features: what was known of teams and their fans before each game."""

from datetime import date, timedelta

import dagster as dg
import pandas as pd

from hoops_assets.basketball import games as g
from hoops_assets.basketball.form import STATE, extend_form, has_gap
from hoops_assets.basketball.game_ratings import game_ratings as rate_games
from hoops_assets.basketball.game_ratings import start_season
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
        "game_ratings",
        ins={"fixtures": lane.input("fixtures"), "results": lane.input("results")},
        deps=[dg.AssetDep(lane.key("game_ratings"), partition_mapping=_YESTERDAY), lane.key("history")],
    )
    def game_ratings(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        sources: SourcesResource,
        fixtures: pd.DataFrame,
        results: pd.DataFrame,
    ) -> pd.DataFrame:
        first, store = days_of(context)[0], tables.store
        earlier = store.read(league.name, "fixtures", before=first)
        if not store.exists(league.name, "history") or has_gap(earlier, lane.game_days_since_start(), first):
            context.log.info(f"not every game day before {first} is materialised: ratings rest on the source's games")
            games = sources.games(league).games
            past = [games[games["day"] < first]]
        else:
            played = store.read(league.name, "results", before=first)
            since = date(start_season(first.year) - 1, 1, 1)  # a season begins at the earliest in the year before it
            past = [store.read(league.name, "history", first=since, before=first), g.with_scores(earlier, played)]
        games = g.stacked([*past, g.with_scores(fixtures, results)])
        return tell_rows(context, rate_games(games, league, first))

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
        from hoops_assets.basketball.sentiment import SCORERS, USUAL_DAYS
        from hoops_assets.basketball.sentiment import fan_sentiment as sentiment_of

        days, store, rules = days_of(context), tables.store, league.sentiment
        since = days[0] - timedelta(days=USUAL_DAYS)
        reach = timedelta(hours=rules.window_hours) + timedelta(days=1)
        posts = store.read(league.name, "fan_posts", first=since - reach, last=days[-1])
        earlier = store.read(league.name, "fixtures", first=since, before=days[0])
        known = pd.concat([earlier, fixtures], ignore_index=True) if len(earlier) else fixtures
        scorer = SCORERS[rules.scorer]()
        return tell_rows(context, sentiment_of(posts, known, days[0], scorer, league.zone, rules.window_hours))

    @lane.table(
        STAGE,
        "game_features",
        ins={name: lane.input(name) for name in ("fixtures", "team_form", "game_ratings", "fan_sentiment")},
    )
    def game_features(
        context: dg.AssetExecutionContext,
        fixtures: pd.DataFrame,
        team_form: pd.DataFrame,
        game_ratings: pd.DataFrame,
        fan_sentiment: pd.DataFrame,
    ) -> pd.DataFrame:
        from hoops_assets.basketball import features

        return tell_rows(context, features.game_features(fixtures, team_form, game_ratings, fan_sentiment, league))

    return [team_form, game_ratings, fan_sentiment, game_features]
