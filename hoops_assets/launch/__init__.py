"""Running the graph from the command line: the instance, backfills, training, the daily run, the servers of `hoops up`.

What belongs here: everything that launches runs without the UI. The definitions themselves know nothing of it.
"""
