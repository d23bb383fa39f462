"""Ingest: games and posts from the league's sources into tables."""

from datetime import datetime, time, timedelta

import dagster as dg
import pandas as pd

from hoops_assets.basketball import games as g
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import days_of, tell_rows
from hoops_assets.defs.resources import SourcesResource
from hoops_assets.store.schemas import TABLES

STAGE = "ingest"


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    league = lane.league

    @dg.asset(
        **(lane.asset(STAGE, "history", {"deltalake", "pandas"}, TABLES["history"].description)),
        io_manager_key="table_io",
    )
    def history(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        read = sources.games(league)
        return g.results(g.before_season(read.games, league.first_season)).astype(
            {"home_score": "int32", "away_score": "int32"}
        )

    @dg.asset(**lane.table(STAGE, "fixtures", TABLES["fixtures"].description))
    def fixtures(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        read = sources.games(league)
        for note in read.notes:
            context.log.info(note)
        if read.rejected:
            context.log.warning(f"{len(read.rejected)} rows refused, see the quarantine; the first: {read.rejected[0]}")
        return tell_rows(context, g.fixtures(g.on_days(read.games, days_of(context))))

    @dg.asset(**lane.table(STAGE, "results", TABLES["results"].description))
    def results(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        played = g.results(g.on_days(sources.games(league).games, days_of(context)))
        return tell_rows(context, played.astype({"home_score": "int32", "away_score": "int32"}))

    @dg.asset(**lane.table(STAGE, "fan_posts", TABLES["fan_posts"].description))
    def fan_posts(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        from hoops_assets.basketball.sentiment import post_days

        days = days_of(context)
        known = [datetime.fromisoformat(key).date() for key in lane.days.get_partition_keys()]
        earlier = [day for day in known if day < days[0]]
        start = datetime.combine(earlier[-1] if earlier else days[0] - timedelta(days=7), time(), league.zone)
        start += timedelta(days=1 if earlier else 0)
        end = datetime.combine(days[-1] + timedelta(days=1), time(), league.zone)
        read = sources.posts(league, start, end)
        if read is None:
            return tell_rows(context, TABLES["fan_posts"].empty())
        posts = read.posts.assign(day=post_days(read.posts["created_at"], days, league.zone))
        posts["season"] = [g.season_of(day, league.season_starts) for day in posts["day"]]
        posts["ingested_at"] = pd.Timestamp(sources.clock()).as_unit("us")
        return tell_rows(context, posts.astype({"season": "int32"})[list(TABLES["fan_posts"].columns)])

    return [history, fixtures, results, fan_posts]
