"""Dagster definitions, thin, by stage of the lane. An asset body reads inputs, calls one pure function or one service,
and returns a value with metadata: nothing is computed here.
"""
