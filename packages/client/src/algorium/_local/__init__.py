"""Algorithms on their author's own machine: `algo dev` and `algo test`. See `worker.py` first."""
