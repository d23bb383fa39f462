"""Lineage: the questions that everybody asks of a model, answered from our own record alone.

What belongs here: reading what is stored (stored.py), which games a filter means (games.py), per-game forecasts of all
versions (forecasts.py), and the questions themselves (questions.py, best.py). No Dagster, no MLflow, no pandas: a question
must not wait for libraries that it does not need.
"""
