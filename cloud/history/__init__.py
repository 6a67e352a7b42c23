"""The history: what was heard, what was decided, and the sound of it."""
