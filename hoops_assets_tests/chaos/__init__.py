"""Faults, and what the platform makes of them.

What belongs here: every test that breaks something on purpose while the platform is at work. `matrix` is the fixed list of
kills, `driver` the processes that die, `homes` what must hold after it, `tally` the count that the terminal's summary shows.
"""
