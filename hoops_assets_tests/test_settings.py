from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hoops_assets.errors import SettingsError
from hoops_assets.settings import Settings, hoops_home, load_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOOPS_HOME", str(tmp_path))
    for name in ("NOW", "TABLES", "UPCOMING_DAYS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(f"HOOPS_{name}", raising=False)
    return tmp_path


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_everything_stands_under_home_by_default(home: Path) -> None:
    settings = load_settings()
    assert settings.home == home
    assert settings.tables_root == str(home / "tables")
    assert settings.record == f"sqlite:///{home}/record.db"
    assert settings.mlflow == f"sqlite:///{home}/mlflow.db"
    assert settings.dagster_home == home / "dagster"


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "settings.yaml").write_text("upcoming_days: 3\ntables: s3://bucket/hoops\n")
    monkeypatch.setenv("HOOPS_UPCOMING_DAYS", "5")
    settings = load_settings()
    assert (settings.upcoming_days, settings.tables_root) == (5, "s3://bucket/hoops")


@pytest.mark.parametrize("told", ["elsewhere", "./elsewhere"])
def test_a_relative_home_is_made_absolute_because_dagster_demands_it(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOPS_HOME", told)
    assert load_settings().home == hoops_home() == tmp_path / "elsewhere"


def test_home_may_be_told_from_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOPS_HOME", "~/hoops")
    assert load_settings().home == Path.home() / "hoops"


def test_an_empty_home_is_the_default_one_and_never_the_working_folder_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOPS_HOME", "")
    assert load_settings().home == hoops_home() == tmp_path / ".hoops"


def test_an_empty_tracking_uri_switches_the_mirror_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOPS_MLFLOW_TRACKING_URI", "")
    assert load_settings().mlflow == ""


def test_a_pretended_moment_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOPS_NOW", "2024-11-13T17:00")
    assert load_settings().clock() == datetime(2024, 11, 13, 17, tzinfo=UTC)


def test_the_clock_runs_unless_a_moment_is_pretended() -> None:
    assert abs((Settings().clock() - datetime.now(UTC)).total_seconds()) < 5


def test_an_unknown_variable_is_named_with_the_nearest_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOPS_UPCOMNG_DAYS", "3")
    assert refusal().startswith("unknown environment variable HOOPS_UPCOMNG_DAYS (did you mean HOOPS_UPCOMING_DAYS?)")


@pytest.mark.parametrize("nested", ["HOOPS_TRAINING__PROVIDER", "HOOPS_NOW__X"])
def test_a_variable_below_a_plain_setting_is_unknown_and_not_ignored(
    nested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(nested, "local")
    assert f"unknown environment variable {nested}" in refusal()


def test_a_wrong_value_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOPS_UPCOMING_DAYS", "soon")
    assert refusal() == (
        "HOOPS_UPCOMING_DAYS: input should be a valid integer, unable to parse string as an integer, found 'soon'"
    )


def test_a_provider_that_does_not_exist_is_told_with_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOPS_TRAINING", "abacus")
    assert refusal() == "HOOPS_TRAINING: input should be 'local' or 'sagemaker', found 'abacus'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("upcoming_day: 3\n", "unknown setting upcoming_day (did you mean upcoming_days?)"),
        ("upcoming_days: 99\n", "setting upcoming_days: input should be less than or equal to 60, found 99"),
        ("now: tomorrow\n", "setting now: "),
        ("- upcoming_days\n", "found a list; write one setting a line"),
        ("upcoming_days 3\n", "found a str; write one setting a line"),
        ("tables: /a\nnow: [\n", ", line 3: not valid YAML: "),
        ("home: /elsewhere\n", "setting home cannot stand here"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_message_that_names_it(text: str, said: str, home: Path) -> None:
    (home / "settings.yaml").write_text(text)
    message = refusal()
    assert message.startswith(str(home / "settings.yaml"))
    assert said in message
    assert "\n" not in message


def test_a_file_that_is_not_text_is_refused(home: Path) -> None:
    (home / "settings.yaml").write_bytes(b"tables: \xff\xfe\n")
    assert "not YAML in UTF-8" in refusal()


def test_an_empty_file_changes_nothing(home: Path) -> None:
    (home / "settings.yaml").write_text("# nothing yet\n")
    assert load_settings() == Settings()
