"""Judging forecasts: proper scores, paired comparisons with intervals, leak alarms, walk-forward and plots.

What belongs here: pure functions over probabilities and outcomes. Nothing here knows basketball; a season is a group,
a game day a cluster. scipy, scikit-learn and matplotlib are imported at the top, so import these modules when used.
"""
