"""Alembic's entry: runs the migrations on the connection that `cloud.history.store` hands over."""

from alembic import context

from cloud.history.models import Base

connection = context.config.attributes["connection"]
# Batch mode, because SQLite cannot alter a column in place.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
