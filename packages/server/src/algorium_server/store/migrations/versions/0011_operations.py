"""
Insights, event listeners, notifications, registries.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    pass
