"""What runs anywhere: files in, files out, the same on a laptop and in a cloud's container.

What belongs here: the programs a service asks somebody to run. They know no Dagster, no provider and no registry.
"""
