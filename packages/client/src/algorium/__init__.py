"""Algorium client."""
