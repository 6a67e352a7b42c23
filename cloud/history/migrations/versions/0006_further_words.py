"""Words that follow a trigger, what a device took a sound for, and the known media that it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go one step on."""
    op.create_table(
        "further_words",
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("first_sample", sa.BigInteger(), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("step_samples", sa.Integer(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.Column("usable", sa.LargeBinary(), nullable=False),
        sa.Column("masks", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "first_sample"),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("hinted_media_id", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("hinted_z", sa.Double(), nullable=True))
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("set_version", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("set_code", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("dismissed", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Go one step back."""
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_column("dismissed")
        batch_op.drop_column("set_code")
        batch_op.drop_column("set_version")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_column("hinted_z")
        batch_op.drop_column("hinted_media_id")
    op.drop_table("further_words")
