from __future__ import annotations

from itertools import permutations

import pandas as pd
import pytest

from hoops_assets.basketball.stakes import LATE, stakes
from hoops_assets_tests.basketball.schedules import LEAGUE, games_of

EAST, WEST = ("EAS", "EBB", "ECK", "EDI"), ("WAD", "WIX", "WOE", "WYE")


def season(year: int, results: list[tuple[str, str, int | None]], stage: str = "regular") -> pd.DataFrame:
    """One game a day in the order given: (home, away, home margin)."""
    games = games_of([(number, home, away, margin, False) for number, (home, away, margin) in enumerate(results)])
    return games.assign(season=pd.Series(year, index=games.index, dtype="int32"), stage=stage)


def round_robin(teams, rounds: int = 1) -> list[tuple[str, str, int | None]]:
    """Everybody at home against everybody; the team named earlier wins."""
    return [(home, away, 5 if home < away else -5) for _ in range(rounds) for home, away in permutations(teams, 2)]


def past(teams, rounds=1, qualified=2) -> list[pd.DataFrame]:
    ends = season(1999, [(teams[0], team, 3) for team in teams[1:qualified]], stage="final")
    return [pd.concat([season(1999, round_robin(teams, rounds)), ends], ignore_index=True)]


def told(results, earlier, league=LEAGUE, year=2000, stage="regular"):
    return stakes(earlier, season(year, results, stage), league)


def test_the_first_season_knows_no_stakes():
    results = round_robin(EAST)
    assert all(not any(side.values()) for one in told(results, []) for side in one.values())


def test_nothing_is_at_stake_early_in_a_season():
    said = told(round_robin(EAST), past(EAST))
    early = int(len(said) * LATE)
    assert all(not any(side.values()) for one in said[:early] for side in one.values())
    assert any(any(side.values()) for one in said[early:] for side in one.values())


def test_who_cannot_catch_up_is_eliminated_and_who_cannot_be_caught_is_settled():
    """Two of four qualify after six games each; before the last game three wins part any two neighbours."""
    results = [
        *[("EAS", team, 9) for team in EAST[1:] for _ in range(2)],
        *[("EBB", team, 9) for team in EAST[2:] for _ in range(2)],
        ("ECK", "EDI", 9),
        ("EDI", "ECK", None),
    ]
    home, away = told(results, past(EAST))[-1].values()
    assert home == {"eliminated": True, "settled": False, "near_cut": False}
    assert away == {"eliminated": True, "settled": False, "near_cut": False}
    swapped = [*results[:-1], ("EAS", "EBB", None)]
    assert [side["settled"] for side in told(swapped, past(EAST))[-1].values()] == [True, True]


def test_a_team_level_with_the_cut_in_the_last_games_is_near_it():
    results = [
        *[("EAS", team, 9) for team in EAST[1:] for _ in range(2)],
        ("EBB", "ECK", 9),
        ("ECK", "EBB", 9),
        *[(team, "EDI", 9) for team in ("EBB", "ECK")],
        *[("EDI", team, -9) for team in ("EBB",)],
        ("EDI", "ECK", None),
    ]
    home, away = told(results, past(EAST))[-1].values()
    assert away == {"eliminated": False, "settled": False, "near_cut": True}
    assert home["eliminated"]


def test_other_stages_than_the_regular_season_put_nothing_at_stake():
    assert all(
        not any(side.values()) for one in told(round_robin(EAST), past(EAST), stage="final") for side in one.values()
    )


def test_teams_that_meet_more_often_compete_in_a_table_of_their_own():
    """West is stronger: its last would be second in a joint table, in its own it is out."""
    across = [(west, east, 9) for west in WEST for east in EAST]
    inside = [*round_robin(EAST, 2), *round_robin(WEST, 2)]
    earlier = [
        pd.concat(
            [season(1999, [*across, *inside]), season(1999, [("EAS", "EBB", 3), ("WAD", "WIX", 3)], stage="final")],
            ignore_index=True,
        )
    ]
    said = told([*across, *inside, ("EAS", "WYE", None)], earlier)[-1]
    assert said["home"]["settled"] and said["away"]["eliminated"]


def test_the_league_may_announce_the_length_of_a_season():
    results = round_robin(EAST)[:9]
    announced = LEAGUE.model_copy(update={"season_games": {2000: 4}})
    assert any(any(side.values()) for one in told(results, past(EAST, 3), announced) for side in one.values())
    assert not any(any(side.values()) for one in told(results, past(EAST, 3)) for side in one.values())


@pytest.mark.parametrize("at", range(6, 12))
def test_a_game_and_what_follows_do_not_change_its_stakes(at):
    results = round_robin(EAST)
    turned = [(home, away, -margin if number >= at else margin) for number, (home, away, margin) in enumerate(results)]  # type: ignore[operator]
    assert told(results, past(EAST))[: at + 1] == told(turned, past(EAST))[: at + 1]
