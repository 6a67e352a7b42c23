"""A mask of reliable bits beside each word of a fingerprint; events from before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go one step on."""
    with op.batch_alter_table("fingerprints", schema=None) as batch_op:
        batch_op.add_column(sa.Column("masks", sa.LargeBinary(), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    """Go one step back."""
    with op.batch_alter_table("fingerprints", schema=None) as batch_op:
        batch_op.drop_column("masks")
