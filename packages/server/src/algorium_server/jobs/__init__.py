"""Durable work with leases."""
