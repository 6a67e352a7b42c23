"""The first tables: events, clips, fingerprints, devices, rejections and audit lines."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go one step on."""
    op.create_table(
        "audit_lines",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("event_name", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("audit_lines", schema=None) as batch_op:
        batch_op.create_index("ix_audit_lines_event_id", ["event_id"], unique=False)

    op.create_table(
        "clips",
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("first_sample", sa.BigInteger(), nullable=False),
        sa.Column("trigger_offset", sa.Integer(), nullable=False),
        sa.Column("sample_rate_hz", sa.Integer(), nullable=False),
        sa.Column("sample_count", sa.Integer(), nullable=False),
        sa.Column("block_bytes", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "devices",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("is_online", sa.Boolean(), nullable=False),
        sa.Column("board", sa.String(length=64), nullable=False),
        sa.Column("firmware", sa.String(length=64), nullable=False),
        sa.Column("model_hash", sa.String(length=16), nullable=False),
        sa.Column("armed", sa.Boolean(), nullable=True),
        sa.Column("samples_heard", sa.BigInteger(), nullable=False),
        sa.Column("triggers_dropped", sa.Integer(), nullable=False),
        sa.Column("clips_dropped", sa.Integer(), nullable=False),
        sa.Column("outbox_depth", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device_id"),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("device_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_start_sample", sa.BigInteger(), nullable=False),
        sa.Column("trigger_sample", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("sensitivity", sa.String(length=16), nullable=False),
        sa.Column("armed", sa.Boolean(), nullable=False),
        sa.Column("cadence", sa.JSON(), nullable=True),
        sa.Column("model_hash", sa.String(length=16), nullable=False),
        sa.Column("head_version", sa.Integer(), nullable=False),
        sa.Column("clip_policy", sa.String(length=16), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("clip_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("media_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("media_id", sa.String(length=32), nullable=True),
        sa.Column("media_title", sa.Text(), nullable=True),
        sa.Column("media_bit_error_rate", sa.Double(), nullable=True),
        sa.Column("media_offset_s", sa.Double(), nullable=True),
        sa.Column("media_note", sa.Text(), nullable=False),
        sa.Column("media_has_failed", sa.Boolean(), nullable=False),
        sa.Column("verifier_scores", sa.JSON(), nullable=True),
        sa.Column("verifier_version", sa.String(length=64), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdict_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("event_id"),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index("ix_events_device_id", ["device_id"], unique=False)
        batch_op.create_index("ix_events_received_at", ["received_at"], unique=False)
        batch_op.create_index("ix_events_stage", ["stage"], unique=False)

    op.create_table(
        "fingerprints",
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("first_sample", sa.BigInteger(), nullable=False),
        sa.Column("step_samples", sa.Integer(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.Column("usable", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "rejections",
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_topic", sa.Text(), nullable=False),
        sa.Column("last_detail", sa.Text(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("cause"),
    )


def downgrade() -> None:
    """Go one step back."""
    op.drop_table("rejections")
    op.drop_table("fingerprints")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index("ix_events_stage")
        batch_op.drop_index("ix_events_received_at")
        batch_op.drop_index("ix_events_device_id")

    op.drop_table("events")
    op.drop_table("devices")
    op.drop_table("clips")
    with op.batch_alter_table("audit_lines", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_lines_event_id")

    op.drop_table("audit_lines")
