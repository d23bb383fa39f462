"""Connectors: each module reads one real format and gives the same typed tables.

What belongs here: reading, parsing and refusing rows. A row that breaks a rule becomes a `Rejected` with file, line,
field and reason; it never stops the good rows. What a column means is in `basketball.games`.
"""
