"""Quality: reports about a league's data as a whole, for people."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd

from hoops_assets.basketball.new_teams import RECORD_GAMES, followed, unseen
from hoops_assets.basketball.new_teams import new_teams as find_new_teams
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import table as as_table
from hoops_assets.defs.resources import SourcesResource
from hoops_assets.store.expectations import ROWS_OF
from hoops_assets.store.io_manager import TablesResource
from hoops_assets.store.schemas import TABLES

STAGE = "quality"
SHOWN_ROWS = 100
UNSEEN, AGREE = "no_team_unseen", "sources_agree"


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    return [_data_docs(lane), _new_teams(lane), *_reconciliation(lane)]


def _all_days_of(lane: Lane, *names: str) -> list[dg.AssetDep]:
    return [dg.AssetDep(lane.key(name), partition_mapping=dg.AllPartitionMapping()) for name in names]


def _data_docs(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league

    @lane.asset(
        STAGE,
        "data_docs",
        "Great Expectations' Data Docs of all tables: a site of plain files.",
        kinds={"greatexpectations"},
        deps=_all_days_of(lane, "game_features", "scored_predictions"),
    )
    def data_docs(
        context: dg.AssetExecutionContext, tables: TablesResource, sources: SourcesResource
    ) -> dg.MaterializeResult:
        from hoops_assets.store.expectations.data_docs import build_data_docs

        def frames() -> Iterator[tuple[str, pd.DataFrame, pd.Series | None]]:
            for name in TABLES:
                of = ROWS_OF.get(name)
                days = tables.store.read(league.name, of[0], columns=["day"])["day"] if of else None
                yield name, tables.store.read(league.name, name), days

        folder = Path(sources.home) / "data_docs" / league.name
        docs = build_data_docs(folder, league, frames(), sources.clock())
        summary = [
            [one.table, one.rows, len(one.findings), "; ".join(f.name for f in one.failed) or "all hold"]
            for one in docs.tables
        ]
        return dg.MaterializeResult(
            metadata={
                "data_docs": dg.MetadataValue.url(docs.index.resolve().as_uri()),
                "file": dg.MetadataValue.path(str(docs.index.resolve())),
                "tables": as_table(pd.DataFrame(summary, columns=["table", "rows", "expectations", "outcome"])),
                "failing_tables": sum(bool(one.failed) for one in docs.tables),
            }
        )

    return data_docs


def _new_teams(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league

    @lane.asset(
        STAGE,
        "new_teams",
        f"Teams that joined the league, what their predecessors let one expect, until they have played {RECORD_GAMES} games.",
        kinds={"pandas"},
        deps=_all_days_of(lane, "fixtures", "game_ratings"),
        check_specs=[
            dg.AssetCheckSpec(
                UNSEEN,
                asset=lane.key("new_teams"),
                description="No team stands in the fixtures that has never played in this league.",
            )
        ],
    )
    def new_teams(
        context: dg.AssetExecutionContext, tables: TablesResource, sources: SourcesResource
    ) -> dg.MaterializeResult:
        today = sources.clock().astimezone(league.zone).date()
        games = sources.games(league).games
        teams = find_new_teams(games, today)
        young = teams.loc[~teams["ordinary"], "first_day"]
        ratings = tables.store.read(league.name, "game_ratings", first=young.min() if len(young) else today)
        being_followed = followed(teams, ratings, today)
        waiting = unseen(teams)
        return dg.MaterializeResult(
            metadata={
                "new_teams": len(teams),
                "followed": as_table(being_followed) if len(being_followed) else "every team is ordinary",
                "unseen": [str(team) for team in waiting["team"]],
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=UNSEEN,
                    passed=waiting.empty,
                    severity=dg.AssetCheckSeverity.WARN,
                    description="; ".join(_alarm(lane, row) for row in waiting.to_dict("records"))
                    or "every team in the fixtures has played",
                )
            ],
        )

    return new_teams


def _alarm(lane: Lane, team: dict) -> str:
    known = lane.league.teams.get(team["team"])
    return (
        f"{team['team']} ({known.name if known else 'not in the league file'}) plays its first game on {team['first_day']};"
        f" its forecasts rest on the records of {team['predecessors']} teams that joined before it"
    )


def _reconciliation(lane: Lane) -> list[dg.AssetsDefinition]:
    """The report of a league that names a second source of its games."""
    league = lane.league
    if league.sources.compare is None:
        return []

    @lane.asset(
        STAGE,
        "reconciliation",
        "Every disagreement of the league's source of games (left) with a second one (right).",
        kinds={"pandas"},
        deps=_all_days_of(lane, "fixtures", "results"),
        check_specs=[
            dg.AssetCheckSpec(
                AGREE,
                asset=lane.key("reconciliation"),
                description="Both sources say the same of scores, winners, days, home sides and neutral ground.",
            )
        ],
    )
    def reconciliation(context: dg.AssetExecutionContext, sources: SourcesResource) -> dg.MaterializeResult:
        from hoops_assets.sources.reconcile import reconcile, summary
        from hoops_assets.store.atomic import write_text

        left, right = sources.games(league).games, sources.compared_games(league)
        report = reconcile(left, right.games)
        told = summary(report)
        file = Path(sources.home) / "reports" / league.name / "reconciliation.csv"
        write_text(file, report.to_csv(index=False))
        return dg.MaterializeResult(
            metadata={
                "disagreements": len(report),
                "games": len(left),
                "games_of_the_second_source": len(right.games),
                "refused_rows": len(right.rejected),
                "kinds": {str(kind): int(count) for kind, count in report["kind"].value_counts().items()},
                "first_disagreements": as_table(report.head(SHOWN_ROWS)) if len(report) else told,
                "report": dg.MetadataValue.path(str(file.resolve())),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=AGREE,
                    passed=report.empty,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=told if report.empty else f"{told}; all of them in {file}",
                    metadata={"seasons": sorted({int(season) for season in report["season"]})} if len(report) else {},
                )
            ],
        )

    return [reconciliation]
