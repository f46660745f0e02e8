"""Algorithms: made, built, published, looked at."""
