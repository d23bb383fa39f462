"""What can be scored, and which texts are the same, before anybody scores them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoops_assets.basketball import spellings
from hoops_assets.basketball.post_text import TextReader, author_keys
from hoops_assets_tests.basketball.posts import made_posts

READ = TextReader()


@pytest.mark.parametrize(
    "text",
    [
        "", "  \n", "[deleted]", "[removed]", " [Removed] ", "[ Removed by Reddit ]", "https://example.com/x",
        "@lakers @nba www.example.com", "El partido de hoy fue una locura", "Quel match, on est en finale avec les Spurs",
        "Das ist ein sehr gutes Spiel und wir sind dabei", "Che partita, questa squadra è forte e non molla più",
        "ang galing ng team na ito", "これは最高の試合だった", "Отличная игра сегодня", "최고의 경기", "مباراة رائعة",
    ],
)  # fmt: skip
def test_what_nobody_can_score_in_english_is_told(text: str) -> None:
    assert READ([text]).scorable.tolist() == [False]


@pytest.mark.parametrize(
    "text",
    [
        "What a game", "LET'S GO", "😍", "🔥🔥🔥", ":)", "!!!", "112-98", "gg", "W", "no", "Jokić is the best player",
        "Luka Dončić and De'Aaron Fox on the floor", "Los Angeles is on fire", "the deleted scene", "@nba this is bad",
        "Vamos, we win this", "naïve defense", "don’t", "愛 this team so much",
    ],
)  # fmt: skip
def test_what_fans_write_in_english_is_scored(text: str) -> None:
    assert READ([text]).scorable.tolist() == [True]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Great win tonight", "GREAT win, tonight!!!"),
        ("so good", "sooooo goooood"),
        ("buy tickets at https://a.example/1 now", "buy tickets at https://b.example/2 now"),
        ("@ann this team stinks", "@bob this team stinks"),
        ("deal 4531 for fans", "deal 77 for fans"),
        ("go team", "go team 🔥"),
        ("we want a trade", "a trade we want"),
        ("ｇｏ team", "go team"),
        ("112-98", "112-98"),
        ("😍 😍", "😍  😍"),
    ],
)
def test_texts_of_the_same_words_have_one_key(one: str, other: str) -> None:
    key = READ([one, other]).key
    assert key[0] == key[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [("we won", "we lost"), ("go", "go go"), ("112-98", "98-112"), ("😍", "😡"), ("", "a"), ("!", "?")],
)
def test_texts_of_other_words_have_other_keys(one: str, other: str) -> None:
    key = READ([one, other]).key
    assert key[0] != key[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), max_size=12))
def test_facts_of_a_text_do_not_depend_on_its_neighbours(texts: list[str]) -> None:
    together = READ(texts)
    assert len(together.key) == len(together.letters) == len(together.scorable) == len(texts)
    for place, text in enumerate(texts):
        alone = TextReader()([text])
        for name in ("key", "letters", "scorable"):
            assert getattr(alone, name)[0] == getattr(together, name)[place]


def test_forgetting_changes_no_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = made_posts(9_000)
    expected = TextReader()(texts)
    monkeypatch.setattr(spellings, "KNOWN", 50)
    found = TextReader()(texts)
    for name in ("key", "letters", "scorable"):
        assert (getattr(found, name) == getattr(expected, name)).all()
    assert np.mean(expected.scorable) > 0.95


def test_authors_without_a_name_are_one_author() -> None:
    keys = author_keys(pd.Series(["ann", None, "[deleted]", "[Removed]", np.nan, "", "bob", "ann"], dtype="object"))
    assert len({*keys[[1, 2, 3, 4, 5]]}) == 1
    assert len({*keys}) == 3
    assert keys[0] == keys[7]
    assert author_keys(pd.Series([], dtype="object")).shape == (0,)
