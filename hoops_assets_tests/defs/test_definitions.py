"""What the code location holds, and that one bad league file does not take the others down."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from hoops_assets.definitions import build_defs
from hoops_assets.defs.lane import OWNERS
from hoops_assets.settings import Settings
from hoops_assets.sources.leagues import load_leagues
from hoops_assets_tests.defs import snapshot
from hoops_assets_tests.launch import small_league as small


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return snapshot.definitions(tmp_path_factory.mktemp("home"))


def lanes(location: dg.Definitions) -> set[str]:
    return {key.path[0] for key in location.resolve_asset_graph().get_all_asset_keys()}


def test_the_location_is_loadable(location: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(location)


def test_the_module_that_the_servers_import_holds_the_definitions_of_its_home(tmp_path: Path) -> None:
    home = small.make_home(tmp_path)
    program = (
        "import json, sys; from hoops_assets.definitions import defs; import dagster as dg;"
        "dg.Definitions.validate_loadable(defs);"
        "print(json.dumps([sorted({k.path[0] for k in defs.resolve_asset_graph().get_all_asset_keys()}),"
        " sorted({m.split('.')[0] for m in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, env={"HOOPS_HOME": str(home), "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    leagues, modules = json.loads(done.stdout)
    assert leagues == ["atlantic", "pacific", "small"]
    heavy = {
        "sklearn", "scipy", "deltalake", "great_expectations", "mlflow", "onnx", "onnxruntime", "skl2onnx", "skops",
        "matplotlib", "vaderSentiment", "boto3", "typer",
    }  # fmt: skip
    assert heavy & set(modules) == set()


def test_the_shape_of_a_lane_is_the_committed_one(location: dg.Definitions) -> None:
    assert snapshot.written(snapshot.shape(location, snapshot.LEAGUE)) == snapshot.FILE.read_text(), (
        f"the code location has changed; if that was meant: {snapshot.RENEW}"
    )


def test_every_league_has_the_same_lane(location: dg.Definitions) -> None:
    one, other = (
        json.dumps(snapshot.shape(location, league)["assets"]).replace(league, "LEAGUE")
        for league in ("atlantic", "pacific")
    )
    assert one == other


def test_every_asset_says_whose_it_is_and_what_it_is(location: dg.Definitions) -> None:
    graph = location.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node, league = graph.get(key), key.path[0]
        stage = node.tags["hoops/step"]
        assert node.tags["hoops/league"] == league
        assert node.group_name == f"{league}_{stage}"
        assert node.owners == [OWNERS[stage]]
        assert node.kinds
        assert node.code_version
        assert node.description and node.description.endswith(".")


def test_a_league_has_one_definition_of_game_days_and_all_of_it_runs_as_one_range(location: dg.Definitions) -> None:
    graph = location.resolve_asset_graph()
    for league in ("atlantic", "pacific"):
        nodes = [graph.get(key) for key in graph.get_all_asset_keys() if key.path[0] == league]
        by_day = [node for node in nodes if node.partitions_def]
        assert len({node.partitions_def for node in by_day}) == 1
        assert {node.backfill_policy for node in by_day} == {dg.BackfillPolicy.single_run()}
        assert by_day[0].partitions_def.timezone == load_leagues(Path("/nowhere"))[league].time_zone  # type: ignore[union-attr]
        of_days = [node for node in nodes if node.tags["hoops/step"] not in ("training", "deployment", "quality")]
        whole = {"history", "model_performance", "drift_report"}
        assert {node.key.path[1] for node in of_days} - whole == {node.key.path[1] for node in by_day}


def test_the_training_set_needs_all_days_and_team_form_the_day_before(location: dg.Definitions) -> None:
    graph = location.resolve_asset_graph()
    mappings = graph.get(dg.AssetKey(["atlantic", "training_set"])).partition_mappings
    assert {type(one) for one in mappings.values()} == {dg.AllPartitionMapping}
    form = dg.AssetKey(["atlantic", "team_form"])
    (own,) = (one for key, one in graph.get(form).partition_mappings.items() if key == form)
    assert own == dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)


def test_services_are_resources_that_name_their_provider(location: dg.Definitions) -> None:
    resources = location.resources or {}
    assert {name: resources[name].provider for name in ("training", "registry", "prediction")} == {
        "training": "local",
        "registry": "local",
        "prediction": "local",
    }


def test_an_override_stands_in_place_of_the_configured_resource(tmp_path: Path) -> None:
    stand_in = object()
    made = build_defs(Settings(home=tmp_path), overrides={"sources": stand_in}, leagues=[])
    assert (made.resources or {})["sources"] is stand_in


def test_only_the_leagues_asked_for_have_lanes(tmp_path: Path) -> None:
    settings, leagues = Settings(home=tmp_path), load_leagues(tmp_path)
    assert lanes(build_defs(settings, leagues=(leagues[name] for name in ["pacific"]))) == {"pacific"}
    assert lanes(build_defs(settings, leagues=[])) == set()


# -- one bad league ---------------------------------------------------------------------------------------------------


def left_out(home: Path, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.ERROR, "hoops_assets.definitions"):
        location = build_defs(Settings(home=home))
    dg.Definitions.validate_loadable(location)
    assert lanes(location) == {"atlantic", "pacific"}
    (record,) = caplog.records
    return record.getMessage()


@pytest.mark.parametrize(
    ("wrong", "right", "field"),
    [
        ("time_zone: America/New_Yorc", "time_zone: America/New_York", "field time_zone"),
        ("time_zon: America/New_York", "time_zone: America/New_York", "unknown field time_zon (did you mean 'time_zone'?)"),
        ("kind: simulatd", "kind: simulated", "field sources.games.kind"),
        ("seeds: 7", "seed: 7", "unknown field sources.games.seeds"),
    ],
)  # fmt: skip
def test_a_league_file_with_a_slip_is_left_out_with_one_error_that_names_file_and_field(
    wrong: str, right: str, field: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = small.make_home(tmp_path) / "leagues" / f"{small.NAME}.yaml"
    file.write_text(small.LEAGUE.replace(right, wrong, 1))
    message = left_out(tmp_path, caplog)
    assert message.startswith(f"league small is left out: {file}, line ")
    assert field in message


def test_a_file_that_is_no_yaml_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = small.make_home(tmp_path) / "leagues" / f"{small.NAME}.yaml"
    file.write_bytes(b"name: [\xff\n")
    assert str(file) in left_out(tmp_path, caplog)


def test_a_league_with_a_damaged_calendar_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = small.make_home(tmp_path) / "leagues" / f"{small.NAME}.calendar.json"
    file.write_text('{"seasons": {"2024": ["2023-11-01"')
    message = left_out(tmp_path, caplog)
    assert f"{file}: not a calendar" in message
    assert "delete it" in message


def test_a_calendar_without_a_day_is_as_good_as_none(tmp_path: Path) -> None:
    (small.make_home(tmp_path) / "leagues" / f"{small.NAME}.calendar.json").write_text('{"seasons": {}, "days": []}')
    location = build_defs(Settings(home=tmp_path))
    assert small.NAME in lanes(location)
