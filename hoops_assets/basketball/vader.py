"""VADER's compound score of many texts at once, to its last digit, and a slot for a sport's own words.

What belongs here: the rules of C. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
of Social Media Text", ICWSM 2014, as vaderSentiment 3.3.2 (MIT licence) applies them, over arrays instead of words.
Lexicon, emoji, boosters, negations, idioms and empirical constants are read from the installed package; the few numbers
that its functions hold as literals are named below.

How it is fast: a word's part in the rules depends on its spelling alone, so each spelling is looked at once and gets
the code of a kind of token (valence, booster, negation, capitals, exclamation marks...). A batch is then an array of
codes; most words that carry a valence have no word near them that could change it, and the rules run over the others.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence

import numpy as np

from hoops_assets.basketball import spellings
from hoops_assets.basketball.spellings import Spellings, batches

_ALPHA = 15
_DAMPING = (1.0, 0.95, 0.9)  # of a booster one, two and three words before
_NEVER_SO = 1.25
_BUT_BEFORE, _BUT_AFTER = 0.5, 1.5
_EXCLAMATION, _QUESTION, _QUESTIONS = 0.292, 0.18, 0.96
_MOST_MARKS = 4

_LEX, _HIT, _NEGATION, _BOOSTER, _UPPER, _TRIGGER, _MARKS, _MANY, _PART, _BEGINS = (1 << bit for bit in range(10))
"""What a kind of token is: in the lexicon; carries its valence (in the lexicon and no booster); negates; boosts; is in
capitals; may change what is near it; holds ! or ?; stands for several tokens; is part, or the first word, of a phrase."""

_RULE_WORDS = ("kind", "of", "no", "or", "nor", "least", "at", "very", "but", "so", "this", "never", "without", "doubt")

_OUTSIDE, _INERT = 0, 1
"""Codes of what stands before and after a text, and of the words that a phrase has swallowed."""


class _Kinds:
    """The kinds of tokens met so far, as columns over their codes."""

    def __init__(self) -> None:
        self.count = 0
        self.flags = np.zeros(1024, dtype="int16")
        self.word = np.zeros(1024, dtype="int16")  # number of a word that a rule names; 0 for any other
        self.valence = np.zeros(1024)
        self.boost = np.zeros(1024)
        self.exclamations = np.zeros(1024, dtype="int8")
        self.questions = np.zeros(1024, dtype="int8")
        self.part = np.zeros(1024, dtype="int64")  # number of a word of a phrase; 0 for any other
        self.pieces: dict[int, list[int]] = {}

    def add(
        self,
        flags: int,
        word: int = 0,
        valence: float = 0.0,
        boost: float = 0.0,
        exclamations: int = 0,
        questions: int = 0,
        part: int = 0,
    ) -> int:
        code = self.count
        values = {
            "flags": flags, "word": word, "valence": valence, "boost": boost,
            "exclamations": exclamations, "questions": questions, "part": part,
        }  # fmt: skip
        for name, value in values.items():
            column = getattr(self, name)
            if code == len(column):
                column = np.concatenate([column, np.zeros_like(column)])
                setattr(self, name, column)
            column[code] = value
        self.count += 1
        return code


class Vader:
    """Compound scores of texts, each that of vaderSentiment's `polarity_scores(text)["compound"]`.

    Memory does not grow with the number of texts scored: what is remembered is bounded, and texts are taken in batches.
    One instance serves one thread at a time.

    Args:
        words: valences (-4 to 4) of lower-case words that stand in place of the lexicon's; 0 makes a word neutral.
        phrases: valences of phrases of two and more lower-case words, single spaces between them. A phrase is one word
            to every rule (capitals, boosters, negations); the longest one that fits counts, the earlier of two that
            overlap. With words or phrases the score is no longer VADER's.

    Attributes:
        scored: texts scored so far.
        by_hand: those of them whose last step was done in Python's own arithmetic, one by one.
    """

    def __init__(self, words: Mapping[str, float] | None = None, phrases: Mapping[str, float] | None = None) -> None:
        from vaderSentiment import vaderSentiment

        analyzer = vaderSentiment.SentimentIntensityAnalyzer()
        self.scored = self.by_hand = 0
        self._emojis: dict[str, str] = analyzer.emojis
        self._lexicon: dict[str, float] = {**analyzer.lexicon, **(words or {})}
        self._boosters: dict[str, float] = vaderSentiment.BOOSTER_DICT
        self._negations = frozenset(vaderSentiment.NEGATE)
        self._scalar, self._capitals = vaderSentiment.N_SCALAR, vaderSentiment.C_INCR
        self._phrases = {tuple(phrase.split(" ")): valence for phrase, valence in (phrases or {}).items()}
        idioms = {tuple(idiom.split(" ")): valence for idiom, valence in vaderSentiment.SPECIAL_CASES.items()}
        boosters = {tuple(booster.split(" ")): value for booster, value in vaderSentiment.BOOSTER_DICT.items()}
        self._name_words(idioms, boosters)
        self._name_parts()
        self._known = {*self._lexicon, *self._boosters, *self._negations, *self._number, *self._parts}
        self._codes: dict[tuple[object, ...], int] = {}
        self._forget()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Compound scores, float64 of shape (n,), each in [-1, 1] with 4 digits; 0 for a text without words."""
        scores = np.empty(len(texts))
        for first, stop in batches(texts):
            scores[first:stop] = self._score(texts[first:stop])
            self.scored += stop - first
            if len(self._spellings) > spellings.KNOWN or self._kinds.count > spellings.KNOWN:
                self._forget()
        return scores

    def _name_words(self, idioms: Mapping[tuple[str, ...], float], boosters: Mapping[tuple[str, ...], float]) -> None:
        """Numbers the words that rules name, and lays the idioms of two and three of them out as tables."""
        sequences = [words for words in (*idioms, *boosters) if len(words) > 1]
        names = dict.fromkeys((*_RULE_WORDS, *(word for words in sequences for word in words)))
        self._number = {word: number for number, word in enumerate(names, start=1)}
        # One word of each sequence gives it away; the longest is the rarest.
        self._triggers = {"no", "least", "this", *(max(words, key=len) for words in sequences)}
        size = len(self._number) + 1
        self._idioms = {2: np.full((size,) * 2, np.nan), 3: np.full((size,) * 3, np.nan)}
        self._paired_boost = {2: np.zeros((size,) * 2), 3: np.zeros((size,) * 3)}
        for table, values in ((self._idioms, idioms), (self._paired_boost, boosters)):
            for words, value in values.items():
                if len(words) > 1:  # vaderSentiment never compares a single word with its idioms
                    table[len(words)][tuple(self._number[word] for word in words)] = value

    def _name_parts(self) -> None:
        """Numbers the words of phrases, and lays the phrases out as sorted keys, the longest first."""
        names = dict.fromkeys(word for words in self._phrases for word in words)
        self._parts = {word: number for number, word in enumerate(names, start=1)}
        self._begins = {words[0] for words in self._phrases}
        self._radix = len(self._parts) + 1
        self._phrase_keys: list[tuple[int, np.ndarray, np.ndarray]] = []
        for length in sorted({len(words) for words in self._phrases}, reverse=True):
            if self._radix**length >= 2**63:
                raise ValueError(f"phrases of {length} words out of {self._radix - 1} different ones are too many")
            found = sorted(
                (sum(self._parts[word] * self._radix**place for place, word in enumerate(words)), valence)
                for words, valence in self._phrases.items()
                if len(words) == length
            )
            keys, valences = zip(*found, strict=True)
            self._phrase_keys.append((length, np.array(keys, dtype="int64"), np.array(valences)))

    def _forget(self) -> None:
        self._kinds = _Kinds()
        # What is outside a text ends the reach of every rule, as a word of the lexicon does.
        self._kinds.add(_LEX)
        self._kinds.add(0)
        self._loud = self._kinds.add(_UPPER)
        self._codes = {("", False, False, 0, 0, 0): _INERT, ("", False, True, 0, 0, 0): self._loud}
        self._spellings = Spellings(self._learn)

    def _learn(self, token: str) -> int:
        """The code of what stands between two spaces of a text."""
        if token.isascii() or not any(character in self._emojis for character in token):
            return self._learn_word(token)
        # vaderSentiment writes an emoji's description into the text, with a space before it but none behind.
        described = "".join(
            " " + self._emojis[character] if character in self._emojis else character for character in token
        )
        pieces = tuple(self._learn_word(word) for word in described.split())
        if len(pieces) == 1:
            return pieces[0]
        code = self._codes.get(pieces)
        if code is None:
            code = self._codes[pieces] = self._kinds.add(_MANY)
            self._kinds.pieces[code] = list(pieces)
        return code

    def _learn_word(self, token: str) -> int:
        if token.isalpha() and token.lower() not in self._known:  # most words are, and most of them are seldom
            return self._loud if token.isupper() else _INERT
        stripped = token.strip(string.punctuation)
        word = token if len(stripped) <= 2 else stripped
        lower, upper = word.lower(), word.isupper()
        exclamations, questions = min(token.count("!"), _MOST_MARKS), min(token.count("?"), _MOST_MARKS)
        negation = lower in self._negations or "n't" in lower
        part = self._parts.get(stripped.lower().replace("’", "'"), 0) if self._parts else 0
        key = (lower if lower in self._known else "", negation, upper, exclamations, questions, part)
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = self._kinds.add(
                self._flags_of(lower, negation)
                | upper * _UPPER
                | (exclamations + questions > 0) * _MARKS
                | (part > 0) * _PART
                | (part > 0 and stripped.lower() in self._begins) * _BEGINS,
                self._number.get(lower, 0),
                self._lexicon.get(lower, 0.0),
                self._boosters.get(lower, 0.0),
                exclamations,
                questions,
                part,
            )
        return code

    def _flags_of(self, lower: str, negation: bool) -> int:
        lexical, booster = lower in self._lexicon, lower in self._boosters
        return (
            lexical * _LEX
            | (lexical and not booster) * _HIT
            | negation * _NEGATION
            | booster * _BOOSTER
            | (negation or booster or lower in self._triggers) * _TRIGGER
        )

    def _codes_of(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Codes of all tokens of the texts in one row, and the number of tokens of each text."""
        codes, count = self._spellings.codes_of(texts)
        many = np.flatnonzero(self._kinds.flags[codes] & _MANY)
        if len(many) == 0:
            return codes, count
        pieces = [self._kinds.pieces[code] for code in codes[many].tolist()]
        more = np.array([len(piece) for piece in pieces])
        size = np.ones(len(codes), dtype="int64")
        size[many] = more
        stop = np.cumsum(size)
        spread = np.repeat(codes, size)
        place = np.repeat(stop[many] - more - (np.cumsum(more) - more), more) + np.arange(more.sum())
        spread[place] = [code for piece in pieces for code in piece]
        count += np.bincount(np.repeat(np.arange(len(texts)), count)[many], more - 1, len(texts)).astype("int64")
        return spread, count

    def _score(self, texts: Sequence[str]) -> np.ndarray:
        codes, count = self._codes_of(texts)
        if len(codes) == 0:
            return np.zeros(len(texts))
        text_of = np.repeat(np.arange(len(texts)), count)
        flags, valence_of = self._kinds.flags[codes], self._kinds.valence
        marks = np.flatnonzero(flags & _MARKS)
        amplifier = self._amplifier(codes[marks], text_of[marks], len(texts))
        swallowed: dict[int, float] = {}
        if self._phrase_keys:
            swallowed = self._phrases_in(codes, flags, text_of)
        loud = np.bincount(text_of[np.flatnonzero(flags & _UPPER)], minlength=len(texts))
        shouts = (loud > 0) & (loud < count)

        hits = np.flatnonzero(flags & _HIT)
        valences = valence_of[codes[hits]]
        if swallowed:
            valences = np.array(
                [swallowed.get(hit, value) for hit, value in zip(hits.tolist(), valences.tolist(), strict=True)]
            )
        place = hits - (np.cumsum(count) - count)[text_of[hits]]
        window = _Window(self._kinds, codes, flags)
        ruled = np.flatnonzero(window.near(hits, _TRIGGER) | (shouts[text_of[hits]] & (flags[hits] & _UPPER > 0)))
        if len(ruled):
            at = hits[ruled]
            left = count[text_of[at]] - 1 - place[ruled]
            valences[ruled] = self._ruled(window, at, place[ruled], left, valences[ruled], shouts[text_of[at]])
        text_of_hit = text_of[hits]
        self._turn_at_but(codes, text_of, count, text_of_hit, place, valences)
        return self._compound(np.bincount(text_of_hit, valences, len(texts)), amplifier, text_of_hit, valences)

    def _amplifier(self, codes: np.ndarray, text_of: np.ndarray, size: int) -> np.ndarray:
        exclamations = np.bincount(text_of, self._kinds.exclamations[codes], size)
        questions = np.bincount(text_of, self._kinds.questions[codes], size)
        asked = np.where(questions > 3, _QUESTIONS, np.where(questions > 1, questions * _QUESTION, 0.0))
        return np.minimum(exclamations, _MOST_MARKS) * _EXCLAMATION + asked

    def _phrases_in(self, codes: np.ndarray, flags: np.ndarray, text_of: np.ndarray) -> dict[int, float]:
        """Place -> valence of the phrases; in `flags` and `codes` each becomes one word of the lexicon."""
        found: dict[int, tuple[int, float]] = {}
        begins = np.flatnonzero(flags & _BEGINS)
        parts = self._kinds.part
        for length, keys, valences in self._phrase_keys:
            at = begins[begins + length <= len(codes)]
            at = at[text_of[at] == text_of[at + length - 1]]
            key = sum((parts[codes[at + place]] * self._radix**place for place in range(length)), np.zeros(1, "int64"))
            whole = np.all([parts[codes[at + place]] > 0 for place in range(length)], axis=0)
            index = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            for one in np.flatnonzero(whole & (keys[index] == key)).tolist():
                found.setdefault(int(at[one]), (length, float(valences[index[one]])))
        kept: dict[int, float] = {}
        stop = 0
        for place in sorted(found):
            length, valence = found[place]
            if place < stop:
                continue
            stop = place + length
            shouted = np.all(flags[place:stop] & _UPPER)
            codes[place:stop] = _INERT
            flags[place:stop] = _UPPER if shouted else 0
            flags[place] |= _LEX | _HIT
            kept[place] = valence
        return kept

    def _ruled(
        self,
        window: _Window,
        at: np.ndarray,
        place: np.ndarray,
        left: np.ndarray,
        plain: np.ndarray,
        shouts: np.ndarray,
    ) -> np.ndarray:
        """Valences of hits after the rules about the words near them.

        Args:
            at: places of the hits in the row of codes.
            place: their places within their texts.
            left: how many words follow them there.
            plain: their valences in the lexicon.
            shouts: whether some but not all words of their texts are in capitals.
        """
        number, scalar = self._number, self._scalar
        before = [window.at(at - step, place >= step) for step in (1, 2, 3)]
        after = [window.at(at + step, left >= step) for step in (1, 2)]
        own = window.at(at, np.ones(len(at), dtype=bool))
        w0, w1, w2, w3 = (token.word for token in (own, *before))

        valence = plain.copy()
        valence[(w0 == number["no"]) & (left >= 1) & after[0].has(_LEX)] = 0.0
        either = (w1 == number["or"]) | (w1 == number["nor"])
        denied = (w1 == number["no"]) | (w2 == number["no"]) | ((w3 == number["no"]) & either)
        valence = np.where(denied, plain * scalar, valence)
        louder = own.has(_UPPER) & shouts
        valence = valence + np.where(louder, np.where(valence > 0, self._capitals, -self._capitals), 0.0)

        so1, so2 = ((word == number["so"]) | (word == number["this"]) for word in (w1, w2))
        no_doubt = (w1 == number["doubt"]) | (w2 == number["doubt"])
        never = np.zeros(len(at), dtype=bool)
        never_so = (never, (w2 == number["never"]) & so1, ((w3 == number["never"]) & so2) | so1)
        undoubted = (never, (w2 == number["without"]) & (w1 == number["doubt"]), (w3 == number["without"]) & no_doubt)
        for distance, token in enumerate(before):
            reached = ~token.has(_LEX)
            boost = np.where(valence < 0, -token.boost, token.boost)
            louder = token.has(_BOOSTER) & token.has(_UPPER) & shouts
            boost = boost + np.where(louder, np.where(valence > 0, self._capitals, -self._capitals), 0.0)
            changed = valence + boost * _DAMPING[distance]
            factor = np.where(token.has(_NEGATION), scalar, 1.0)
            factor = np.where(undoubted[distance], 1.0, factor)
            factor = np.where(never_so[distance], _NEVER_SO, factor)
            valence = np.where(reached, changed * factor, valence)
        words = (w3, w2, w1, w0, after[0].word, after[1].word)
        valence = np.where(~before[2].has(_LEX), self._after_idioms(valence, *words), valence)
        least = (w1 == number["least"]) & ~before[0].has(_LEX)
        least &= (w2 != number["at"]) & (w2 != number["very"])
        valence = np.where(least, valence * scalar, valence)
        return np.where((w0 == number["kind"]) & (after[0].word == number["of"]), 0.0, valence)

    def _after_idioms(
        self,
        valence: np.ndarray,
        w3: np.ndarray,
        w2: np.ndarray,
        w1: np.ndarray,
        w0: np.ndarray,
        n1: np.ndarray,
        n2: np.ndarray,
    ) -> np.ndarray:
        idioms, boosts = self._idioms, self._paired_boost
        special = np.full(len(valence), np.nan)
        # From the weakest to the strongest: a later one replaces an earlier.
        for words in ((w3, w2), (w3, w2, w1), (w2, w1), (w2, w1, w0), (w1, w0), (w0, n1), (w0, n1, n2)):
            value = idioms[len(words)][words]
            special = np.where(np.isnan(value), special, value)
        valence = np.where(np.isnan(special), valence, special)
        for words in ((w3, w2, w1), (w3, w2), (w2, w1)):
            valence = valence + boosts[len(words)][words]
        return valence

    def _turn_at_but(
        self,
        codes: np.ndarray,
        text_of: np.ndarray,
        count: np.ndarray,
        text_of_hit: np.ndarray,
        place: np.ndarray,
        valences: np.ndarray,
    ) -> None:
        """Halves, in place, what stands before a text's first "but" and raises what stands after it."""
        buts = np.flatnonzero(self._kinds.word[codes] == self._number["but"])
        if len(buts) == 0:
            return
        texts, first = np.unique(text_of[buts], return_index=True)
        turn = buts[first] - (np.cumsum(count) - count)[texts]
        starts = np.searchsorted(text_of_hit, texts)
        stops = np.searchsorted(text_of_hit, texts, side="right")
        for start, stop, at in zip(starts.tolist(), stops.tolist(), turn.tolist(), strict=True):
            values, places = valences[start:stop].tolist(), place[start:stop].tolist()
            # As vaderSentiment does it: of equal values the first is found, and may be changed twice.
            for value in values:
                found = values.index(value)
                if places[found] < at:
                    values[found] = value * _BUT_BEFORE
                elif places[found] > at:
                    values[found] = value * _BUT_AFTER
            valences[start:stop] = values

    def _compound(
        self, total: np.ndarray, amplifier: np.ndarray, text_of_hit: np.ndarray, valences: np.ndarray
    ) -> np.ndarray:
        emphasized = np.where(total > 0, total + amplifier, np.where(total < 0, total - amplifier, total))
        compound = emphasized / np.sqrt(emphasized * emphasized + _ALPHA)
        digits = compound * 1e4
        rounded = np.rint(digits) / 1e4
        # Where the last bit decides (a sum that cancels, a fifth digit of exactly 5) Python's own sum and round do.
        doubtful = np.abs(digits - np.floor(digits) - 0.5) < 1e-6
        doubtful |= (np.abs(total) < 1e-9) & (np.bincount(text_of_hit, minlength=len(total)) > 1)
        texts = np.flatnonzero(doubtful)
        starts = np.searchsorted(text_of_hit, texts)
        stops = np.searchsorted(text_of_hit, texts, side="right")
        for text, start, stop in zip(texts.tolist(), starts.tolist(), stops.tolist(), strict=True):
            rounded[text] = _one_compound(valences[start:stop].tolist(), float(amplifier[text]))
        self.by_hand += len(texts)
        return rounded


class _Window:
    """Tokens near others in the row of codes."""

    def __init__(self, kinds: _Kinds, codes: np.ndarray, flags: np.ndarray) -> None:
        self._kinds = kinds
        self._codes, self._flags = codes, flags

    def near(self, at: np.ndarray, flag: int) -> np.ndarray:
        """Whether a token up to three before to two after has the flag, whosever text it is in."""
        has = np.zeros(len(self._flags) + 5, dtype=bool)
        has[3:-2] = self._flags & flag > 0
        near = has[at]
        for step in range(1, 6):
            near |= has[at + step]
        return near

    def at(self, at: np.ndarray, inside: np.ndarray) -> _Tokens:
        """Tokens at places of the row, or what is outside a text."""
        at = np.where(inside, at, 0)
        codes = np.where(inside, self._codes[at], _OUTSIDE)
        flags = np.where(inside, self._flags[at], self._kinds.flags[_OUTSIDE])
        return _Tokens(flags, self._kinds.word[codes], self._kinds.boost[codes])


class _Tokens:
    def __init__(self, flags: np.ndarray, word: np.ndarray, boost: np.ndarray) -> None:
        self.flags, self.word, self.boost = flags, word, boost

    def has(self, flag: int) -> np.ndarray:
        return self.flags & flag > 0


def _one_compound(valences: list[float], amplifier: float) -> float:
    total = float(sum(valences))
    if total > 0:
        total += amplifier
    elif total < 0:
        total -= amplifier
    return round(total / math.sqrt(total * total + _ALPHA), 4)
