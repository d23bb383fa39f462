"""Great Expectations over the tables: the suites (`suites`), running one (`validation`), and the Data Docs (`data_docs`).

What belongs here itself: what definitions must know of the suites before any is run. Great Expectations takes seconds to
import, so the modules are imported when a check runs.
"""

from __future__ import annotations

BLOCKING = frozenset({"results", "game_features"})
"""Tables of which a broken expectation stops what comes after."""

ROWS_OF = {
    "team_form": ("fixtures", 2),
    "game_ratings": ("fixtures", 1),
    "fan_sentiment": ("fixtures", 2),
    "game_features": ("fixtures", 1),
}
"""Table -> the table that says how many rows it must have on each day, and rows for each of those."""
