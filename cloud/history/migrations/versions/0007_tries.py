"""Tries of passwords and codes, counted for all servers together."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go one step on."""
    op.create_table(
        "tries",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tries_key_digest", "tries", ["key_digest", "at"])
    op.create_index("ix_tries_at", "tries", ["at"])


def downgrade() -> None:
    """Go one step back."""
    op.drop_table("tries")
