"""
Sessions: how people sign in.

Types and names are spelled out, not imported: a migration describes one moment of the past.
"""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    pass
