"""Posts to compare scorers on: a corpus made from a seed, fixed before any scorer was tried on it, and real ones."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tarfile
from pathlib import Path

SEED = 20261
PLAIN = (
    "the", "a", "and", "to", "of", "in", "it", "is", "was", "we", "they", "he", "she", "you", "i", "game", "team",
    "ball", "court", "half", "tonight", "season", "player", "coach", "bench", "points", "rebound", "pass",
    "dribble", "quarter", "crowd", "city", "fans", "arena", "minute", "lead", "three", "point", "guard", "center",
    "forward", "line", "time", "what", "who", "when", "from", "with", "for", "on", "at", "by", "as", "if", "that",
    "there", "here", "now", "then", "into", "over", "under", "after", "before", "one", "two", "seven", "watch",
    "look", "play", "played", "run", "walk", "talk", "see", "say", "said", "going", "come", "came", "get", "got",
    "make", "made", "take", "took", "think", "know", "tell", "this", "so", "or", "nor", "only", "ever", "even",
    "still", "really", "least", "doubt", "enough", "sort", "kind", "right", "bus", "die", "bomb", "ass", "death",
)  # fmt: skip
NAMES = ("Curry", "LeBron", "Jokic", "NBA", "ESPN", "MVP", "Lakers", "Knicks", "OKC", "Steph", "Giannis", "Aces")
PHRASES = (
    "the shit", "the bomb", "bad ass", "badass", "bus stop", "yeah right", "kiss of death", "to die for",
    "beating heart", "kind of", "sort of", "just enough", "never so", "never this", "without doubt", "without a doubt",
    "without any doubt", "at least", "at the least", "very least", "the least", "least", "no good", "no more love",
    "no or bad", "no fun nor joy", "no no no", "not bad at all", "isn't great", "hand to mouth", "cut the mustard",
    "upper hand", "such a badass", "not the shit", "never so good", "so this good", "kind of great", "kind-of happy",
    "uh-uh", "can't stand", "wouldn't hurt", "but", "but still love", "not only good but great", "despite the win",
)  # fmt: skip
MARKS = ("", "", "", "", "", "", ".", ",", "!", "!!", "!!!", "!!!!!", "?", "??", "???", "????", "?!", "!?!", "...", ";")
EMOJI = ("😍", "😂", "🔥", "😡", "❤", "❤️", "👍🏽", "🏀", "😭", "💀", "🐐", "☹", "👏", "🇺🇸", "👨‍👩‍👧", "♥", "©", "™")
EMOTICONS = (":)", ":(", ":D", "xD", ":-/", "<3", "</3", ";)", ":'(", "lol", "LMAO", "D:", "^_^", "o_O")
ODD = (
    "https://example.com/a?b=c!d", "@fan", "#LetsGo", "r/nba", "110-98", "24/7", "don’t", "can’t", "naïve", "ÜBER",
    "ﬁne", "İstanbul", "ǅ", "ß", "ΑΓΑΠΗ", "хорошо", "最高", "愛", "很好", "حب", "good\u00a0bad", "love\u2028hate", "great\x1fsad",
    "\u200bgood", "good\ufe0f", "GOOD's", "good-bad", "(good)", "\"bad\"", "*love*", "'hate'", "n't", "N'T", "AIN'T",
    "...", "!!!", "??", "---", "I", "A", "OK", "$:", "%)", "\x00", "\ud800",
)  # fmt: skip
EDGES = (
    "", " ", "\n\t", "!", "????", "!!!!!!!", ".", "but", "BUT", "but but", "no", "NO", "no no", "kind", "kind of",
    "😍", "😍😍😍", "😍 ", " 😍", "a😍b", "love😍hate", "🏀", "[deleted]", "[removed]", "good", "GOOD", "GOOD bad", "good GOOD",
    "GOOD BAD", "GOOD BAD ugly", "good bad", "good bad!!!", "love hate but love hate", "great but bad but great",
    "least good", "at least good", "very least good", "the least good", "LEAST good day", "no bad", "NO bad day",
    "a bad ass day", "such a bad ass", "what a bad ass day", "this is the shit", "with this it is the shit",
    "that is to die for", "a kiss of death", "this is a kiss of death", "yeah right", "oh well yeah right",
    "at the bus stop here", "we just enough good", "he is kind of good", "sort of kind of good", "he KIND OF GOOD",
    "without a doubt good", "without doubt a good", "never ever so good", "so so so good", "VERY good", "very GOOD",
    "not good", "not very good", "not so very good", "never this good", "isn't VERY good", "no very good",
    "good or bad", "no good or bad", "no x or bad", "no x nor bad", "no x y bad", "good but", "but good",
    "2.0 but 1.9", "fine but fine", "good good but good good", "😍 but 😡", "happy but sad but sad but happy",
)  # fmt: skip


def word_stock() -> tuple[list[str], list[str]]:
    """VADER's lexicon, and its boosters and negations together."""
    from vaderSentiment import vaderSentiment

    lexicon = list(vaderSentiment.SentimentIntensityAnalyzer().lexicon)
    return lexicon, [*vaderSentiment.BOOSTER_DICT, *vaderSentiment.NEGATE]


def made_posts(count: int, seed: int = SEED, very_long: float = 0.002) -> list[str]:
    """`count` posts of 0 to 30 words and a share of very long ones; the same for the same seed."""
    dice = random.Random(seed)
    lexicon, modifiers = word_stock()
    common = dice.sample(lexicon, 600)

    def word() -> str:
        roll = dice.random()
        if roll < 0.62:
            return dice.choice(PLAIN)
        if roll < 0.78:
            return dice.choice(common)
        if roll < 0.81:
            return dice.choice(lexicon)
        if roll < 0.89:
            return dice.choice(modifiers)
        if roll < 0.93:
            return dice.choice(NAMES)
        if roll < 0.95:
            return dice.choice(PHRASES)
        if roll < 0.96:
            return dice.choice(("but", "no", "least", "not", "never"))
        if roll < 0.98:
            return dice.choice(EMOJI) * dice.choice((1, 1, 1, 2, 3))
        return dice.choice((*EMOTICONS, *ODD))

    def post() -> str:
        length = min(1 + int(dice.expovariate(1 / 10)), 30)
        if dice.random() < very_long:
            length = dice.randrange(200, 1500)
        shouted = dice.random() < 0.03
        words = []
        for _ in range(length):
            one = word()
            roll = dice.random()
            if shouted or roll < 0.04:
                one = one.upper()
            elif roll < 0.12:
                one = one.capitalize()
            words.append(one + (dice.choice(MARKS) if dice.random() < 0.25 else ""))
        glue = "" if dice.random() < 0.01 else " "
        return glue.join(words)

    return [*EDGES, *(post() for _ in range(count - len(EDGES)))][:count]


def real_posts(folder: Path) -> dict[str, list[str]]:
    """Texts of the shared real posts by their source; sources that are not there are left out."""
    found = {}
    for archive in sorted((folder / "sentiment" / "tweets").glob("*.tar.gz")):
        texts: list[str] = []
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.name.endswith(".json") and (file := tar.extractfile(member)) is not None:
                    texts.extend(_strings(json.load(io.TextIOWrapper(file, "utf-8"))))
        found["tweets"] = texts
    for dump in sorted((folder / "sentiment" / "reddit_gamethreads").glob("*.csv.gz")):
        with gzip.open(dump, "rt", encoding="utf-8", newline="") as file:
            found["reddit"] = [row["body"] for row in csv.DictReader(file)]
    return found


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for one in inner for text in _strings(one)]
