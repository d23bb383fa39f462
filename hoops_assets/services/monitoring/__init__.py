"""Monitoring: who watches what is forecast and served, and who is told."""
