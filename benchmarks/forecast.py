"""How good the forecasts are, from real games: writes docs/forecast.md and its two plots.

    python benchmarks/forecast.py

Reads HOOPS_REAL_DATA (default ../shared/data). Probabilities of FiveThirtyEight and closing odds are read here only, to be
compared with; no learner sees them. Stops with a leak alarm if a forecast is too good, and with status 1 if one is not as
good as required.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from hoops_assets.basketball.estimators import LEARNERS
from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.league import League, SourceSpec
from hoops_assets.judging.comparison import Difference, leak_alarm, paired_difference
from hoops_assets.judging.plots import loss_by_group_plot, reliability_plot
from hoops_assets.judging.scoring import log_losses, scores
from hoops_assets.judging.walkforward import walk_forward
from hoops_assets.sources.leagues import TEMPLATES, new_league
from hoops_assets.sources.odds import CsvOdds
from hoops_assets.sources.open import open_games
from hoops_assets.workloads.evaluate import league_features

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("HOOPS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
DOCS = REPOSITORY / "docs"
ODDS = {
    "kind": "csv",
    "files": [str(DATA / "nba" / "odds" / "nba_2008-2021_raw.csv.gz")],
    "columns": {
        "date": "date", "home": "home", "away": "away", "home_moneyline": "moneyline_home",
        "away_moneyline": "moneyline_away", "spread": "spread", "favourite": "whos_favored",
    },
}  # fmt: skip
ELO, RAPTOR, LINE = "FiveThirtyEight's Elo", "FiveThirtyEight's RAPTOR", "closing line"


def forecasts_of(league: League, seasons: range) -> pd.DataFrame:
    """Walk-forward probabilities of every learner, one row a played game of the seasons, with what identifies the game."""
    games = open_games(league).read(datetime.now(UTC)).games
    features = league_features(league, games)
    out = walk_forward(features[list(FEATURES)], features["home_win"], features["season"], LEARNERS, forecast=seasons)
    table = pd.concat([features[["game_id", "season", "day", "home", "away", "neutral", "home_win"]], out], axis=1)
    return table[table["season"].isin(seasons) & table["home_win"].notna()].reset_index(drop=True)


def the_nba() -> pd.DataFrame:
    history = DATA / "nba" / "nba_elo_1947_2019.csv.gz"
    snapshots = sorted((DATA / "nba" / "snapshots").glob("*.csv"))
    league, _ = new_league("nba", "fivethirtyeight", [str(path) for path in (history, *snapshots)])
    table = forecasts_of(league, range(2009, 2023))
    table = _joined(table, _published(league, [history, *snapshots]), ["day", "home", "away"])
    with_odds = league.model_copy(
        update={"sources": league.sources.model_copy(update={"odds": SourceSpec.model_validate(ODDS)})}
    )
    odds = CsvOdds(with_odds).read(table[["game_id", "season", "day", "home", "away", "neutral"]]).odds
    return _joined(table, odds[["game_id", "home_win_probability"]].set_axis(["game_id", LINE], axis=1), ["game_id"])


def the_wnba() -> pd.DataFrame:
    file = DATA / "wnba" / "wnba_elo_1997_2019.csv.gz"
    league, _ = new_league("wnba", "csv", [str(file)], TEMPLATES / "wnba.yaml")
    raw = pd.read_csv(file)
    raw = raw[raw["is_home"] == 1]
    published = pd.DataFrame(
        {
            "day": (pd.to_datetime(raw["date"]) + pd.Timedelta(days=1)).dt.date,
            "home": [league.team(*key) for key in zip(raw["team1_abbr"], raw["season"], strict=True)],
            "away": [league.team(*key) for key in zip(raw["team2_abbr"], raw["season"], strict=True)],
            ELO: raw["team1_winprob"],
        }
    )
    return _joined(forecasts_of(league, range(2008, 2020)), published, ["day", "home", "away"])


def _published(league: League, files: list[Path]) -> pd.DataFrame:
    """FiveThirtyEight's own probabilities of every game, as its newest file that has the game gives them."""
    parts = []
    for path in files:
        raw = pd.read_csv(path, keep_default_na=False, na_values=["", "NA"])
        day_first = raw["date"].str.match(r"\d\d-").all()
        days = pd.to_datetime(raw["date"], format="%d-%m-%Y" if day_first else "%Y-%m-%d")
        parts.append(
            pd.DataFrame(
                {
                    "day": days.dt.date,
                    "home": [league.team(*key) for key in zip(raw["team1"], raw["season"], strict=True)],
                    "away": [league.team(*key) for key in zip(raw["team2"], raw["season"], strict=True)],
                    ELO: raw["elo_prob1"].astype("float64"),
                    RAPTOR: raw["raptor_prob1"].astype("float64"),
                }
            )
        )
    return pd.concat(parts, ignore_index=True).drop_duplicates(["day", "home", "away"], keep="last")


def _joined(table: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return table.merge(other, on=keys, how="left", validate="many_to_one")


def _losses(rows: pd.DataFrame, name: str) -> pd.Series:
    return pd.Series(log_losses(rows[name], rows["home_win"].astype(bool)), index=rows.index)


def difference(table: pd.DataFrame, name: str, against: str) -> Difference:
    rows = table[table[name].notna() & table[against].notna()]
    return paired_difference(_losses(rows, name), _losses(rows, against), rows["day"])


def _told(found: Difference) -> str:
    return f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def scores_table(table: pd.DataFrame, names: list[str], against: list[str]) -> str:
    """Markdown: scores of every forecaster on the same games, and paired differences in log loss with 95 % intervals."""
    rows = table.dropna(subset=names)
    head = [
        "forecast",
        "n",
        "log loss",
        "Brier",
        "accuracy",
        "calibration error",
        *(f"against {one}" for one in against),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in names:
        found = scores(rows[name], rows["home_win"].astype(bool))
        cells = [
            name, f"{found['n']:,}", f"{found['log_loss']:.4f}", f"{found['brier']:.4f}", f"{found['accuracy']:.3f}",
            f"{found['calibration_error']:.3f}",
            *("" if name == one else _told(difference(rows, name, one)) for one in against),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def requirements(history: pd.DataFrame, snapshots: pd.DataFrame, wnba: pd.DataFrame) -> tuple[str, bool]:
    """Markdown of what was asked for and what was found; and whether all of it was met."""
    loss = {
        "history": float(_losses(history, "ensemble").mean()),
        "wnba": float(_losses(wnba, "ensemble").mean()),
    }
    early, late = difference(history, "ensemble", "logistic"), difference(snapshots, "ensemble", "logistic")
    elo = difference(snapshots, "ensemble", ELO)
    found = [
        ("NBA 2009 to 2019, log loss", "at most .5970", f"{loss['history']:.4f}", loss["history"] <= 0.5970),
        ("the same, against the simple logistic", "at most -.0005", _told(early), early.mean <= -0.0005),
        ("2019-20 to 2022-02-05, against the simple logistic", "at most -.0015", _told(late), late.mean <= -0.0015),
        (f"the same, against {ELO}", "interval below 0", _told(elo), elo.high is not None and elo.high < 0),
        ("WNBA 2008 to 2019, log loss", "at most .6210", f"{loss['wnba']:.4f}", loss["wnba"] <= 0.6210),
    ]
    lines = ["| games | required | found | |", "|---|---|---|---|"]
    lines += [f"| {what} | {asked} | {got} | {'met' if met else '**missed**'} |" for what, asked, got, met in found]
    return "\n".join(lines), all(met for *_, met in found)


def by_season(table: pd.DataFrame, names: list[str]) -> Mapping[str, pd.Series]:
    found = {}
    for name in names:
        rows = table[table[name].notna()]
        found[name] = _losses(rows, name).groupby(rows["season"]).mean()
    return found


def main() -> int:
    warnings.simplefilter("ignore", FutureWarning)
    start = time.perf_counter()
    nba, wnba = the_nba(), the_wnba()
    history, snapshots = nba[nba["season"] <= 2019], nba[nba["season"] >= 2020]
    for table in (history, snapshots):
        losses = {name: _losses(table, name) for name in (*LEARNERS, ELO)}
        line = _losses(table.dropna(subset=[LINE]), LINE).reindex(table.index)
        for name in LEARNERS:
            leak_alarm(name, losses[name], elo=losses[ELO], closing_line=line)
    learners = list(LEARNERS)
    asked, met = requirements(history, snapshots, wnba)
    text = (DOCS / "forecast.template.md").read_text(encoding="utf-8")
    parts = {
        "requirements": asked,
        "history": scores_table(history, [*learners, ELO, LINE], [ELO, "logistic", LINE]),
        "snapshots": scores_table(snapshots, [*learners, ELO, RAPTOR], [ELO, "logistic", RAPTOR]),
        "snapshots_line": scores_table(snapshots, ["logistic", "ensemble", ELO, RAPTOR, LINE], [LINE]),
        "wnba": scores_table(wnba, [*learners, ELO], [ELO, "logistic"]),
    }
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part)
    (DOCS / "forecast.md").write_text(text, encoding="utf-8")
    images = DOCS / "images"
    images.mkdir(exist_ok=True)
    judged = history.dropna(subset=[LINE])
    shown = judged[["logistic", "ensemble", LINE]]
    (images / "forecast_reliability.png").write_bytes(
        reliability_plot(shown, judged["home_win"], "NBA 2009 to 2019, walk-forward")
    )
    (images / "forecast_by_season.png").write_bytes(
        loss_by_group_plot(by_season(nba, [ELO, "logistic", "ensemble", LINE]), "NBA, log loss by season")
    )
    sys.stdout.write(asked + f"\n{time.perf_counter() - start:.0f} s; wrote {DOCS / 'forecast.md'}\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
