"""Basketball's own words are read as fans mean them, and nothing else is read otherwise than VADER reads it."""

from __future__ import annotations

import numpy as np
import pytest

from hoops_assets.basketball.lexicon import GROUPS, words_and_phrases
from hoops_assets.basketball.sentiment import basketball_scorer, vader_scorer

SCORE, PLAIN = basketball_scorer(), vader_scorer()

GOOD = (
    "Steph is on fire", "he's ON FIRE tonight", "Jokic is on 🔥", "killing it from three", "he killed it", "Luka is killing them",
    "such a clutch shot", "CLUTCH", "what a dagger", "dagger three to end it", "sick dunk", "that was a sick dunk!!",
    "nasty crossover", "filthy handles", "disgusting crossover", "insane block", "that dunk was filthy", "he cooked him",
    "let him cook", "we are cooking", "he has that dawg in him", "ice in his veins", "he's him", "GOAT", "walking bucket",
    "we took the W", "another dub", "lights out shooting", "he's a bucket", "cold blooded", "monster game from Giannis",
    "beast mode", "buzzer beater!", "game winner", "let's go", "LFG", "he broke his ankles", "he is unguardable",
    "hell yeah", "in the zone tonight", "killer crossover", "locked in", "tough shot, great finish",
)  # fmt: skip
BAD = (
    "we took the L", "took the L again", "took another L", "hold this L", "big L for us", "we're cooked", "this team is cooked",
    "they got cooked", "bricks all night", "another brick", "bricked the free throw", "he's shooting bricks", "airball",
    "they choked again", "choke job", "what a choke", "blew a 20 point lead", "we blew it", "he blew the game",
    "washed", "he's washed up", "hot garbage", "dumpster fire", "trash defense", "fire the coach", "FIRE THE GM",
    "turnovers are killing us", "got smoked", "got swept", "poverty franchise", "what a bum", "soft team", "fraud",
    "no defense at all", "season is over", "ran out of gas", "they can't buy a bucket", "got robbed", "tough loss",
    "so upset right now", "he is not clutch", "he is not on fire", "never clutch", "isn't the GOAT",
)  # fmt: skip
NEUTRAL = (
    "5 blocks and 3 steals", "he had a steal", "blocked shot", "free throws coming", "attacking the rim", "offensive rebound",
    "defensive rebound", "the defense sets up", "shot clock violation", "pick and roll, shoot it", "New York Liberty",
    "Atlanta Dream at Minnesota Lynx", "Orlando Magic at Utah Jazz", "trap at half court", "he cuts to the rim",
    "that was an upset", "free agent", "garbage time",
)  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_praise_reads_as_praise(text: str) -> None:
    assert SCORE([text])[0] >= 0.05


@pytest.mark.parametrize("text", BAD)
def test_scorn_reads_as_scorn(text: str) -> None:
    assert SCORE([text])[0] <= -0.05


@pytest.mark.parametrize("text", NEUTRAL)
def test_the_terms_of_the_game_are_neither(text: str) -> None:
    assert abs(SCORE([text])[0]) < 0.05


def test_plain_vader_reads_many_of_these_backwards_or_not_at_all() -> None:
    wrong = np.concatenate([PLAIN(GOOD) < 0.05, PLAIN(BAD) > -0.05, np.abs(PLAIN(NEUTRAL)) >= 0.05])
    assert np.mean(wrong) > 0.6


def test_texts_without_these_words_score_as_vader_scores_them() -> None:
    texts = ["I love this team!", "this is awful", "VERY happy, but not with you", "😍", "", "he is kind of great"]
    assert SCORE(texts).tolist() == PLAIN(texts).tolist()


def test_every_entry_has_a_reason_and_a_valence_of_vaders_range() -> None:
    assert all(group.reason and group.entries for group in GROUPS)
    words, phrases = words_and_phrases()
    for entries in (words, phrases):
        assert all(entry == " ".join(entry.lower().split()) and "|" not in entry for entry in entries)
        assert all(-4 <= valence <= 4 for valence in entries.values())
    assert len(words) > 150
    assert len(phrases) > 1_000


def test_no_spelling_has_two_valences_in_one_group() -> None:
    from hoops_assets.basketball.lexicon import _spellings

    for group in GROUPS:
        seen: dict[str, float] = {}
        for entry, valence in group.entries.items():
            for spelling in _spellings(entry):
                assert seen.setdefault(spelling, valence) == valence, (group.reason, spelling)
