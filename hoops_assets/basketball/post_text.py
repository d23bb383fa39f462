"""What can be said of a post's text before anybody scores it: whether it can be scored, and which texts are the same.

What belongs here: pure functions of texts. A text's meaning is left to a scorer.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd

from hoops_assets.basketball import spellings
from hoops_assets.basketball.spellings import Spellings, batches

REMOVED = frozenset({"[deleted]", "[removed]", "[ removed by reddit ]", "[removed by reddit]", "[unavailable]"})
"""What sites leave in place of a text or an author that is gone, in lower case."""

_ENGLISH = {
    "the", "and", "is", "are", "was", "were", "be", "been", "to", "of", "in", "that", "it", "he", "she", "they",
    "we", "you", "for", "with", "this", "have", "has", "had", "will", "would", "can", "what", "who", "his", "her",
    "their", "our", "your", "not", "but", "from", "just", "all", "out", "up", "so", "if", "about", "when", "how",
    "why", "did", "do", "does", "there", "because", "i'm", "it's", "don't", "can't", "that's", "he's",
    "we're", "they're", "isn't", "didn't", "ain't", "gonna", "really", "should", "could", "then", "than", "these",
    "those",
}  # fmt: skip

_FOREIGN = {
    # Spanish and Portuguese
    "que", "los", "las", "del", "por", "para", "una", "como", "pero", "más", "muy", "está", "este", "esta", "eso",
    "esto", "ser", "hay", "ya", "también", "cuando", "porque", "hoy", "noche", "partido", "equipo", "vamos",
    "jugador", "mejor", "gracias", "não", "uma", "com", "mais", "muito", "isso", "você", "jogo", "hoje", "dos",
    "das", "foi", "são", "tá", "el", "la", "de", "es", "en", "un",
    # French
    "les", "des", "pas", "une", "dans", "qui", "sur", "avec", "ce", "cette", "pour", "nous", "vous", "je", "c'est",
    "trop", "équipe", "du", "au", "le", "et",
    # German and Dutch
    "und", "der", "ist", "nicht", "ein", "eine", "ich", "mit", "auf", "den", "wir", "sie", "auch", "aber",
    "het", "een", "niet", "van", "voor", "maar", "zijn", "ik", "dat",
    # Italian
    "che", "di", "il", "gli", "della", "sono", "questa", "questo", "però", "più", "perché", "anche", "stasera",
    "squadra", "partita",
    # Tagalog
    "ang", "ng", "mga", "sa", "na", "ko", "yung", "naman", "lang", "talaga", "nga", "hindi", "pa", "rin", "kayo",
    # Turkish, Indonesian and Polish
    "bir", "ve", "bu", "için", "çok", "değil", "ama", "ile", "yang", "ini", "itu", "tidak", "untuk", "dengan",
    "nie", "jest", "się", "że", "jak", "ale",
}  # fmt: skip
"""The commonest words of languages fans write in, none of them a common English word or name."""

_NOT_LETTERS = re.compile(r"[\W\d_]+")
_RUNS = re.compile(r"(.)\1+")
_ADDRESS = re.compile(r"(?:https?://|www\.|@|/?u/)", re.IGNORECASE)
_MARKS = "\"'“”‘’.,!?;:()[]*"
_EN, _OTHER, _SCRIPT, _ADDRESSED = 1, 2, 4, 8


@dataclass(frozen=True)
class TextFacts:
    """Facts of n texts.

    Attributes:
        key: uint64 of shape (n,); equal for texts that say the same in the same words: capitals, digits, punctuation,
            emoji, repeated letters, addresses, mentions and the order of the words do not count. A text without words
            has a key of its own spelling.
        letters: int64 of shape (n,), letters that went into the key, runs of one letter counted once.
        scorable: bool of shape (n,); False for a text that is empty, removed, nothing but addresses and mentions, or
            not in English as far as its script and its commonest words tell.
    """

    key: np.ndarray
    letters: np.ndarray
    scorable: np.ndarray


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _facts_of(word: str) -> tuple[int, int, int]:
    """Key, letters and language bits of one word."""
    if _ADDRESS.match(word):
        return 0, 0, _ADDRESSED
    lower = word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()
    bare = lower if lower.isalpha() else lower.strip(_MARKS).replace("’", "'")
    letters = _RUNS.sub(r"\1", lower if lower.isalpha() else _NOT_LETTERS.sub("", lower))
    language = (bare in _ENGLISH) * _EN | (bare in _FOREIGN) * _OTHER
    if not letters.isascii() and any("LATIN" not in unicodedata.name(letter, "LATIN") for letter in letters):
        language |= _SCRIPT
    return _hash(letters) if letters else 0, len(letters), language


class TextReader:
    """Reads facts of texts; every spelling is looked at once, and what is remembered is bounded."""

    def __init__(self) -> None:
        self._forget()

    def __call__(self, texts: Sequence[str]) -> TextFacts:
        """Facts of n texts, each the same whatever its neighbours are."""
        parts = [self._read(texts[first:stop]) for first, stop in batches(texts)]
        return TextFacts(*(np.concatenate(column) for column in zip(*parts, strict=True))) if parts else _NOTHING

    def _forget(self) -> None:
        self._spellings = Spellings(self._learn)
        self._columns = (array("Q"), array("q"), array("q"))

    def _learn(self, word: str) -> int:
        for column, fact in zip(self._columns, _facts_of(word), strict=True):
            column.append(fact)
        return len(self._columns[0]) - 1

    def _read(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if len(self._columns[0]) > spellings.KNOWN:
            self._forget()
        codes, count = self._spellings.codes_of(texts)
        keys, letters, languages = (np.array(column)[codes] for column in self._columns)
        stop = np.cumsum(count)
        text_of = np.repeat(np.arange(len(texts)), count)

        def total(column: np.ndarray) -> np.ndarray:
            sums = np.concatenate([np.zeros(1, column.dtype), np.cumsum(column)])  # uint64 wraps around
            return sums[stop] - sums[stop - count]

        def holding(words: np.ndarray) -> np.ndarray:
            return np.bincount(text_of[words], minlength=len(texts))

        key, size = total(keys), total(letters)
        wordless = np.flatnonzero(size == 0)
        key[wordless] = [_hash(" ".join(texts[place].casefold().split())) for place in wordless.tolist()]
        english, other, script, addresses = (holding(languages & bit > 0) for bit in (_EN, _OTHER, _SCRIPT, _ADDRESSED))
        gone = addresses == count
        few = np.flatnonzero(count <= 6)
        gone[few] |= np.array([texts[place].strip().lower() in REMOVED for place in few.tolist()], dtype=bool)
        foreign = ((other >= 2) & (other > english)) | (2 * script > holding(letters > 0))
        return key, size, ~(gone | foreign)


_NOTHING = TextFacts(np.zeros(0, "uint64"), np.zeros(0, "int64"), np.zeros(0, bool))


def author_keys(authors: pd.Series) -> np.ndarray:
    """uint64 of shape (n,), equal for equal authors; whoever has no name, or a removed one, has that of nobody."""
    known = authors.fillna("").astype(str)
    nobody = known.str.strip().str.lower().isin(REMOVED)
    return pd.util.hash_array(known.mask(nobody, "").to_numpy(dtype=object), categorize=True)
