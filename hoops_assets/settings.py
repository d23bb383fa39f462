"""One validated tree of settings: where state lives, which provider serves which step.

What belongs here: everything a user may configure, read once from the environment (`HOOPS_...`, nested with `__`) over
`HOOPS_HOME/settings.yaml` over the defaults below. Secrets never stand here: they come through the environment when a
resource is used.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from hoops_assets.errors import SettingsError

Provider = Literal["local"]
"""Who runs a step. The cloud providers join this list when their contracts are kept."""

SETTINGS_FILE = "settings.yaml"


def hoops_home() -> Path:
    """The only folder that the platform writes to: HOOPS_HOME, by default ./.hoops."""
    return Path(os.environ.get("HOOPS_HOME", ".hoops")).expanduser().absolute()


class Settings(BaseSettings):
    """All settings, validated.

    Attributes:
        home: the only folder that is written to.
        now: pretend that it is this moment (rehearsals and tests); None is the clock.
        upcoming_days: how many calendar days ahead fixtures have partitions and are forecast.
        tables: root of the Delta tables, a folder or an object-store URI; default HOME/tables.
        record_url: SQLAlchemy URL of the append-only record; default sqlite at HOME/record.db.
        mlflow_tracking_uri: where the registry is mirrored; default sqlite at HOME/mlflow.db; "" switches the mirror off.
        training, registry, prediction: the provider of each step, one line each.
    """

    model_config = SettingsConfigDict(
        env_prefix="HOOPS_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    home: Path = Field(default_factory=hoops_home)
    now: datetime | None = None
    upcoming_days: int = Field(7, ge=1, le=60)
    tables: str = ""
    record_url: str = ""
    mlflow_tracking_uri: str | None = None
    training: Provider = "local"
    registry: Provider = "local"
    prediction: Provider = "local"

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
_NOT_SETTINGS = {"HOOPS_REAL_DATA", "HOOPS_FAULT", "HOOPS_COMMIT"}


def load_settings() -> Settings:
    """Reads the settings.

    Raises:
        SettingsError: a field is unknown or has a wrong value; the message names the field and where it came from.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{hoops_home() / SETTINGS_FILE}: not valid YAML: {error}") from None
    known = {f"HOOPS_{name.upper()}" for name in Settings.model_fields} | _NOT_SETTINGS
    unknown = sorted(name for name in os.environ if name.startswith("HOOPS_") and name.split("__")[0] not in known)
    if unknown:
        raise SettingsError(f"unknown environment variable {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return settings


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"])
        lines.append(f"setting {field!r}: {problem['msg']} (found {problem['input']!r})")
    return f"{'; '.join(lines)}. Look at HOOPS_... in the environment and at {hoops_home() / SETTINGS_FILE}"
