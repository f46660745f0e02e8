"""Data URIs to bytes: connectors."""
