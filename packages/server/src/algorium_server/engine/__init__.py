"""Slots: warm sandboxed processes that run versions."""
