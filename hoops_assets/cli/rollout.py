"""`hoops deploy`, `hoops decide` and `hoops rollback`: which version serves a league, and which should."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hoops_assets.cli.pages import Page, write_page
from hoops_assets.cli.shared import Json, League, err, load_settings, out, print_json, print_table, status, told_traffic
from hoops_assets.errors import HoopsError

app = typer.Typer()


@app.command()
def deploy(
    league: League,
    version: Annotated[int | None, typer.Option(help="default: the challenger")] = None,
    share: Annotated[int | None, typer.Option(min=1, max=99, help="percent of the traffic while on trial")] = None,
    as_json: Json = False,
) -> None:
    """Takes a version through the gate to its trial, judges the one on trial, and does what the verdict says."""
    from hoops_assets.launch.lanes import Lanes

    with status(f"{league}: deploying", quiet=as_json):
        deployed = Lanes(load_settings(), league).deploy(version, share)
    if as_json:
        print_json({"league": league, **vars(deployed)})
    else:
        if deployed.refused:
            err.print(deployed.refused, highlight=False, markup=False)
        out.print(f"{league} is served by version {told_traffic(deployed.traffic)}: {deployed.reason}", highlight=False)
    if deployed.refused and version is not None:
        raise HoopsError(f"version {version} was refused")


@app.command()
def decide(league: League, page: Page = False, as_json: Json = False) -> None:
    """Which version should serve, ranked, with intervals and reasons; or how many more games it takes to tell."""
    from hoops_assets.services.prediction.decide import advise
    from hoops_assets.services.providers import open_registry
    from hoops_assets.sources.leagues import get_league
    from hoops_assets.store.delta import DeltaStore
    from hoops_assets.store.record import Record

    settings = load_settings()
    store, record = DeltaStore(settings.tables_root, settings.aws), Record(settings.record)
    found = get_league(settings.home, league)
    advice = advise(store, record, open_registry(settings.registry, settings.home / "registry", settings.aws), found)
    if page:
        from hoops_assets.services.lineage.pages import decide_page
        from hoops_assets.services.prediction.trial import trial

        write_page(settings.home, decide_page(advice, trial(store, record, found)))
    if as_json:
        print_json(advice.json())
        return
    rows = [
        {"version": one.version, "learner": one.learner, "role": one.role, "traffic": f"{one.traffic} %",
         "gain_in_brier": one.gain, "low": one.low, "high": one.high, "games": one.games, "reason": one.reason}
        for one in advice.ranked
    ]  # fmt: skip
    print_table(f"Versions of {league}, best first (gain over version that is compared with)", rows)
    serve = f"version {advice.serve}" if advice.serve is not None else "nothing"
    out.print(f"[bold]{serve} should serve:[/] {advice.reason}", highlight=False)


@app.command()
def rollback(
    league: League,
    to: Annotated[int | None, typer.Option(help="the version that gets all traffic; default: the one before")] = None,
    reason: Annotated[str, typer.Option(help="for the record")] = "",
    as_json: Json = False,
) -> None:
    """Takes the canary, or else the champion, out of service at once and marks it, so that automation leaves it out."""
    from hoops_assets.defs.resources import PredictionResource, RegistryResource, resources
    from hoops_assets.services.prediction import decide as decisions
    from hoops_assets.services.prediction.rollout import Decision
    from hoops_assets.services.prediction.trial import serving
    from hoops_assets.sources.leagues import get_league
    from hoops_assets.store.delta import DeltaStore
    from hoops_assets.store.record import Record, who

    settings = load_settings()
    one, record = get_league(settings.home, league), Record(settings.record)
    store = DeltaStore(settings.tables_root, settings.aws)
    given: dict[str, Any] = resources(settings)
    registry, prediction = given["registry"], given["prediction"]
    assert isinstance(registry, RegistryResource)
    assert isinstance(prediction, PredictionResource)
    rollout = prediction.rollout(one, registry.service(), store, record, settings.clock())
    decision = Decision(who(), reason or "rolled back by hand", launched_from="cli")
    before = serving(record, league)
    if to is not None:
        registry.service().get(league, to)
        endpoint = decisions.pin(rollout, record, league, to, decision, back=True)
    else:
        endpoint = decisions.withdraw(rollout, record, league, decision)[1]
    last = decisions.last_change(record, league)
    told = {
        "league": league, "was": list(before.versions), "traffic": endpoint.traffic, "endpoint": endpoint.status,
        "revision": endpoint.revision, "decided_by": last.decided_by, "reason": last.reason,
    }  # fmt: skip
    shown = show_in_ui(settings, league, told)
    if as_json:
        print_json(told)
        return
    out.print(f"{league} is served by version {told_traffic(endpoint.traffic)} ({endpoint.status})", highlight=False)
    if not shown:
        err.print("the Dagster instance could not be told; the record has it", highlight=False)


def show_in_ui(settings: Any, league: str, told: dict[str, Any]) -> bool:
    """Puts the change on `live_endpoint` in the UI; whether that worked. What serves does not depend on it."""
    import dagster as dg

    from hoops_assets.launch.instance import open_instance

    try:
        metadata = {**told, "traffic": {str(version): percent for version, percent in told["traffic"].items()}}
        with open_instance(settings) as instance:
            instance.report_runless_asset_event(
                dg.AssetMaterialization([league, "live_endpoint"], description="rolled back by hand", metadata=metadata)
            )
    except Exception:  # an instance may fail in many ways, and a roll-back must not fail with it
        return False
    return True
