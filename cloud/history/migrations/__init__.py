"""Alembic's scripts: every step from one shape of the history to the next."""
