"""Registry: which models exist, what they were made from, and which one challenges; contract.py is what all keep."""
