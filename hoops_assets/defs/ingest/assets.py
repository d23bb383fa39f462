"""Ingest: games and posts from the league's sources into tables."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import dagster as dg
import pandas as pd

from hoops_assets.basketball import games as g
from hoops_assets.defs import fallback
from hoops_assets.defs.lane import TABLE_IO, Lane
from hoops_assets.defs.metadata import days_of, tell_intake, tell_reading, tell_rows
from hoops_assets.defs.resources import PostBufferResource, RecordResource, SourcesResource
from hoops_assets.errors import SourceError
from hoops_assets.store.io_manager import TablesResource
from hoops_assets.store.schemas import TABLES

STAGE = "ingest"


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    league = lane.league

    @lane.asset(STAGE, "history", TABLES["history"].description, kinds={"deltalake", "pandas"}, io_manager_key=TABLE_IO)
    def history(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        read = sources.games(league)
        return g.results(g.before_season(read.games, league.first_season)).astype(
            {"home_score": "int32", "away_score": "int32"}
        )

    @lane.table(STAGE, "fixtures")
    def fixtures(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        read = sources.games(league)
        tell_reading(context, read.notes, len(read.rejected))
        return tell_rows(context, g.fixtures(g.on_days(read.games, days_of(context))))

    @lane.table(STAGE, "results")
    def results(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        played = g.results(g.on_days(sources.games(league).games, days_of(context)))
        return tell_rows(context, played.astype({"home_score": "int32", "away_score": "int32"}))

    @lane.table(STAGE, "fan_posts")
    def fan_posts(
        context: dg.AssetExecutionContext,
        sources: SourcesResource,
        tables: TablesResource,
        record: RecordResource,
        post_buffer: PostBufferResource,
    ) -> None:
        from hoops_assets.store.fan_posts import FanPosts

        days = days_of(context)
        earlier = lane.days.get_prev_partition_window(datetime.combine(days[0], time(), league.zone))
        first = earlier.start.date() + timedelta(days=1) if earlier else days[0] - timedelta(days=7)
        start, end = (datetime.combine(day, time(), league.zone) for day in (first, days[-1] + timedelta(days=1)))

        notes: list[str] = []
        refused = 0

        def parts() -> Iterator[pd.DataFrame]:
            nonlocal refused
            for read in sources.posts(league, start, end):
                notes.extend(note for note in read.notes if note not in notes)
                refused += len(read.rejected)
                yield read.posts

        known = [date.fromisoformat(key) for key in lane.days.get_partition_keys()]
        run = {"dagster/run_id": context.run_id}
        table = FanPosts(tables.store, post_buffer.open(league), league, known, sources.clock(), run)
        try:
            intake = table.take_in(parts(), first, days[-1])
        except (SourceError, ConnectionError, TimeoutError) as error:
            if not fallback.may_fall_back(context, lane, STAGE, error):
                raise
            why = f"the source of fan posts cannot be read, the features stand on the posts that are stored: {error}"
            fallback.tell(context, lane, record, "fan_posts", why)
            context.add_asset_metadata({"degraded": why}, partition_key=days[-1].isoformat())
            return
        fallback.tell(context, lane, record, "fan_posts", None)
        tell_reading(context, notes, refused)
        tell_rows(context, tables.store.read(league.name, "fan_posts", first=days[0], last=days[-1], columns=["day"]))
        tell_intake(context, intake, post_buffer.tell(league))

    return [history, fixtures, results, fan_posts, *_box_scores(lane)]


def _box_scores(lane: Lane) -> list[dg.AssetsDefinition]:
    """The box scores of a league that has a source of them: not one partition a day, since files come by season."""
    if lane.league.sources.box_scores is None:
        return []

    @lane.asset(
        STAGE,
        "box_scores",
        TABLES["box_scores"].description,
        kinds={"deltalake", "pandas"},
        io_manager_key=TABLE_IO,
        deps=[dg.AssetDep(lane.key("results"), partition_mapping=dg.AllPartitionMapping())],
    )
    def box_scores(context: dg.AssetExecutionContext, sources: SourcesResource) -> pd.DataFrame:
        read = sources.box_scores(lane.league, g.results(sources.games(lane.league).games))
        assert read is not None
        tell_reading(context, read.notes, len(read.rejected))
        return read.box_scores

    return [box_scores]
