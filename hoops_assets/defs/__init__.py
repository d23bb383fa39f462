"""Dagster definitions, thin, by stage of the lane. An asset body reads inputs, calls one pure function or one service,
and returns a value with metadata: nothing is computed here.
"""

import gc

import dagster  # noqa: F401 (to be loaded before the next line)

# What Dagster has loaded stays until the process ends. Out of the collector's sight it costs a code server, a run and a
# command a third less CPU to load and to leave: the collector walks through it twice meanwhile, and once at the end.
gc.freeze()
