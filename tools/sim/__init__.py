"""Simulated homes: many at once, for what only a crowd can show."""
