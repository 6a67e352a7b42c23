"""Judges what was trained and what was built; it is handed the engines and imports none."""
