"""Texts as rows of codes: what depends on a word's spelling alone is worked out once for each spelling.

What belongs here: the memory of spellings, and the splitting of many texts into batches and of texts into words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

KNOWN = 1 << 16
"""Spellings remembered before all are forgotten."""

_BATCH_TEXTS = 4096
_BATCH_CHARACTERS = 1 << 18
_LONGEST = 40  # longer ones are addresses and floods, not met again


class Spellings(dict[str, int]):
    """Spelling -> code.

    Args:
        learn: gives the code of a spelling; is asked again for one that was too long to remember.
    """

    def __init__(self, learn: Callable[[str], int]) -> None:
        super().__init__()
        self._learn = learn

    def __missing__(self, spelling: str) -> int:
        code = self._learn(spelling)
        if len(spelling) <= _LONGEST:
            self[spelling] = code
        return code

    def codes_of(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Codes of all words of n texts in one row (int64), and the number of words of each text (int64 of shape (n,))."""
        words: list[str] = []
        counts = []
        for text in texts:
            of_text = text.split()
            counts.append(len(of_text))
            words += of_text
        codes = np.fromiter(map(self.__getitem__, words), dtype="int64", count=len(words))
        return codes, np.array(counts, dtype="int64")


def batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Bounds of consecutive batches, each of few texts and, unless a single one is longer, few characters."""
    for first in range(0, len(texts), _BATCH_TEXTS):
        stop = min(first + _BATCH_TEXTS, len(texts))
        lengths = [len(texts[place]) for place in range(first, stop)]
        if sum(lengths) <= _BATCH_CHARACTERS:
            yield first, stop
            continue
        start, size = first, 0
        for place, length in enumerate(lengths, start=first):
            if size + length > _BATCH_CHARACTERS and place > start:
                yield start, place
                start, size = place, 0
            size += length
        yield start, stop
