"""Whether a device's siren is on, as it says itself."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go one step on."""
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_siren_on", sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Go one step back."""
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_column("is_siren_on")
