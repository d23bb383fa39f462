"""The lane of a small league, materialised from end to end, and what must hold of it."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League
from hoops_assets.definitions import build_defs
from hoops_assets.defs.monitoring.assets import SIGNALS
from hoops_assets.defs.resources import RegistryResource, SourcesResource, resources
from hoops_assets.defs.training.assets import CANDIDATES
from hoops_assets.services.registry.contract import Registry
from hoops_assets.settings import Settings
from hoops_assets.sources.leagues import get_league
from hoops_assets.store import alarms
from hoops_assets.store.delta import DeltaStore
from hoops_assets.store.record import Record
from hoops_assets_tests.defs.stated import Altered
from hoops_assets_tests.launch import small_league as small

BY_DAY = (
    "fixtures", "results", "fan_posts", "team_form", "game_ratings", "fan_sentiment", "game_features", "predictions",
    "scored_predictions",
)  # fmt: skip
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Launch:
    """Runs the small league's assets of one home in this process, on an instance that is forgotten."""

    settings: Settings
    league: League
    location: dg.Definitions
    instance: dg.DagsterInstance

    @classmethod
    def of(cls, home: Path, overrides: dict[str, Any] | None = None) -> Launch:
        settings = small.settings(home)
        league = get_league(home, small.NAME)
        true_sources(settings).games(league)  # ingestion writes the calendar, which the definitions only read
        location = build_defs(settings, overrides, leagues=[league])
        return cls(settings, league, location, dg.DagsterInstance.ephemeral())

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([small.NAME, name])

    @property
    def days(self) -> list[date]:
        partitions = self.location.resolve_asset_graph().get(self.key("fixtures")).partitions_def
        assert partitions
        return [date.fromisoformat(key) for key in partitions.get_partition_keys()]

    def run(self, *names: str, first: date | None = None, last: date | None = None) -> dg.ExecuteInProcessResult:
        tags = {}
        if first and last:
            tags = {
                "dagster/asset_partition_range_start": first.isoformat(),
                "dagster/asset_partition_range_end": last.isoformat(),
            }
        return self.location.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=[self.key(name) for name in names], tags=tags, run_config=QUIET,
            raise_on_error=False,
        )  # fmt: skip

    def table(self, name: str) -> pd.DataFrame:
        return DeltaStore(self.settings.tables_root).read(small.NAME, name)

    def commits(self, name: str) -> list[str]:
        history = DeltaStore(self.settings.tables_root).history(small.NAME, name)
        return [entry["operation"] for entry in reversed(history)]

    @property
    def registry(self) -> Registry:
        resource = resources(self.settings)["registry"]
        assert isinstance(resource, RegistryResource)
        return resource.service()

    def told(self, name: str) -> dict[str, Any]:
        """Metadata of an unpartitioned asset's last materialisation."""
        event = self.instance.get_latest_materialization_event(self.key(name))
        assert event and event.asset_materialization
        return dict(event.asset_materialization.metadata)

    def told_of_days(self, name: str) -> dict[date, dict[str, Any]]:
        """Metadata of a partitioned asset's materialisations, the last of each day."""
        records = self.instance.fetch_materializations(self.key(name), limit=1000, ascending=True).records
        events = [record.asset_materialization for record in records]
        return {date.fromisoformat(str(one.partition)): dict(one.metadata) for one in events if one}


def true_sources(settings: Settings) -> SourcesResource:
    found = resources(settings)["sources"]
    assert isinstance(found, SourcesResource)
    return found


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Everything once: history, the days without a model, training, the forecasts of all days."""
    launch = Launch.of(small.make_home(tmp_path_factory.mktemp("home")))
    span = {"first": launch.days[0], "last": launch.days[-1]}
    assert launch.run("history").success
    assert launch.run(*BY_DAY, **span).success
    assert launch.table("predictions").empty, "there was no model yet"
    trained = ("training_set", *CANDIDATES, *(f"{learner}_evaluation" for learner in CANDIDATES), "challenger")
    result = launch.run(*trained)
    assert result.success, [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    assert launch.run("predictions", "scored_predictions", **span).success
    return launch


@pytest.fixture
def games(lane: Launch) -> pd.DataFrame:
    return true_sources(lane.settings).games(lane.league).games


# -- ingest and features ----------------------------------------------------------------------------------------------


def test_the_tables_hold_every_game_of_the_source_once(lane: Launch, games: pd.DataFrame) -> None:
    here = games[(games["season"] >= lane.league.first_season) & (games["day"] <= lane.days[-1])]
    assert list(lane.table("fixtures")["game_id"]) == list(here["game_id"])
    assert list(lane.table("game_features")["game_id"]) == list(here["game_id"])
    assert list(lane.table("results")["game_id"]) == list(here.loc[here["home_score"].notna(), "game_id"])
    assert list(lane.table("history")["game_id"]) == list(games.loc[games["season"] < 2024, "game_id"])
    for name in ("team_form", "fan_sentiment"):
        assert lane.table(name).groupby("game_id").size().to_dict() == dict.fromkeys(here["game_id"], 2)


def test_a_range_is_one_commit_of_every_table(lane: Launch) -> None:
    write = ["CREATE TABLE", "WRITE"]
    for name in ("history", "training_set", *BY_DAY[:-2]):
        assert lane.commits(name) == write, name
    for name in ("predictions", "scored_predictions"):
        assert lane.commits(name) == [*write, "WRITE"], "once without a model, once with one"


def test_every_day_says_how_many_rows_it_has_and_carries_no_plot(lane: Launch) -> None:
    for name in BY_DAY:
        told, rows = lane.told_of_days(name), lane.table(name)["day"].value_counts()
        assert sorted(told) == lane.days
        for day, metadata in told.items():
            assert metadata["dagster/partition_row_count"].value == int(rows.get(day, 0)), (name, day)
            assert not any(isinstance(value, dg.MarkdownMetadataValue) for value in metadata.values())


def test_a_day_without_games_is_materialised_with_no_rows(lane: Launch) -> None:
    idle = sorted(set(lane.days) - set(lane.table("fixtures")["day"]))
    assert idle, "from today to the season's end no day is excluded"
    assert all(lane.told_of_days("game_features")[day]["dagster/partition_row_count"].value == 0 for day in idle)


def test_the_last_day_of_a_run_tells_what_became_of_the_posts(lane: Launch) -> None:
    told, posts = lane.told_of_days("fan_posts"), lane.table("fan_posts")
    assert {day: metadata["new_posts"].value for day, metadata in told.items() if metadata["new_posts"].value} == (
        posts["day"].value_counts().to_dict()
    )
    last = {name: value.value for name, value in told[lane.days[-1]].items()}
    assert last["run_posts_stored"] == last["buffer_committed"] == last["buffer_offered"] == len(posts) > 0
    assert (last["buffer_depth"], last["buffer_policy"], last["run_posts_late"]) == (0, "wait", 0)
    assert not any("buffer_depth" in metadata for day, metadata in told.items() if day != lane.days[-1])
    counts = (lane.settings.home / "metrics" / f"{small.NAME}_post_buffer.prom").read_text()
    assert f'hoops_post_buffer_committed{{league="{small.NAME}"}} {len(posts)}\n' in counts


def test_sentiment_is_told_against_the_usual_of_the_team(lane: Launch) -> None:
    sentiment = lane.table("fan_sentiment")
    known = sentiment[sentiment["change"].notna()]
    assert 0 < len(known) < len(sentiment)
    assert known["usual_score"].between(-1, 1).all()
    assert not sentiment.duplicated(["game_id", "team"]).any()


def test_results_of_a_day_not_yet_played_are_empty(lane: Launch) -> None:
    today = lane.settings.clock().astimezone(lane.league.zone).date()
    ahead = lane.table("fixtures").loc[lambda frame: frame["day"] > today, "day"]
    assert len(ahead)
    assert lane.table("results")["day"].max() <= today
    assert lane.told_of_days("results")[ahead.min()]["dagster/partition_row_count"].value == 0


def test_both_checks_passed_over_the_whole_range(lane: Launch) -> None:
    for name in ("results", "game_features"):
        key = dg.AssetCheckKey(lane.key(name), "expectations")
        (latest,) = lane.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert latest.event and latest.event.dagster_event
        evaluation = latest.event.dagster_event.asset_check_evaluation_data
        assert evaluation.passed
        assert evaluation.metadata["days"].value == f"{lane.days[0]} to {lane.days[-1]}"
        assert evaluation.metadata["rows"].value == len(lane.table(name))


# -- training ---------------------------------------------------------------------------------------------------------


def test_all_candidates_are_registered_and_the_best_on_validation_is_the_challenger(lane: Launch) -> None:
    versions = lane.registry.list(small.NAME)
    assert sorted(one.learner for one in versions) == sorted(CANDIDATES)
    best = min(versions, key=lambda one: (one.metrics["validation_log_loss"], one.version))
    challenger = lane.registry.challenger(small.NAME)
    assert challenger and challenger.version == best.version
    assert lane.told("challenger")["version"].value == best.version
    assert lane.told("challenger")["learner"].value == best.learner


@pytest.mark.parametrize("name", ["challenger", *(f"{learner}_evaluation" for learner in CANDIDATES)])
def test_a_person_can_look_at_the_evidence(name: str, lane: Launch) -> None:
    told = lane.told(name)
    for plot in ("reliability_plot", "log_loss_by_season_plot"):
        head, _, image = told[plot].value.removesuffix(")").partition("base64,")
        assert head == "![plot](data:image/png;"
        assert base64.b64decode(image, validate=True).startswith(b"\x89PNG")


def test_the_training_set_can_be_read_again_as_the_model_saw_it(lane: Launch) -> None:
    challenger = lane.registry.challenger(small.NAME)
    assert challenger
    manifest = lane.registry.manifest(small.NAME, challenger.version)
    reference = manifest.training_set
    rows = DeltaStore(lane.settings.tables_root).read(small.NAME, "training_set", version=reference.table_version)
    assert len(rows) == reference.games == lane.told("training_set")["dagster/row_count"].value
    assert {split: list(of["game_id"]) for split, of in rows.groupby("split")} == {
        split: sorted(ids) for split, ids in manifest.games.items()
    }
    features = lane.table("game_features").set_index("game_id").loc[rows["game_id"], list(FEATURES)]
    pd.testing.assert_frame_equal(rows[list(FEATURES)], features.reset_index(drop=True), check_exact=True)


def test_the_ledger_says_who_launched_every_candidate(lane: Launch) -> None:
    launches = Record(lane.settings.record).ledger(league=small.NAME)
    assert sorted((one.learner, one.status, one.what) for one in launches) == sorted(
        (learner, "succeeded", "training") for learner in CANDIDATES
    )
    assert len({one.run_id for one in launches}) == 1


# -- prediction and monitoring ----------------------------------------------------------------------------------------


def test_every_game_after_all_that_the_model_knows_is_forecast_and_none_before(lane: Launch) -> None:
    challenger = lane.registry.challenger(small.NAME)
    assert challenger
    predictions, fixtures = lane.table("predictions"), lane.table("fixtures")
    later = fixtures[fixtures["day"] > challenger.trained_through]
    assert 0 < len(later) < len(fixtures)
    assert list(predictions["game_id"]) == list(later["game_id"])
    assert set(predictions["version"]) == {challenger.version}
    assert predictions["home_win_probability"].between(0, 1, inclusive="neither").all()


def test_a_forecast_made_after_the_game_is_marked(lane: Launch) -> None:
    predictions, played = lane.table("predictions"), set(lane.table("results")["game_id"])
    assert predictions["game_id"].isin(played).any()
    assert not predictions["game_id"].isin(played).all()
    assert (predictions["backfilled"] == predictions["game_id"].isin(played)).all()
    assert (predictions["made_at"] == pd.Timestamp(small.NOW)).all()


def test_scored_predictions_are_the_forecasts_of_played_games_with_their_losses(lane: Launch) -> None:
    scored, results = lane.table("scored_predictions"), lane.table("results").set_index("game_id")
    predictions = lane.table("predictions").loc[lambda frame: frame["game_id"].isin(results.index)]
    assert list(scored["game_id"]) == list(predictions["game_id"])
    p = scored["home_win_probability"].to_numpy()
    won = (results["home_score"] > results["away_score"]).loc[scored["game_id"]].to_numpy()
    np.testing.assert_array_equal(scored["home_win"], won)
    np.testing.assert_allclose(scored["log_loss"], -np.log(np.where(won, p, 1 - p)), rtol=1e-12)
    np.testing.assert_allclose(scored["brier"], (p - won) ** 2, rtol=1e-12)


def answered(lane: Launch, game: str, p: float, number: int) -> None:
    row = {"request_id": f"r{number}", "customer": "fan", "league": small.NAME, "game_id": game, "learner": "elo",
           "version": int(lane.table("predictions")["version"].iloc[0]), "home_win_probability": p}  # fmt: skip
    Record(lane.settings.record).append("served_predictions", row)


def test_watching_turns_an_alarm_once_and_says_so_on_a_page(lane: Launch, tmp_path: Path) -> None:
    home = tmp_path / "watched"
    shutil.copytree(lane.settings.home, home)
    watched = Launch.of(home)
    names = ("model_performance", "drift_report")
    forecast = watched.table("scored_predictions").iloc[-1]  # skew is of the season that is played
    log = Record(watched.settings.record)

    def watch() -> dict[str, dg.AssetCheckEvaluation]:
        result = watched.run(*names)
        assert result.success, [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        return {one.check_name: one for one in result.get_asset_check_evaluations() if one.check_name != "expectations"}

    def turned() -> list[tuple[str, str]]:
        return [(edge.alarm, edge.state) for edge in alarms.history(log, small.NAME)]

    checks = watch()
    assert set(checks) == {f"drift_{name}" for name in SIGNALS} and all(one.passed for one in checks.values())
    assert turned() == []
    answered(watched, forecast["game_id"], forecast["home_win_probability"] / 2, 0)
    for _ in range(2):
        skew = watch()["drift_skew"]
        assert (skew.passed, skew.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert turned() == [("drift/skew", "red")]
    report = json.loads((home / "reports" / small.NAME / "drift.json").read_text())
    answered(watched, forecast["game_id"], forecast["home_win_probability"], 1)
    assert watch()["drift_skew"].passed
    assert turned() == [("drift/skew", "red"), ("drift/skew", "green")]

    page = Path(watched.told("drift_report")["file"].value).read_text()
    assert "Serving and training see the same" in page and "quiet again" in page and report["signals"]
    played = len(watched.table("scored_predictions"))
    told = watched.told("model_performance")
    assert (told["forecasts"].value, told["backfilled"].value, told["answers"].value) == (0, played, 2)
    table = watched.table("model_performance")
    whole = table[(table["kind"] == "backfilled") & (table["forecaster"] == "league") & (table["scope"] == "all")]
    assert whole["games"].tolist() == [played]
    assert whole["log_loss"].iloc[0] == pytest.approx(watched.table("scored_predictions")["log_loss"].mean())


# -- time -------------------------------------------------------------------------------------------------------------


def test_another_future_moves_no_feature_and_no_forecast_up_to_its_day(lane: Launch, tmp_path: Path) -> None:
    challenger = lane.registry.challenger(small.NAME)
    assert challenger
    played = lane.table("results")["day"]
    after = sorted(played[played > challenger.trained_through].unique())
    turn = after[len(after) // 2]
    midnight = pd.Timestamp(datetime.combine(turn + timedelta(days=1), time(), lane.league.zone))

    def games_through(games: pd.DataFrame) -> pd.DataFrame:
        future = games["day"] >= turn
        swapped = games.assign(home_score=games["away_score"] + 7, away_score=games["home_score"])
        other = games.where(~future, swapped).astype(games.dtypes)
        cancelled = (games["day"] > turn) & (games.index % 3 == 0)
        return other[~cancelled].reset_index(drop=True)

    def posts_through(posts: pd.DataFrame) -> pd.DataFrame:
        return posts.assign(text=posts["text"].where(posts["created_at"] < midnight, "what a terrible, awful game"))

    home = tmp_path / "other"
    shutil.copytree(lane.settings.home, home)
    for kept in ("predictions", "fan_posts"):  # a stored forecast, or post, is never replaced
        shutil.rmtree(home / "tables" / small.NAME / kept)
    true = true_sources(small.settings(home))
    other = Launch.of(home, {"sources": Altered(true, games_through, posts_through)})
    other = replace(other, league=lane.league)
    assert other.run(*BY_DAY, first=lane.days[0], last=lane.days[-1]).success
    assert not other.table("results").equals(lane.table("results"))
    for name in ("game_features", "fan_sentiment", "predictions"):
        before, now = lane.table(name), other.table(name)
        pd.testing.assert_frame_equal(
            before[before["day"] <= turn], now[now["day"] <= turn], check_exact=True, obj=f"{name} up to {turn}"
        )
        assert not before[before["day"] > turn].equals(now[now["day"] > turn]), "the other future is not one"


def test_a_range_that_begins_in_the_middle_gives_the_features_of_the_whole(lane: Launch, tmp_path: Path) -> None:
    middle = lane.days[len(lane.days) // 2 :]
    late = Launch.of(small.make_home(tmp_path))
    assert late.run("fixtures", "results", "fan_posts", first=lane.days[0], last=lane.days[-1]).success
    result = late.run("team_form", "game_ratings", "fan_sentiment", "game_features", first=middle[0], last=middle[-1])
    assert result.success, "neither history nor the days before were materialised"
    whole = lane.table("game_features")
    pd.testing.assert_frame_equal(
        late.table("game_features"), whole[whole["day"] >= middle[0]].reset_index(drop=True), check_exact=True
    )


# -- checks in the graph ----------------------------------------------------------------------------------------------


def other_scores(home: Path, home_score: int, away_score: int, day: date) -> Launch:
    """The lane of a home whose source tells these scores of one day."""

    def through(games: pd.DataFrame) -> pd.DataFrame:
        hit = games["day"] == day
        return games.assign(
            home_score=games["home_score"].mask(hit, home_score), away_score=games["away_score"].mask(hit, away_score)
        )

    return Launch.of(home, {"sources": Altered(true_sources(small.settings(home)), through)})


def test_a_critical_failure_stops_what_comes_after_and_names_the_day(lane: Launch, tmp_path: Path) -> None:
    first, bad, last = lane.days[:3]
    tied = other_scores(small.make_home(tmp_path), 88, 88, bad)
    result = tied.run("fixtures", "results", "team_form", "game_ratings", "game_features", first=first, last=last)
    assert not result.success
    (evaluation,) = (one for one in result.get_asset_check_evaluations() if one.asset_key.path[-1] == "results")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert evaluation.metadata["failing_days"].value == [bad.isoformat()]
    assert f"no game is tied: {(tied.table('results')['day'] == bad).sum()} rows" in str(evaluation.description)
    assert bad.isoformat() in str(evaluation.description)
    made = {event.asset_key.path[1] for event in result.get_asset_materialization_events() if event.asset_key}
    assert made == {"fixtures", "results"}
    assert tied.table("team_form").empty


def test_a_warning_is_told_and_stops_nothing(lane: Launch, tmp_path: Path) -> None:
    first = lane.days[0]
    low = other_scores(small.make_home(tmp_path), 21, 20, first)
    result = low.run("fixtures", "results", "team_form", first=first, last=first)
    assert result.success
    (evaluation,) = (one for one in result.get_asset_check_evaluations() if one.asset_key.path[-1] == "results")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "scores are those of basketball: observed 21.0" in str(evaluation.description)
    assert len(low.table("team_form")) == 2 * len(low.table("fixtures"))
