"""Homes, the people in them, and what each of them may reach."""
