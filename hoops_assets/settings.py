"""One validated tree of settings: where state lives, which provider serves which step.

What belongs here: everything a user may configure, read once from the environment (`HOOPS_...`) over
`HOOPS_HOME/settings.yaml` over the defaults below. Secrets never stand here: they come through the environment when a
resource is used.
"""

from __future__ import annotations

import difflib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from hoops_assets.errors import SettingsError


class Step(BaseModel):
    """How one step of the lane meets trouble.

    Attributes:
        retries: how often an asset is tried again after an error that may go away by itself.
        delay_seconds: before the first retry; it doubles each time, with jitter.
        max_runtime_seconds: the daemon ends a run that takes longer.
        fall_back: whether simpler functionality may stand in, marked as degraded, when nothing else helps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    retries: int = Field(default=2, ge=0, le=20)
    delay_seconds: float = Field(default=5.0, ge=0, le=3600)
    max_runtime_seconds: int = Field(default=7200, ge=1)
    fall_back: bool = True


StepName = Literal["ingest", "features", "training", "deployment", "prediction", "monitoring"]

RetrainSignal = Literal["residuals", "concept", "home_advantage", "target", "inputs", "unseen", "totals"]
"""Signals of drift that games played since the last training may answer. Missing inputs and skew are not among them: they
are mended at their source."""


class Reaction(BaseModel):
    """When the platform trains again by itself.

    Attributes:
        signals: alarms `drift/SIGNAL` that ask for a training when they turn red; none switches that off. `inputs` is left out
            because it alarms wherever the teams' strengths are spread anew, and a training does not help there
            (docs/reaction.md).
        cooldown_days: after a training that an alarm asked for, days in which no other alarm does.
        minimum_games: games that must have been settled since the last training before an alarm asks for the next.
        attempts: how often a training that failed is asked for because of the same alarm, once a day.
        retrain: weekly (Monday morning, league time, if a game was settled) or off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    signals: tuple[RetrainSignal, ...] = ("residuals", "concept", "home_advantage", "target", "unseen")
    cooldown_days: int = Field(default=14, ge=0, le=366)
    minimum_games: int = Field(default=100, ge=0)
    attempts: int = Field(default=3, ge=1, le=10)
    retrain: Literal["off", "weekly"] = "off"


Instance = Literal["laptop", "server"]

BufferPolicy = Literal["wait", "sample"]

Provider = Literal["local", "sagemaker"]
"""Who runs a step. The cloud providers join this list when their contracts are kept."""


PipelineProvider = Literal["dagster", "local", "sagemaker"]
"""Who runs the steps of training: Dagster, each as an asset of its own; or a pipeline that makes all the assets at once."""


class AwsSettings(BaseModel):
    """Where on AWS the steps with `provider: sagemaker` run. Credentials come by boto3's own chain, never from here.

    Attributes:
        region: for example eu-central-1; needed as soon as a step runs there.
        bucket: of everything that a step writes; it must exist.
        prefix: of all keys in the bucket.
        role: ARN of the role that SageMaker's jobs and endpoints assume.
        image: the one image of this platform in ECR (training, serving, transform).
        kms_key: id or ARN of the key that objects, volumes, model cards and captured requests are encrypted with; "" is
            AWS's own.
        training_instance, serving_instance: instance types.
        capture_percent: share of the endpoint's questions and answers that is kept in the bucket.
        spot: whether training may run on spare capacity, which is cheaper and may be taken away.
        isolated: whether a training job has no network; then nothing is seen of it while it runs.
        xgboost: whether SageMaker's built-in XGBoost is trained as well, where training has provider sagemaker.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str = ""
    bucket: str = ""
    prefix: str = "hoops"
    role: str = ""
    image: str = ""
    kms_key: str = ""
    training_instance: str = "ml.m5.large"
    serving_instance: str = "ml.m5.large"
    spot: bool = False
    isolated: bool = False
    xgboost: bool = False
    capture_percent: int = Field(default=100, ge=0, le=100)


SETTINGS_FILE = "settings.yaml"


def hoops_home() -> Path:
    """The only folder that the platform writes to: HOOPS_HOME, by default ./.hoops."""
    return Path(os.environ.get("HOOPS_HOME") or ".hoops").expanduser().absolute()


class Settings(BaseSettings):
    """All settings, validated.

    Attributes:
        home: the only folder that is written to.
        now: pretend that it is this moment (rehearsals and tests); None is the clock.
        upcoming_days: how many calendar days ahead fixtures have partitions and are forecast.
        tables: root of the Delta tables, a folder or an object-store URI; default HOME/tables.
        instance: where Dagster keeps runs and events: laptop (SQLite in HOME) or server (PostgreSQL, its address in the
            environment variable DAGSTER_POSTGRES_URL). Used when HOME/dagster/dagster.yaml is first written.
        post_buffer_policy: what happens when fan posts come faster than they are stored: wait (their source waits) or
            sample (a part is kept, with weights; the rest is counted).
        post_buffer_posts, post_buffer_bytes: high-water marks of the buffer, in posts and in bytes of text.
        serving_log_policy: what the prediction server does when its log of answers is full: wait (for room, a tenth of a
            second at most) or shed (answer at once, unlogged); either way it answers and counts what it could not log.
        serving_log_bytes: answers not yet in the record beyond which that log is full, in bytes.
        record_url: SQLAlchemy URL of the append-only record; default sqlite at HOME/record.db.
        mlflow_tracking_uri: where the registry is mirrored; default sqlite at HOME/mlflow.db; "" switches the mirror off.
        steps: retries, time limit and fall-back of a step of the lane, where it is not to be the default; see Step.
        reaction: when the platform trains again by itself; HOOPS_REACTION__COOLDOWN_DAYS and so on, see Reaction.
        keep_days: how far back `hoops tidy` keeps runs, their logs, training jobs and versions of tables, in days.
        pool_limits: pool -> how many runs may use it at once, where it is not to be the default; see `hoops limits`.
        training, registry, prediction, monitoring: the provider of each step, one line each.
        pipelines: dagster (each step of training is an asset of its own), or the provider of a pipeline that makes all those
            assets in one step; pipeline_parallelism: how many of its steps may run at once.
        training_wait: whether the run that submits a training job waits for its end; false is for jobs of hours, whose end a
            sensor then watches for.
        aws: where on AWS, for the steps with provider sagemaker; HOOPS_AWS__REGION and so on.
    """

    model_config = SettingsConfigDict(
        env_prefix="HOOPS_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    home: Path = Field(default_factory=hoops_home)
    now: datetime | None = None
    upcoming_days: int = Field(default=7, ge=1, le=60)
    tables: str = ""
    instance: Instance = "laptop"
    post_buffer_policy: BufferPolicy = "wait"
    post_buffer_posts: int = Field(default=100_000, ge=1)
    post_buffer_bytes: int = Field(default=256 << 20, ge=1)
    serving_log_policy: Literal["wait", "shed"] = "wait"
    serving_log_bytes: int = Field(default=256 << 20, ge=1 << 16)
    record_url: str = ""
    mlflow_tracking_uri: str | None = None
    steps: dict[StepName, Step] = {}
    reaction: Reaction = Reaction()
    keep_days: int = Field(default=90, ge=1)
    pool_limits: dict[str, Annotated[int, Field(ge=1, le=1000)]] = {}
    training: Provider = "local"
    registry: Provider = "local"
    prediction: Provider = "local"
    pipelines: PipelineProvider = "dagster"
    pipeline_parallelism: int = Field(default=3, ge=1, le=50)
    monitoring: Provider = "local"
    training_wait: bool = True
    aws: AwsSettings = AwsSettings()

    @field_validator("home", mode="before")
    @classmethod
    def _absolute(cls, value: str | Path) -> Path:
        return Path(value).expanduser().absolute() if str(value) else hoops_home()

    @field_validator("now")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = YamlConfigSettingsSource(settings_cls, yaml_file=hoops_home() / SETTINGS_FILE)
        return init_settings, env_settings, file

    def clock(self) -> datetime:
        """The present moment, aware, in UTC."""
        return self.now or datetime.now(UTC)

    @property
    def tables_root(self) -> str:
        return self.tables or str(self.home / "tables")

    @property
    def record(self) -> str:
        return self.record_url or f"sqlite:///{self.home / 'record.db'}"

    @property
    def mlflow(self) -> str:
        default = f"sqlite:///{self.home / 'mlflow.db'}"
        return default if self.mlflow_tracking_uri is None else self.mlflow_tracking_uri

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"


# Set by other programs or by the tests, not settings of ours.
_NOT_SETTINGS = {
    "HOOPS_AUTHENTICATED_BY",
    "HOOPS_BUNDLE",
    "HOOPS_COMMIT",
    "HOOPS_FAULT",
    "HOOPS_LIVE",
    "HOOPS_LIVE_BUCKET",
    "HOOPS_REAL_DATA",
}


def load_settings() -> Settings:
    """Reads the settings.

    Raises:
        SettingsError: a setting is unknown or has a wrong value; the message names it and where it stands.
    """
    known = [f"HOOPS_{name.upper()}" for name in Settings.model_fields]
    known += [f"HOOPS_AWS__{name.upper()}" for name in AwsSettings.model_fields]
    known += [f"HOOPS_REACTION__{name.upper()}" for name in Reaction.model_fields]
    for name in sorted(os.environ):
        if name.startswith("HOOPS_") and name not in known and name not in _NOT_SETTINGS:
            raise SettingsError(
                f"unknown environment variable {name}{_nearest(name, known)}; known: {', '.join(known)}"
            )
    file = hoops_home() / SETTINGS_FILE
    _check_file(file)
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem, file) for problem in error.errors())) from None


def _check_file(file: Path) -> None:
    """Raises SettingsError if the settings file cannot be read as lines of `name: value`."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(f"{file}{line}: not valid YAML: {error.problem}; correct the file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not YAML in UTF-8: {error}; correct the file") from None
    if content is not None and not isinstance(content, dict):
        raise SettingsError(f"{file}: found a {type(content).__name__}; write one setting a line, as `name: value`")
    if content and "home" in content:
        raise SettingsError(f"{file}: setting home cannot stand here, the file is found in it; set HOOPS_HOME instead")


def _explain(problem: Any, file: Path) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [field for field in Settings.model_fields if field != "home"]
        return f"{file}: unknown setting {name}{_nearest(name, known)}; known: {', '.join(known)}"
    variable = f"HOOPS_{name.upper().replace('.', '__')}"
    where = variable if variable in os.environ else f"{file}, setting {name}"
    return f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, found {problem['input']!r}"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
