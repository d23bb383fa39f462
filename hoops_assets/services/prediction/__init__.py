"""Prediction: who forecasts with a registered model."""
