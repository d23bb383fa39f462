"""`hoops bench`: what a step costs on this machine, measured live."""

from __future__ import annotations

from typing import Annotated

import typer

from hoops_assets.cli.shared import Json, League, load_settings, out, print_json, print_table, status

app = typer.Typer(no_args_is_help=True, help="What a step costs on this machine, measured live.")


@app.callback()
def bench() -> None:
    """What a step costs on this machine, measured live."""


@app.command()
def serve(
    league: League,
    requests: Annotated[int, typer.Option(help="on demand, one after the other, and as many side by side")] = 2000,
    as_json: Json = False,
) -> None:
    """Latency and throughput on demand and in batch, and the number of queries from which on a batch pays."""
    from hoops_assets.launch.bench import bench_serving
    from hoops_assets.sources.leagues import get_league

    settings = load_settings()
    with status(f"{league}: measuring", quiet=as_json):
        report = bench_serving(settings, get_league(settings.home, league), requests)
    if as_json:
        print_json(report.json())
        return
    asked = report.on_demand
    print_table(
        f"{league}: version {report.version}, {report.learner}",
        [
            {"way": f"on demand, {asked.connections} connections", "start s": 0.0,
             "ms per row": 1e3 * asked.seconds_per_query, "rows per second": asked.requests_per_second},
            *(
                {"way": f"{name}, {one.rows} rows", "start s": one.start_seconds, "ms per row": 1e3 * one.seconds_per_row,
                 "rows per second": one.rows_per_second}
                for name, one in (("batch", report.batch), ("batch as a job of its own", report.job))
            ),
        ],
    )  # fmt: skip
    out.print(f"one request after the other: p50 {asked.p50_ms:.2f} ms, p99 {asked.p99_ms:.2f} ms")
    for name, queries in (("a batch", report.break_even), ("a job of its own", report.break_even_job)):
        out.print(
            f"{name} pays from {queries} queries on" if queries else f"{name} never pays: its rows cost more each"
        )
