"""Training: who fits the models. contract.py says what every provider keeps."""
