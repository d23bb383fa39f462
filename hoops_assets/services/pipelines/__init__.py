"""Pipelines: who runs the steps of training as one graph. contract.py says what every provider keeps."""
