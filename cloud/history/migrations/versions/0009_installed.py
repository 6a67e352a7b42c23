"""The updates that a device holds, as it says itself."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go one step on."""
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("installed", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Go one step back."""
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_column("installed")
