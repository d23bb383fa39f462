"""What `hoops doctor` looks at: each examination says what it found and, where something is wrong, what to do.

What belongs here: read-only looks at the installation and at one HOOPS_HOME. Nothing is repaired here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import yaml

from hoops_assets.errors import HoopsError, SettingsError
from hoops_assets.settings import Settings

State = Literal["well", "warning", "ill"]

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHONS = ((3, 11), (3, 13))
LITTLE_SPACE = 2 * 2**30
"""Bytes of free disk below which a season's backfill may not end."""

ONE_RELEASE = {"dagster": "1.13.27", "dagster-webserver": "1.13.27", "dagster-aws": "0.29.27", "dagster-gcp": "0.29.27"}
"""Dagster's libraries pin each other; a resolver that is left alone mixes releases silently."""

PORTS = {"the Dagster UI": 3000, "the prediction server": 8000}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `to_do` is empty where all is well."""

    what: str
    state: State
    found: str
    to_do: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Every examination, in order; one that fails itself is a finding."""
    findings: list[Finding] = []
    for examination in EXAMINATIONS:
        try:
            findings += examination(settings)
        except Exception as error:  # whatever is ill, the rest is still looked at
            name = (examination.__doc__ or examination.__name__).strip().rstrip(".").lower()
            told = str(error) if isinstance(error, HoopsError | OSError) else f"{type(error).__name__}: {error}"
            findings.append(Finding(name, "ill", told, "mend what the message names and look again"))
    return findings


def _python(settings: Settings) -> Iterator[Finding]:
    """Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    supported = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    yield (
        Finding("Python", "well", found)
        if supported
        else Finding("Python", "ill", found, "use Python 3.11, 3.12 or 3.13")
    )


def _pins(settings: Settings) -> Iterator[Finding]:
    """Versions."""
    wrong = [
        f"{name} {have} instead of {want}" for name, want in ONE_RELEASE.items() if (have := _installed(name)) != want
    ]
    yield (
        Finding("Dagster's release", "ill", ", ".join(wrong), "install again: make up")
        if wrong
        else Finding("Dagster's release", "well", f"{ONE_RELEASE['dagster']} throughout")
    )
    file = REPOSITORY / "constraints.txt"
    if not file.exists():
        return
    pins = re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)", file.read_text())
    other = [f"{name} {have} (pinned {want})" for name, want in pins if (have := _installed(name)) and have != want]
    yield (
        Finding(
            "pinned versions", "warning", f"{len(other)} differ: {', '.join(other[:5])}", "install again: make clean up"
        )
        if other
        else Finding("pinned versions", "well", f"{len(pins)} in constraints.txt, none differs")
    )


def _home(settings: Settings) -> Iterator[Finding]:
    """HOOPS_HOME."""
    home = settings.home
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(there, os.W_OK):
        yield Finding("HOOPS_HOME", "ill", f"{home} cannot be written", "set HOOPS_HOME to a folder of yours")
        return
    free = shutil.disk_usage(there).free
    told = f"{home}, {free / 2**30:.1f} GiB free"
    yield (
        Finding("HOOPS_HOME", "well", told)
        if free >= LITTLE_SPACE
        else Finding("HOOPS_HOME", "warning", told, "make room, or prune what is old: hoops tidy")
    )


def _clock(settings: Settings) -> Iterator[Finding]:
    """The clock."""
    if settings.now is not None:
        yield Finding(
            "clock",
            "warning",
            f"HOOPS_NOW pretends that it is {settings.now:%Y-%m-%d %H:%M}",
            "unset it outside rehearsals",
        )


def _record(settings: Settings) -> Iterator[Finding]:
    """The record."""
    from datetime import UTC, datetime

    from hoops_assets.store.record import Record

    Record(settings.record).ledger(datetime.now(UTC))
    yield Finding("record", "well", "opens and can be read")


def _instance(settings: Settings) -> Iterator[Finding]:
    """The Dagster instance."""
    import dagster as dg

    from hoops_assets.launch.instance import UNFINISHED, open_instance, told_plainly

    with told_plainly(settings.dagster_home):
        instance = open_instance(settings)
        unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        alive = [status for status in instance.get_daemon_statuses().values() if status.healthy]
    storage = type(instance.event_log_storage).__name__
    yield Finding("Dagster instance", "well", f"{storage}, {len(unfinished)} runs unfinished")
    yield (
        Finding("Dagster daemon", "well", f"{len(alive)} of its parts are running")
        if alive
        else Finding("Dagster daemon", "warning", "not running: no schedule and no sensor fires", "start it: hoops up")
    )


def _pools(settings: Settings) -> Iterator[Finding]:
    """Limits of the pools."""
    from hoops_assets.launch.instance import told_plainly
    from hoops_assets.launch.limits import limits

    with told_plainly(settings.dagster_home):
        found = limits(settings)
    other = [
        f"{one.pool} {'not set' if one.applied is None else one.applied} (wanted {one.wanted})"
        for one in found
        if one.applied != one.wanted
    ]
    yield (
        Finding("limits of the pools", "warning", ", ".join(other), "set them: hoops limits apply")
        if other
        else Finding("limits of the pools", "well", f"{len(found)} pools, as the settings want them")
    )


def _alerts(settings: Settings) -> Iterator[Finding]:
    """Addresses of alerts."""
    from hoops_assets.services.monitoring.alerts import VARIABLE, Alerts, addresses

    urls = addresses()
    if not urls:
        yield Finding("alerts", "well", f"off: {VARIABLE} is not set")
        return
    try:
        Alerts(urls)
    except SettingsError as error:
        yield Finding("alerts", "ill", str(error), f"correct {VARIABLE} in the environment of `hoops up`")
    else:
        yield Finding("alerts", "well", f"go to {len(urls)} addresses")


def _leagues(settings: Settings) -> Iterator[Finding]:
    """Leagues."""
    from hoops_assets.sources.leagues import find_leagues, load_league
    from hoops_assets.store.calendar import read_calendar

    for name, path in find_leagues(settings.home).items():
        try:
            league = load_league(path)
        except HoopsError as error:
            yield Finding(f"league {name}", "ill", str(error), f"mend {path}; the other leagues run without it")
            continue
        calendar = read_calendar(settings.home, name)
        yield (
            Finding(f"league {name}", "well", f"{len(league.teams)} teams, {len(calendar.days)} game days")
            if (calendar and calendar.days)
            else Finding(f"league {name}", "warning", "nothing ingested yet", f"run: hoops backfill {name}")
        )
        yield from _secrets(name, path)


def _secrets(league: str, path: Path) -> Iterator[Finding]:
    """The environment variables that a league's sources name, by options that end in `_env`."""
    named = sorted(set(_environment_names(yaml.safe_load(path.read_text(encoding="utf-8")))))
    missing = [name for name in named if not os.environ.get(name)]
    if named:
        yield (
            Finding(
                f"secrets of {league}",
                "ill",
                f"{', '.join(missing)} not set",
                "set them in the environment of `hoops up`",
            )
            if missing
            else Finding(f"secrets of {league}", "well", f"{', '.join(named)} set")
        )


def _environment_names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if str(name).endswith("_env") and isinstance(inner, str):
                yield inner
            else:
                yield from _environment_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _environment_names(inner)


def _registry(settings: Settings) -> Iterator[Finding]:
    """Registered models."""
    from hoops_assets.services.registry.local import LocalRegistry

    registry = LocalRegistry(settings.home / "registry")
    root = settings.home / "registry"
    leagues = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    for league in leagues:
        for version in registry.list(league):
            try:
                registry.artefacts(league, version.version)
            except HoopsError as error:
                yield Finding(
                    f"model {version.name}", "ill", str(error), "restore the file from a backup, or train again"
                )
    yield Finding("registry", "well", f"{sum(len(registry.list(league)) for league in leagues)} versions looked at")


def _providers(settings: Settings) -> Iterator[Finding]:
    """Providers of the steps."""
    from hoops_assets.services.aws import unset_of

    needs = {
        "sagemaker": ("boto3", "aws"),
        "vertex": ("google.cloud.aiplatform", "gcp"),
        "azureml": ("azure.ai.ml", "azure"),
    }
    steps = [name for name, field in Settings.model_fields.items() if field.default == "local"]
    for step in steps:
        provider = getattr(settings, step)
        module, extra = needs.get(provider, ("", ""))
        what = f"provider of {step}"
        unset = unset_of(settings.aws) if provider == "sagemaker" else []
        if module and not _importable(module):
            yield Finding(what, "ill", f"{provider}, without its client", f"pip install 'hoops_assets[{extra}]'")
        elif unset:
            told = ", ".join(f"aws.{name}" for name in unset)
            yield Finding(what, "ill", f"{provider}, without {told}", "set them in settings.yaml, see docs/aws.md")
        else:
            yield Finding(what, "well", provider)


def _ports(settings: Settings) -> Iterator[Finding]:
    """Ports."""
    for what, port in PORTS.items():
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        yield (
            Finding(f"port {port}", "warning", "taken", f"if not by {what} itself, the next free one is used")
            if (taken)
            else Finding(f"port {port}", "well", f"free for {what}")
        )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


EXAMINATIONS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python, _pins, _home, _clock, _record, _instance, _pools, _alerts, _leagues, _registry, _providers, _ports,
)  # fmt: skip
