"""Calls: admitted, run, metered, and kept when they fail."""
