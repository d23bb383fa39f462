"""How often the roll-out rule errs, how often it decides, and after how many games: a table per true gain.

    python benchmarks/rollout_power.py [--seasons 10000] [--games 1230] [--alternatives] [--json]

Two forecasters of simulated games (`hoops_assets.judging.simulation`), judged after every seven games as the NBA plays them.
The defaults of `hoops_assets.judging.sequential.Rule` were chosen from it; docs/rollout.md says how.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from hoops_assets.judging.sequential import DEFAULT, Rule, looks_of, outlook
from hoops_assets.judging.simulation import brier_gains

TRUE_GAINS = (-0.01, 0.0, 0.001, 0.004, 0.014)
ALTERNATIVES = {
    "default": DEFAULT,
    "alpha .01": replace(DEFAULT, alpha=0.01),
    "alpha .10": replace(DEFAULT, alpha=0.10),
    "bound .15": replace(DEFAULT, bound=0.15),
    "bound .50": replace(DEFAULT, bound=0.5),
    "bound 1": replace(DEFAULT, bound=1.0),
    "margin .005": replace(DEFAULT, margin=0.005),
    "margin .02": replace(DEFAULT, margin=0.02),
    "max_games 410": replace(DEFAULT, max_games=410),
}


def table(
    rules: dict[str, Rule], seasons: int, games: int, gains: Sequence[float] = TRUE_GAINS
) -> list[dict[str, Any]]:
    """One row a rule and true gain: shares of seasons by how they end, and numbers of games."""
    rows = []
    for gain in gains:
        drawn = brier_gains(np.random.default_rng(20261123), (seasons, games), gain)
        for name, rule in rules.items():
            found = outlook(drawn, looks_of(min(games, rule.max_games), 7), rule)
            rows.append({"rule": name, "true_gain": gain, **asdict(found)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seasons", type=int, default=10_000)
    parser.add_argument("--games", type=int, default=1230)
    parser.add_argument("--alternatives", action="store_true", help="other rules beside the default")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    began = time.process_time()
    rules = ALTERNATIVES if arguments.alternatives else {"default": DEFAULT}
    rows = table(rules, arguments.seasons, arguments.games)
    seconds = round(time.process_time() - began, 1)
    if arguments.json:
        print(json.dumps({"seasons": arguments.seasons, "cpu_seconds": seconds, "rows": rows}, indent=1))
        return
    print(f"{arguments.seasons} seasons of {arguments.games} games, a look after every seven; {seconds} CPU seconds\n")
    print("| rule | true gain | rolled out | rolled back | champion kept | games, mean | games, median |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['rule']} | {row['true_gain']:+.3f} | {row['roll_out']:.3f} | {row['roll_back']:.3f} |"
            f" {row['keep_champion']:.3f} | {row['games']:.0f} | {row['median']:.0f} |"
        )


if __name__ == "__main__":
    main()
