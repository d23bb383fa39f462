"""Commands about the capacity of an endpoint: its game nights, and new containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoops_assets.cli.shared import Json, League, load_settings, out, print_json, print_table

if TYPE_CHECKING:
    from hoops_assets.services.prediction.contract import Night, PredictionService

app = typer.Typer(no_args_is_help=True, help="How many workers answer, and when.")

Least = Annotated[int, typer.Option(help="Workers on a game night, at least.")]
Most = Annotated[int, typer.Option(help="Workers on a game night, at most.")]


@app.command()
def plan(league: League, least: Least = 2, most: Most = 4, as_json: Json = False) -> None:
    """Game nights by the list of fixtures, and what they save beside the same capacity all the time. Changes nothing."""
    from hoops_assets.services.prediction.game_nights import instance_hours

    planned = _nights(league, least, most)
    if planned:
        hours = instance_hours(planned, planned[0].begin, planned[-1].end, base=1)
    else:
        hours = {"hours": 0.0, "planned": 0.0, "flat": 0.0, "saved": 0.0}
    _tell(planned, hours, as_json)


@app.command()
def apply(league: League, least: Least = 2, most: Most = 4, as_json: Json = False) -> None:
    """Lets the endpoint scale by the clock with its game nights; the next call replaces the plan."""
    planned = _nights(league, least, most)
    _service().plan_nights(league, planned)
    _tell(planned, {}, as_json)


@app.command("set")
def set_(league: League, least: int, most: int, as_json: Json = False) -> None:
    """How many workers answer outside the game nights: a fixed number, or between two by the load."""
    _told(_service().scale(league, least, most), as_json)


@app.command()
def renew(league: League, as_json: Json = False) -> None:
    """New containers of the image and instance type as set now, for the versions that serve; rolled back if they fail."""
    _told(_service().renew(league), as_json)


def _nights(league: str, least: int, most: int) -> list[Night]:
    from hoops_assets.services.prediction.game_nights import nights
    from hoops_assets.sources.leagues import get_league
    from hoops_assets.store.delta import DeltaStore

    settings = load_settings()
    found = get_league(settings.home, league)
    fixtures = DeltaStore(settings.tables_root, settings.aws).read(league, "fixtures", columns=["day", "tip_off"])
    return nights(fixtures, found.zone, settings.clock(), least, most)


def _service() -> PredictionService:
    from hoops_assets.services.providers import open_prediction, open_registry

    settings = load_settings()
    registry = open_registry("local", settings.home / "registry", settings.aws)
    return open_prediction(settings.prediction, registry, settings.home, settings.aws)


def _tell(planned: list[Night], hours: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({"nights": [night.model_dump(mode="json") for night in planned], **hours})
        return
    print_table("Game nights", [night.model_dump(mode="json") for night in planned])
    if hours:
        out.print(
            f"{hours['planned']:.0f} instance hours from the first to the last night, {hours['flat']:.0f} at flat capacity:"
            f" {hours['saved']:.0%} less",
            highlight=False,
        )


def _told(endpoint: Any, as_json: bool) -> None:
    if as_json:
        print_json(endpoint.model_dump(mode="json"))
        return
    out.print(f"{endpoint.endpoint}: {endpoint.status}, {endpoint.workers} workers", highlight=False)
