"""Insights, event listeners, notifications, registries."""
