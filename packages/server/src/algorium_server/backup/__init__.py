"""Backups of a home directory: taken while it is in use, checked, restored; upgrades."""
