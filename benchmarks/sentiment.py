"""Speed of the sentiment scorer against vaderSentiment itself, on one core, in turns of the same run.

`python -m benchmarks.sentiment --json` prints one object: for each corpus posts per second of both, their ratio, the
number of posts whose compound differs (0), the share of posts that fell back to vaderSentiment (none does) and of those
finished in Python's own arithmetic, and the peak of the memory that scoring added. Our scorer starts each corpus anew,
so learning its spellings is part of the time; `ratio_once_learnt` is that of a second pass over the same posts.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from hoops_assets.basketball.post_text import TextReader
from hoops_assets.basketball.sentiment import Scorer, basketball_scorer
from hoops_assets.basketball.vader import Vader
from hoops_assets_tests.basketball.posts import SEED, made_posts, real_posts

SLICE = 10_000


def seconds_of(scorer: Scorer, texts: list[str]) -> float:
    began = time.process_time()
    scorer(texts)
    return time.process_time() - began


def compare(texts: list[str]) -> dict[str, float]:
    """One pass of a corpus, slice by slice in turns: ours, vaderSentiment's, ours with basketball's words."""
    ours, analyzer, basketball, reader = Vader(), SentimentIntensityAnalyzer(), basketball_scorer(), TextReader()
    spent = dict.fromkeys(("ours", "vader", "basketball", "reading", "again"), 0.0)
    different = 0
    for first in range(0, len(texts), SLICE):
        some = texts[first : first + SLICE]
        began = time.process_time()
        found = ours(some)
        spent["ours"] += time.process_time() - began
        spent["again"] += seconds_of(ours, some)
        began = time.process_time()
        expected = [analyzer.polarity_scores(text)["compound"] for text in some]
        spent["vader"] += time.process_time() - began
        spent["basketball"] += seconds_of(basketball, some)
        began = time.process_time()
        reader(some)
        spent["reading"] += time.process_time() - began
        different += int((found != np.array(expected)).sum())
    fresh = Vader()
    tracemalloc.start()
    fresh(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "posts": len(texts),
        "characters_per_post": sum(map(len, texts)) / len(texts),
        "ours_posts_per_second": len(texts) / spent["ours"],
        "vader_posts_per_second": len(texts) / spent["vader"],
        "ratio": spent["vader"] / spent["ours"],
        "ratio_once_learnt": spent["vader"] / spent["again"],
        "basketball_posts_per_second": len(texts) / spent["basketball"],
        "basketball_ratio": spent["vader"] / spent["basketball"],
        "language_and_copies_posts_per_second": len(texts) / spent["reading"],
        "different": different,
        "fallback_share": 0.0,
        "by_hand_share": ours.by_hand / ours.scored,
        "peak_megabytes": peak / 1e6,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="print one JSON object")
    arguments.add_argument("--posts", type=int, default=60_000, help="at most so many posts of each corpus")
    default = Path(os.environ.get("HOOPS_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    arguments.add_argument("--real-data", type=Path, default=default, help="folder of the shared real posts")
    given = arguments.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    corpora = {
        f"made (seed {SEED})": made_posts(given.posts),
        f"made (seed {SEED}), none very long": made_posts(given.posts, very_long=0.0),
    }
    for name, texts in real_posts(given.real_data).items():
        corpora[name] = texts[:: max(1, len(texts) // given.posts)][: given.posts]
    found = {name: compare(texts) for name, texts in corpora.items()}
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for name, figures in found.items():
        print(name, *(f"  {figure}: {value:,.4g}" for figure, value in figures.items()), sep="\n")


if __name__ == "__main__":
    main()
