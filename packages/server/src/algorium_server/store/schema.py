"""
The schema: all tables, by the rooms they are in.

Every change to a table comes with a migration; a test compares the two. What columns are made of,
and how values become rows, is in `store/columns.py`.
"""

from algorium_server.store.tables import (
    accounts,
    algorithms,
    audit,
    connectors,
    files,
    installation,
    operations,
    quotas,
    records,
    scms,
    secrets,
    sessions,
    work,
)
from algorium_server.store.tables.metadata import metadata

ROOMS = (
    accounts,
    sessions,
    installation,
    algorithms,
    files,
    connectors,
    work,
    records,
    scms,
    secrets,
    quotas,
    operations,
    audit,
)
"""Whoever wants one table needs those that it refers to as well."""

__all__ = ["ROOMS", "metadata"]
