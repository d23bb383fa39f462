"""When capacity is to stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoops_assets.services.prediction.contract import check_nights
from hoops_assets.services.prediction.game_nights import AFTER, BEFORE, instance_hours, nights
from hoops_assets.services.prediction.sagemaker_scaling import MOST_ACTIONS, Capacity

ZONE = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def fixtures(*tip_offs: datetime | None) -> pd.DataFrame:
    days = [(one.astimezone(ZONE) if one else NOW).date() for one in tip_offs]
    return pd.DataFrame({"day": days, "tip_off": pd.Series(tip_offs, dtype="datetime64[us, UTC]")})


def test_games_of_one_evening_are_one_night_and_those_of_another_are_another() -> None:
    first, second = NOW + timedelta(hours=11), NOW + timedelta(hours=13)
    found = nights(fixtures(second, first, first + timedelta(days=1)), ZONE, NOW, 2, 4)
    assert [(one.begin, one.end, one.games) for one in found] == [
        (first - BEFORE, second + AFTER, 2),
        (first + timedelta(days=1) - BEFORE, first + timedelta(days=1) + AFTER, 1),
    ]


def test_a_game_without_a_tip_off_has_the_evening_of_its_day_where_it_is_played() -> None:
    (night,) = nights(fixtures(None), ZONE, NOW, 2, 4)
    assert (night.begin, night.end) == (
        datetime(2026, 11, 23, 22, tzinfo=UTC),
        datetime(2026, 11, 24, 4, 30, tzinfo=UTC),
    )


def test_a_night_that_has_ended_is_not_planned() -> None:
    assert nights(fixtures(NOW - timedelta(hours=9)), ZONE, NOW, 2, 4) == []


@given(st.lists(st.integers(-100, 1000), max_size=40))
def test_nights_are_in_order_apart_and_hold_every_game_to_come(hours: list[int]) -> None:
    tip_offs = [NOW + timedelta(hours=hour) for hour in hours]
    found = nights(fixtures(*tip_offs), ZONE, NOW, 1, 1)
    assert check_nights(found) == found
    coming = [one for one in tip_offs if one + AFTER > NOW]
    assert sum(night.games for night in found) == len(coming)
    assert all(any(night.begin <= one - BEFORE and one + AFTER <= night.end for night in found) for one in coming)


def test_instance_hours_are_those_of_the_nights_above_the_base() -> None:
    first = NOW + timedelta(hours=11)
    planned = nights(fixtures(first, first + timedelta(days=1)), ZONE, NOW, 3, 5)
    told = instance_hours(planned, NOW, NOW + timedelta(days=2), base=1)
    assert told == {
        "hours": 48,
        "planned": pytest.approx(48 + 2 * 2 * 5),
        "flat": 144,
        "saved": pytest.approx(1 - 68 / 144),
    }


def test_no_more_nights_are_put_than_aws_takes_and_the_last_one_ends() -> None:
    season = nights(fixtures(*(NOW + timedelta(days=n, hours=11) for n in range(150))), ZONE, NOW, 2, 4)
    changes = Capacity(least=1, most=1, nights=tuple(season)).changes(season[0].begin)
    assert len(changes) == MOST_ACTIONS - 1, "the first night has begun"
    assert (max(changes), changes[max(changes)]) == (season[MOST_ACTIONS // 2 - 1].end, (1, 1))
