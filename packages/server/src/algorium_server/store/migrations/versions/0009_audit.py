"""
The audit log.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    pass
