"""
Quotas and reservations.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    pass
