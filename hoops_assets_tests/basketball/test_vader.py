"""The fast compound score is vaderSentiment's own, to its last digit, on everything people may write."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from hoops_assets.basketball import spellings
from hoops_assets.basketball.vader import Vader
from hoops_assets_tests.basketball.posts import (
    EDGES,
    EMOJI,
    EMOTICONS,
    MARKS,
    ODD,
    PHRASES,
    PLAIN,
    made_posts,
    real_posts,
    word_stock,
)

ANALYZER = SentimentIntensityAnalyzer()
FAST = Vader()
LEXICON, MODIFIERS = word_stock()


def assert_equal(texts: list[str], scorer: Vader = FAST) -> None:
    expected = np.array([ANALYZER.polarity_scores(text)["compound"] for text in texts])
    found = scorer(texts)
    wrong = np.flatnonzero(found != expected)
    assert not len(wrong), [(texts[place], found[place], expected[place]) for place in wrong[:5]]


def test_edge_cases_score_as_vader_scores_them() -> None:
    assert_equal(list(EDGES))
    assert FAST([]).shape == (0,)
    assert FAST(["", " "]).tolist() == [0, 0]


def test_the_corpus_scores_as_vader_scores_it() -> None:
    corpus = made_posts(12_000)
    assert_equal(corpus)
    assert any(len(text) > 3_000 for text in corpus)


def test_shared_real_posts_score_as_vader_scores_them(real_data: Path) -> None:
    found = real_posts(real_data)
    if not found:
        pytest.skip("the real data has no posts")
    for texts in found.values():
        assert_equal(texts[:: max(1, len(texts) // 12_000)])


@pytest.mark.slow
def test_all_shared_real_posts_and_the_whole_corpus_score_as_vader_scores_them(real_data: Path) -> None:
    assert_equal(made_posts(60_000))
    for texts in real_posts(real_data).values():
        assert_equal(texts)


def cased(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(words, st.sampled_from((str, str, str.upper, str.capitalize)), st.sampled_from(MARKS)).map(
        lambda parts: parts[1](parts[0]) + parts[2]
    )


RULES = (
    "but",
    "no",
    "or",
    "nor",
    "least",
    "at",
    "very",
    "so",
    "this",
    "never",
    "without",
    "doubt",
    "kind",
    "of",
    "NOT",
)
WORDS = st.one_of(
    cased(st.sampled_from(("good", "bad", "love", "hate", "fine", "kind", "great", "no", "ass", "shit", "heart"))),
    cased(st.sampled_from(RULES)),
    cased(st.sampled_from(MODIFIERS)),
    cased(st.sampled_from(PHRASES)),
    cased(st.sampled_from(LEXICON)),
    cased(st.sampled_from(PLAIN)),
    st.sampled_from((*EMOJI, *EMOTICONS, *ODD)),
    st.text(max_size=6),
)
TEXTS = st.lists(WORDS, max_size=14).flatmap(
    lambda words: st.sampled_from((" ", "  ", "\n")).map(lambda s: s.join(words))
)


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_any_mixture_of_words_scores_as_vader_scores_it(texts: list[str]) -> None:
    assert_equal(texts)


@settings(max_examples=200, deadline=None)
@given(st.text(), st.text(alphabet=string.punctuation + " goDbaNT'" + "".join(EMOJI)))
def test_any_characters_score_as_vader_scores_them(anything: str, marks: str) -> None:
    assert_equal([anything, marks])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from((*RULES, "good", "bad", "GOOD", "very", "x", "the", "bomb", "die", "to", "for")), max_size=9
    )
)
def test_rule_words_in_any_order_score_as_vader_scores_them(words: list[str]) -> None:
    assert_equal([" ".join(words), " ".join([*words, "but", *reversed(words)])])


def test_a_score_depends_neither_on_the_neighbours_nor_on_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = made_posts(2_000)
    together = FAST(texts)
    monkeypatch.setattr(spellings, "_BATCH_TEXTS", 7)
    monkeypatch.setattr(spellings, "_BATCH_CHARACTERS", 150)
    assert (Vader()(texts) == together).all()


def test_what_is_remembered_is_bounded_and_forgetting_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{number} is good {'😍' * (number % 50)}" for number in range(1_500)]
    monkeypatch.setattr(spellings, "KNOWN", 100)
    monkeypatch.setattr(spellings, "_BATCH_TEXTS", 100)
    scorer = Vader()
    assert_equal(texts, scorer)
    assert len(scorer._spellings) < 400
    assert scorer._kinds.count < 400
    assert scorer.scored == len(texts)


def test_a_word_of_ones_own_replaces_the_lexicons() -> None:
    own = Vader(words={"steal": 0.0, "dub": 2.5})
    assert FAST(["what a steal"])[0] < 0
    assert own(["what a steal", "we got the dub", "not a dub", "I love it"]).tolist()[0] == 0
    assert own(["we got the dub"])[0] > 0.4 > 0 > own(["not a dub"])[0]
    assert own(["I love it"]) == FAST(["I love it"])


def test_a_phrase_is_one_word_to_every_rule() -> None:
    own = Vader(
        words={"good": 1.9}, phrases={"on fire": 2.5, "on fire sale": -2.0, "took the l": -2.0, "ice in his veins": 2}
    )
    plain = own(["he is on fire"])[0]
    assert FAST(["he is on fire"])[0] < 0 < plain
    assert own(["he is so on fire"])[0] > plain
    assert own(["he is not on fire"])[0] < 0
    assert own(["he is ON FIRE"])[0] > plain
    assert own(["he is on fire!!!"])[0] > plain
    assert own(["he is on 🔥"])[0] == plain
    assert own(["on fire sale"])[0] < 0  # the longer phrase
    assert own(["they took the L"])[0] == own(["they took the l"])[0] < 0  # one capital letter is not a shout
    assert own(["Took the L."])[0] < 0
    assert own(["fans of ice in his veins"])[0] > 0


def test_phrases_end_where_their_text_ends() -> None:
    own = Vader(phrases={"took the l": -2.0})
    assert own(["they took", "the day", "took the", "night", "took the l"]).tolist()[:4] == [0, 0, 0, 0]


def test_overlapping_phrases_count_from_the_left() -> None:
    own = Vader(phrases={"go off": 2.0, "off night": -2.0})
    assert own(["go off night"])[0] > 0
    assert own(["an off night"])[0] < 0


PARTS = {"a b": 1.0, "b c": 2.0, "a b c a": 3.0, "c a b": -1.0}
IN_PHRASES = Vader(phrases=PARTS)
AS_WORDS = Vader(words={f"phrase{number}": valence for number, valence in enumerate(PARTS.values())})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(("a", "b", "c", "good", "not")), max_size=8).map(" ".join), max_size=4))
def test_phrases_are_those_of_a_plain_search(texts: list[str]) -> None:
    joined = []
    for text in texts:
        words, place, found = text.split(), 0, []
        while place < len(words):
            fits = [part.split() for part in PARTS if words[place : place + len(part.split())] == part.split()]
            longest = max(fits, key=len, default=[])
            name = f"phrase{list(PARTS).index(' '.join(longest))}" if longest else words[place]
            found += [name, *["x"] * (len(longest) - 1)]
            place += max(len(longest), 1)
        joined.append(" ".join(found))
    assert (IN_PHRASES(texts) == AS_WORDS(joined)).all()
